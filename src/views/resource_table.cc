#include "views/resource_table.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <functional>

#include "views/status.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;

struct Column {
  std::string_view header;
  std::function<std::string(const json::object&)> cell;
  bool wide_only = false;
};
using Columns = std::vector<Column>;

template <class... Words>
auto field(Words... words) {
  return [words...](const json::object& object) { return text_at(object, {std::string_view(words)...}); };
}

template <class... Words>
auto list(Words... words) {
  return [words...](const json::object& object) { return list_at(object, {std::string_view(words)...}); };
}

template <class... Words>
auto count(Words... words) {
  return [words...](const json::object& object) {
    const auto* value = find_at(object, {std::string_view(words)...});
    return fmt::format("{}", value && value->is_array() ? value->get_array().size() : 0);
  };
}

// A map as "a=1,b=2".
std::string pairs_at(const json::object& object, Path path) {
  const auto* value = find_at(object, path);
  const auto* entries = value ? value->if_object() : nullptr;
  std::string out;
  if (!entries) return out;
  for (const auto& entry : *entries) {
    if (!out.empty()) out += ',';
    out += fmt::format("{}={}", std::string_view(entry.key()), text_at(*entries, {entry.key()}));
  }
  return out;
}

std::string labels_of(const json::object& object) {
  return pairs_at(object, {"metadata", "labels"});
}

std::string pod_addresses(const json::object& object) {
  std::string out;
  if (const auto* addresses = find_at(object, {"status", "podIPs"}); addresses && addresses->is_array()) {
    for (const auto& entry : addresses->get_array()) {
      if (!out.empty()) out += ',';
      if (entry.is_object()) out += text_at(entry.get_object(), {"ip"});
    }
  }
  return out.empty() ? text_at(object, {"status", "podIP"}) : out;
}

std::string floating_of(const json::object& object) {
  std::string out;
  const auto* nats = find_at(object, {"spec", "ipNATs"});
  if (nats == nullptr || !nats->is_array()) return out;
  for (const auto& nat : nats->get_array()) {
    if (!out.empty()) out += ',';
    if (nat.is_object()) out += text_at(nat.get_object(), {"externalIP"});
  }
  return out;
}

std::string tier_of(const json::object& object) {
  const std::string tier = text_at(object, {"spec", "tier"});
  return tier.empty() ? "default" : tier;
}

std::string pod_selector_of(const json::object& object) {
  const std::string labels = pairs_at(object, {"spec", "podSelector", "matchLabels"});
  const auto* expressions = find_at(object, {"spec", "podSelector", "matchExpressions"});
  if (!expressions) return labels.empty() ? "<all>" : labels;
  return labels + (labels.empty() ? "" : ",") + json::serialize(*expressions);
}

// As calicoctl shows them: an address, or whom a selector selects.
std::string bgp_peer_of(const json::object& object) {
  for (const auto* name : {"peerIP", "peerSelector", "localWorkloadSelector"}) {
    if (auto text = text_at(object, {"spec", name}); !text.empty()) return text;
  }
  return {};
}

std::string bgp_node_of(const json::object& object) {
  for (const auto* name : {"node", "nodeSelector"}) {
    if (auto text = text_at(object, {"spec", name}); !text.empty()) return text;
  }
  return "(global)";
}

std::string agent_endpoints(const json::object& object) {
  const AgentView agent = AgentView::read(object);
  return fmt::format("{}/{}", agent.endpoints_ready, agent.endpoints_wanted);
}

Columns policy_columns(bool global) {
  Columns columns{{"TIER", tier_of},
                  {"ORDER", field("spec", "order")},
                  {"SELECTOR", field("spec", "selector")},
                  {"TYPES", list("spec", "types")}};
  if (global) columns.push_back({"NAMESPACE-SELECTOR", field("spec", "namespaceSelector"), true});
  columns.push_back({"SERVICE-ACCOUNT-SELECTOR", field("spec", "serviceAccountSelector"), true});
  columns.push_back({"INGRESS-RULES", count("spec", "ingress"), true});
  columns.push_back({"EGRESS-RULES", count("spec", "egress"), true});
  return columns;
}

