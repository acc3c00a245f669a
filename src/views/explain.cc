#include "views/explain.h"

#include <fmt/ranges.h>

#include <boost/json.hpp>

#include "views/stops.h"

namespace ocicat::views {
namespace {

using policy::Direction;
using policy::NearMiss;
using policy::TraceStep;
using policy::Verdict;
namespace json = boost::json;

// Where a workload speaks to the host it runs on, the host's configuration has the last word.
Side own_host(const Party& host) {
  Side side;
  switch (host.from_own_workloads) {
    case HostSettings::ToHost::kDrop:
      side.verdict = side.pending = Verdict::kDeny;
      side.note = "defaultEndpointToHostAction is Drop: a workload does not reach its own host";
      break;
    case HostSettings::ToHost::kAccept:
      side.note = "defaultEndpointToHostAction is Accept";
      break;
    case HostSettings::ToHost::kReturn:
      side.note = "defaultEndpointToHostAction is Return: the host's own firewall decides";
      break;
  }
  return side;
}

void add_annotations(const policy::Evaluator& evaluator, Direction direction, Side& side) {
  const auto add = [&](const ResourceKey& policy, int rule) {
    const auto& annotations = evaluator.annotations(policy, direction, rule);
    if (!annotations.empty()) side.annotations.emplace(std::pair{policy, rule}, annotations);
  };
  const auto add_all = [&](const std::vector<TraceStep>& trace) {
    for (const TraceStep& step : trace) add(step.policy, step.rule);
  };
  add_all(side.trace);
  add_all(side.pending_trace);
  for (const Crossing& crossing : side.crossings) {
    add_all(crossing.trace);
    add_all(crossing.pending.trace);
  }
  for (const NearMiss& miss : side.near_misses) add(miss.policy, miss.rule);
}

Side side_of(const policy::Evaluator& evaluator, const Question& question, Direction direction) {
  const Party& here = direction == Direction::kEgress ? question.from : question.to;
  const Party& there = direction == Direction::kEgress ? question.to : question.from;
  Side side;
  const bool within = !here.node.empty() && here.node == there.node;
  if (here.endpoint && !here.is_host && here.endpoint == there.endpoint) {
    side.note = "a workload speaks to itself: such packets never leave it";
    return side;
  }
  if (direction == Direction::kIngress && here.is_host && !there.is_host && there.endpoint && within) {
    side = own_host(here);
  } else if (within && here.is_host && there.is_host) {
    side.note = "a host speaks to itself";
  } else if (within && there.is_host && direction == Direction::kIngress) {
    side.note = "a host always reaches its own workloads";
  } else if (!here.endpoint) {
    side.note = "no endpoint here";
  } else if (here.is_host && !within && here.host_policy->assumed) {
    side.note = fmt::format("taking it that {} has the interface", here.endpoint->to_string());
  }
  const policy::Packet packet = question.traffic.packet(
      *question.from.address(question.family), *question.to.address(question.family), question.source_port);
  if (direction == Direction::kEgress && !here.is_host && here.endpoint) {
    side.note = evaluator.refuses_source(*here.endpoint, packet.source);
    if (!side.note.empty()) {
      side.verdict = side.pending = Verdict::kDeny;
      return side;
    }
  }
  const auto stops = stops_of(question.from, question.to, direction);
  const auto enforced = verdict_of(stops, [&](const Stop& stop) {
    auto explanation = evaluator.explain(stop.endpoint, direction, packet, stop.hook.chain);
    const auto verdict = explanation.enforced.verdict;
    if (stop.hook.chain == policy::ChainKind::kNormal) {
      side.trace = std::move(explanation.enforced.trace);
      side.pending_trace = std::move(explanation.pending.trace);
      side.near_misses = std::move(explanation.near_misses);
    } else if (!explanation.enforced.trace.empty() || !explanation.pending.trace.empty()) {
      side.crossings.push_back({stop.endpoint, stop.hook, verdict, std::move(explanation.enforced.trace),
                                std::move(explanation.pending)});
    }
    return verdict;
  });
  const auto if_staged_were_enforced = verdict_of(stops, [&](const Stop& stop) {
    return evaluator.explain(stop.endpoint, direction, packet, stop.hook.chain).pending.verdict;
  });
  if (enforced == Verdict::kDeny) side.verdict = enforced;
  if (if_staged_were_enforced == Verdict::kDeny) side.pending = if_staged_were_enforced;
  add_annotations(evaluator, direction, side);
  return side;
}

std::string rule_text(const ResourceKey& policy, int rule, Direction direction) {
  return fmt::format("{}, {}[{}]", policy.to_string(), policy::to_string(direction), rule);
}

std::string_view action_in_words(Action action) {
  switch (action) {
    case Action::kAllow:
      return "allows";
    case Action::kDeny:
      return "denies";
    case Action::kLog:
      return "logs, and goes on";
    case Action::kPass:
      return "passes to the next tier";
  }
  return "";
}

std::string names_of(const policy::KeyList& keys) {
  std::vector<std::string> names;
  names.reserve(keys.size());
  for (const ResourceKey& key : keys) names.push_back(key.to_string());
  return fmt::format("{}", fmt::join(names, ", "));
}

const Labels* annotations_of(const Side& side, const ResourceKey& policy, int rule) {
  const auto found = side.annotations.find({policy, rule});
  return found == side.annotations.end() ? nullptr : &found->second;
}

void append_annotations(std::string& out, const Labels* annotations, std::string_view margin) {
  if (annotations == nullptr) return;
  for (const auto& [name, text] : *annotations) {
    fmt::format_to(std::back_inserter(out), "{}  {}: {}\n", margin, name, text);
  }
}

void append_trace(std::string& out, const Side& side, const std::vector<TraceStep>& trace,
                  Direction direction, std::string_view name, std::string_view margin) {
  for (const TraceStep& step : trace) {
    fmt::format_to(std::back_inserter(out), "{}{}\n", margin, in_words(step, direction));
    append_annotations(out, annotations_of(side, step.policy, step.rule), margin);
    if (!step.selected_by.empty()) {
      fmt::format_to(std::back_inserter(out), "{}  policies of this tier that select {}: {}\n", margin, name,
                     names_of(step.selected_by));
    }
  }
}

void append_side(std::string& out, const Side& side, Direction direction, const Party& here) {
  fmt::format_to(std::back_inserter(out), "\n{} at {}: {}{}{}\n",
                 direction == Direction::kEgress ? "Egress" : "Ingress", here.name,
                 policy::to_string(side.verdict), side.note.empty() ? "" : ", ", side.note);
  for (const Crossing& crossing : side.crossings) {
    fmt::format_to(std::back_inserter(out), "  {}, {} chain: {}\n", crossing.endpoint.to_string(),
                   policy::to_string(crossing.hook.chain), policy::to_string(crossing.verdict));
    append_trace(out, side, crossing.trace, direction, crossing.endpoint.to_string(), "    ");
    if (crossing.pending.verdict == crossing.verdict) continue;
    fmt::format_to(std::back_inserter(out), "    with staged policy enforced: {}\n",
                   policy::to_string(crossing.pending.verdict));
    append_trace(out, side, crossing.pending.trace, direction, crossing.endpoint.to_string(), "      ");
  }
  append_trace(out, side, side.trace, direction, here.name, "  ");
  for (const NearMiss& miss : side.near_misses) {
    fmt::format_to(std::back_inserter(out), "  nearest miss: {}, {}, but {}\n",
                   rule_text(miss.policy, miss.rule, direction), action_in_words(miss.action), miss.why);
    append_annotations(out, annotations_of(side, miss.policy, miss.rule), "  ");
  }
  if (side.pending != side.verdict) {
    fmt::format_to(std::back_inserter(out), "  with staged policy enforced: {}\n",
                   policy::to_string(side.pending));
    append_trace(out, side, side.pending_trace, direction, here.name, "    ");
  }
}

void add_annotations(json::object& object, const Side& side, const ResourceKey& policy, int rule) {
  const auto* annotations = annotations_of(side, policy, rule);
  if (annotations == nullptr) return;
  json::object all;
  for (const auto& [name, text] : *annotations) all[name] = text;
  object["annotations"] = std::move(all);
}

json::object json_of(const Side& side, const TraceStep& step, Direction direction) {
  json::object object;
  object["tier"] = step.tier;
  if (!step.policy.name.empty()) {
    object["kind"] = info(step.policy.kind).name;
    if (!step.policy.ns.empty()) object["namespace"] = step.policy.ns;
    object["name"] = step.policy.name;
  }
  object["rule"] = step.rule;
  object["action"] = to_string(step.action);
  if (!step.selected_by.empty()) {
    json::array selected;
    for (const ResourceKey& key : step.selected_by) selected.emplace_back(key.to_string());
    object["selectedBy"] = std::move(selected);
  }
  object["text"] = in_words(step, direction);
  add_annotations(object, side, step.policy, step.rule);
  return object;
}

json::array json_of(const Side& side, const std::vector<TraceStep>& trace, Direction direction) {
  json::array steps;
  for (const TraceStep& step : trace) steps.push_back(json_of(side, step, direction));
  return steps;
}

json::object json_of(const Side& side, Direction direction) {
  json::object object;
  object["verdict"] = policy::to_string(side.verdict);
  object["pending"] = policy::to_string(side.pending);
  object["trace"] = json_of(side, side.trace, direction);
  object["pendingTrace"] = json_of(side, side.pending_trace, direction);
  json::array misses;
  for (const NearMiss& miss : side.near_misses) {
    json::object entry;
    entry["policy"] = miss.policy.to_string();
    entry["rule"] = miss.rule;
    entry["action"] = to_string(miss.action);
    entry["why"] = miss.why;
    add_annotations(entry, side, miss.policy, miss.rule);
    misses.push_back(std::move(entry));
  }
  object["nearMisses"] = std::move(misses);
  json::array crossings;
  for (const Crossing& crossing : side.crossings) {
    json::object entry;
    entry["endpoint"] = crossing.endpoint.to_string();
    entry["chain"] = policy::to_string(crossing.hook.chain);
    entry["verdict"] = policy::to_string(crossing.verdict);
    entry["pending"] = policy::to_string(crossing.pending.verdict);
    entry["trace"] = json_of(side, crossing.trace, direction);
    entry["pendingTrace"] = json_of(side, crossing.pending.trace, direction);
    crossings.push_back(std::move(entry));
  }
  object["crossings"] = std::move(crossings);
  if (!side.note.empty()) object["note"] = side.note;
  return object;
}

}  // namespace

Verdict both(Verdict egress, Verdict ingress) {
  return egress == Verdict::kAllow && ingress == Verdict::kAllow ? Verdict::kAllow : Verdict::kDeny;
}

Verdict Explained::verdict() const {
  return both(egress.verdict, ingress.verdict);
}
Verdict Explained::pending() const {
  return both(egress.pending, ingress.pending);
}

Explained explain(const policy::Evaluator& evaluator, const Question& question) {
  return {question, side_of(evaluator, question, Direction::kEgress),
          side_of(evaluator, question, Direction::kIngress)};
}

std::string in_words(const TraceStep& step, Direction direction) {
  if (step.rule == TraceStep::kNoProfile) {
    return step.policy.name.empty()
               ? "profiles: none allows it, so it is denied"
               : fmt::format("profiles: {} does not exist, so it is denied", step.policy.to_string());
  }
  if (step.rule == TraceStep::kFailsafe) {
    return step.action == Action::kAllow ? "before all policy: a failsafe port, which no policy closes"
                                         : "before all policy: a failsafe port, left to later chains";
  }
  if (step.rule == TraceStep::kEncapsulated) {
    return "before all policy: a workload may not send tunnelled packets (VXLAN, IP in IP), so it is denied";
  }
  const std::string where =
      step.tier == policy::kProfileTier ? "profiles" : fmt::format("tier {}", step.tier);
  if (step.rule == TraceStep::kTierDefault) {
    return fmt::format("{}: no rule matched, and the tier {} by default", where,
                       step.action == Action::kPass ? "passes to the next tier" : "denies");
  }
  if (step.rule == TraceStep::kBroken) {
    return fmt::format("{}: {} cannot be compiled, and therefore denies", where, step.policy.to_string());
  }
  return fmt::format("{}: {}, {}", where, rule_text(step.policy, step.rule, direction),
                     action_in_words(step.action));
}

std::string to_text(const Explained& explained) {
  return to_text(explained, explained.question.traffic.to_string());
}

std::string to_text(const Explained& explained, std::string_view traffic) {
  const Question& question = explained.question;
  const bool allowed = explained.verdict() == Verdict::kAllow;
  std::string out =
      fmt::format("{} → {}, {}, IPv{} ({} → {}): {}\n", question.from.name, question.to.name, traffic,
                  number_of(question.family), question.from.address(question.family)->to_string(),
                  question.to.address(question.family)->to_string(), allowed ? "ALLOWED" : "DENIED");
  append_side(out, explained.egress, Direction::kEgress, question.from);
  append_side(out, explained.ingress, Direction::kIngress, question.to);
  if (explained.pending() != explained.verdict()) {
    fmt::format_to(std::back_inserter(out), "\nWith staged policy enforced it would be {}.\n",
                   explained.pending() == Verdict::kAllow ? "ALLOWED" : "DENIED");
  }
  return out;
}

void add_traffic(json::object& object, const Traffic& traffic, Family family) {
  object["protocol"] = traffic.protocol_text();
  if (traffic.has_port()) object["port"] = traffic.port;
  if (traffic.is_icmp()) {
    object["icmpType"] = traffic.icmp_type;
    object["icmpCode"] = traffic.icmp_code;
  }
  object["family"] = number_of(family);
}

json::object to_json(const Explained& explained) {
  const Question& question = explained.question;
  json::object object;
  object["from"] = question.from.name;
  object["to"] = question.to.name;
  object["source"] = question.from.address(question.family)->to_string();
  object["destination"] = question.to.address(question.family)->to_string();
  add_traffic(object, question.traffic, question.family);
  object["verdict"] = policy::to_string(explained.verdict());
  object["pending"] = policy::to_string(explained.pending());
  object["egress"] = json_of(explained.egress, Direction::kEgress);
  object["ingress"] = json_of(explained.ingress, Direction::kIngress);
  return object;
}

}  // namespace ocicat::views
