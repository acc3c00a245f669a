#include "views/status.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>

#include "resources/types.h"
#include "views/text_table.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;

constexpr std::size_t kMostNamed = 3;  // kinds in one sentence

RevisionsByKey read_revisions(const json::object& object, Path path) {
  RevisionsByKey revisions;
  const auto* value = find_at(object, path);
  const auto* entries = value ? value->if_object() : nullptr;
  if (!entries) return revisions;
  for (const auto& entry : *entries) revisions[std::string(entry.key())] = number_at(*entries, {entry.key()});
  return revisions;
}

std::uint64_t newest(const RevisionsByKey& revisions) {
  std::uint64_t result = 0;
  for (const auto& [kind, revision] : revisions) result = std::max(result, revision);
  return result;
}

std::vector<Refusal> read_reasons(const json::object& object, std::string_view name) {
  std::vector<Refusal> reasons;
  const auto* list = find_at(object, {"status", name});
  if (const auto* entries = list ? list->if_array() : nullptr) {
    for (const auto& entry : *entries) {
      if (!entry.is_object()) continue;
      reasons.push_back({text_at(entry.get_object(), {"object"}), text_at(entry.get_object(), {"reason"})});
    }
  }
  return reasons;
}

json::array reasons_json(const std::vector<Refusal>& reasons) {
  json::array list;
  for (const Refusal& one : reasons)
    list.push_back(json::object{{"object", one.object}, {"reason", one.reason}});
  return list;
}

std::string age_of(const AgentView& agent, TimePoint now) {
  const auto heartbeat = parse_time(agent.heartbeat);
  return heartbeat ? age_text(now - *heartbeat) : "unknown";
}

json::object json_of(const AgentView& agent, const ServerStatus& server, TimePoint now) {
  json::object object;
  object["node"] = agent.node;
  object["version"] = agent.version;
  object["pid"] = agent.pid;
  object["dataplane"] = agent.dataplane;
  object["dataplaneReason"] = agent.dataplane_reason;
  object["revision"] = newest(agent.applied);
  json::array behind;
  for (const Lag& lag : lags(agent, server)) {
    behind.push_back(json::object{
        {"kind", lag.kind}, {"applied", lag.applied}, {"server", lag.wanted}, {"foreign", lag.foreign}});
  }
  object["upToDate"] = what_is_missing(agent, server).empty();
  object["behind"] = std::move(behind);
  object["endpoints"] = json::object{{"wanted", agent.endpoints_wanted}, {"ready", agent.endpoints_ready}};
  json::array host_endpoints;
  for (const HostEndpointView& one : agent.host_endpoints) {
    host_endpoints.push_back(json::object{{"name", one.name}, {"status", one.status}});
  }
  object["hostEndpoints"] = std::move(host_endpoints);
  object["refused"] = reasons_json(agent.refused);
  object["refusedCount"] = agent.refused_count;
  object["bounded"] = reasons_json(agent.bounded);
  object["error"] = agent.error;
  object["bgpError"] = agent.bgp_error;
  object["alive"] = is_alive(agent, now);
  object["heartbeat"] = agent.heartbeat;
  if (const auto heartbeat = parse_time(agent.heartbeat)) {
    object["heartbeatAgeSeconds"] = std::chrono::duration<double>(now - *heartbeat).count();
  }
  return object;
}

}  // namespace

std::string revision_key(Kind kind) {
  const KindInfo& about = info(kind);
  return about.group.empty() ? std::string(about.name) : fmt::format("{}.{}", about.name, about.group);
}

ServerStatus ServerStatus::read(const json::object& object) {
  return {text_at(object, {"version"}), number_at(object, {"revision"}),
          read_revisions(object, {"revisions"}), text_at(object, {"store", "incarnation"})};
}