Columns columns_for(Kind kind) {
  switch (kind) {
    case Kind::kTier:
      return {{"ORDER", field("spec", "order")}, {"DEFAULT-ACTION", field("spec", "defaultAction")}};
    case Kind::kNetworkPolicy:
    case Kind::kStagedNetworkPolicy:
      return policy_columns(false);
    case Kind::kGlobalNetworkPolicy:
    case Kind::kStagedGlobalNetworkPolicy:
      return policy_columns(true);
    case Kind::kKubernetesNetworkPolicy:
    case Kind::kStagedKubernetesNetworkPolicy:
      return {{"POD-SELECTOR", pod_selector_of},
              {"TYPES", list("spec", "policyTypes")},
              {"INGRESS-RULES", count("spec", "ingress"), true},
              {"EGRESS-RULES", count("spec", "egress"), true}};
    case Kind::kNetworkSet:
    case Kind::kGlobalNetworkSet:
      return {{"NETS", list("spec", "nets")}};
    case Kind::kProfile:
      return {
          {"LABELS", [](const json::object& object) { return pairs_at(object, {"spec", "labelsToApply"}); }},
          {"INGRESS-RULES", count("spec", "ingress"), true},
          {"EGRESS-RULES", count("spec", "egress"), true}};
    case Kind::kWorkloadEndpoint:
      return {{"WORKLOAD",
               [](const json::object& object) {
                 const std::string pod = text_at(object, {"spec", "pod"});
                 return pod.empty() ? text_at(object, {"spec", "workload"}) : pod;
               }},
              {"NODE", field("spec", "node")},
              {"NETWORKS", list("spec", "ipNetworks")},
              {"INTERFACE", field("spec", "interfaceName")},
              {"PROFILES", list("spec", "profiles"), true},
              {"FLOATING", floating_of, true},
              {"SERVICE-ACCOUNT", field("spec", "serviceAccountName"), true}};
    case Kind::kHostEndpoint:
      return {{"NODE", field("spec", "node")},
              {"INTERFACE", field("spec", "interfaceName")},
              {"IPS", list("spec", "expectedIPs")}};
    case Kind::kNode:
      return {{"IPV4", field("spec", "bgp", "ipv4Address")},
              {"IPV6", field("spec", "bgp", "ipv6Address")},
              {"ASN", field("spec", "bgp", "asNumber"), true}};
    case Kind::kIpPool:
      return {{"CIDR", field("spec", "cidr")},
              {"NAT", field("spec", "natOutgoing")},
              {"DISABLED", field("spec", "disabled")},
              {"IPIPMODE", field("spec", "ipipMode"), true},
              {"VXLANMODE", field("spec", "vxlanMode"), true},
              {"SELECTOR", field("spec", "nodeSelector"), true},
              {"ASSIGNMENTMODE", field("spec", "assignmentMode"), true}};
    case Kind::kBgpConfiguration:
      return {{"LOGSEVERITY", field("spec", "logSeverityScreen")},
              {"MESHENABLED", field("spec", "nodeToNodeMeshEnabled")},
              {"ASNUMBER", field("spec", "asNumber")}};
    case Kind::kBgpPeer:
      return {{"PEERIP", bgp_peer_of}, {"NODE", bgp_node_of}, {"ASN", field("spec", "asNumber")}};
    case Kind::kBgpFilter:
      return {{"EXPORTV4", count("spec", "exportV4")},
              {"IMPORTV4", count("spec", "importV4")},
              {"EXPORTV6", count("spec", "exportV6")},
              {"IMPORTV6", count("spec", "importV6")}};
    case Kind::kIpReservation:
      return {{"CIDRS", list("spec", "reservedCIDRs")}};
    case Kind::kClusterInformation:
      return {{"CLUSTERGUID", field("spec", "clusterGUID")},
              {"CLUSTERTYPE", field("spec", "clusterType")},
              {"CALICOVERSION", field("spec", "calicoVersion")},
              {"DATASTOREREADY", field("spec", "datastoreReady")}};
    case Kind::kIpamConfiguration:
      return {{"STRICTAFFINITY", field("spec", "strictAffinity")},
              {"AUTOALLOCATEBLOCKS", field("spec", "autoAllocateBlocks")},
              {"MAXBLOCKSPERHOST", field("spec", "maxBlocksPerHost")},
              {"COOLDOWN", field("spec", "ipCooldownSeconds")}};
    case Kind::kIpamBlock:
      return {{"CIDR", field("spec", "cidr")},
              {"AFFINITY", field("spec", "affinity")},
              {"FREE", count("spec", "unallocated")},
              {"CLAIMED", field("spec", "affinityClaimTime"), true}};
    case Kind::kBlockAffinity:
      return {{"CIDR", field("spec", "cidr")},
              {"NODE", field("spec", "node")},
              {"STATE", field("spec", "state")},
              {"TYPE", field("spec", "type"), true}};
    case Kind::kIpamHandle:
      return {{"BLOCKS", [](const json::object& object) { return pairs_at(object, {"spec", "block"}); }},
              {"ID", field("spec", "handleID"), true}};
    case Kind::kPod:
      return {{"NODE", field("spec", "nodeName")},
              {"IPS", pod_addresses},
              {"PHASE", field("status", "phase")},
              {"SERVICE-ACCOUNT", field("spec", "serviceAccountName"), true}};
    case Kind::kAgentConfiguration:
      return {{"OPENCONNECTIONS", field("spec", "openConnections")}};
    case Kind::kAgentStatus:
      return {{"VERSION", field("status", "version")},
              {"DATAPLANE", field("status", "dataplane")},
              {"ENDPOINTS", agent_endpoints},
              {"REFUSED",
               [](const json::object& o) { return fmt::format("{}", AgentView::read(o).refused_count); }},
              {"ERROR", field("status", "error")}};
    default:
      return {};
  }
}

