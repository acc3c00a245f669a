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

bool RouteResolver::tunnelled(IpPool::Encapsulation mode, Family family,
                              const std::optional<IpAddress>& host) const {
  if (mode != IpPool::Encapsulation::kCrossSubnet) return mode == IpPool::Encapsulation::kAlways;
  const auto* here = own();
  if (here == nullptr || !host) return true;
  const auto& address = here->address(family);
  return !address || !address->contains(*host);
}

// Empty: nobody's, or where the block around it leads anyway.
std::string_view RouteResolver::host_of(const Prefix& prefix, const std::vector<Claim>& claims) const {
  if (prefix.is_host()) {
    // The address of a host is its own way, whatever block it lies in.
    if (const auto* node = blocks_.elsewhere(prefix.address))
      return hosts_.has(prefix.address) ? std::string_view() : *node;
    if (!claims.empty()) {
      Prefix around;
      const auto* block = blocks_.covering(prefix.address, around);
      const auto node = claims.front().node;
      return block != nullptr && around != prefix && block->node == node ? std::string_view() : node;
    }
  }
  const auto* block = blocks_.find(prefix);
  return block == nullptr ? std::string_view() : block->node;
}

std::optional<Way> RouteResolver::way_to(std::string_view node, const IpAddress& address) const {
  const auto family = address.family();
  std::optional<IpAddress> there, vtep;
  if (const auto* host = hosts_.find(node); host != nullptr && host->address(family)) {
    there = host->address(family)->address;
    if (const auto& end = host->vtep(family)) vtep = end->address;
  }
  if (const auto* pool = pool_of(address)) {
    if (tunnelled(pool->vxlan, family, there))
      return Way{.kind = Way::Kind::kVxlan, .interface_name = {}, .next_hop = vtep};
    if (tunnelled(pool->ipip, family, there))
      return Way{.kind = Way::Kind::kIpip, .interface_name = {}, .next_hop = there};
  }
  if (!there) return std::nullopt;
  return Way{.kind = Way::Kind::kHost, .interface_name = {}, .next_hop = there};
}

bool RouteResolver::is_idle_end(std::string_view node, const IpAddress& address) const {
  const auto* host = hosts_.find(node);
  if (host == nullptr) return false;
  const auto travels_in = [&](IpPool::Encapsulation IpPool::* tunnel) {
    return std::ranges::any_of(pools_, [&](const auto& entry) {
      const auto& [name, pool] = entry;
      return pool.cidr.family() == address.family() && pool.*tunnel != IpPool::Encapsulation::kNever;
    });
  };
  if (const auto& end = host->vtep(address.family()); end && end->address == address)
    return !travels_in(&IpPool::vxlan);
  return host->ipip == address && !travels_in(&IpPool::ipip);
}

std::optional<Way> RouteResolver::way(const Prefix& prefix, const std::vector<Claim>& claims) const {
  const auto local = std::ranges::find_if(claims, &Claim::local);
  if (local != claims.end()) {
    return Way{
        .kind = Way::Kind::kInterface, .interface_name = std::string{local->interface_name}, .next_hop = {}};
  }
  const auto node = host_of(prefix, claims);
  if (node.empty()) return std::nullopt;
  if (!is_own(node)) {
    if (prefix.is_host() && claims.empty() && is_idle_end(node, prefix.address)) return std::nullopt;
    return way_to(node, prefix.address);
  }
  if (prefix.is_host()) return std::nullopt;
  return Way{.kind = Way::Kind::kNowhere, .interface_name = {}, .next_hop = {}};
}

}  // namespace ocicat::network