AgentView AgentView::read(const json::object& object) {
  AgentView agent;
  agent.node = text_at(object, {"metadata", "name"});
  agent.version = text_at(object, {"status", "version"});
  agent.pid = number_at(object, {"status", "pid"});
  agent.dataplane = text_at(object, {"status", "dataplane"});
  agent.dataplane_reason = text_at(object, {"status", "dataplaneReason"});
  agent.applied = read_revisions(object, {"status", "applied"});
  for (const auto& [kind, revision] : agent.applied)
    agent.incarnations[kind] = text_at(object, {"status", "incarnations", kind});
  agent.endpoints_wanted = number_at(object, {"status", "endpoints", "wanted"});
  agent.endpoints_ready = number_at(object, {"status", "endpoints", "ready"});
  agent.error = text_at(object, {"status", "error"});
  agent.bgp_error = text_at(object, {"status", "bgp", "error"});
  agent.heartbeat = text_at(object, {"status", "heartbeat"});
  const auto* host_endpoints = find_at(object, {"status", "hostEndpoints"});
  if (const auto* entries = host_endpoints ? host_endpoints->if_array() : nullptr) {
    for (const auto& entry : *entries) {
      if (!entry.is_object()) continue;
      agent.host_endpoints.push_back(
          {text_at(entry.get_object(), {"name"}), text_at(entry.get_object(), {"status"})});
    }
  }
  agent.refused = read_reasons(object, "refused");
  agent.bounded = read_reasons(object, "bounded");
  agent.refused_count =
      std::max<std::uint64_t>(agent.refused.size(), number_at(object, {"status", "refusedCount"}));
  return agent;
}

bool is_alive(const AgentView& agent, TimePoint now) {
  const auto heartbeat = parse_time(agent.heartbeat);
  return heartbeat && now - *heartbeat < kSilence;
}

std::vector<Lag> lags(const AgentView& agent, const ServerStatus& server) {
  std::vector<Lag> result;
  for (const Kind kind : watched_kinds()) {
    const std::string key = revision_key(kind);
    const auto target = server.revisions.find(key);
    if (target == server.revisions.end()) continue;
    const auto reached = agent.applied.find(key);
    if (reached == agent.applied.end()) {
      if (target->second > 0) result.push_back({key, 0, target->second, false});
      continue;
    }
    const auto incarnation = agent.incarnations.find(key);
    const bool foreign =
        server.incarnation != (incarnation == agent.incarnations.end() ? "" : incarnation->second);
    if (foreign || reached->second < target->second) {
      result.push_back({key, reached->second, target->second, foreign});
    }
  }
  return result;
}

std::string what_is_missing(const AgentView& agent, const ServerStatus& server) {
  std::vector<std::string> reasons;
  std::vector<std::string> foreign;
  for (const Lag& lag : lags(agent, server)) {
    if (lag.foreign) {
      foreign.push_back(lag.kind);
      continue;
    }
    reasons.push_back(fmt::format("has {} to revision {} of {}", lag.kind, lag.applied, lag.wanted));
  }
  if (!foreign.empty()) {
    std::string kinds;
    if (foreign.size() <= kMostNamed) {
      kinds = fmt::format(" for {}", fmt::join(foreign, ", "));
    } else if (foreign.size() < agent.applied.size()) {
      kinds = fmt::format(" for {} kinds", foreign.size());
    }
    reasons.push_back(fmt::format("has not come back{} since the server was started", kinds));
  }
  if (agent.endpoints_ready < agent.endpoints_wanted) {
    reasons.push_back(
        fmt::format("{} of {} endpoints are ready", agent.endpoints_ready, agent.endpoints_wanted));
  }
  if (!agent.error.empty()) reasons.push_back(agent.error);
  return fmt::format("{}", fmt::join(reasons, "; "));
}

std::vector<std::string> who_is_behind(const SystemStatus& status) {
  std::vector<std::string> behind;
  for (const AgentView& agent : status.agents) {
    const std::string missing = what_is_missing(agent, status.server);
    if (!missing.empty()) behind.push_back(fmt::format("{}: {}", agent.node, missing));
  }
  for (const std::string& node : status.silent_nodes) {
    behind.push_back(fmt::format("{}: no agent has reported", node));
  }
  if (status.agents.empty() && status.silent_nodes.empty()) behind.emplace_back("no agent has reported");
  return behind;
}

