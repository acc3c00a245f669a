// What has addresses: endpoints, network sets, nodes and pools.
#include <algorithm>
#include <utility>

#include "resources/decode.h"
#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/number_or_string.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

// Ports that policies can name; one without a name is of no use to them.
Result<std::vector<EndpointPort>> read_named_ports(const json::object& spec) {
  TRY(const auto entries, fields::objects_at(spec, "ports"));
  std::vector<EndpointPort> ports;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto wrong_in_entry = [&](const Error& error) { return fields::inside("ports", i, error); };
    const auto name = fields::string_at(*entries[i], "name");
    if (!name) return wrong_in_entry(name.error());
    if (name->empty()) continue;
    const auto number = fields::integer_at(*entries[i], "port", 1, 65535);
    if (!number) return wrong_in_entry(number.error());
    const auto* stated = fields::find(*entries[i], "protocol");
    if (!*number || stated == nullptr) {
      return wrong_in_entry(
          {ErrorCode::kInvalid, fmt::format("{}: must be there", *number ? "protocol" : "port")});
    }
    const auto protocol = read_protocol(*stated);
    if (!protocol) return wrong_in_entry({ErrorCode::kInvalid, "protocol: " + protocol.error().message});
    ports.push_back({std::string(*name), protocol->number, static_cast<std::uint16_t>(**number)});
  }
  return ports;
}

// A number that is 0 is one that is not there, as Calico leaves it out.
Result<QosControls> read_qos(const json::object& spec) {
  TRY(const auto* controls, fields::object_at(spec, "qosControls"));
  if (controls == nullptr) return QosControls{};
  QosValues values;
  for (const auto& [name, value] : *controls) {
    values.dscp |= name == "dscp";
    if (const auto* number = value.if_int64(); number != nullptr && *number != 0 && name != "dscp")
      values.numbers.emplace(name, *number);
  }
  return qos_controls(values);
}

Result<std::vector<FloatingAddress>> read_floating(const json::object& spec,
                                                   const std::vector<IpAddress>& own) {
  TRY(const auto entries, fields::objects_at(spec, "ipNATs"));
  std::vector<FloatingAddress> floating;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto read = [&]() -> Result<FloatingAddress> {
      TRY(const auto outside, fields::string_at(*entries[i], "externalIP"));
      TRY(const auto inside, fields::string_at(*entries[i], "internalIP"));
      const auto address = IpAddress::parse(outside), target = IpAddress::parse(inside);
      if (!address) return fields::wrong("externalIP", json::value(outside), "must be an IP address");
      if (!target || target->family() != address->family() || std::ranges::find(own, *target) == own.end()) {
        return fields::wrong("internalIP", json::value(inside),
                             "must be one of ipNetworks, of the family of externalIP");
      }
      return FloatingAddress{*address, *target};
    };
    auto entry = read();
    if (!entry) return fields::inside("ipNATs", i, entry.error());
    floating.push_back(*entry);
  }
  return floating;
}

Result<void> read_workload(const json::object& spec, WorkloadEndpoint& endpoint) {
  using Field = std::pair<std::string_view, std::string*>;
  std::string pod;
  for (const auto& [name, target] :
       {Field{"node", &endpoint.node}, Field{"orchestrator", &endpoint.orchestrator},
        Field{"workload", &endpoint.workload}, Field{"pod", &pod},
        Field{"interfaceName", &endpoint.interface_name},
        Field{"serviceAccountName", &endpoint.service_account}}) {
    TRY(const auto text, fields::string_at(spec, name));
    *target = text;
  }
  if (!pod.empty()) endpoint.workload = std::move(pod);
  TRY(const auto networks, fields::prefixes_at(spec, "ipNetworks"));
  for (const auto& network : networks) endpoint.addresses.push_back(network.address);  // whatever the length
  TRY(endpoint.profiles, fields::strings_at(spec, "profiles"));
  TRY(endpoint.ports, read_named_ports(spec));
  TRY(endpoint.allowed_source_prefixes, fields::prefixes_at(spec, "allowSpoofedSourcePrefixes"));
  TRY(endpoint.qos, read_qos(spec));
  TRY(endpoint.floating, read_floating(spec, endpoint.addresses));
  return {};
}

Result<void> read_host(const json::object& spec, HostEndpoint& endpoint) {
  for (const auto& [name, target] :
       {std::pair{"node", &endpoint.node}, {"interfaceName", &endpoint.interface_name}}) {
    TRY(const auto text, fields::string_at(spec, name));
    *target = text;
  }
  TRY(const auto expected, fields::strings_at(spec, "expectedIPs"));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto address = IpAddress::parse(expected[i]);
    if (!address) {
      return fields::wrong(fmt::format("expectedIPs[{}]", i), json::value(expected[i]),
                           "must be an IP address");
    }
    endpoint.expected_addresses.push_back(*address);
  }
  TRY(endpoint.profiles, fields::strings_at(spec, "profiles"));
  TRY(endpoint.ports, read_named_ports(spec));
  return {};
}

