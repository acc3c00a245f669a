#include "lab/objects.h"

#include <algorithm>

#include <boost/json.hpp>

#include "lab/fabric.h"
#include "resources/decode.h"
#include "views/json_read.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

json::object json_of(const Labels& labels) {
  json::object object;
  for (const auto& [key, value] : labels) object[key] = value;
  return object;
}

// Of an encapsulation, by its name in lower case.
std::string_view mode_of(std::string_view encapsulation, const LabRecord& lab) {
  if (lab.network == encapsulation) return "Always";
  return lab.network == fmt::format("{}-cross-subnet", encapsulation) ? "CrossSubnet" : "Never";
}

json::object pool_object(std::string_view name, const Prefix& cidr, const LabRecord& lab) {
  return {
      {"apiVersion", "projectcalico.org/v3"},
      {"kind", "IPPool"},
      {"metadata", json::object{{"name", name}}},
      {"spec", json::object{{"cidr", cidr.to_string()},
                            {"vxlanMode", mode_of("vxlan", lab)},
                            {"ipipMode", cidr.family() == Family::kIpv4 ? mode_of("ipip", lab) : "Never"}}}};
}

}  // namespace

json::object node_object(std::string_view host, int number, const LabRecord& lab) {
  const int rack = (number - 1) % std::max(lab.racks, 1);
  const auto address = [&](Family family) {
    return with_rack(node_address(number, rack, family)).to_string();
  };
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "Node"},
          {"metadata", json::object{{"name", host}}},
          {"spec", json::object{{"bgp", json::object{{"ipv4Address", address(Family::kIpv4)},
                                                     {"ipv6Address", address(Family::kIpv6)}}}}}};
}

bool says_its_tunnels(const json::object& node, const LabRecord& lab) {
  const auto says = [&](views::Path path) { return !views::text_at(node, path).empty(); };
  if (mode_of("vxlan", lab) != "Never")
    return says({"spec", "ipv4VXLANTunnelAddr"}) && says({"spec", "ipv6VXLANTunnelAddr"});
  return mode_of("ipip", lab) == "Never" || says({"spec", "bgp", "ipv4IPIPTunnelAddr"});
}

std::vector<json::object> pool_objects(const LabRecord& lab) {
  std::vector<json::object> objects;
  for (const auto family : kFamilies)
    objects.push_back(pool_object(family == Family::kIpv4 ? "pods-ipv4" : "pods-ipv6", pod_net(family), lab));
  return objects;
}

json::object pool_around(const IpAddress& address, const LabRecord& lab) {
  constexpr int kHostBits = 6;  // a block
  const Prefix net =
      Prefix{address, static_cast<std::uint8_t>(bits_of(address.family()) - kHostBits)}.masked();
  std::string name = net.to_string();
  std::ranges::replace_if(name, [](char c) { return c == '.' || c == ':' || c == '/'; }, '-');
  auto pool = pool_object("pods-" + std::string(name.starts_with('-') ? "0" : "") + name, net, lab);
  pool["spec"].as_object()["assignmentMode"] = "Manual";
  return pool;
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

}  // namespace ocicat::lab
