#include "test/support/random_snapshot.h"

#include <fmt/format.h>

#include <optional>
#include <set>
#include <utility>

#include "resources/ipam.h"
#include "test/support/random_rules.h"

namespace ocicat::test {

namespace {

using Entry = std::pair<ResourceKey, Resource>;

Labels random_labels(Random& random, std::string_view prefix) {
  Labels labels;
  for (const auto& label : names::kLabels) {
    if (random.percent(50)) labels[fmt::format("{}{}", prefix, label)] = random.pick(names::kValues);
  }
  return labels;
}

std::vector<Rule> random_rules(Random& random, std::size_t most) {
  std::vector<Rule> rules(random.below(most + 1));
  for (auto& rule : rules) rule = random_rule(random);
  return rules;
}

Entry random_namespace(Random& random) {
  const auto& name = random.pick(names::kNamespaces);
  Profile profile;
  profile.metadata.name = fmt::format("kns.{}", name);
  profile.labels_to_apply = random_labels(random, "pcns.");
  profile.labels_to_apply["pcns.projectcalico.org/name"] = name;
  profile.ingress = {Rule{}};
  profile.egress = {Rule{}};
  return {{Kind::kNamespace, "", name}, std::move(profile)};
}

Entry random_service_account(Random& random) {
  const auto& ns = random.pick(names::kNamespaces);
  const auto& name = random.pick(names::kServiceAccounts);
  Profile profile;
  profile.metadata.name = fmt::format("ksa.{}.{}", ns, name);
  profile.labels_to_apply = random_labels(random, "pcsa.");
  profile.labels_to_apply["pcsa.projectcalico.org/name"] = name;
  return {{Kind::kServiceAccount, ns, name}, std::move(profile)};
}

Entry random_profile(Random& random, const SnapshotSize& size) {
  Profile profile;
  profile.metadata.name = fmt::format("profile-{}", random.below(size.profiles + 1));
  // A few go by a name that something else has too.
  if (random.percent(5)) profile.metadata.name = fmt::format("kns.{}", random.pick(names::kNamespaces));
  if (random.percent(2)) profile.metadata.name = policy::kDefaultAllowProfile;
  profile.labels_to_apply = random_labels(random, "");
  profile.ingress = random_rules(random, size.rules);
  profile.egress = random_rules(random, size.rules);
  if (random.percent(5)) profile = {.metadata = profile.metadata, .broken = "cannot be read"};
  return {{Kind::kProfile, "", profile.metadata.name}, std::move(profile)};
}

std::vector<std::string> random_profiles(Random& random, const SnapshotSize& size,
                                         const WorkloadEndpoint& endpoint) {
  std::vector<std::string> profiles{fmt::format("kns.{}", endpoint.metadata.ns)};
  if (!endpoint.service_account.empty()) {
    profiles.push_back(fmt::format("ksa.{}.{}", endpoint.metadata.ns, endpoint.service_account));
  }
  if (random.percent(40)) {
    const auto own = fmt::format("profile-{}", random.below(size.profiles + 1));  // may be missing
    profiles.insert(profiles.begin() + static_cast<std::ptrdiff_t>(random.below(profiles.size() + 1)), own);
  }
  if (random.percent(5)) profiles.emplace_back(policy::kDefaultAllowProfile);
  if (random.percent(5)) profiles.clear();
  return profiles;
}

std::vector<EndpointPort> random_ports(Random& random) {
  static const std::vector<Protocol> kProtocols{kTcp, kTcp, kUdp, kSctp};
  static const std::vector<std::uint16_t> kPorts{80, 81, 8080};
  std::vector<EndpointPort> ports;
  for (const auto& name : names::kPortNames) {
    if (random.percent(50)) ports.push_back({name, random.pick(kProtocols), random.pick(kPorts)});
  }
  return ports;
}

Entry random_endpoint(Random& random, const SnapshotSize& size) {
  WorkloadEndpoint endpoint;
  const auto number = random.below(size.endpoints);
  const auto& ns = names::kNamespaces[number % names::kNamespaces.size()];
  endpoint.node = fmt::format("host{}", random.below(2));
  endpoint.orchestrator = "k8s";
  endpoint.workload = fmt::format("pod{}", number);
  endpoint.interface_name = fmt::format("cali{}", number);
  endpoint.metadata.ns = ns;
  endpoint.metadata.name = endpoint.workload;
  endpoint.metadata.labels = random_labels(random, "");
  endpoint.metadata.labels["projectcalico.org/namespace"] = ns;
  endpoint.metadata.labels["projectcalico.org/orchestrator"] = "k8s";
  if (random.percent(60)) {
    endpoint.service_account = random.pick(names::kServiceAccounts);
    endpoint.metadata.labels["projectcalico.org/serviceaccount"] = endpoint.service_account;
  }
  if (random.percent(90)) endpoint.addresses.push_back(random_address(random, Family::kIpv4));
  if (random.percent(60)) endpoint.addresses.push_back(random_address(random, Family::kIpv6));
  endpoint.profiles = random_profiles(random, size, endpoint);
  endpoint.ports = random_ports(random);
  if (random.percent(15))
    endpoint.allowed_source_prefixes = {random.pick(known_prefixes()), random.pick(known_prefixes())};
  // The kind follows from the number, so that a change meets the endpoint it is about.
  return {{number % 2 == 0 ? Kind::kPod : Kind::kWorkloadEndpoint, ns, endpoint.workload},
          std::move(endpoint)};
}

Entry random_host(Random& random, const SnapshotSize& size) {
  auto endpoint = random_host_endpoint(random, size);
  return {{Kind::kHostEndpoint, "", endpoint.metadata.name}, std::move(endpoint)};
}

Entry random_configuration(Random& random) {
  static const std::vector<std::string> kFailsafes{"none", "tcp:80,udp:10.0.0.0/8:81", "tcp:[fd00::/16]:8080",
                                                   "sctp:80,22"};
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  if (random.percent(70)) configuration.values["failsafeInboundHostPorts"] = random.pick(kFailsafes);
  if (random.percent(70)) configuration.values["failsafeOutboundHostPorts"] = random.pick(kFailsafes);
  if (random.percent(70)) configuration.values["workloadSourceSpoofing"] = "Any";
  return {{Kind::kFelixConfiguration, "", "default"}, std::move(configuration)};
}

Entry random_network_set(Random& random, const SnapshotSize& size) {
  NetworkSet set;
  set.metadata.name = fmt::format("set{}", random.below(size.network_sets));
  set.metadata.labels = random_labels(random, "");
  const bool global = random.percent(50);
  if (!global) set.metadata.ns = random.pick(names::kNamespaces);
  set.nets = random.some(known_prefixes(), 4);
  return {{global ? Kind::kGlobalNetworkSet : Kind::kNetworkSet, set.metadata.ns, set.metadata.name},
          std::move(set)};
}

Entry random_slice(Random& random) {
  static const std::vector<Protocol> kProtocols{kTcp, kTcp, kUdp, kSctp};
  static const std::vector<std::uint16_t> kPorts{80, 81, 8080};
  EndpointSlice slice;
  slice.metadata.name = fmt::format("slice{}", random.below(4));
  slice.metadata.ns = random.pick(names::kNamespaces);
  if (random.percent(90)) slice.service = random.pick(names::kServices);
  const auto family = random.percent(60) ? Family::kIpv4 : Family::kIpv6;
  std::set<IpAddress> addresses;
  for (std::size_t i = random.below(4); i > 0; --i) addresses.insert(random_address(random, family));
  slice.addresses.assign(addresses.begin(), addresses.end());
  std::set<EndpointSlice::Port> ports;
  for (std::size_t i = random.below(3); i > 0; --i) {
    ports.insert({random.pick(kProtocols), random.pick(kPorts)});
  }
  slice.ports.assign(ports.begin(), ports.end());
  return {{Kind::kEndpointSlice, slice.metadata.ns, slice.metadata.name}, std::move(slice)};
}

// Blocks of both hosts over the addresses that endpoints have, one within another at times.
Entry random_block(Random& random) {
  const auto family = random.percent(60) ? Family::kIpv4 : Family::kIpv6;
  static const std::vector<std::uint8_t> kHostBits{0, 1, 2, 4};
  AddressBlock block;
  const auto length = static_cast<std::uint8_t>(bits_of(family) - random.pick(kHostBits));
  block.cidr = Prefix{random_address(random, family), length}.masked();
  block.metadata.name = name_of(block.cidr);
  if (random.percent(85)) block.node = fmt::format("host{}", random.below(3));
  std::optional<IpAddress> address = block.cidr.first();
  for (const auto last = block.cidr.last(); address && *address <= last; address = address->next()) {
    const auto node = fmt::format("host{}", random.below(3));
    if (random.percent(30) && node != block.node) block.elsewhere.push_back({*address, node});
  }
  return {{Kind::kIpamBlock, "", block.metadata.name}, std::move(block)};
}

Entry random_node(Random& random) {
  Node node;
  const auto number = random.below(3);
  node.metadata.name = fmt::format("host{}", number);
  if (random.percent(90))
    node.ipv4 = Prefix{IpAddress::v4(0xC0000200U + static_cast<std::uint32_t>(number)), 24};
  if (random.percent(20)) node.ipv4 = Prefix{random_address(random, Family::kIpv4), 24};
  if (random.percent(60)) node.ipv6 = Prefix{random_address(random, Family::kIpv6), 64};
  if (random.percent(60)) node.vxlan[0].address = random_address(random, Family::kIpv4);
  if (random.percent(60)) node.vxlan[1].address = random_address(random, Family::kIpv6);
  return {{Kind::kNode, "", node.metadata.name}, std::move(node)};
}

Entry random_pool(Random& random) {
  static const std::vector<IpPool::Encapsulation> kModes{
      IpPool::Encapsulation::kNever, IpPool::Encapsulation::kCrossSubnet, IpPool::Encapsulation::kAlways};
  IpPool pool;
  pool.metadata.name = fmt::format("pool{}", random.below(2));
  pool.cidr = *Prefix::parse(random.percent(60) ? "10.65.0.0/16" : "fd00::/16");
  pool.vxlan = random.pick(kModes);
  return {{Kind::kIpPool, "", pool.metadata.name}, std::move(pool)};
}

Entry random_tier(Random& random) {
  Tier tier;
  do {
    tier.metadata.name = random.pick(names::kTiers);
  } while (tier.metadata.name == "ghost");
  static const std::vector<std::optional<double>> kOrders{std::nullopt, -10, 1, 100, 100, 2'000'000};
  tier.order = random.pick(kOrders);
  tier.default_action = random.percent(50) ? Action::kPass : Action::kDeny;
  return {{Kind::kTier, "", tier.metadata.name}, std::move(tier)};
}

bool is_global(Kind kind) {
  return kind == Kind::kGlobalNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy ||
         kind == Kind::kClusterNetworkPolicy;
}

void choose_whom(Random& random, NetworkPolicy& policy) {
  if (random.percent(75)) policy.selector = random.percent(2) ? "role = 'a'" : random_selector(random);
  if (random.percent(15)) policy.service_account_selector = random_parent_selector(random);
  if (is_global(policy.kind) && random.percent(30))
    policy.namespace_selector = random_parent_selector(random);
}

Entry random_policy(Random& random, const SnapshotSize& size) {
  static const std::vector<Kind> kKinds{Kind::kNetworkPolicy,           Kind::kNetworkPolicy,
                                        Kind::kGlobalNetworkPolicy,     Kind::kGlobalNetworkPolicy,
                                        Kind::kStagedNetworkPolicy,     Kind::kStagedGlobalNetworkPolicy,
                                        Kind::kKubernetesNetworkPolicy, Kind::kStagedKubernetesNetworkPolicy,
                                        Kind::kClusterNetworkPolicy};
  static const std::vector<std::optional<double>> kOrders{std::nullopt, -1, 1, 1, 2.5, 100};
  NetworkPolicy policy;
  policy.kind = random.pick(kKinds);
  policy.metadata.name = fmt::format("policy{}", random.below(size.policies));
  if (!is_global(policy.kind)) policy.metadata.ns = random.pick(names::kNamespaces);
  policy.tier = random.pick(names::kTiers);
  policy.order = random.pick(kOrders);
  choose_whom(random, policy);
  policy.applies_to_ingress = random.percent(75);
  policy.applies_to_egress = random.percent(60);
  policy.ingress = random_rules(random, size.rules);
  policy.egress = random_rules(random, size.rules);
  policy.staged_delete = policy.staged() && random.percent(10);
  if (is_global(policy.kind) && random.percent(40)) {
    policy.apply_on_forward = true;
    if (random.percent(40)) (random.percent(50) ? policy.do_not_track : policy.pre_dnat) = true;
  }
  if (random.percent(4)) {
    policy.broken = "cannot be read";
    policy.ingress.clear();
    policy.egress.clear();
  }
  return {{policy.kind, policy.metadata.ns, policy.metadata.name}, std::move(policy)};
}

Entry random_resource(Random& random, const SnapshotSize& size) {
  switch (random.below(16)) {
    case 0:
      return random_namespace(random);
    case 1:
      return random_service_account(random);
    case 2:
      return random_profile(random, size);
    case 3:
      return random_network_set(random, size);
    case 4:
      return random_tier(random);
    case 5:
      return random_slice(random);
    case 6:
    case 7:
    case 8:
      return random_endpoint(random, size);
    case 9:
      return random_host(random, size);
    case 10:
      return random_configuration(random);
    case 11:
      return random_block(random);
    case 12:
      return random_node(random);
    case 13:
      return random_pool(random);
    default:
      return random_policy(random, size);
  }
}

}  // namespace

HostEndpoint random_host_endpoint(Random& random, const SnapshotSize& size) {
  HostEndpoint endpoint;
  endpoint.metadata.name = fmt::format("host{}", random.below(size.hosts));
  endpoint.metadata.labels = random_labels(random, "");
  if (random.percent(10)) endpoint.metadata.labels["projectcalico.org/namespace"] = names::kNamespaces[0];
  endpoint.node = fmt::format("host{}", random.below(2));
  static const std::vector<std::string> kInterfaces{"", "", "eth0", "eth1", "*"};
  endpoint.interface_name = random.pick(kInterfaces);
  if (random.percent(70)) endpoint.expected_addresses.push_back(random_address(random, Family::kIpv4));
  if (random.percent(40)) endpoint.expected_addresses.push_back(random_address(random, Family::kIpv6));
  if (random.percent(50))
    endpoint.profiles.push_back(fmt::format("profile-{}", random.below(size.profiles + 1)));
  endpoint.ports = random_ports(random);
  return endpoint;
}

policy::Snapshot random_snapshot(Random& random, const SnapshotSize& size) {
  policy::Snapshot snapshot;
  const auto add = [&](std::size_t count, auto make) {
    for (std::size_t i = 0; i < count; ++i) {
      auto [key, resource] = make();
      snapshot.insert_or_assign(std::move(key), std::move(resource));
    }
  };
  add(names::kNamespaces.size() * 2, [&] { return random_namespace(random); });
  add(names::kNamespaces.size(), [&] { return random_service_account(random); });
  add(size.profiles, [&] { return random_profile(random, size); });
  add(size.endpoints, [&] { return random_endpoint(random, size); });
  add(size.hosts, [&] { return random_host(random, size); });
  if (random.percent(30)) add(1, [&] { return random_configuration(random); });
  add(size.network_sets, [&] { return random_network_set(random, size); });
  add(size.slices, [&] { return random_slice(random); });
  add(4, [&] { return random_block(random); });
  add(3, [&] { return random_node(random); });
  if (random.percent(50)) add(1, [&] { return random_pool(random); });
  add(size.tiers, [&] { return random_tier(random); });
  add(size.policies, [&] { return random_policy(random, size); });
  return snapshot;
}

Changes<ResourceKey, Resource> random_change(Random& random, const policy::Snapshot& snapshot,
                                             const SnapshotSize& size) {
  Changes<ResourceKey, Resource> changes;
  const auto steps = random.percent(80) ? 1 : 1 + random.below(4);
  for (std::size_t i = 0; i < steps; ++i) {
    if (!snapshot.empty() && random.percent(30)) {
      auto gone = snapshot.begin();
      std::advance(gone, static_cast<std::ptrdiff_t>(random.below(snapshot.size())));
      changes.remove(gone->first);
    } else {
      auto [key, resource] = random_resource(random, size);
      changes.update(std::move(key), std::move(resource));
    }
  }
  return changes;
}

}  // namespace ocicat::test