// The address of a node with the length of its subnet; without a length it is the only one in it.
Result<std::optional<Prefix>> read_node_address(const json::object& bgp, std::string_view name,
                                                Family family) {
  TRY(const auto text, fields::string_at(bgp, name));
  if (text.empty()) return std::nullopt;
  const auto prefix = Prefix::parse(text, true);
  if (!prefix || prefix->family() != family) {
    return fields::wrong(name, *fields::find(bgp, name),
                         family == Family::kIpv4
                             ? "must be an IPv4 address, with or without the length of its subnet"
                             : "must be an IPv6 address, with or without the length of its subnet");
  }
  return *prefix;
}

Result<void> read_router(const json::object& bgp, Node& node) {
  if (const auto* number = fields::find(bgp, "asNumber")) {
    node.as_number = read_as_number(*number);
    if (!node.as_number) return fields::wrong("asNumber", *number, "must be an AS number");
    if (*node.as_number == 0) node.as_number.reset();  // as in a BGPConfiguration
  }
  TRY(const auto cluster, fields::string_at(bgp, "routeReflectorClusterID"));
  if (cluster.empty()) return {};
  node.reflector_cluster = IpAddress::parse(cluster);
  if (!node.reflector_cluster || !node.reflector_cluster->is_v4())
    return fields::wrong("routeReflectorClusterID", json::value(cluster), "must be an IPv4 address");
  return {};
}

Result<Node::Tunnel> read_tunnel(const json::object& spec, std::string_view address_name,
                                 std::string_view mac_name, Family family) {
  Node::Tunnel tunnel;
  const auto address = fields::string_at(spec, address_name);
  if (!address) return fields::inside("spec", address.error());
  if (!address->empty()) {
    tunnel.address = IpAddress::parse(*address);
    if (!tunnel.address || tunnel.address->family() != family) {
      return fields::wrong(fmt::format("spec.{}", address_name), json::value(*address),
                           family == Family::kIpv4 ? "must be an IPv4 address" : "must be an IPv6 address");
    }
  }
  const auto mac = fields::string_at(spec, mac_name);
  if (!mac) return fields::inside("spec", mac.error());
  if (!mac->empty()) {
    tunnel.mac = MacAddress::parse(*mac);
    if (!tunnel.mac) {
      return fields::wrong(fmt::format("spec.{}", mac_name), json::value(*mac),
                           "must be six pairs of hexadecimal digits between colons");
    }
  }
  return tunnel;
}

}  // namespace

void settle_labels(Labels& labels, std::string_view ns, std::string_view orchestrator,
                   std::string_view service_account) {
  const auto handed_down = [](const auto& label) {
    return label.first.starts_with(kNamespacePrefix) || label.first.starts_with(kServiceAccountPrefix);
  };
  if (std::ranges::any_of(labels, handed_down)) {
    auto entries = labels.extract_sequence();
    entries.erase(std::remove_if(entries.begin(), entries.end(), handed_down), entries.end());
    labels.adopt_sequence(boost::container::ordered_unique_range, std::move(entries));
  }
  labels.insert_or_assign(std::string(kNamespaceLabel), std::string(ns));
  labels.insert_or_assign(std::string(kOrchestratorLabel), std::string(orchestrator));
  if (!service_account.empty()) {
    labels.insert_or_assign(std::string(kServiceAccountLabel), std::string(service_account));
  }
}

