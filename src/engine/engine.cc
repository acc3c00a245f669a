#include "engine/engine.h"

#include <boost/unordered/unordered_flat_set.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <utility>

#include "network/route_resolver.h"
#include "policy/host_settings.h"
#include "policy/key_pool.h"
#include "policy/policy_index.h"
#include "policy/program_store.h"

namespace ocicat {

namespace {

using policy::Direction;
using policy::MemberId;
using policy::SignatureId;

// An endpoint of this host.
struct LocalEndpoint {
  MemberId member = 0;
  std::string node;
  std::string interface_name;
  std::vector<std::string> profiles;
  bool in_force = false;  // not waiting for another endpoint's interface

  struct Address {
    IpAddress address;
    policy::PlaceId place = 0;                              // once computed
    SignatureId signature = 0;                              // what it is in; held
    std::array<policy::ProgramStore::Index, 2> programs{};  // by direction; 0: none yet
  };
  std::vector<Address> addresses;  // ascending
};

std::vector<Prefix> hosts(const std::vector<IpAddress>& addresses) {
  std::vector<Prefix> prefixes;
  prefixes.reserve(addresses.size());
  for (const auto& address : addresses) prefixes.push_back(Prefix::host(address));
  return prefixes;
}

}  // namespace

struct Engine::State {
  explicit State(Options given) : node(std::move(given.node)), ids(given.dictionary) {}

  std::optional<std::string> node;
  policy::IdRegistry ids;
  policy::SetSpace sets;
  policy::RuleBook book;
  policy::AddressIndex addresses{sets, ids};
  policy::MemberIndex members{sets, addresses};
  policy::PolicyIndex policies{book, members};
  policy::ProgramStore programs{book, members, sets, ids};

  policy::KeyPool keys;  // of members
  policy::StringPool node_names;
  std::vector<std::uint32_t> node_by_member;  // 0: no endpoint
  std::map<ResourceKey, LocalEndpoint> locals;
  boost::unordered_flat_map<MemberId, const ResourceKey*> local_by_member;  // into `locals`
  // Who wants an interface; the first has it.
  std::map<std::pair<std::string, std::string>, std::set<ResourceKey>> claims_by_interface;

  network::RouteResolver ways;
  boost::unordered_flat_set<Prefix> routed;
  FelixConfigurations configurations;
  std::map<std::string, Labels> labels_by_node;
  std::map<ResourceKey, std::string> refused;
  std::map<ResourceKey, std::string> waiting;
  std::map<ResourceKey, WorkloadEndpoint>
      spoofers;  // may send from others' addresses, if the settings let them
  std::optional<HostSettings> settings;

  // Of the batch.
  HostChanges out;
  std::vector<Prefix> rerouted;
  std::set<std::string> moved_nodes;
  std::set<std::pair<std::string, std::string>> contested;
  bool resettle = true;
  std::set<ResourceKey> restart;  // local endpoints to compute from nothing
  std::vector<std::pair<ResourceKey, LocalEndpoint>> retired;
  std::vector<LocalEndpoint> releasing;  // uses of programs and signatures to give back
  std::set<MemberId> gone_members;       // numbers to give back, unless they are wanted again by then

