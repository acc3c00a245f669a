#include "test/support/random_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "test/support/random_rules.h"

namespace ocicat::test {

namespace {

using Entry = std::pair<ResourceKey, Resource>;

template <class T>
std::vector<ResourceKey> keys_of(const policy::Snapshot& snapshot) {
  std::vector<ResourceKey> keys;
  for (const auto& [key, resource] : snapshot) {
    if (std::holds_alternative<T>(resource)) keys.push_back(key);
  }
  return keys;
}

// One of them, to be changed; nothing where there is none.
template <class T>
std::optional<std::pair<ResourceKey, T>> pick(Random& random, const policy::Snapshot& snapshot) {
  const auto keys = keys_of<T>(snapshot);
  if (keys.empty()) return std::nullopt;
  const auto& key = random.pick(keys);
  return std::pair{key, std::get<T>(snapshot.at(key))};
}

bool is_global(Kind kind) {
  return kind == Kind::kGlobalNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy ||
         kind == Kind::kClusterNetworkPolicy;
}

std::string random_tier_name(Random& random) {
  return random.pick(names::kTiers);
}

// Under another kind or in another namespace: the same name, another object.
Entry with_another_identity(Random& random, const ResourceKey& key, WorkloadEndpoint endpoint) {
  auto now = key;
  if (random.percent(50)) {
    now.kind = key.kind == Kind::kPod ? Kind::kWorkloadEndpoint : Kind::kPod;
  } else {
    now.ns = endpoint.metadata.ns = random.pick(names::kNamespaces);
    endpoint.metadata.labels["projectcalico.org/namespace"] = now.ns;
  }
  return {now, std::move(endpoint)};
}

void move_identity(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto endpoint = pick<WorkloadEndpoint>(random, snapshot);
  if (!endpoint) return;
  auto [key, heir] = with_another_identity(random, endpoint->first, endpoint->second);
  if (random.percent(80)) step.remove(endpoint->first);  // else both are there, and want one interface
  step.update(std::move(key), std::move(heir));
}

void move_endpoint(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto endpoint = pick<WorkloadEndpoint>(random, snapshot);
  if (!endpoint) return;
  auto& [key, value] = *endpoint;
  switch (random.below(4)) {
    case 0:
      value.node = fmt::format("host{}", random.below(3));
      break;
    case 1:
      value.interface_name = random.percent(10) ? "" : fmt::format("cali{}", random.below(6));
      break;
    case 2:
      std::ranges::reverse(value.profiles);
      if (!value.profiles.empty() && random.percent(50)) value.profiles.pop_back();
      break;
    default:
      for (auto& port : value.ports) port.port = random.percent(50) ? 80 : 8080;
      value.allowed_source_prefixes.clear();
      if (random.percent(20)) value.allowed_source_prefixes = {random.pick(known_prefixes())};
  }
  step.update(key, std::move(value));
}

// Two endpoints: addresses change hands, one follows upon the other, or both share.
void move_addresses(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto from = pick<WorkloadEndpoint>(random, snapshot);
  auto to = pick<WorkloadEndpoint>(random, snapshot);
  if (!from || !to || from->first == to->first) return;
  switch (random.below(3)) {
    case 0:
      std::swap(from->second.addresses, to->second.addresses);
      break;
    case 1:
      to->second.addresses.insert(to->second.addresses.end(), from->second.addresses.begin(),
                                  from->second.addresses.end());
      break;
    default:
      to->second.addresses = from->second.addresses;
      if (random.percent(50)) to->second.interface_name = from->second.interface_name;
      step.remove(from->first);
      step.update(to->first, std::move(to->second));
      return;
  }
  step.update(from->first, std::move(from->second));
  step.update(to->first, std::move(to->second));
}

void move_policy(Random& random, const policy::Snapshot& snapshot, const SnapshotSize& size, Step& step) {
  auto policy = pick<NetworkPolicy>(random, snapshot);
  if (!policy) return;
  auto& [key, value] = *policy;
  switch (random.below(5)) {
    case 0:
      value.tier = random_tier_name(random);
      break;
    case 1:
      value.order = random.percent(30) ? std::nullopt : std::optional(static_cast<double>(random.below(4)));
      break;
    case 2: {  // renamed
      step.remove(key);
      key.name = value.metadata.name = fmt::format("policy{}", random.below(size.policies));
      break;
    }
    case 3: {  // the same name in another kind, a staged one perhaps
      static const std::vector<Kind> kKinds{Kind::kNetworkPolicy, Kind::kGlobalNetworkPolicy,
                                            Kind::kStagedNetworkPolicy, Kind::kStagedGlobalNetworkPolicy};
      if (random.percent(70)) step.remove(key);
      key.kind = value.kind = random.pick(kKinds);
      key.ns = value.metadata.ns = is_global(key.kind) ? std::string() : random.pick(names::kNamespaces);
      if (!is_global(key.kind)) value.namespace_selector.clear();
      value.staged_delete = false;
      break;
    }
    default:
      std::swap(value.applies_to_ingress, value.applies_to_egress);
      std::swap(value.ingress, value.egress);
  }
  step.update(std::move(key), std::move(value));
}

// Two resources of one kind have each other's contents.
template <class T>
void swap_contents(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto one = pick<T>(random, snapshot);
  auto other = pick<T>(random, snapshot);
  if (!one || !other || one->first.kind != other->first.kind) return;
  std::swap(one->second, other->second);
  std::swap(one->second.metadata, other->second.metadata);
  step.update(one->first, std::move(one->second));
  step.update(other->first, std::move(other->second));
}

// Tiers come and go, trade places, and come back as they were.
void move_tiers(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto tier = pick<Tier>(random, snapshot);
  if (!tier || random.percent(30)) {
    const auto name = random_tier_name(random);
    Tier fresh{.metadata = {.name = name}, .order = 1.0, .default_action = Action::kPass};
    step.update({Kind::kTier, "", name}, std::move(fresh));
    return;
  }
  auto& [key, value] = *tier;
  switch (random.below(4)) {
    case 0:
      return step.remove(key);
    case 1:
      value.default_action = value.default_action == Action::kPass ? Action::kDeny : Action::kPass;
      break;
    case 2:
      value.order = random.percent(30) ? std::nullopt : std::optional(static_cast<double>(random.below(3)));
      break;
    default: {
      auto other = pick<Tier>(random, snapshot);
      std::swap(value.order, other->second.order);
      step.update(other->first, std::move(other->second));
    }
  }
  step.update(key, std::move(value));
}

// Nets around, within and beside those that are there.
void move_nets(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto set = pick<NetworkSet>(random, snapshot);
  if (!set) return;
  auto& [key, value] = *set;
  switch (random.below(4)) {
    case 0:
      for (auto& net : value.nets)
        net.length = static_cast<std::uint8_t>(net.length == 0 ? 1 : net.length - 1);
      break;
    case 1:
      for (auto& net : value.nets) {
        if (!net.is_host()) ++net.length;
      }
      break;
    case 2:
      value.nets = random.some(known_prefixes(), known_prefixes().size());
      break;
    default:  // the same name as a set of a namespace, or of all
      step.remove(key);
      key.ns = value.metadata.ns = key.ns.empty() ? random.pick(names::kNamespaces) : std::string();
      key.kind = key.ns.empty() ? Kind::kGlobalNetworkSet : Kind::kNetworkSet;
  }
  step.update(std::move(key), std::move(value));
}

void move_host(Random& random, Step& step) {
  const auto name = fmt::format("host{}", random.below(3));
  if (random.percent(60)) {
    if (random.percent(30)) return step.remove({Kind::kNode, "", name});
    Node node{.metadata = {.name = name}};
    if (random.percent(80))
      node.ipv4 = Prefix{IpAddress::v4(0xc0000200U + 1 + static_cast<unsigned>(random.below(3))), 24};
    if (random.percent(50))
      node.ipv6 = Prefix::parse(random.percent(50) ? "2001:db8::1/64" : "2001:db8::2/64");
    return step.update({Kind::kNode, "", name}, std::move(node));
  }
  const ResourceKey key{Kind::kFelixConfiguration, "", "default"};
  if (random.percent(30)) return step.remove(key);
  FelixConfiguration configuration;
  configuration.metadata.name = key.name;
  const auto maybe = [&](const char* field, const char* text) {
    if (random.percent(40)) configuration.values[field] = text;
  };
  maybe("workloadSourceSpoofing", "Any");
  maybe("iptablesFilterDenyAction", "Reject");
  maybe("nftablesFilterDenyAction", "Drop");
  maybe("allowVXLANPacketsFromWorkloads", "true");
  maybe("allowIPIPPacketsFromWorkloads", "true");
  maybe("vxlanPort", "9999");
  step.update(key, std::move(configuration));
}

// Whom policies mean and what they say, at once: neither the old labels under the new policy nor the new ones
// under the old may ever show.
void move_labels_and_policies(Random& random, const policy::Snapshot& snapshot, const SnapshotSize& size,
                              Step& step) {
  if (auto endpoint = pick<WorkloadEndpoint>(random, snapshot)) {
    for (const auto& label : names::kLabels) {
      if (random.percent(50)) endpoint->second.metadata.labels[label] = random.pick(names::kValues);
    }
    step.update(endpoint->first, std::move(endpoint->second));
  }
  if (auto ns = pick<Profile>(random, snapshot); ns && random.percent(50)) {
    for (auto& [label, value] : ns->second.labels_to_apply) {
      if (!label.ends_with("projectcalico.org/name")) value = random.pick(names::kValues);
    }
    step.update(ns->first, std::move(ns->second));
  }
  if (auto policy = pick<NetworkPolicy>(random, snapshot)) {
    policy->second.selector = random_selector(random);
    if (!policy->second.ingress.empty() && random.percent(50)) {
      policy->second.ingress.front() = random_rule(random);
    }
    step.update(policy->first, std::move(policy->second));
  }
  if (random.percent(30)) move_policy(random, snapshot, size, step);
}

// They take each other's interfaces, addresses of workloads, and other names.
void move_host_endpoint(Random& random, const policy::Snapshot& snapshot, const SnapshotSize& size,
                        Step& step) {
  auto host = pick<HostEndpoint>(random, snapshot);
  if (!host) return;
  auto& [key, value] = *host;
  switch (random.below(4)) {
    case 0: {
      auto other = pick<HostEndpoint>(random, snapshot);
      std::swap(value.interface_name, other->second.interface_name);
      if (other->first != key) step.update(other->first, std::move(other->second));
      break;
    }
    case 1:
      step.remove(key);
      key.name = value.metadata.name = fmt::format("host{}", random.below(size.hosts));
      break;
    case 2:
      if (auto endpoint = pick<WorkloadEndpoint>(random, snapshot); endpoint) {
        std::swap(value.expected_addresses, endpoint->second.addresses);
        step.update(endpoint->first, std::move(endpoint->second));
      }
      break;
    default:
      value.node = fmt::format("host{}", random.below(2));
  }
  step.update(std::move(key), std::move(value));
}

// What stands behind one service stands behind another; or what does moves.
void move_slice(Random& random, const policy::Snapshot& snapshot, Step& step) {
  auto slice = pick<EndpointSlice>(random, snapshot);
  if (!slice) return;
  auto& value = slice->second;
  if (random.percent(50)) {
    value.service = random.pick(names::kServices);
  } else {
    value.addresses = {random_address(random, random.percent(50) ? Family::kIpv4 : Family::kIpv6)};
  }
  step.update(slice->first, std::move(value));
}

// All of a kind, or all of a namespace, at once.
void sweep_away(Random& random, const policy::Snapshot& snapshot, Step& step) {
  if (snapshot.empty()) return;
  auto at = snapshot.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(random.below(snapshot.size())));
  const bool by_kind = at->first.ns.empty() || random.percent(50);
  for (const auto& [key, resource] : snapshot) {
    if (by_kind ? key.kind == at->first.kind : key.ns == at->first.ns) step.remove(key);
  }
}

}  // namespace

