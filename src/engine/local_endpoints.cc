// Endpoints of this host: who has which interface, and which programs.
#include <algorithm>
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {
namespace {

std::vector<Prefix> disjoint(std::vector<Prefix> prefixes) {
  for (auto& prefix : prefixes) prefix = prefix.masked();
  std::ranges::sort(prefixes);  // what contains others comes before them
  std::vector<Prefix> kept;
  for (const auto& prefix : prefixes) {
    if (kept.empty() || !kept.back().contains(prefix)) kept.push_back(prefix);
  }
  return kept;
}

}  // namespace

void Engine::State::set_local(const ResourceKey& key, MemberId member, const WorkloadEndpoint& endpoint) {
  auto wanted = endpoint.addresses;
  std::ranges::sort(wanted);
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());
  auto sources = disjoint(endpoint.allowed_source_prefixes);
  const auto it = locals.find(key);
  const bool same = it != locals.end() && it->second.node == endpoint.node &&
                    it->second.interface_name == endpoint.interface_name && it->second.sources == sources &&
                    std::ranges::equal(it->second.addresses, wanted, {}, &LocalEndpoint::Address::address);
  if (!same) {
    retire_local(key);
    LocalEndpoint local{.member = member,
                        .node = endpoint.node,
                        .interface_name = endpoint.interface_name,
                        .arrival = ++arrivals};
    local.sources = std::move(sources);
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
  local.limits = endpoint.qos.limits;
  local.limits_told = endpoint.qos.told;
  if (local.in_force && !local.denied && local.limits != local.shown_limits) restart.insert(key);
  if (local.in_force) policies.set_local(member, local.profiles);
}

// Takes a local endpoint away; its programs stay until the end of the batch, so that what another needs of
// them is not lost.
void Engine::State::tell_bounded(const ResourceKey& key, const std::string& what) {
  const auto before = bounded.find(key);
  if (what.empty() ? before == bounded.end() : before != bounded.end() && before->second == what) return;
  if (what.empty()) {
    bounded.erase(before);
    out.bounded.remove(key);
  } else {
    bounded.insert_or_assign(key, what);
    out.bounded.update(key, what);
  }
}

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
  tell_bounded(key, {});
  forget_denied(key);
  retired.emplace_back(key, std::move(local));
  restart.erase(key);
  locals.erase(it);
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
      floating.touch(key);
      if (has_it) {
        policies.set_local(local.member, local.profiles);
        restart.insert(key);
      } else {
        policies.remove_local(local.member);
        forget_denied(key);
        local.denied = false;
        auto copy = local;
        for (auto& address : local.addresses) address = {address.address};
        local.source_chains = {};
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
  before.source_chains = std::exchange(local.source_chains, {});
  state.sources = local.sources;
  for (const auto& source : local.sources) {
    const std::size_t family = source.family() == Family::kIpv4 ? 0 : 1;
    auto& chain = local.source_chains[family];
    if (chain == 0) chain = programs.acquire_chain(plans[1], source.family());
    state.source_chains[family] = programs.chain_id(chain);
  }
  state.limits = local.limits;
  const bool same = std::exchange(local.shown_limits, local.limits) == local.limits &&
                    before.source_chains == local.source_chains &&
                    std::ranges::equal(before.addresses, local.addresses, {},
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
    if (!local.in_force || local.denied) continue;
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
  for (const auto& key : dirty) {
    auto& local = locals.at(key);
    if (local.denied) {
      retry_from = std::min(retry_from, local.arrival);
    } else {
      compute(key, local);
    }
  }
  for (auto& [key, local] : std::exchange(retired, {})) {
    const auto it = locals.find(key);
    if (it == locals.end() || !it->second.in_force) out.endpoints.remove(key);
    releasing.push_back(std::move(local));
  }
  for (const auto& local : std::exchange(releasing, {})) give_back(local);
}

// The uses that it has of chains, programs and signatures.
void Engine::State::give_back(const LocalEndpoint& local) {
  for (const auto chain : local.source_chains) {
    if (chain != 0) programs.release_chain(chain);
  }
  for (const auto& address : local.addresses) {
    sets.signatures.release(address.signature);
    for (const auto program : address.programs) {
      if (program != 0) programs.release(program);
    }
  }
}

}  // namespace ocicat