Result<WorkloadEndpoint> workload_endpoint(const json::object& document) {
  WorkloadEndpoint endpoint;
  TRY(endpoint.metadata, read_metadata(Kind::kWorkloadEndpoint, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  if (auto read = read_workload(*spec, endpoint); !read)
    return fields::inside("spec", std::move(read).error());
  settle_labels(endpoint.metadata.labels, endpoint.metadata.ns, endpoint.orchestrator,
                endpoint.service_account);
  return endpoint;
}

Result<HostEndpoint> host_endpoint(const json::object& document) {
  HostEndpoint endpoint;
  TRY(endpoint.metadata, read_metadata(Kind::kHostEndpoint, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  if (auto read = read_host(*spec, endpoint); !read) return fields::inside("spec", std::move(read).error());
  return endpoint;
}

Result<NetworkSet> network_set(Kind kind, const json::object& document) {
  NetworkSet set;
  TRY(set.metadata, read_metadata(kind, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return set;
  auto nets = fields::prefixes_at(*spec, "nets");
  if (!nets) return fields::inside("spec", std::move(nets).error());
  set.nets = *std::move(nets);
  return set;
}

Result<Node> node(const json::object& document) {
  Node node;
  TRY(node.metadata, read_metadata(Kind::kNode, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return node;
  TRY(node.vxlan[0], read_tunnel(*spec, "ipv4VXLANTunnelAddr", "vxlanTunnelMACAddr", Family::kIpv4));
  TRY(node.vxlan[1], read_tunnel(*spec, "ipv6VXLANTunnelAddr", "vxlanTunnelMACAddrV6", Family::kIpv6));
  const auto bgp = fields::object_at(*spec, "bgp");
  if (!bgp) return fields::inside("spec", bgp.error());
  if (*bgp == nullptr) return node;
  const auto ipv4 = read_node_address(**bgp, "ipv4Address", Family::kIpv4);
  if (!ipv4) return fields::inside("spec.bgp", ipv4.error());
  const auto ipv6 = read_node_address(**bgp, "ipv6Address", Family::kIpv6);
  if (!ipv6) return fields::inside("spec.bgp", ipv6.error());
  node.ipv4 = *ipv4;
  node.ipv6 = *ipv6;
  TRY(const auto ipip, fields::string_at(**bgp, "ipv4IPIPTunnelAddr"));
  if (!ipip.empty()) {
    node.ipip = IpAddress::parse(ipip);
    if (!node.ipip || !node.ipip->is_v4())
      return fields::wrong("spec.bgp.ipv4IPIPTunnelAddr", json::value(ipip), "must be an IPv4 address");
  }
  const auto router = read_router(**bgp, node);
  if (!router) return fields::inside("spec.bgp", router.error());
  return node;
}

namespace {

Result<std::uint8_t> read_uses(const json::object& spec) {
  TRY(const auto words, fields::strings_at(spec, "allowedUses"));
  std::uint8_t uses = 0;
  for (const PoolUse use : {PoolUse::kWorkload, PoolUse::kTunnel, PoolUse::kLoadBalancer}) {
    if (std::ranges::find(words, to_string(use)) != words.end()) uses |= static_cast<std::uint8_t>(use);
  }
  if (!words.empty()) return uses;  // a use that is not known here is none of ours
  return static_cast<std::uint8_t>(PoolUse::kWorkload) | static_cast<std::uint8_t>(PoolUse::kTunnel);
}

Result<IpPool::Encapsulation> read_encapsulation(const json::object& spec, std::string_view name) {
  TRY(const auto text, fields::string_at(spec, name));
  if (text.empty() || text == "Never") return IpPool::Encapsulation::kNever;
  if (text == "Always") return IpPool::Encapsulation::kAlways;
  if (text == "CrossSubnet") return IpPool::Encapsulation::kCrossSubnet;
  return fields::wrong(name, json::value(text), "must be Never, CrossSubnet or Always");
}

Result<void> read_pool(const json::object& spec, IpPool& pool) {
  TRY(const auto text, fields::string_at(spec, "cidr"));
  const auto cidr = Prefix::parse(text);
  if (!cidr) return fields::wrong("cidr", json::value(text), "must be a CIDR");
  pool.cidr = cidr->masked();
  const int bits = bits_of(pool.cidr.family());
  TRY(const auto size, fields::integer_at(spec, "blockSize", 0, bits));
  pool.block_size = static_cast<int>(size.value_or(0));
  if (pool.block_size == 0) pool.block_size = bits - 6;
  if (pool.block_size < bits - kMaxBlockBits)
    return fields::wrong("blockSize", json::value(pool.block_size), "makes blocks too large");
  TRY(pool.nat_outgoing, fields::bool_at(spec, "natOutgoing"));
  TRY(pool.disabled, fields::bool_at(spec, "disabled"));
  TRY(const auto mode, fields::string_at(spec, "assignmentMode"));
  pool.automatic = mode.empty() || mode == "Automatic";
  TRY(pool.node_selector, fields::selector_at(spec, "nodeSelector"));
  TRY(pool.namespace_selector, fields::selector_at(spec, "namespaceSelector"));
  TRY(pool.allowed_uses, read_uses(spec));
  TRY(pool.ipip, read_encapsulation(spec, "ipipMode"));
  TRY(pool.vxlan, read_encapsulation(spec, "vxlanMode"));
  TRY(const bool hidden, fields::bool_at(spec, "disableBGPExport"));
  pool.exported = !hidden;
  return {};
}

}  // namespace

Result<IpPool> ip_pool(const json::object& document) {
  IpPool pool;
  TRY(pool.metadata, read_identity(Kind::kIpPool, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  if (auto read = read_pool(*spec, pool); !read) return fields::inside("spec", std::move(read).error());
  return pool;
}

}  // namespace ocicat::decoding