Step random_step(Random& random, const policy::Snapshot& snapshot, const SnapshotSize& size) {
  Step step;
  for (auto moves = random.percent(75) ? 1 : 1 + random.below(3); moves > 0; --moves) {
    switch (random.below(20)) {
      case 0:
        move_identity(random, snapshot, step);
        break;
      case 1:
        move_endpoint(random, snapshot, step);
        break;
      case 2:
        move_addresses(random, snapshot, step);
        break;
      case 3:
        move_policy(random, snapshot, size, step);
        break;
      case 4:
        random.percent(50) ? swap_contents<NetworkPolicy>(random, snapshot, step)
                           : swap_contents<NetworkSet>(random, snapshot, step);
        break;
      case 5:
        move_tiers(random, snapshot, step);
        break;
      case 6:
        move_nets(random, snapshot, step);
        break;
      case 7:
        move_host(random, step);
        break;
      case 8:
        if (random.percent(10)) sweep_away(random, snapshot, step);
        break;
      case 9:
        move_labels_and_policies(random, snapshot, size, step);
        break;
      case 10:
        move_host_endpoint(random, snapshot, size, step);
        break;
      case 11:
        move_slice(random, snapshot, step);
        break;
      default:
        step.absorb(random_change(random, snapshot, size));
    }
  }
  return step;
}

}  // namespace ocicat::test
