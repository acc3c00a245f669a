// The ways to addresses: who has them, and where that is.
#include <algorithm>
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

std::optional<Route> Engine::State::route(const Prefix& prefix) const {
  const auto place = addresses.find(prefix);
  if (place == 0) return std::nullopt;
  std::vector<std::pair<MemberId, network::Claim>> claims;
  for (const auto member : addresses.members(place)) {
    if (member >= node_by_member.size() || node_by_member[member] == 0) continue;  // a network set
    network::Claim claim{.node = node_names[node_by_member[member]]};
    if (const auto it = local_by_member.find(member); it != local_by_member.end()) {
      const auto& local = locals.at(*it->second);
      if (!local.in_force || local.interface_name.empty()) continue;
      claim.local = true;
      claim.interface_name = local.interface_name;
    }
    claims.emplace_back(member, claim);
  }
  if (claims.size() > 1)
    std::ranges::sort(claims, {}, [this](const auto& claim) { return keys[claim.first]; });
  std::vector<network::Claim> in_order;
  in_order.reserve(claims.size());
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

}  // namespace ocicat