  void set(const ResourceKey& key, const Resource& resource);
  void remove(const ResourceKey& key);
  void set(const ResourceKey& key, const NetworkPolicy& policy);
  void set(const ResourceKey& key, const Profile& profile);
  void set(const ResourceKey& key, const NetworkSet& set);
  void set(const ResourceKey& key, const WorkloadEndpoint& endpoint);
  void set(const ResourceKey& key, const Node& node);
  void remove_member(const ResourceKey& key);
  void remove_node(const std::string& name);
  MemberId member_of(const ResourceKey& key);
  void set_node_of(MemberId member, std::string_view name);
  bool is_local(const WorkloadEndpoint& endpoint) const { return !node || endpoint.node == *node; }
  bool withhold(const ResourceKey& key, const WorkloadEndpoint& endpoint);
  void set_local(const ResourceKey& key, MemberId member, const WorkloadEndpoint& endpoint);
  void retire_local(const ResourceKey& key);
  void refuse(const ResourceKey& key, const std::string& why);
  void settle_interfaces();
  void settle_settings();
  void settle_locals(const std::vector<MemberId>& replanned, bool addresses_changed);
  void compute(const ResourceKey& key, LocalEndpoint& local);
  void settle_routes();
  std::optional<Route> route(const Prefix& prefix) const;
};

// --- resources in ---

void Engine::State::refuse(const ResourceKey& key, const std::string& why) {
  const auto it = refused.find(key);
  if (why.empty()) {
    if (it == refused.end()) return;
    refused.erase(it);
    out.refused.remove(key);
  } else if (it == refused.end() || it->second != why) {
    refused.insert_or_assign(key, why);
    out.refused.update(key, why);
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
  refuse(key, effective->broken.empty() ? "" : effective->broken + ": it denies all for whom it selects");
  policies.set_policy(key, *effective);
}

void Engine::State::set(const ResourceKey& key, const Profile& profile) {
  const auto rules = policy::effective(profile);
  refuse(key, rules.broken.empty() ? "" : rules.broken + ": it denies all");
  policies.set_profile(key, profile, rules);
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

// Whether an endpoint counts as absent: it asks to send from addresses that are not its own, and nobody
// allowed workloads to do so.
bool Engine::State::withhold(const ResourceKey& key, const WorkloadEndpoint& endpoint) {
  const auto known = spoofers.erase(key) > 0;
  if (endpoint.allowed_source_prefixes.empty()) {
    if (known) refuse(key, {});
    return false;
  }
  spoofers.emplace(key, endpoint);
  const bool allowed = settings && settings->allow_spoofing;
  refuse(key,
         allowed
             ? ""
             : "it has allowed source prefixes, but workloadSourceSpoofing is not Any: it counts as absent");
  return !allowed;
}

void Engine::State::set(const ResourceKey& key, const WorkloadEndpoint& endpoint) {
  if (withhold(key, endpoint) || endpoint.addresses.empty()) {
    remove_member(key);
    return;
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
    for (const auto place : places) rerouted.push_back(addresses.prefix(place));
  }
  if (is_local(endpoint)) {
    set_local(key, member, endpoint);
  } else {
    retire_local(key);
  }
}

void Engine::State::set_local(const ResourceKey& key, MemberId member, const WorkloadEndpoint& endpoint) {
  auto wanted = endpoint.addresses;
  std::ranges::sort(wanted);
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());
  const auto it = locals.find(key);
  const bool same = it != locals.end() && it->second.node == endpoint.node &&
                    it->second.interface_name == endpoint.interface_name &&
                    std::ranges::equal(it->second.addresses, wanted, {}, &LocalEndpoint::Address::address);
  if (!same) {
    retire_local(key);
    LocalEndpoint local{.member = member, .node = endpoint.node, .interface_name = endpoint.interface_name};
    for (const auto& address : wanted) {
      local.addresses.push_back({address});
      rerouted.push_back(Prefix::host(address));
    }
    const auto added = locals.insert_or_assign(key, std::move(local)).first;
    local_by_member.insert_or_assign(member, &added->first);
    const std::pair interface{endpoint.node, endpoint.interface_name};
    claims_by_interface[interface].insert(key);
    contested.insert(interface);
  }
  auto& local = locals.at(key);
  local.profiles = endpoint.profiles;
  if (local.in_force) policies.set_local(member, local.profiles);
}

// Takes a local endpoint away; its programs stay until the end of the batch, so that what another needs of
// them is not lost.
void Engine::State::retire_local(const ResourceKey& key) {
  const auto it = locals.find(key);
  if (it == locals.end()) return;
  auto& local = it->second;
  for (const auto& address : local.addresses) rerouted.push_back(Prefix::host(address.address));
  policies.remove_local(local.member);
  local_by_member.erase(local.member);
  const std::pair interface{local.node, local.interface_name};
  auto& claims = claims_by_interface[interface];
  claims.erase(key);
  contested.insert(interface);
  if (waiting.erase(key) > 0) refuse(key, {});
  retired.emplace_back(key, std::move(local));
  restart.erase(key);
  locals.erase(it);
}

void Engine::State::set(const ResourceKey&, const Node& resource) {
  const auto& name = resource.metadata.name;
  if (ways.set_node(resource)) moved_nodes.insert(name);
  if (node && name == *node) {
    labels_by_node.insert_or_assign(name, resource.metadata.labels);
    resettle = true;
  }
}

void Engine::State::remove_node(const std::string& name) {
  if (ways.remove_node(name)) moved_nodes.insert(name);
  if (labels_by_node.erase(name) > 0) resettle = true;
}

void Engine::State::set(const ResourceKey& key, const Resource& resource) {
  std::visit(
      [&]<class T>(const T& value) {
        if constexpr (std::is_same_v<T, Tier>) {
          policies.set_tier(value);
        } else if constexpr (std::is_same_v<T, FelixConfiguration>) {
          configurations.insert_or_assign(key.name, value);
          resettle = true;
        } else if constexpr (std::is_same_v<T, NetworkPolicy> || std::is_same_v<T, NetworkSet> ||
                             std::is_same_v<T, Profile> || std::is_same_v<T, WorkloadEndpoint> ||
                             std::is_same_v<T, Node>) {
          set(key, value);
        }
      },
      resource);
}

void Engine::State::remove_member(const ResourceKey& key) {
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
    case Kind::kFelixConfiguration:
      configurations.erase(key.name);
      resettle = true;
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
      spoofers.erase(key);
      remove_member(key);
      break;
    default:
      policies.remove_policy(key);
      break;
  }
  refuse(key, {});
}

// --- the host ---

void Engine::State::settle_settings() {
  if (!std::exchange(resettle, false)) return;
  static const Labels kNone;
  const auto it = node ? labels_by_node.find(*node) : labels_by_node.end();
  auto now = resolve_settings(configurations, node, it == labels_by_node.end() ? kNone : it->second);
  policies.set_encapsulation(now.encapsulation);
  if (settings == now) return;
  const bool judge_spoofers = settings.value_or(HostSettings{}).allow_spoofing != now.allow_spoofing;
  settings = now;
  out.settings = std::move(now);
  if (!judge_spoofers) return;
  const auto again = spoofers;
  for (const auto& [key, endpoint] : again) set(key, endpoint);
}

// Of endpoints that want one interface the first has it; the others wait.
void Engine::State::settle_interfaces() {
  for (const auto& interface : std::exchange(contested, {})) {
    const auto it = claims_by_interface.find(interface);
    if (it == claims_by_interface.end()) continue;
    if (it->second.empty()) {
      claims_by_interface.erase(it);
      continue;
    }
    const auto& first = *it->second.begin();
    for (const auto& key : it->second) {
      auto& local = locals.at(key);
      // Without a host to be on, nobody is in anybody's way.
      const bool nameless = interface.second.empty();
      const bool has_it = node ? key == first && !nameless : key == first || nameless;
      if (has_it) {
        if (waiting.erase(key) > 0) refuse(key, {});
      } else {
        waiting.insert_or_assign(key, "");
        refuse(key, nameless
                        ? std::string{"it names no interface"}
                        : fmt::format("interface {} belongs to {}", interface.second, first.to_string()));
      }
      if (has_it == local.in_force) continue;
      local.in_force = has_it;
      for (const auto& address : local.addresses) rerouted.push_back(Prefix::host(address.address));
      if (has_it) {
        policies.set_local(local.member, local.profiles);
        restart.insert(key);
      } else {
        policies.remove_local(local.member);
        auto copy = local;
        for (auto& address : local.addresses) address = {address.address};
        retired.emplace_back(key, std::move(copy));
      }
    }
  }
}

// New programs for the addresses of an endpoint; old ones are put aside.
void Engine::State::compute(const ResourceKey& key, LocalEndpoint& local) {
  const auto& plans = policies.plans(local.member);
  EndpointState state{.interface_name = local.interface_name, .addresses = {}};
  LocalEndpoint before{.member = local.member};
  for (auto& address : local.addresses) {
    before.addresses.push_back(address);
    address.place = addresses.find(Prefix::host(address.address));
    address.signature = addresses.signature(address.place);
    sets.signatures.retain(address.signature);
    for (const auto direction : policy::kDirections) {
      const auto side = static_cast<std::size_t>(direction);
      address.programs[side] = programs.acquire(plans[side], address.address.family(), address.signature);
    }
    state.addresses.push_back(
        {address.address, programs.id(address.programs[0]), programs.id(address.programs[1])});
  }
  const bool same = std::ranges::equal(before.addresses, local.addresses, {},
                                       &LocalEndpoint::Address::programs, &LocalEndpoint::Address::programs);
  if (!same) out.endpoints.update(key, std::move(state));
  releasing.push_back(std::move(before));
}

void Engine::State::settle_locals(const std::vector<MemberId>& replanned, bool addresses_changed) {
  std::set<ResourceKey> dirty = std::exchange(restart, {});
  for (const auto member : replanned) {
    if (const auto it = local_by_member.find(member); it != local_by_member.end()) dirty.insert(*it->second);
  }
  const auto& ports = members.changed_ports();
  for (const auto& [key, local] : locals) {
    if (!local.in_force) continue;
    bool moved = false;
    if (addresses_changed && !dirty.contains(key)) {
      moved = std::ranges::any_of(local.addresses, [&](const LocalEndpoint::Address& address) {
        return addresses.signature(address.place) != address.signature;
      });
    }
    for (std::size_t side = 0; side < 2 && !ports.empty(); ++side) {
      const auto& plan = policies.plans(local.member)[side];
      moved = moved || std::ranges::any_of(ports, [&](policy::AtomId atom) {
                return plan && std::ranges::binary_search(plan->named_ports, atom);
              });
    }
    if (moved) dirty.insert(key);
  }
  for (const auto& key : dirty) compute(key, locals.at(key));
  for (auto& [key, local] : std::exchange(retired, {})) {
    const auto it = locals.find(key);
    if (it == locals.end() || !it->second.in_force) out.endpoints.remove(key);
    releasing.push_back(std::move(local));
  }
  for (const auto& local : std::exchange(releasing, {})) {
    for (const auto& address : local.addresses) {
      sets.signatures.release(address.signature);
      for (const auto program : address.programs) {
        if (program != 0) programs.release(program);
      }
    }
  }
}

// --- routes ---

std::optional<Route> Engine::State::route(const Prefix& prefix) const {
  const auto place = addresses.find(prefix);
  if (place == 0) return std::nullopt;
  std::vector<std::pair<ResourceKey, network::Claim>> claims;
  for (const auto member : addresses.members(place)) {
    if (member >= node_by_member.size() || node_by_member[member] == 0) continue;  // a network set
    network::Claim claim{.node = node_names[node_by_member[member]]};
    if (const auto it = local_by_member.find(member); it != local_by_member.end()) {
      const auto& local = locals.at(*it->second);
      if (!local.in_force || local.interface_name.empty()) continue;
      claim.local = true;
      claim.interface_name = local.interface_name;
    }
    claims.emplace_back(keys[member], claim);
  }
  std::ranges::sort(claims, {}, [](const auto& claim) -> const ResourceKey& { return claim.first; });
  std::vector<network::Claim> in_order;
  for (const auto& claim : claims) in_order.push_back(claim.second);
  auto way = ways.way(prefix.address, in_order);
  if (!way) return std::nullopt;
  return Route{.kind = way->next_hop ? Route::Kind::kHost : Route::Kind::kWorkload,
               .interface_name = std::move(way->interface_name),
               .next_hop = way->next_hop};
}

void Engine::State::settle_routes() {
  if (!moved_nodes.empty()) {
    for (MemberId member = 1; member < node_by_member.size(); ++member) {
      const auto name = node_by_member[member];
      if (name == 0 || !moved_nodes.contains(node_names[name])) continue;
      for (const auto place : members.places(member)) rerouted.push_back(addresses.prefix(place));
    }
    moved_nodes.clear();
  }
  std::ranges::sort(rerouted);
  rerouted.erase(std::ranges::unique(rerouted).begin(), rerouted.end());
  for (const auto& prefix : rerouted) {
    if (auto now = route(prefix)) {
      routed.insert(prefix);
      out.routes.update(prefix, *std::move(now));
    } else if (routed.erase(prefix) > 0) {
      out.routes.remove(prefix);
    }
  }
  rerouted.clear();
}

// --- the engine ---

Engine::Engine(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

HostChanges Engine::update(const ResourceChanges& changes) {
  auto& state = *state_;
  for (const auto& [key, resource] : changes.entries()) {
    if (resource) {
      state.set(key, *resource);
    } else {
      state.remove(key);
    }
  }
  state.settle_settings();
  state.settle_interfaces();
  for (const auto member : state.members.touched()) state.policies.touch_labels(member);
  const auto replanned = state.policies.update();
  state.members.update(state.book, state.book.take_touched());
  auto addresses = state.addresses.update(state.members);
  state.settle_locals(replanned, addresses.any);
  state.settle_routes();
  state.programs.update(state.addresses, addresses, state.out.tables);
  state.out.tables.classes = std::move(addresses.classes);
  state.out.tables.dictionary = state.ids.end_batch();
  state.sets.end_batch();
  for (const auto member : std::exchange(state.gone_members, {})) state.keys.release(member);
  return std::exchange(state.out, {});
}

Engine::Counters Engine::counters() const {
  const auto& state = *state_;
  using policy::IdSpace;
  return {.endpoints = state.keys.size(),
          .local_endpoints = state.locals.size(),
          .policies = state.policies.policy_count(),
          .active_policies = state.policies.active_policy_count(),
          .sets = state.sets.size(),
          .classes = state.addresses.class_count(),
          .programs = state.programs.program_count(),
          .tables = state.ids.size(IdSpace::kTable),
          .outcomes = state.ids.size(IdSpace::kOutcome)};
}

}  // namespace ocicat
