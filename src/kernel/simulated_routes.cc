#include "kernel/simulated_routes.h"

#include <algorithm>

namespace ocicat::kernel {

std::optional<Error> SimulatedRoutes::fault() {
  ++calls_;
  return fail_when ? fail_when(calls_) : std::nullopt;
}

Result<std::vector<Link>> SimulatedRoutes::links() {
  if (const auto error = fault()) return std::unexpected(*error);
  std::vector<Link> links;
  links.reserve(link_by_index.size());
  for (const auto& [index, link] : link_by_index) links.push_back(link);
  return links;
}

Result<std::vector<Link>> SimulatedRoutes::links(const std::set<int>& indexes) {
  TRY(auto links, this->links());
  std::erase_if(links, [&](const Link& link) { return !indexes.contains(link.index); });
  return links;
}

Result<std::set<int>> SimulatedRoutes::controlled() {
  if (const auto error = fault()) return std::unexpected(*error);
  return controlled_links;
}

Result<std::vector<KernelRoute>> SimulatedRoutes::routes(int protocol) {
  if (const auto error = fault()) return std::unexpected(*error);
  ++dumps;
  const auto& present = routes_by_protocol[protocol];
  return std::vector<KernelRoute>(present.begin(), present.end());
}

bool SimulatedRoutes::is_others(int protocol, const KernelRoute& route) const {
  return route.destination.family() == Family::kIpv6 &&
         std::ranges::any_of(routes_by_protocol, [&](const auto& entry) {
           return entry.first != protocol && entry.second.contains(route);
         });
}

Result<std::vector<RouteFailure>> SimulatedRoutes::add(int protocol, const std::vector<KernelRoute>& routes) {
  if (const auto error = fault()) return std::unexpected(*error);
  std::vector<RouteFailure> failures;
  for (const auto& route : routes) {
    const auto link = link_by_index.find(route.link);
    if (auto refused = refuse ? refuse(route) : std::nullopt) {
      failures.push_back({route, *std::move(refused)});
    } else if (!route.blackhole && (link == link_by_index.end() || !link->second.up)) {
      failures.push_back({route, {ErrorCode::kNotFound, "no such link, or it is down"}});
    } else if (is_others(protocol, route)) {
      failures.push_back({route, {ErrorCode::kAlreadyExists, "another program's route is there"}});
    } else {
      routes_by_protocol[protocol].insert(route);
    }
  }
  return failures;
}

Result<std::vector<RouteFailure>> SimulatedRoutes::remove(int protocol,
                                                          const std::vector<KernelRoute>& routes) {
  if (const auto error = fault()) return std::unexpected(*error);
  for (const auto& route : routes) routes_by_protocol[protocol].erase(route);
  return std::vector<RouteFailure>{};
}

Result<NextHop> SimulatedRoutes::next_hop(const IpAddress& address) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto found = next_hops.find(address);
  if (found == next_hops.end())
    return fail(ErrorCode::kNotFound, "no route to next hop {}", address.to_string());
  return found->second;
}

Result<bool> SimulatedRoutes::set(const std::string& setting, const std::string& value) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto found = settings.find(setting);
  if (found == settings.end()) return fail(ErrorCode::kNotFound, "no setting {}", setting);
  return std::exchange(found->second, value) != value;
}

}  // namespace ocicat::kernel
