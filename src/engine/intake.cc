// Resources in: what each says is handed to the index that keeps it.
#include <algorithm>
#include <array>
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

namespace {

std::vector<Prefix> hosts(const std::vector<IpAddress>& addresses) {
  std::vector<Prefix> prefixes;
  prefixes.reserve(addresses.size());
  for (const auto& address : addresses) prefixes.push_back(Prefix::host(address));
  return prefixes;
}

}  // namespace

void Engine::State::refuse(const ResourceKey& key, const std::string& why) {
  const auto it = refused.find(key);
  if (const auto remarked = remarks.find(key); why.empty() && remarked != remarks.end())
    return refuse(key, remarked->second);
  if (why.empty()) {
    if (it == refused.end()) return;
    refused.erase(it);
    out.refused.remove(key);
  } else if (it == refused.end() || it->second != why) {
    refused.insert_or_assign(key, why);
    out.refused.update(key, why);
  }
}

// Shown where nothing more serious is. An empty one: there is none any more.
void Engine::State::remark(const ResourceKey& key, const std::string& what) {
  if (what.empty() && remarks.empty()) return;
  const auto before = remarks.find(key);
  const auto told = refused.find(key);
  const bool shows = told == refused.end() || (before != remarks.end() && told->second == before->second);
  if (what.empty()) {
    remarks.erase(key);
  } else {
    remarks.insert_or_assign(key, what);
  }
  if (shows) refuse(key, {});
}

// An empty `why`: it is there, or nobody names it.
void Engine::State::tell_missing(const ResourceKey& key, const std::string& why) {
  if (!why.empty()) {
    missing.insert(key);
    refuse(key, why);
  } else if (missing.erase(key) > 0 && refused.contains(key)) {
    // What is there now may have been refused for a reason of its own.
    const auto& told = refused.at(key);
    const bool ours = told == (key.kind == Kind::kTier ? policy::about_missing_tier()
                                                       : policy::about_missing_profile(key.name));
    if (ours) refuse(key, {});
  }
}

void Engine::State::settle_references() {
  const auto references = policies.take_references();
  for (const auto& [name, is_missing] : references.tiers) {
    tell_missing({Kind::kTier, "", name}, is_missing ? policy::about_missing_tier() : "");
  }
  for (const auto& [name, is_missing] : references.profiles) {
    tell_missing({Kind::kProfile, "", name}, is_missing ? policy::about_missing_profile(name) : "");
  }
}

void Engine::State::set(const ResourceKey& key, const NetworkPolicy& policy) {
  if (policy.staged_delete) {
    policies.remove_policy(key);
    refuse(key, {});
    return;
  }
  const auto effective = policy::effective(policy);
  if (!effective) {
    // Whom it selects is not known: the last version that could be read stays in force.
    refuse(key, fmt::format("{}: {}", effective.error().message,
                            policies.has_policy(key) ? "the last readable version stays in force"
                                                     : "it counts as absent"));
    return;
  }
  refuse(key, effective->broken.empty() ? policy.unconverted
                                        : effective->broken + ": it denies all for whom it selects");
  policies.set_policy(key, policy, *effective);
}

void Engine::State::set(const ResourceKey& key, const Profile& profile) {
  const auto rules = policy::effective(profile);
  refuse(key, rules.broken.empty() ? "" : rules.broken + ": it denies all");
  policies.set_profile(key, profile);
}

// What is known of the things that change lies in no cache, and leads from place to place: asks for it a step
// at a time for the next few at once. Says how many.
std::size_t Engine::State::expect(ResourceChanges::Entries::const_iterator at,
                                  ResourceChanges::Entries::const_iterator end) {
  constexpr std::size_t kMost = 32;
  std::array<const ResourceKey*, kMost> names{};
  std::array<MemberId, kMost> known{};
  std::array<std::uint32_t, 4 * kMost> labels{};  // hashes, then ids, of the names of their labels
  std::size_t count = 0, label_count = 0;
  const auto& texts = members.names();
  for (; at != end && count < kMost; ++at) {
    names[count++] = &at->first;
    const auto* endpoint = at->second ? std::get_if<WorkloadEndpoint>(&*at->second) : nullptr;
    if (endpoint == nullptr) continue;
    for (const auto& [name, value] : endpoint->metadata.labels) {
      if (label_count == labels.size()) break;
      texts.expect_hash(labels[label_count++] = texts.hash_of(name));
    }
  }
  if (count == 1) return 1;
  for (std::size_t i = 0; i < count; ++i) keys.expect(*names[i]);
  for (std::size_t i = 0; i < label_count; ++i) texts.expect_entry(labels[i] = texts.guess_hash(labels[i]));
  for (std::size_t i = 0; i < count; ++i) keys.expect_entry(known[i] = keys.guess(*names[i]));
  for (std::size_t i = 0; i < count; ++i) keys.expect_items(known[i]);
  for (std::size_t i = 0; i < label_count; ++i) texts.expect_items(labels[i]);
  for (int step = 0; step < policy::MemberIndex::kSteps; ++step) {
    for (std::size_t i = 0; i < count; ++i) members.expect(known[i], step);
  }
  return count;
}

