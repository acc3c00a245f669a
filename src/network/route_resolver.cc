#include "network/route_resolver.h"

#include <algorithm>
#include <utility>

namespace ocicat::network {

bool RouteResolver::set_node(const Node& node) {
  Addresses addresses;
  if (node.ipv4) addresses.ipv4 = node.ipv4->address;
  if (node.ipv6) addresses.ipv6 = node.ipv6->address;
  auto& known = addresses_by_node_[node.metadata.name];
  return std::exchange(known, addresses) != addresses;
}

bool RouteResolver::remove_node(const std::string& name) {
  return addresses_by_node_.erase(name) > 0;
}

std::optional<Way> RouteResolver::way(const IpAddress& address, const std::vector<Claim>& claims) const {
  if (claims.empty()) return std::nullopt;
  const auto local = std::ranges::find_if(claims, &Claim::local);
  if (local != claims.end()) return Way{.interface_name = std::string{local->interface_name}, .next_hop = {}};
  const auto node = addresses_by_node_.find(claims.front().node);
  if (node == addresses_by_node_.end()) return std::nullopt;
  const auto& next_hop = address.is_v4() ? node->second.ipv4 : node->second.ipv6;
  if (!next_hop) return std::nullopt;
  return Way{.interface_name = {}, .next_hop = next_hop};
}

}  // namespace ocicat::network
