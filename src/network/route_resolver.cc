#include "network/route_resolver.h"

#include <algorithm>
#include <utility>

namespace ocicat::network {

RouteResolver::Changed RouteResolver::set_node(const Node& node) {
  auto changed = hosts_.set(node);
  return {.all = changed.host && is_own(node.metadata.name),
          .node = changed.host,
          .peers = std::move(changed.peers)};
}

RouteResolver::Changed RouteResolver::remove_node(const std::string& name) {
  auto changed = hosts_.remove(name);
  return {.all = changed.host && is_own(name), .node = changed.host, .peers = std::move(changed.peers)};
}

bool RouteResolver::set_pool(const IpPool& pool) {
  const auto [it, is_new] = pools_.try_emplace(pool.metadata.name, pool);
  if (is_new) return true;
  const auto before = std::exchange(it->second, pool);
  return before.cidr != pool.cidr || before.vxlan != pool.vxlan || before.ipip != pool.ipip;
}

bool RouteResolver::remove_pool(const std::string& name) {
  return pools_.erase(name) > 0;
}

// The API lets no two pools overlap; where they do, the longest counts.
const IpPool* RouteResolver::pool_of(const IpAddress& address) const {
  const IpPool* found = nullptr;
  for (const auto& [name, pool] : pools_) {
    if (pool.cidr.contains(address) && (found == nullptr || found->cidr.length < pool.cidr.length))
      found = &pool;
  }
  return found;
}

bool RouteResolver::tunnelled(IpPool::Encapsulation mode, const IpAddress& host) const {
  if (mode != IpPool::Encapsulation::kCrossSubnet) return mode == IpPool::Encapsulation::kAlways;
  const auto* here = own();
  const auto* address =
      here == nullptr || !here->address(host.family()) ? nullptr : &*here->address(host.family());
  return address == nullptr || !address->contains(host);
}

std::optional<Way> RouteResolver::way(const IpAddress& address, const std::vector<Claim>& claims) const {
  if (claims.empty()) return std::nullopt;
  const auto local = std::ranges::find_if(claims, &Claim::local);
  if (local != claims.end()) {
    return Way{
        .kind = Way::Kind::kInterface, .interface_name = std::string{local->interface_name}, .next_hop = {}};
  }
  const auto family = address.family();
  const auto* host = hosts_.find(claims.front().node);
  if (host == nullptr || !host->address(family)) return std::nullopt;
  const auto& next_hop = host->address(family)->address;
  if (const auto* pool = pool_of(address)) {
    if (tunnelled(pool->vxlan, next_hop)) {
      const auto& vtep = host->vtep(family);
      if (!vtep) return std::nullopt;
      return Way{.kind = Way::Kind::kVxlan, .interface_name = {}, .next_hop = vtep->address};
    }
    if (tunnelled(pool->ipip, next_hop))
      return Way{.kind = Way::Kind::kIpip, .interface_name = {}, .next_hop = next_hop};
  }
  return Way{.kind = Way::Kind::kHost, .interface_name = {}, .next_hop = next_hop};
}

}  // namespace ocicat::network