MemberId Engine::State::member_of(const ResourceKey& key) {
  const auto [id, is_new] = keys.acquire(key);
  if (!is_new) keys.release(id);
  gone_members.erase(id);
  return id;
}

void Engine::State::set_node_of(MemberId member, std::string_view name) {
  if (node_by_member.size() <= member) node_by_member.resize(member + 1);
  auto& current = node_by_member[member];
  const auto before = current;
  current = name.empty() ? 0 : node_names.acquire(name);
  if (before != 0) node_names.release(before);
}

// A set in a namespace is labelled with it and inherits its labels; a global one has its own labels only.
void Engine::State::set(const ResourceKey& key, const NetworkSet& set) {
  const auto member = member_of(key);
  const auto& ns = set.metadata.ns;
  if (ns.empty()) {
    members.set(member, {.labels = set.metadata.labels, .profiles = {}, .ports = {}, .nets = set.nets});
    return;
  }
  auto labels = set.metadata.labels;
  labels["projectcalico.org/namespace"] = ns;
  const std::array profiles{fmt::format("kns.{}", ns)};
  members.set(member, {.labels = labels, .profiles = profiles, .ports = {}, .nets = set.nets});
}

// Whether an endpoint counts as absent, and now is: it asks to send from addresses that are not its own, and
// nobody allowed workloads to do so.
bool Engine::State::withhold(const ResourceKey& key, const WorkloadEndpoint& endpoint) {
  const bool asked_before = spoofers.erase(key) > 0;
  const bool asks = !endpoint.allowed_source_prefixes.empty();
  if (asks) spoofers.emplace(key, endpoint);
  if (asks && !(settings && settings->allow_spoofing)) {
    remove_member(key);
    refuse(key, "it has allowed source prefixes, but workloadSourceSpoofing is not Any: it counts as absent");
    return true;
  }
  // One that waits for its interface is told of that.
  if (asked_before && !waiting.contains(key)) refuse(key, {});
  return false;
}

void Engine::State::set(const ResourceKey& key, const WorkloadEndpoint& endpoint) {
  if (withhold(key, endpoint)) return;
  if (endpoint.addresses.empty()) {
    remark(key, {});
    return remove_member(key);
  }
  const auto member = member_of(key);
  const auto nets = hosts(endpoint.addresses);
  // Routes follow from who has which address, and where that is.
  const auto node_before = member < node_by_member.size() ? node_by_member[member] : 0;
  const bool same_node = node_before != 0 && node_names[node_before] == endpoint.node;
  std::vector<Prefix> before;
  if (node_before != 0) {
    for (const auto place : members.places(member)) before.push_back(addresses.prefix(place));
  }
  members.set(member, {.labels = endpoint.metadata.labels,
                       .profiles = endpoint.profiles,
                       .ports = endpoint.ports,
                       .nets = nets});
  const auto places = members.places(member);
  const bool same_places = std::ranges::equal(
      before, places, {}, {}, [this](policy::PlaceId place) { return addresses.prefix(place); });
  if (!same_node || !same_places) {
    set_node_of(member, endpoint.node.empty() ? "-" : endpoint.node);
    rerouted.insert(rerouted.end(), before.begin(), before.end());
    if (!moved_all) {
      for (const auto place : places) rerouted.push_back(addresses.prefix(place));
    }
  }
  floating.set(key, endpoint.floating);
  floating.touch(key);  // it may be elsewhere
  if (is_local(endpoint)) {
    set_local(key, member, endpoint);
    remark_local(key, locals.at(key));
    tell_bounded(key, endpoint.qos.bounded);
  } else {
    retire_local(key);
    remark(key, {});
  }
}

