// Host endpoints of this host: what they match interfaces by, and which chains they have.
#include <algorithm>
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

using policy::PolicyIndex;

void Engine::State::set(const ResourceKey& key, const HostEndpoint& endpoint) {
  const auto member = member_of(key);
  std::vector<Prefix> nets;
  nets.reserve(endpoint.expected_addresses.size());
  for (const auto& address : endpoint.expected_addresses) nets.push_back(Prefix::host(address));
  members.set(member, {.labels = endpoint.metadata.labels,
                       .profiles = endpoint.profiles,
                       .ports = endpoint.ports,
                       .nets = nets});
  if (node && endpoint.node != *node) {
    retire_host(key);
    return;
  }
  auto& host = local_hosts[key];
  if (host.member == 0) {
    host.member = member;
    host.state.id = ids.take(policy::IdSpace::kHostEndpoint, Digest::of(key.to_string()));
    host_by_member.insert_or_assign(member, key);
  }
  host.state.interface_name = endpoint.interface_name;
  host.state.expected_addresses = endpoint.expected_addresses;
  std::ranges::sort(host.state.expected_addresses);
  const bool all = endpoint.interface_name == kAllInterfaces;
  policies.set_local(member, endpoint.profiles,
                     all ? PolicyIndex::Role::kAllInterfaces : PolicyIndex::Role::kHost);
  restart_hosts.insert(key);
}

// Its chains stay until the end of the batch, so that what another needs of them is not lost.
void Engine::State::retire_host(const ResourceKey& key) {
  const auto it = local_hosts.find(key);
  if (it == local_hosts.end()) return;
  policies.remove_local(it->second.member);
  host_by_member.erase(it->second.member);
  ids.release(policy::IdSpace::kHostEndpoint, it->second.state.id);
  releasing_chains.push_back(it->second.chains);
  if (it->second.shown) out.host_endpoints.remove(key);
  restart_hosts.erase(key);
  refuse(key, {});
  local_hosts.erase(it);
}

void Engine::State::compute_host(const ResourceKey& key, LocalHost& host) {
  const auto& plans = policies.plans(host.member);
  releasing_chains.push_back(std::exchange(host.chains, {}));
  for (std::size_t family = 0; family < kFamilies.size(); ++family) {
    for (std::size_t hook = 0; hook < plans.size(); ++hook) {
      auto& chain = host.chains[family][hook];
      if (plans[hook]) chain = programs.acquire_chain(plans[hook], kFamilies[family]);
      host.state.chains[family][hook] = chain == 0 ? policy::ChainId{} : programs.chain_id(chain);
    }
  }
  if (host.shown != host.state) {
    host.shown = host.state;
    out.host_endpoints.update(key, host.state);
  }
  refuse(key, policies.ignores_untracked(host.member)
                  ? "doNotTrack policy selects it, and does not count at interfaceName *: it is ignored there"
                  : "");
}

void Engine::State::settle_hosts(const std::vector<MemberId>& replanned) {
  auto dirty = std::exchange(restart_hosts, {});
  for (const auto member : replanned) {
    if (const auto it = host_by_member.find(member); it != host_by_member.end()) dirty.insert(it->second);
  }
  const auto& ports = members.changed_ports();
  for (const auto& [key, host] : local_hosts) {
    if (ports.empty()) break;
    const bool moved = std::ranges::any_of(policies.plans(host.member), [&](const auto& plan) {
      return plan && std::ranges::any_of(ports, [&](policy::AtomId atom) {
               return std::ranges::binary_search(plan->named_ports, atom);
             });
    });
    if (moved) dirty.insert(key);
  }
  for (const auto& key : dirty) compute_host(key, local_hosts.at(key));
  for (const auto& chains : std::exchange(releasing_chains, {})) {
    for (const auto& of_family : chains) {
      for (const auto chain : of_family) {
        if (chain != 0) programs.release_chain(chain);
      }
    }
  }
}

}  // namespace ocicat
