#include "lab/objects.h"

#include <algorithm>

#include <boost/json.hpp>

#include "lab/fabric.h"
#include "resources/decode.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

json::object json_of(const Labels& labels) {
  json::object object;
  for (const auto& [key, value] : labels) object[key] = value;
  return object;
}

std::string protocol_word(Protocol protocol) {
  return protocol == kTcp ? "TCP" : protocol == kUdp ? "UDP" : "SCTP";
}

std::string_view vxlan_mode(const LabRecord& lab) {
  if (lab.network == "vxlan") return "Always";
  return lab.network == "vxlan-cross-subnet" ? "CrossSubnet" : "Never";
}

}  // namespace

json::object node_object(std::string_view host, int number, const LabRecord& lab) {
  const int rack = (number - 1) % std::max(lab.racks, 1);
  const auto address = [&](Family family) {
    return with_rack(node_address(number, rack, family)).to_string();
  };
  json::object spec{{"bgp", json::object{{"ipv4Address", address(Family::kIpv4)},
                                         {"ipv6Address", address(Family::kIpv6)}}}};
  if (vxlan_mode(lab) != "Never") {
    spec["ipv4VXLANTunnelAddr"] = tunnel_address(number, Family::kIpv4).to_string();
    spec["ipv6VXLANTunnelAddr"] = tunnel_address(number, Family::kIpv6).to_string();
  }
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "Node"},
          {"metadata", json::object{{"name", host}}},
          {"spec", spec}};
}

std::vector<json::object> pool_objects(const LabRecord& lab) {
  std::vector<json::object> pools;
  for (const auto family : kFamilies) {
    pools.push_back(
        {{"apiVersion", "projectcalico.org/v3"},
         {"kind", "IPPool"},
         {"metadata", json::object{{"name", family == Family::kIpv4 ? "pods-ipv4" : "pods-ipv6"}}},
         {"spec", json::object{{"cidr", pod_net(family).to_string()}, {"vxlanMode", vxlan_mode(lab)}}}});
  }
  return pools;
}

bool is_pod_address(const IpAddress& address) {
  return pod_net(address.family()).contains(address);
}

json::object namespace_object(std::string_view ns, const Labels& labels) {
  auto all = json_of(labels);
  all["kubernetes.io/metadata.name"] = ns;
  return {
      {"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", json::object{{"name", ns}, {"labels", all}}}};
}

json::object service_account_object(std::string_view ns, std::string_view name) {
  return {{"apiVersion", "v1"},
          {"kind", "ServiceAccount"},
          {"metadata", json::object{{"name", name}, {"namespace", ns}}}};
}

Labels labels_of(const json::object& document) {
  Labels labels;
  const auto* metadata = document.if_contains("metadata");
  const auto* found =
      metadata != nullptr && metadata->is_object() ? metadata->get_object().if_contains("labels") : nullptr;
  if (found == nullptr || !found->is_object()) return labels;
  for (const auto& [key, value] : found->get_object()) {
    if (value.is_string()) labels[std::string(key)] = std::string(value.get_string());
  }
  return labels;
}

ResourceKey endpoint_key(const PodRecord& pod) {
  return {Kind::kWorkloadEndpoint, pod.ns, workload_endpoint_name(pod.host, "k8s", pod.name, "eth0")};
}

json::object endpoint_object(const PodRecord& pod, const Labels& labels) {
  json::array networks;
  for (const auto& address : pod.addresses) networks.emplace_back(Prefix::host(address).to_string());
  json::array profiles{fmt::format("kns.{}", pod.ns)};
  if (!pod.service_account.empty())
    profiles.emplace_back(fmt::format("ksa.{}.{}", pod.ns, pod.service_account));
  json::array ports;
  for (const auto& port : pod.listens) {
    if (port.name.empty()) continue;
    ports.push_back(json::object{
        {"name", port.name}, {"protocol", protocol_word(port.protocol)}, {"port", std::int64_t{port.port}}});
  }
  json::object spec{{"orchestrator", "k8s"},
                    {"node", pod.host},
                    {"pod", pod.name},
                    {"endpoint", "eth0"},
                    {"interfaceName", workload_interface_name(pod.ns, pod.name)},
                    {"ipNetworks", networks},
                    {"profiles", profiles}};
  if (!ports.empty()) spec["ports"] = ports;
  if (!pod.service_account.empty()) spec["serviceAccountName"] = pod.service_account;
  return {
      {"apiVersion", "projectcalico.org/v3"},
      {"kind", "WorkloadEndpoint"},
      {"metadata",
       json::object{{"name", endpoint_key(pod).name}, {"namespace", pod.ns}, {"labels", json_of(labels)}}},
      {"spec", spec}};
}

}  // namespace ocicat::lab