std::string age_of(const json::object& object, TimePoint now) {
  const auto created = parse_time(text_at(object, {"metadata", "creationTimestamp"}));
  return created ? age_text(now - *created) : "<unknown>";
}

}  // namespace

std::vector<std::string> headers_for(Kind kind, const TableStyle& style) {
  std::vector<std::string> headers;
  if (style.with_namespace) headers.emplace_back("NAMESPACE");
  headers.emplace_back("NAME");
  for (const Column& column : columns_for(kind)) {
    if (style.wide || !column.wide_only) headers.emplace_back(column.header);
  }
  headers.emplace_back("AGE");
  if (style.show_labels) headers.emplace_back("LABELS");
  return headers;
}

std::vector<std::string> row_for(Kind kind, const json::object& object, const TableStyle& style,
                                 TimePoint now) {
  std::vector<std::string> row;
  if (style.with_namespace) row.push_back(text_at(object, {"metadata", "namespace"}));
  row.push_back(text_at(object, {"metadata", "name"}));
  for (const Column& column : columns_for(kind)) {
    if (style.wide || !column.wide_only) row.push_back(column.cell(object));
  }
  row.push_back(age_of(object, now));
  if (style.show_labels) row.push_back(labels_of(object));
  for (std::string& cell : row) {
    if (cell.empty()) cell = "<none>";
  }
  return row;
}

TextTable table_for(Kind kind, std::span<const json::object> objects, const TableStyle& style,
                    TimePoint now) {
  TextTable table{headers_for(kind, style), {}};
  for (const json::object& object : objects) table.rows.push_back(row_for(kind, object, style, now));
  return table;
}

}  // namespace ocicat::views