void Engine::State::take(const std::string& name, network::RouteResolver::Changed changed) {
  if (changed.node) moved_nodes.insert(name);
  moved_all |= changed.all;
  touched_peers.insert(touched_peers.end(), changed.peers.begin(), changed.peers.end());
}

void Engine::State::take(network::BlockMap::Changed changed) {
  if (changed.all_inside) moved_blocks.push_back(changed.prefixes.front());
  rerouted.insert(rerouted.end(), changed.prefixes.begin(), changed.prefixes.end());
}

void Engine::State::set(const ResourceKey&, const Node& resource) {
  const auto& name = resource.metadata.name;
  take(name, ways.set_node(resource));
  if (node && name == *node) {
    labels_by_node.insert_or_assign(name, resource.metadata.labels);
    resettle = true;
  }
}

void Engine::State::remove_node(const std::string& name) {
  take(name, ways.remove_node(name));
  if (labels_by_node.erase(name) > 0) resettle = true;
}

void Engine::State::set(const ResourceKey& key, const Resource& resource) {
  std::visit(
      [&]<class T>(const T& value) {
        if constexpr (std::is_same_v<T, Tier>) {
          policies.set_tier(value);
        } else if constexpr (std::is_same_v<T, EndpointSlice>) {
          members.set_slice(key, value);
        } else if constexpr (std::is_same_v<T, IpPool>) {
          network.pools.insert_or_assign(key.name, value);
          moved_all |= ways.set_pool(value);
          resettle = true;
        } else if constexpr (std::is_same_v<T, AddressBlock>) {
          take(ways.set_block(value));
        } else if constexpr (std::is_same_v<T, BgpConfiguration>) {
          network.bgp_configurations.insert_or_assign(key.name, value);
          resettle = true;
        } else if constexpr (std::is_same_v<T, FelixConfiguration>) {
          configurations.insert_or_assign(key.name, value);
          resettle = true;
        } else if constexpr (std::is_same_v<T, AgentConfiguration>) {
          agent_configurations.insert_or_assign(key.name, value);
          resettle = true;
        } else if constexpr (std::is_same_v<T, NetworkPolicy> || std::is_same_v<T, NetworkSet> ||
                             std::is_same_v<T, Profile> || std::is_same_v<T, WorkloadEndpoint> ||
                             std::is_same_v<T, HostEndpoint> || std::is_same_v<T, Node>) {
          set(key, value);
        }
      },
      resource);
}

void Engine::State::remove_member(const ResourceKey& key) {
  floating.remove(key);
  const auto member = keys.find(key);
  if (member == 0 || gone_members.contains(member)) return;
  retire_local(key);
  if (member < node_by_member.size() && node_by_member[member] != 0) {
    for (const auto place : members.places(member)) rerouted.push_back(addresses.prefix(place));
    set_node_of(member, {});
  }
  members.remove(member);
  gone_members.insert(member);
}

void Engine::State::remove(const ResourceKey& key) {
  switch (key.kind) {
    case Kind::kTier:
      policies.remove_tier(key.name);
      break;
    case Kind::kIpPool:
      network.pools.erase(key.name);
      moved_all |= ways.remove_pool(key.name);
      resettle = true;
      break;
    case Kind::kIpamBlock:
      take(ways.remove_block(key.name));
      break;
    case Kind::kBgpConfiguration:
      network.bgp_configurations.erase(key.name);
      resettle = true;
      break;
    case Kind::kFelixConfiguration:
      configurations.erase(key.name);
      resettle = true;
      break;
    case Kind::kAgentConfiguration:
      agent_configurations.erase(key.name);
      resettle = true;
      break;
    case Kind::kEndpointSlice:
      members.remove_slice(key);
      break;
    case Kind::kNode:
      remove_node(key.name);
      break;
    case Kind::kProfile:
    case Kind::kNamespace:
    case Kind::kServiceAccount:
      policies.remove_profile(key);
      break;
    case Kind::kNetworkSet:
    case Kind::kGlobalNetworkSet:
    case Kind::kWorkloadEndpoint:
    case Kind::kPod:
    case Kind::kHostEndpoint:
      retire_host(key);
      spoofers.erase(key);
      remove_member(key);
      remarks.erase(key);
      break;
    default:
      policies.remove_policy(key);
      break;
  }
  // What was not there, and is missed, still is.
  if (!missing.contains(key)) refuse(key, {});
}

}  // namespace ocicat