std::string to_text(const SystemStatus& status, TimePoint now) {
  std::string out =
      fmt::format("Server: version {}, revision {}\n\n", status.server.version, status.server.revision);
  TextTable table;
  table.headers = {"NODE",       "VERSION",   "DATAPLANE", "REVISION",
                   "UP TO DATE", "ENDPOINTS", "REFUSED",   "HEARTBEAT"};
  for (const AgentView& agent : status.agents) {
    const bool current = what_is_missing(agent, status.server).empty();
    table.rows.push_back({agent.node, agent.version, agent.dataplane,
                          fmt::format("{}", newest(agent.applied)), current ? "yes" : "no",
                          fmt::format("{}/{}", agent.endpoints_ready, agent.endpoints_wanted),
                          fmt::format("{}", agent.refused_count), fmt::format("{} ago", age_of(agent, now))});
  }
  for (const std::string& node : status.silent_nodes) {
    table.rows.push_back({node, "-", "-", "-", "no", "-", "-", "never"});
  }
  out += table.rows.empty() ? "No agent has reported yet: start one with `ocicat agent` on each host.\n"
                            : table.to_string();
  for (const AgentView& agent : status.agents) {
    const std::string missing = what_is_missing(agent, status.server);
    if (!missing.empty()) out += fmt::format("\n{}: {}\n", agent.node, printable(missing));
    if (!agent.dataplane_reason.empty()) {
      out += fmt::format("\n{}: dataplane {}: {}\n", agent.node, printable(agent.dataplane),
                         printable(agent.dataplane_reason));
    }
    if (!is_alive(agent, now)) {
      out += fmt::format(
          "\n{}: no report for {}: its agent may be down; the kernel keeps what it had. Of a host that is "
          "gone for "
          "good: ocicat delete agentstatus {}\n",
          agent.node, age_of(agent, now), agent.node);
    }
    for (const HostEndpointView& one : agent.host_endpoints) {
      out += fmt::format("\n{}: HostEndpoint {} is {}\n", agent.node, printable(one.name),
                         printable(one.status));
    }
    if (!agent.bgp_error.empty())
      out += fmt::format("\n{}: BGP: {}\n", agent.node, printable(agent.bgp_error));
    for (const Refusal& refusal : agent.refused) {
      out += fmt::format("\n{} refuses {}: {}\n", agent.node, printable(refusal.object),
                         printable(refusal.reason));
    }
    for (const Refusal& bound : agent.bounded)
      out += fmt::format("\n{}: {}: {}\n", agent.node, printable(bound.object), printable(bound.reason));
    if (agent.refused_count > agent.refused.size()) {
      out += fmt::format("\n{} refuses {} more\n", agent.node, agent.refused_count - agent.refused.size());
    }
  }
  for (const auto& line : in_words(status.idle)) out += fmt::format("\n{}\n", printable(line));
  return out;
}

json::object to_json(const SystemStatus& status, TimePoint now) {
  json::object object;
  json::object revisions;
  for (const auto& [kind, revision] : status.server.revisions) revisions[kind] = revision;
  object["server"] = json::object{{"version", status.server.version},
                                  {"revision", status.server.revision},
                                  {"incarnation", status.server.incarnation},
                                  {"revisions", std::move(revisions)}};
  json::array agents;
  for (const AgentView& agent : status.agents) agents.push_back(json_of(agent, status.server, now));
  object["agents"] = std::move(agents);
  json::array silent;
  for (const std::string& node : status.silent_nodes) silent.emplace_back(node);
  object["silentNodes"] = std::move(silent);
  json::array idle;
  for (const auto& [setting, field, dataplane, only] : status.idle) {
    json::object one{{"object", setting}, {"field", field}, {"dataplane", dataplane}};
    if (!only.empty()) one["only"] = only;
    idle.emplace_back(std::move(one));
  }
  object["withoutEffect"] = std::move(idle);
  return object;
}

}  // namespace ocicat::views
