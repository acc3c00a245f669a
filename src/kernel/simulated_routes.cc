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
    if (auto refused = refuse ? refuse(route) : std::nullopt) {
      failures.push_back({route, *std::move(refused)});
    } else if (!route.blackhole && !is_up(route.link)) {
      failures.push_back({route, {ErrorCode::kNotFound, "no such link, or it is down"}});
    } else if (!has_object_of(route)) {
      failures.push_back({route, {ErrorCode::kInvalid, "no such next hop object"}});
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

bool SimulatedRoutes::is_up(int link) const {
  const auto found = link_by_index.find(link);
  return found != link_by_index.end() && found->second.up;
}

bool SimulatedRoutes::has_object_of(const KernelRoute& route) const {
  if (route.object == 0) return true;
  const auto found = hop_by_number.find(route.object);
  return found != hop_by_number.end() &&
         found->second.second == HopObject{route.object, route.link, route.gateway.value_or(IpAddress())};
}

Result<std::vector<HopObject>> SimulatedRoutes::hops(int protocol) {
  if (const auto error = fault()) return std::unexpected(*error);
  std::vector<HopObject> hops;
  for (const auto& [number, hop] : hop_by_number) {
    if (hop.first == protocol) hops.push_back(hop.second);
  }
  return hops;
}

Result<std::vector<HopFailure>> SimulatedRoutes::add(int protocol, const std::vector<HopObject>& hops) {
  if (const auto error = fault()) return std::unexpected(*error);
  std::vector<HopFailure> failures;
  for (const auto& hop : hops) {
    if (auto refused = refuse_hop ? refuse_hop(hop) : std::nullopt) {
      failures.push_back({hop, *std::move(refused)});
    } else if (!is_up(hop.link)) {
      failures.push_back({hop, {ErrorCode::kNotFound, "no such link, or it is down"}});
    } else if (!hop_by_number.try_emplace(hop.number, protocol, hop).second) {
      failures.push_back({hop, {ErrorCode::kAlreadyExists, "an object has this number"}});
    }
  }
  return failures;
}

void SimulatedRoutes::lose_routes_without_object() {
  for (auto& [protocol, routes] : routes_by_protocol) {
    routes_lost += static_cast<int>(
        std::erase_if(routes, [&](const KernelRoute& route) { return !has_object_of(route); }));
  }
}

Result<std::vector<HopFailure>> SimulatedRoutes::remove(const std::vector<HopObject>& hops) {
  if (const auto error = fault()) return std::unexpected(*error);
  for (const auto& hop : hops) hop_by_number.erase(hop.number);
  lose_routes_without_object();
  return std::vector<HopFailure>{};
}

Result<std::set<std::uint32_t>> SimulatedRoutes::hops_others_use(int protocol) {
  if (const auto error = fault()) return std::unexpected(*error);
  ++dumps_of_all;
  std::set<std::uint32_t> used;
  for (const auto& [of, routes] : routes_by_protocol) {
    if (of == protocol) continue;
    for (const auto& route : routes) used.insert(route.object);
  }
  used.erase(0);
  return used;
}

void SimulatedRoutes::flush() {
  std::erase_if(hop_by_number, [&](const auto& entry) { return !is_up(entry.second.second.link); });
  for (auto& [protocol, routes] : routes_by_protocol) {
    std::erase_if(routes, [&](const KernelRoute& route) { return !route.blackhole && !is_up(route.link); });
  }
}

Result<NextHop> SimulatedRoutes::next_hop(const IpAddress& address) {
  ++asked_for_hops;
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
