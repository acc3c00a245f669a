// The ways to addresses: who has them, where that is, and by which tunnel.
#include <algorithm>
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

// `place`: where the address is somebody's; 0: it is nobody's, or the prefix is no single address.
std::optional<Route> Engine::State::route(const Prefix& prefix, policy::PlaceId place) const {
  auto owners = place == 0 ? std::vector<MemberId>() : addresses.members(place);
  if (owners.size() > 1) std::ranges::sort(owners, {}, [this](MemberId member) { return keys[member]; });
  std::vector<network::Claim> claims;
  for (const auto member : owners) {
    if (member >= node_by_member.size() || node_by_member[member] == 0) continue;  // a network set
    network::Claim claim{.node = node_names[node_by_member[member]]};
    if (const auto it = local_by_member.find(member); it != local_by_member.end()) {
      const auto& local = locals.at(*it->second);
      if (!local.in_force || local.interface_name.empty()) continue;
      claim.local = true;
      claim.interface_name = local.interface_name;
    }
    claims.push_back(claim);
  }
  if (claims.empty() && prefix.is_host()) {
    if (const auto claim = floating_claim(prefix.address)) claims.push_back(*claim);
  }
  auto way = ways.way(prefix, claims);
  // Where a pool asks for tunnels, the ways beside them are ours as well.
  const auto tunnelled = [&](const auto& pool) {
    return pool.second.encapsulated() && pool.second.cidr.contains(prefix.address);
  };
  const bool by_router = way && way->kind == Route::Kind::kHost && router == Router::kRuns;
  if (by_router && std::ranges::none_of(network.pools, tunnelled)) return std::nullopt;
  return way;
}

// The devices of overlays in use, and who is at the other ends.
void Engine::State::settle_overlays() {
  std::ranges::sort(touched_peers);
  touched_peers.erase(std::ranges::unique(touched_peers).begin(), touched_peers.end());
  for (const auto& address : std::exchange(touched_peers, {})) {
    rerouted.push_back(Prefix::host(address));  // a block may have given it to a workload
    if (const auto peer = ways.peer(address)) {
      out.peers.update(address, *peer);
    } else {
      out.peers.remove(address);
    }
  }
  VxlanDevices now;
  const auto* own = ways.own();
  for (const auto family : kFamilies) {
    const std::size_t index = family == Family::kIpv4 ? 0 : 1;
    if (own == nullptr || !settings->overlays.vxlan(family)) continue;
    if (!own->address(family) || !own->vtep(family)) continue;
    now[index] = VxlanDevice{.end = *own->vtep(family),
                             .host = own->address(family)->address,
                             .vni = settings->overlays.vni,
                             .port = settings->encapsulation.vxlan_port,
                             .mtu = settings->overlays.mtus[index],
                             .checksum_offload_broken = settings->overlays.checksum_offload_broken};
  }
  if (now != vxlan) out.vxlan.emplace(vxlan = now);
  std::optional<IpipDevice> tunnel;
  if (own != nullptr && settings->overlays.ipip && own->address(Family::kIpv4)) {
    tunnel = IpipDevice{.host = own->address(Family::kIpv4)->address,
                        .address = own->ipip,
                        .mtu = settings->overlays.ipip_mtu};
  }
  if (tunnel != ipip) out.ipip.emplace(ipip = tunnel);
}

void Engine::State::settle_route(const Prefix& prefix, policy::PlaceId place) {
  if (auto now = route(prefix, place)) {
    routed.insert(prefix);
    out.routes.update(prefix, *std::move(now));
  } else if (routed.erase(prefix) > 0) {
    out.routes.remove(prefix);
  }
}

// Of hosts that have moved, or of all.
void Engine::State::settle_routes_of_endpoints() {
  std::vector<bool> moved(node_names.bound(), moved_all);
  for (const auto& name : moved_nodes) {
    if (const auto number = node_names.find(name); number != 0) moved[number] = true;
  }
  for (MemberId member = 1; member < node_by_member.size(); ++member) {
    const auto number = node_by_member[member];
    if (number == 0 || !moved[number]) continue;
    for (const auto place : members.places(member)) settle_route(addresses.prefix(place), place);
  }
}

// Whoever has an address there.
void Engine::State::reroute_inside(const Prefix& block) {
  std::optional<IpAddress> address = block.first();
  for (const auto last = block.last(); address && *address <= last; address = address->next()) {
    if (addresses.find(Prefix::host(*address)) != 0) rerouted.push_back(Prefix::host(*address));
  }
}

void Engine::State::settle_routes() {
  if (moved_all) {
    ways.blocks().all_prefixes(rerouted);
  } else {
    for (const auto& name : moved_nodes) ways.blocks().prefixes_of(name, rerouted);
    for (const auto& block : moved_blocks) reroute_inside(block);
  }
  if (moved_all || !moved_nodes.empty()) settle_routes_of_endpoints();
  moved_nodes.clear();
  moved_blocks.clear();
  moved_all = false;
  std::ranges::sort(rerouted);
  rerouted.erase(std::ranges::unique(rerouted).begin(), rerouted.end());
  for (const auto& prefix : rerouted) settle_route(prefix, prefix.is_host() ? addresses.find(prefix) : 0);
  rerouted.clear();
}

}  // namespace ocicat
