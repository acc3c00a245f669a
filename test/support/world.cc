#include "test/support/world.h"

#include <fmt/format.h>

#include <utility>

namespace ocicat::test {

namespace {

Labels prefixed(std::string_view prefix, const Labels& labels, const std::string& name) {
  Labels result;
  for (const auto& [label, value] : labels) result[fmt::format("{}{}", prefix, label)] = value;
  result[fmt::format("{}projectcalico.org/name", prefix)] = name;
  return result;
}

std::pair<std::string, std::string> split(std::string_view ns_and_name) {
  const auto slash = ns_and_name.find('/');
  CHECK(slash != ns_and_name.npos);
  return {std::string{ns_and_name.substr(0, slash)}, std::string{ns_and_name.substr(slash + 1)}};
}

}  // namespace

World& World::with_namespace(const std::string& name, const Labels& labels) {
  snapshot[{Kind::kNamespace, "", name}] = Profile{.metadata = {.name = "kns." + name},
                                                   .labels_to_apply = prefixed("pcns.", labels, name),
                                                   .ingress = {Rule{}},
                                                   .egress = {Rule{}}};
  return *this;
}

World& World::with_service_account(const std::string& ns, const std::string& name, const Labels& labels) {
  snapshot[{Kind::kServiceAccount, ns, name}] =
      Profile{.metadata = {.name = fmt::format("ksa.{}.{}", ns, name)},
              .labels_to_apply = prefixed("pcsa.", labels, name)};
  return *this;
}

World& World::with_pod(std::string_view ns_and_name, const std::vector<std::string>& addresses,
                       const Labels& labels, const std::vector<EndpointPort>& ports,
                       const std::string& service_account) {
  const auto [ns, name] = split(ns_and_name);
  WorkloadEndpoint endpoint{.metadata = {.name = name, .ns = ns, .labels = labels},
                            .node = "host1",
                            .orchestrator = "k8s",
                            .workload = name,
                            .interface_name = "cali" + name,
                            .profiles = {"kns." + ns},
                            .ports = ports,
                            .service_account = service_account};
  endpoint.metadata.labels["projectcalico.org/namespace"] = ns;
  endpoint.metadata.labels["projectcalico.org/orchestrator"] = "k8s";
  if (!service_account.empty()) {
    endpoint.metadata.labels["projectcalico.org/serviceaccount"] = service_account;
    endpoint.profiles.push_back(fmt::format("ksa.{}.{}", ns, service_account));
  }
  for (const auto& text : addresses) endpoint.addresses.push_back(address(text));
  snapshot[pod_key(ns_and_name)] = std::move(endpoint);
  return *this;
}

World& World::with_host(const std::string& name, const std::string& interface_name,
                        const std::vector<std::string>& expected_addresses, const Labels& labels,
                        const std::vector<std::string>& profiles, const std::vector<EndpointPort>& ports) {
  HostEndpoint endpoint{.metadata = {.name = name, .labels = labels},
                        .node = "host1",
                        .interface_name = interface_name,
                        .profiles = profiles,
                        .ports = ports};
  for (const auto& text : expected_addresses) endpoint.expected_addresses.push_back(address(text));
  snapshot[host_key(name)] = std::move(endpoint);
  return *this;
}

World& World::with_tier(const std::string& name, std::optional<double> order, Action default_action) {
  snapshot[{Kind::kTier, "", name}] =
      Tier{.metadata = {.name = name}, .order = order, .default_action = default_action};
  return *this;
}

World& World::with_policy(NetworkPolicy policy) {
  const ResourceKey key{policy.kind, policy.metadata.ns, policy.metadata.name};
  snapshot[key] = std::move(policy);
  return *this;
}

World& World::with_slice(const std::string& ns, const std::string& service,
                         const std::vector<std::string>& addresses,
                         const std::vector<EndpointSlice::Port>& ports) {
  EndpointSlice slice{.metadata = {.name = service + "-1", .ns = ns}, .service = service, .ports = ports};
  for (const auto& text : addresses) slice.addresses.push_back(address(text));
  snapshot[{Kind::kEndpointSlice, ns, slice.metadata.name}] = std::move(slice);
  return *this;
}

World& World::with_profile(Profile profile) {
  const ResourceKey key{Kind::kProfile, "", profile.metadata.name};
  snapshot[key] = std::move(profile);
  return *this;
}

World& World::with_network_set(const std::string& ns, const std::string& name,
                               const std::vector<std::string>& nets, const Labels& labels) {
  NetworkSet set{.metadata = {.name = name, .ns = ns, .labels = labels}};
  for (const auto& net : nets) set.nets.push_back(prefix(net));
  snapshot[{ns.empty() ? Kind::kGlobalNetworkSet : Kind::kNetworkSet, ns, name}] = std::move(set);
  return *this;
}

ResourceKey pod_key(std::string_view ns_and_name) {
  auto [ns, name] = split(ns_and_name);
  return {Kind::kPod, std::move(ns), std::move(name)};
}

ResourceKey host_key(const std::string& name) {
  return {Kind::kHostEndpoint, "", name};
}

NetworkPolicy global_ingress(const std::string& name, std::vector<Rule> rules) {
  return {.kind = Kind::kGlobalNetworkPolicy,
          .metadata = {.name = name},
          .applies_to_ingress = true,
          .ingress = std::move(rules)};
}

NetworkPolicy global_egress(const std::string& name, std::vector<Rule> rules) {
  return {.kind = Kind::kGlobalNetworkPolicy,
          .metadata = {.name = name},
          .applies_to_egress = true,
          .egress = std::move(rules)};
}

NetworkPolicy ingress_in(const std::string& ns, const std::string& name, std::vector<Rule> rules) {
  return {.kind = Kind::kNetworkPolicy,
          .metadata = {.name = name, .ns = ns},
          .applies_to_ingress = true,
          .ingress = std::move(rules)};
}

IpAddress address(std::string_view text) {
  const auto address = IpAddress::parse(text);
  CHECK(address.has_value());
  return *address;
}

Prefix prefix(std::string_view text) {
  const auto prefix = Prefix::parse(text, true);
  CHECK(prefix.has_value());
  return *prefix;
}

policy::Packet packet(Protocol protocol, std::string_view from, std::string_view to, std::uint16_t port) {
  return {.source = address(from),
          .destination = address(to),
          .protocol = protocol,
          .source_port = static_cast<std::uint16_t>(has_ports(protocol) ? 40'000 : 0),
          .destination_port = port};
}

std::vector<std::string> lines(const policy::Judgement& outcome) {
  std::vector<std::string> lines;
  for (const auto& step : outcome.trace) lines.push_back(to_string(step));
  return lines;
}

}  // namespace ocicat::test
