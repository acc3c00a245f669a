#include "agent/agent_status.h"

#include <boost/json.hpp>
#include <utility>

#include "views/json_read.h"
#include "views/status.h"

namespace ocicat::agent {
namespace {

namespace json = boost::json;

std::string shortened(std::string text) {
  if (text.size() <= kMaxReasonBytes) return text;
  std::size_t end = kMaxReasonBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a character
  text.resize(end);
  return text + "…";
}

json::array first_of(const std::map<ResourceKey, std::string>& reasons) {
  json::array first;
  for (const auto& [key, reason] : reasons) {
    if (first.size() == kMaxRefusals) break;
    first.push_back(json::object{{"object", key.to_string()}, {"reason", shortened(reason)}});
  }
  return first;
}

json::object to_json(const dataplane::TunnelLink& tunnel) {
  json::object object{{"interface", tunnel.interface_name}, {"mtu", tunnel.mtu}};
  if (tunnel.address) object["address"] = tunnel.address->to_string();
  if (tunnel.ends) {
    object["hosts"] = tunnel.ends->hosts;
    object["ends"] = tunnel.ends->known;
  }
  return object;
}

}  // namespace

AgentStatus::AgentStatus(std::string node, std::string dataplane, std::string reason, int pid)
    : node_(std::move(node)), dataplane_(std::move(dataplane)), reason_(std::move(reason)), pid_(pid) {}

bool AgentStatus::apply(const News& news) {
  bool differs = news.report && take(*news.report);
  const auto apply_to = [&](std::map<ResourceKey, std::string>& reasons, const auto& changes) {
    changes.apply_to(reasons);
    differs |= !changes.empty();
  };
  apply_to(unreadable_, news.unreadable);
  apply_to(uncompiled_, news.refused);
  apply_to(bounded_, news.bounded);
  if (news.bgp) differs |= std::exchange(bgp_, news.bgp) != bgp_;
  if (news.own_node) differs |= std::exchange(own_node_, *news.own_node) != own_node_;
  return differs;
}

bool AgentStatus::take(const dataplane::Report& report) {
  auto before = std::exchange(report_, report);
  // Of these the document says nothing.
  before.kernel_writes = report.kernel_writes;
  before.revoked = report.revoked;
  before.repairs = report.repairs;
  return before != report_;
}

std::map<ResourceKey, std::string> AgentStatus::refused() const {
  std::map<ResourceKey, std::string> all = unreadable_;
  all.insert(uncompiled_.begin(), uncompiled_.end());
  return all;
}

std::string AgentStatus::why_not_enforced(const ResourceKey& key) const {
  for (const auto* refusals : {&unreadable_, &uncompiled_}) {
    if (const auto refusal = refusals->find(key); refusal != refusals->end()) return refusal->second;
  }
  return report_.error;
}

std::string AgentStatus::why_this_dataplane() const {
  if (reason_.empty() || report_.warning.empty()) return reason_ + report_.warning;
  return fmt::format("{}, but {}", reason_, report_.warning);
}

json::object AgentStatus::document(std::chrono::system_clock::time_point heartbeat) const {
  json::object applied;
  json::object incarnations;
  for (const auto& [kind, progress] : report_.revisions) {
    applied[views::revision_key(kind)] = std::to_string(progress.revision);
    if (!progress.incarnation.empty()) incarnations[views::revision_key(kind)] = progress.incarnation;
  }

  const std::map<ResourceKey, std::string> all = refused();
  json::array host_endpoints;
  for (const auto& [key, how] : report_.host_endpoints) {
    if (host_endpoints.size() == kMaxHostEndpoints) break;
    host_endpoints.push_back(json::object{{"name", key.name}, {"status", dataplane::to_string(how)}});
  }

  json::object status;
  status["version"] = OCICAT_VERSION;
  status["pid"] = pid_;
  status["dataplane"] = dataplane_;
  if (const auto reason = why_this_dataplane(); !reason.empty())
    status["dataplaneReason"] = shortened(reason);
  status["applied"] = std::move(applied);
  status["incarnations"] = std::move(incarnations);
  status["endpoints"] = json::object{{"wanted", report_.endpoints}, {"ready", report_.endpoints_ready}};
  status["routes"] = json::object{{"wanted", report_.routes}, {"ready", report_.routes_ready}};
  status["hostEndpoints"] = std::move(host_endpoints);
  status["refused"] = first_of(all);
  status["refusedCount"] = all.size();
  status["bounded"] = first_of(bounded_);
  if (report_.mtu != 0) status["mtu"] = report_.mtu;
  json::array tunnels;
  for (const auto& tunnel : report_.tunnels) tunnels.emplace_back(to_json(tunnel));
  status["tunnels"] = std::move(tunnels);
  json::array notes;
  for (const auto& note : report_.notes) notes.emplace_back(shortened(note));
  if (!own_node_.empty()) notes.emplace_back(shortened(fmt::format("Node {}: {}", node_, own_node_)));
  status["notes"] = std::move(notes);
  if (bgp_) status["bgp"] = to_json(*bgp_);
  status["error"] = shortened(report_.error);
  status["heartbeat"] = time_text(heartbeat);
  return {{"apiVersion", info(Kind::kAgentStatus).api_version()},
          {"kind", info(Kind::kAgentStatus).name},
          {"metadata", json::object{{"name", node_}}},
          {"status", std::move(status)}};
}

}  // namespace ocicat::agent
