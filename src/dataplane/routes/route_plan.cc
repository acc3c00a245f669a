#include "dataplane/routes/route_plan.h"

#include "dataplane/overlay/vxlan.h"

namespace ocicat::dataplane {
namespace {

std::optional<kernel::KernelRoute> resolved(const Prefix& prefix, const Route& route,
                                            const std::map<std::string, kernel::Link>& links,
                                            const NextHops& next_hops) {
  kernel::KernelRoute result{prefix.masked(), 0, std::nullopt, kRouteMetric};
  const auto via = [&](const std::string& name) -> std::optional<kernel::KernelRoute> {
    const auto link = links.find(name);
    if (link == links.end() || !link->second.up) return std::nullopt;
    result.link = link->second.index;
    result.gateway = route.next_hop;
    return result;
  };
  if (route.kind == Route::Kind::kInterface) return via(route.interface_name);
  if (!route.next_hop) return std::nullopt;
  if (route.kind == Route::Kind::kVxlan) return via(vxlan_name(prefix.family()));
  if (route.kind == Route::Kind::kIpip) return via(kIpipName);
  const auto hop = next_hops.find(*route.next_hop);
  if (hop == next_hops.end()) return std::nullopt;
  result.link = hop->second.link;
  result.gateway = hop->second.gateway ? hop->second.gateway : route.next_hop;
  return result;
}

}  // namespace

RoutePlan plan_routes(const std::map<Prefix, Route>& wanted, const std::map<std::string, kernel::Link>& links,
                      const NextHops& next_hops, const std::set<kernel::KernelRoute>& ours, bool sweep,
                      const std::set<Prefix>& released) {
  RoutePlan plan;
  std::set<kernel::KernelRoute> goal;
  std::set<Prefix> concerned = released;
  for (const auto& [prefix, route] : wanted) {
    concerned.insert(prefix.masked());
    if (const auto found = resolved(prefix, route, links, next_hops)) {
      goal.insert(*found);
      if (!ours.contains(*found)) plan.add.push_back(*found);
    } else {
      plan.waiting.insert(prefix);
    }
  }
  for (const auto& route : ours) {
    if (!goal.contains(route) && (sweep || concerned.contains(route.destination)))
      plan.remove.push_back(route);
  }
  return plan;
}

}  // namespace ocicat::dataplane
