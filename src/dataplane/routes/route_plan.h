// What is wanted of the routing table against what is there. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/host_state.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

// Calico's normal metric, below which better routes may stand.
inline constexpr std::uint32_t kRouteMetric = 1024;

inline constexpr const char* kIpipName = "tunl0";

using NextHops = std::map<IpAddress, kernel::NextHop>;  // those that can be reached

struct RoutePlan {
  std::vector<kernel::KernelRoute> add;  // first, so that a route that moves is never missing
  std::vector<kernel::KernelRoute> remove;
  std::set<Prefix> waiting;  // interface not there or not up, next hop not reachable
};

// `ours` holds only routes carrying our protocol number; others are never touched. Without `sweep` nothing is
// removed but for prefixes that are wanted otherwise, or that are in `released`.
RoutePlan plan_routes(const std::map<Prefix, Route>& wanted, const std::map<std::string, kernel::Link>& links,
                      const NextHops& next_hops, const std::set<kernel::KernelRoute>& ours, bool sweep,
                      const std::set<Prefix>& released);

}  // namespace ocicat::dataplane
