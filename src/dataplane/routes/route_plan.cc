#include "dataplane/routes/route_plan.h"

#include <algorithm>

#include "dataplane/overlay/ipip.h"
#include "dataplane/overlay/vxlan.h"

namespace ocicat::dataplane {

std::optional<std::string> link_of(const Prefix& destination, const Route& route) {
  switch (route.kind) {
    case Route::Kind::kInterface:
      return route.interface_name;
    case Route::Kind::kVxlan:
      return std::string(vxlan_name(destination.family()));
    case Route::Kind::kIpip:
      return std::string(kIpipName);
    case Route::Kind::kHost:
    case Route::Kind::kNowhere:
      break;
  }
  return std::nullopt;
}

std::optional<kernel::KernelRoute> kernel_route(const Prefix& destination, const Route& route,
                                                const Links& links,
                                                const std::optional<kernel::NextHop>& hop) {
  if (route.kind == Route::Kind::kNowhere) return blackhole_for(destination);
  if (is_tunnelled(route) && !route.next_hop) return std::nullopt;
  kernel::KernelRoute result{destination, 0, std::nullopt, kRouteMetric};
  if (route.kind == Route::Kind::kHost) {
    if (!hop) return std::nullopt;
    result.link = hop->link;
    result.gateway = hop->gateway ? hop->gateway : route.next_hop;
    return result;
  }
  const auto link = links.find(*link_of(destination, route));
  if (link == links.end() || !link->second.up) return std::nullopt;
  result.link = link->second.index;
  result.gateway = route.next_hop;
  return result;
}

bool is_tunnelled(const Route& route) {
  return route.kind == Route::Kind::kVxlan || route.kind == Route::Kind::kIpip;
}

kernel::KernelRoute blackhole_for(const Prefix& destination) {
  return {destination, 0, std::nullopt, kRouteMetric, true};
}

void KnownRoutes::count(const kernel::KernelRoute& route) {
  if (route.object != 0) ++by_object_[route.object];
}

std::vector<Prefix> KnownRoutes::learn(const std::vector<kernel::KernelRoute>& there) {
  std::vector<Prefix> differ;
  for (const auto& route : others_) differ.push_back(route.destination);
  others_.clear();
  by_object_.clear();
  ++round_;
  std::size_t destinations = 0;
  for (const auto& route : there) {
    count(route);
    const auto [it, is_new] = first_.try_emplace(route.destination, Known{route, round_});
    auto& known = it->second;
    if (!is_new && known.round == round_) {
      others_.insert(route);
      differ.push_back(route.destination);
      continue;
    }
    ++destinations;
    if (is_new || known.route != route) differ.push_back(route.destination);
    known = {route, round_};
  }
  if (destinations == first_.size()) return differ;
  for (auto it = first_.begin(); it != first_.end();) {
    const auto known = it++;
    if (known->second.round == round_) continue;
    differ.push_back(known->first);
    first_.erase(known);
  }
  return differ;
}

void KnownRoutes::add(const kernel::KernelRoute& route) {
  const auto [it, is_new] = first_.try_emplace(route.destination, Known{route, round_});
  if (is_new || (it->second.route != route && others_.insert(route).second)) count(route);
}

void KnownRoutes::remove(const kernel::KernelRoute& route) {
  const bool is_other = others_.erase(route) > 0;
  const auto it = first_.find(route.destination);
  if (!is_other && (it == first_.end() || it->second.route != route)) return;
  const auto counted = by_object_.find(route.object);
  if (counted != by_object_.end() && --counted->second == 0) by_object_.erase(counted);
  if (is_other) return;
  const auto other = std::ranges::find(others_, route.destination, &kernel::KernelRoute::destination);
  if (other == others_.end()) {
    first_.erase(it);
  } else {
    it->second.route = *other;
    others_.erase(other);
  }
}

bool KnownRoutes::has(const kernel::KernelRoute& route) const {
  const auto it = first_.find(route.destination);
  return (it != first_.end() && it->second.route == route) || others_.contains(route);
}

std::optional<kernel::KernelRoute> KnownRoutes::like(const kernel::KernelRoute& route) const {
  const auto alike = [&](kernel::KernelRoute other) {
    other.object = route.object;
    return other == route;
  };
  const auto all = to(route.destination);
  const auto found = std::ranges::find_if(all, alike);
  return found == all.end() ? std::nullopt : std::optional(*found);
}

std::vector<kernel::KernelRoute> KnownRoutes::to(const Prefix& destination) const {
  std::vector<kernel::KernelRoute> routes;
  if (const auto it = first_.find(destination); it != first_.end()) routes.push_back(it->second.route);
  for (auto it = others_.lower_bound({.destination = destination});
       it != others_.end() && it->destination == destination; ++it)
    routes.push_back(*it);
  return routes;
}

void plan_route(const Prefix& destination, const std::optional<kernel::KernelRoute>& goal,
                const KnownRoutes& known, bool exclusive, RoutePlan& plan) {
  bool there = false;
  for (const auto& route : known.to(destination)) {
    if (goal && route == *goal) {
      there = true;
    } else if (exclusive) {
      plan.remove.push_back(route);
    }
  }
  if (goal && !there) plan.add.push_back(*goal);
}

}  // namespace ocicat::dataplane
