#include "sim/documents.h"

#include <fmt/format.h>
#include <boost/json/array.hpp>
#include <boost/json/value_from.hpp>

#include "resources/decode.h"

namespace ocicat::test {
namespace {

namespace json = boost::json;
using Texts = std::vector<std::string>;

const Texts kNamespaces{"blue", "red"};
const Texts kNodes{"host0", "host1", "host2"};
const Texts kValues{"a", "b"};
const Texts kAddresses{"10.65.0.1", "10.65.0.2",  "10.65.0.3",  "10.65.0.4",
                       "10.65.0.5", "fd00:65::1", "fd00:65::2", "fd00:65::3"};
const Texts kNets4{"0.0.0.0/0", "10.0.0.0/8", "10.65.0.0/30", "10.65.0.2/31", "10.65.0.3/32", "192.0.2.0/24"};
const Texts kNets6{"::/0", "fd00:65::/64", "fd00:65::2/127", "fd00:65::3/128"};
const Texts kTiers{"default", "first", "second"};
const Texts kSelectors{"app == 'a'", "app == 'b'",         "has(role)",  "!has(role)",
                       "all()",      "role in {'a', 'b'}", "app != 'a'", "app == 'a' && role == 'b'"};
const Texts kNamespaceSelectors{"env == 'a'", "has(env)", "all()", "kubernetes.io/metadata.name == 'red'"};
const Texts kServices{"db", "web"};
const Texts kHostAddresses{"192.0.2.1", "198.51.100.1", "2001:db8::1", "203.0.113.1"};
constexpr std::size_t kHostEndpoints = 4;
constexpr std::size_t kPods = 4;      // in each namespace
constexpr std::size_t kPolicies = 4;  // of each kind

json::object labels(Random& random) {
  json::object object;
  for (const auto* name : {"app", "role"}) {
    if (random.percent(60)) object[name] = random.pick(kValues);
  }
  return object;
}

Write document(Kind kind, const std::string& ns, const std::string& name, json::object metadata,
               json::object rest) {
  metadata["name"] = name;
  if (!ns.empty()) metadata["namespace"] = ns;
  json::object object{{"apiVersion", info(kind).api_version()}, {"kind", info(kind).name}};
  object["metadata"] = std::move(metadata);
  for (auto& [key, value] : rest) object[key] = std::move(value);
  return {{kind, ns, name}, std::move(object)};
}

Write with_spec(Kind kind, const std::string& ns, const std::string& name, json::object spec) {
  return document(kind, ns, name, {}, {{"spec", std::move(spec)}});
}

std::string pod_name(std::size_t number) {
  return fmt::format("pod{}", number);
}

// At most one of each family.
Texts random_addresses(Random& random) {
  Texts addresses;
  for (const auto& address : random.some(kAddresses, 2)) {
    const bool ipv4 = address.find(':') == std::string::npos;
    if (addresses.empty() || (addresses.front().find(':') == std::string::npos) != ipv4)
      addresses.push_back(address);
  }
  return addresses;
}

// Where it is, which addresses it has and what it is labelled with are drawn anew each time.
Write random_pod(Random& random, const std::string& ns, const std::string& name) {
  json::array ips;
  for (const auto& address : random_addresses(random)) ips.push_back(json::object{{"ip", address}});
  json::array ports;
  for (const auto* port : {"http", "dns"}) {
    if (!random.percent(50)) continue;
    ports.push_back(json::object{{"name", port},
                                 {"containerPort", random.percent(50) ? 80 : 8080},
                                 {"protocol", random.percent(70) ? "TCP" : "UDP"}});
  }
  json::object container{{"name", "main"}, {"image", "none"}, {"ports", std::move(ports)}};
  json::object spec{{"nodeName", random.pick(kNodes)}, {"containers", json::array{std::move(container)}}};
  json::object status{{"phase", "Running"}, {"podIPs", std::move(ips)}};
  json::object metadata{{"labels", labels(random)}};
  if (random.percent(15)) {
    const auto sources = fmt::format(R"(["{}", "{}"])", random.pick(kNets4), random.pick(kNets6));
    metadata["annotations"] = json::object{{"cni.projectcalico.org/allowedSourcePrefixes", sources}};
  }
  return document(Kind::kPod, ns, name, std::move(metadata),
                  {{"spec", std::move(spec)}, {"status", std::move(status)}});
}

// An endpoint that no pod stands behind; some have interfaces that no workload prefix covers.
Write random_endpoint(Random& random) {
  const auto& ns = random.pick(kNamespaces);
  const auto& node = random.pick(kNodes);
  const auto name = workload_endpoint_name(node, "openstack", "vm", "eth0");
  json::array networks;
  for (const auto& address : random_addresses(random)) {
    networks.push_back(json::string(address + (address.find(':') == std::string::npos ? "/32" : "/128")));
  }
  json::object spec{{"node", node},
                    {"orchestrator", "openstack"},
                    {"workload", "vm"},
                    {"endpoint", "eth0"},
                    {"interfaceName", random.percent(50) ? "tap0" : "califf"},
                    {"ipNetworks", std::move(networks)},
                    {"profiles", json::array{"open"}}};
  return document(Kind::kWorkloadEndpoint, ns, name, {{"labels", labels(random)}},
                  {{"spec", std::move(spec)}});
}

Write random_namespace(Random& random) {
  json::object given;
  if (random.percent(60)) given["env"] = random.pick(kValues);
  return document(Kind::kNamespace, "", random.pick(kNamespaces), {{"labels", std::move(given)}}, {});
}

json::array nets(Random& random, bool ipv4, std::size_t most) {
  json::array array;
  for (const auto& net : random.some(ipv4 ? kNets4 : kNets6, most)) array.push_back(json::string(net));
  return array;
}

Write random_set(Random& random) {
  const bool global = random.percent(60);
  auto all = nets(random, true, 3);
  for (auto& net : nets(random, false, 2)) all.push_back(std::move(net));
  return document(global ? Kind::kGlobalNetworkSet : Kind::kNetworkSet,
                  global ? std::string() : random.pick(kNamespaces), fmt::format("set{}", random.below(2)),
                  {{"labels", labels(random)}}, {{"spec", json::object{{"nets", std::move(all)}}}});
}

Write random_tier(Random& random) {
  const auto& name = kTiers[1 + random.below(2)];
  return with_spec(
      Kind::kTier, "", name,
      {{"order", 10 * (1 + random.below(3))}, {"defaultAction", random.percent(50) ? "Pass" : "Deny"}});
}

json::object random_side(Random& random, bool ipv4, bool with_ports) {
  json::object side;
  if (random.percent(50)) side["selector"] = random.pick(kSelectors);
  if (random.percent(15)) side["notSelector"] = random.pick(kSelectors);
  if (random.percent(20)) side["namespaceSelector"] = random.pick(kNamespaceSelectors);
  if (random.percent(20)) side["nets"] = nets(random, ipv4, 2);
  if (random.percent(10)) side["notNets"] = nets(random, ipv4, 1);
  if (with_ports && random.percent(60)) {
    json::array ports{80};
    if (random.percent(40)) ports = json::array{"79:8080"};
    if (random.percent(40)) ports = json::array{"http", 443};
    if (random.percent(20)) ports = json::array{"dns"};
    side["ports"] = std::move(ports);
  }
  return side;
}

// The one side that may name a service: that of the peer.
void add_service(Random& random, bool ingress, json::object& rule) {
  rule[ingress ? "source" : "destination"] = json::object{
      {"services", json::object{{"name", random.pick(kServices)}, {"namespace", random.pick(kNamespaces)}}}};
}

json::object random_rule(Random& random, bool ingress) {
  static const Texts kActions{"Allow", "Allow", "Allow", "Deny", "Pass", "Log"};
  json::object rule{{"action", random.pick(kActions)}};
  const bool ipv4 = random.percent(60);
  const bool with_ports = random.percent(60);
  if (with_ports) rule["protocol"] = random.percent(70) ? "TCP" : "UDP";
  rule["source"] = random_side(random, ipv4, with_ports && random.percent(20));
  rule["destination"] = random_side(random, ipv4, with_ports);
  if (random.percent(12)) add_service(random, ingress, rule);
  return rule;
}

json::array random_rules(Random& random, bool ingress) {
  json::array rules;
  for (auto i = random.below(4); i > 0; --i) rules.push_back(random_rule(random, ingress));
  return rules;
}

// Which packets at host endpoints a policy is for.
void add_chain(Random& random, json::object& spec) {
  if (random.percent(60)) return;
  spec["applyOnForward"] = true;
  if (random.percent(50)) return;
  if (random.percent(50)) {
    spec["doNotTrack"] = true;
    return;
  }
  spec["preDNAT"] = true;
  spec.erase("egress");
  spec["types"] = json::array{"Ingress"};
}

Write random_policy(Random& random) {
  static const std::vector<Kind> kKinds{Kind::kNetworkPolicy, Kind::kNetworkPolicy,
                                        Kind::kGlobalNetworkPolicy, Kind::kGlobalNetworkPolicy,
                                        Kind::kStagedGlobalNetworkPolicy};
  const auto kind = random.pick(kKinds);
  json::object spec{{"order", random.below(4)}, {"selector", random.pick(kSelectors)}};
  const auto& tier = random.pick(kTiers);
  spec["tier"] = tier;
  json::array types;
  for (const auto* direction : {"Ingress", "Egress"}) {
    if (random.percent(60)) types.push_back(json::string(direction));
  }
  if (types.empty()) types.push_back("Ingress");
  for (const auto& type : types) {
    const auto& text = type.get_string();
    spec[text == "Ingress" ? "ingress" : "egress"] = random_rules(random, text == "Ingress");
  }
  spec["types"] = std::move(types);
  const bool global = kind != Kind::kNetworkPolicy;
  if (global && random.percent(25)) spec["namespaceSelector"] = random.pick(kNamespaceSelectors);
  if (global) add_chain(random, spec);
  return with_spec(kind, global ? std::string() : random.pick(kNamespaces),
                   fmt::format("policy{}", random.below(kPolicies)), std::move(spec));
}

Write random_kubernetes_policy(Random& random) {
  const auto selector = [&] {
    return random.percent(30) ? json::object{}
                              : json::object{{"matchLabels", json::object{{"app", random.pick(kValues)}}}};
  };
  json::object peer{{"podSelector", selector()}};
  if (random.percent(40)) peer["namespaceSelector"] = json::object{};
  if (random.percent(20)) {
    peer = {{"ipBlock", json::object{{"cidr", "10.0.0.0/8"}, {"except", json::array{"10.65.0.0/30"}}}}};
  }
  json::object rule{{"from", json::array{std::move(peer)}},
                    {"ports", json::array{json::object{
                                  {"protocol", "TCP"},
                                  {"port", random.percent(50) ? json::value(80) : json::value("http")}}}}};
  json::object spec{{"podSelector", selector()},
                    {"policyTypes", json::array{"Ingress"}},
                    {"ingress", json::array{std::move(rule)}}};
  return with_spec(Kind::kKubernetesNetworkPolicy, random.pick(kNamespaces),
                   fmt::format("policy{}", random.below(2)), std::move(spec));
}

Write random_profile(Random& random) {
  return with_spec(Kind::kProfile, "", "open",
                   {{"labelsToApply", labels(random)},
                    {"ingress", random_rules(random, true)},
                    {"egress", random_rules(random, false)}});
}

Write random_node(Random& random, const std::string& name) {
  const auto number = name.back() - '0' + 1;
  json::object bgp{{"ipv4Address", fmt::format("192.0.2.{}/24", number + (random.percent(80) ? 0 : 10))}};
  if (random.percent(70)) bgp["ipv6Address"] = fmt::format("2001:db8::{}/64", number);
  return with_spec(Kind::kNode, "", name, {{"bgp", std::move(bgp)}});
}

// Its addresses, its protocol and its ports are drawn anew each time.
Write random_slice(Random& random) {
  const auto& service = random.pick(kServices);
  const bool ipv4 = random.percent(70);
  json::array endpoints;
  for (const auto& address : random.some(kAddresses, 3)) {
    if ((address.find(':') == std::string::npos) != ipv4) continue;
    endpoints.push_back(json::object{{"addresses", json::array{json::string(address)}}});
  }
  json::array ports;
  if (random.percent(85)) {
    ports.push_back(json::object{{"name", "main"},
                                 {"protocol", random.percent(70) ? "TCP" : "UDP"},
                                 {"port", random.percent(50) ? 80 : 8080}});
  }
  return document(Kind::kEndpointSlice, random.pick(kNamespaces),
                  fmt::format("{}-{}", service, random.below(2)),
                  {{"labels", json::object{{"kubernetes.io/service-name", service}}}},
                  {{"addressType", ipv4 ? "IPv4" : "IPv6"},
                   {"endpoints", std::move(endpoints)},
                   {"ports", std::move(ports)}});
}

json::object pods_with_label(Random& random) {
  return {{"podSelector", json::object{{"matchLabels", json::object{{"app", random.pick(kValues)}}}}}};
}

json::object random_cluster_peer(Random& random, bool egress) {
  if (egress && random.percent(30)) return {{"networks", nets(random, random.percent(60), 2)}};
  if (random.percent(30)) return {{"pods", pods_with_label(random)}};
  return {{"namespaces", random.percent(50)
                             ? json::object{}
                             : json::object{{"matchLabels", json::object{{"env", random.pick(kValues)}}}}}};
}

json::object random_cluster_rule(Random& random, bool egress) {
  static const Texts kActions{"Accept", "Deny", "Pass"};
  json::object rule{{"action", random.pick(kActions)}};
  rule[egress ? "to" : "from"] = json::array{random_cluster_peer(random, egress)};
  if (random.percent(50)) {
    const json::object port = random.percent(50)
                                  ? json::object{{"number", 80}}
                                  : json::object{{"range", json::object{{"start", 79}, {"end", 8080}}}};
    rule["protocols"] = json::array{
        json::object{{random.percent(70) ? "tcp" : "udp", json::object{{"destinationPort", port}}}}};
  }
  return rule;
}

Write random_cluster_policy(Random& random) {
  json::object spec{{"tier", random.percent(60) ? "Admin" : "Baseline"}, {"priority", random.below(3)}};
  spec["subject"] = random.percent(40) ? json::object{{"namespaces", json::object{}}}
                                       : json::object{{"pods", pods_with_label(random)}};
  for (const bool egress : {false, true}) {
    json::array rules;
    for (auto i = random.below(3); i > 0; --i) rules.push_back(random_cluster_rule(random, egress));
    spec[egress ? "egress" : "ingress"] = std::move(rules);
  }
  return with_spec(Kind::kClusterNetworkPolicy, "", fmt::format("policy{}", random.below(2)),
                   std::move(spec));
}

// By a name, by addresses, or for all that is left; several may want one interface.
Write random_host_endpoint(Random& random) {
  json::object spec{{"node", random.pick(kNodes)}};
  const bool named = random.percent(60);
  if (named) spec["interfaceName"] = random.percent(25) ? "*" : random.pick(host_interfaces());
  if (!named || random.percent(30)) {
    json::array addresses{json::string(random.pick(kHostAddresses))};
    spec["expectedIPs"] = std::move(addresses);
  }
  if (random.percent(30)) spec["profiles"] = json::array{"open"};
  if (random.percent(50)) {
    spec["ports"] = json::array{
        json::object{{"name", "http"}, {"protocol", "TCP"}, {"port", random.percent(50) ? 80 : 8080}}};
  }
  return document(Kind::kHostEndpoint, "", fmt::format("edge{}", random.below(kHostEndpoints)),
                  {{"labels", labels(random)}}, {{"spec", std::move(spec)}});
}

Write random_settings(Random& random) {
  static const Texts kActions{"Drop", "Accept", "Return"};
  json::object spec{{"defaultEndpointToHostAction", random.pick(kActions)},
                    {"workloadSourceSpoofing", random.percent(70) ? "Any" : "Disabled"},
                    {"iptablesFilterDenyAction", random.percent(50) ? "Drop" : "Reject"}};
  for (const auto* field : {"failsafeInboundHostPorts", "failsafeOutboundHostPorts"}) {
    if (random.percent(50)) continue;
    json::array ports;
    if (random.percent(60)) ports.push_back(json::object{{"protocol", "TCP"}, {"port", 80}});
    spec[field] = std::move(ports);
  }
  return with_spec(Kind::kFelixConfiguration, "", "default", std::move(spec));
}

Write random_write(Random& random) {
  const auto which = random.below(100);
  if (which < 26) return random_pod(random, random.pick(kNamespaces), pod_name(random.below(kPods)));
  if (which < 31) return random_endpoint(random);
  if (which < 37) return random_namespace(random);
  if (which < 44) return random_set(random);
  if (which < 50) return random_tier(random);
  if (which < 70) return random_policy(random);
  if (which < 75) return random_kubernetes_policy(random);
  if (which < 79) return random_cluster_policy(random);
  if (which < 84) return random_slice(random);
  if (which < 91) return random_host_endpoint(random);
  if (which < 94) return random_profile(random);
  if (which < 98) return random_node(random, random.pick(kNodes));
  return random_settings(random);
}

// A pod goes, and its name comes back in another namespace, or its addresses at another pod.
std::vector<Write> random_succession(Random& random) {
  const auto number = random.below(kPods);
  auto gone = random_pod(random, kNamespaces[0], pod_name(number));
  auto heir = gone;
  if (random.percent(50)) {
    heir = random_pod(random, kNamespaces[1], pod_name(number));
  } else {
    heir = random_pod(random, kNamespaces[0], pod_name((number + 1) % kPods));
  }
  (*heir.document)["status"] = (*gone.document)["status"];
  std::vector<Write> writes{gone, {gone.key, std::nullopt}, heir};
  if (random.percent(30)) std::swap(writes[1], writes[2]);
  return writes;
}

}  // namespace

std::vector<Write> random_writes(Random& random) {
  if (random.percent(8)) return random_succession(random);
  std::vector<Write> writes;
  const auto count = random.percent(70) ? 1 : 2 + random.below(3);
  while (writes.size() < count) {
    auto write = random_write(random);
    if (random.percent(25)) write.document.reset();
    writes.push_back(std::move(write));
  }
  return writes;
}

const Texts& simulated_nodes() {
  return kNodes;
}

const Texts& host_interfaces() {
  static const Texts kInterfaces{"uplink", "eth1", "eth9", "lo"};
  return kInterfaces;
}

Texts workload_interfaces() {
  Texts interfaces{"tap0", "califf"};
  for (const auto& ns : kNamespaces) {
    for (std::size_t i = 0; i < kPods; ++i) interfaces.push_back(workload_interface_name(ns, pod_name(i)));
  }
  return interfaces;
}

}  // namespace ocicat::test
