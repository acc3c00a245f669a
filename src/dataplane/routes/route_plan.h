// What is wanted of the routing table against what is there, one destination at a time. Pure.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/host_state.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

// Calico's normal metric, below which better routes may stand.
inline constexpr std::uint32_t kRouteMetric = 1024;

using Links = std::map<std::string, kernel::Link>;  // by name

// The name of the link that a route leads through, whatever else it needs; nothing: it has none, or the next
// hop says which.
std::optional<std::string> link_of(const Prefix& destination, const Route& route);

// The route as the kernel is to have it; nothing where the link is not there or not up, the next hop cannot be
// reached, or the end of the tunnel is not known. `hop` is for routes by a host.
std::optional<kernel::KernelRoute> kernel_route(const Prefix& destination, const Route& route,
                                                const Links& links,
                                                const std::optional<kernel::NextHop>& hop);

bool is_tunnelled(const Route& route);
kernel::KernelRoute blackhole_for(const Prefix& destination);

// The routes that carry our protocol number, as far as is known.
class KnownRoutes {
 public:
  // All there are. Answers destinations of which that is other than what was known.
  std::vector<Prefix> learn(const std::vector<kernel::KernelRoute>& there);
  void add(const kernel::KernelRoute& route);
  void remove(const kernel::KernelRoute& route);
  bool has(const kernel::KernelRoute& route) const;
  // One that leads the same way, whatever it is by.
  std::optional<kernel::KernelRoute> like(const kernel::KernelRoute& route) const;
  // Whether any is by the next hop object of that number.
  bool any_by(std::uint32_t object) const { return by_object_.contains(object); }
  // Those to a destination: usually none or one.
  std::vector<kernel::KernelRoute> to(const Prefix& destination) const;
  std::size_t size() const { return first_.size() + others_.size(); }

 private:
  struct Known {
    kernel::KernelRoute route;
    std::uint32_t round = 0;  // of learn() that saw it last
  };
  boost::unordered_flat_map<Prefix, Known> first_;
  void count(const kernel::KernelRoute& route);

  std::set<kernel::KernelRoute> others_;                             // where a destination has several
  boost::unordered_flat_map<std::uint32_t, std::size_t> by_object_;  // how many routes
  std::uint32_t round_ = 0;
};

struct RoutePlan {
  std::vector<kernel::KernelRoute> add;  // first, so that a route that moves is never missing
  std::vector<kernel::KernelRoute> remove;
};

// Adds to the plan what one destination needs. Without `exclusive` what is there beside `goal` stays.
void plan_route(const Prefix& destination, const std::optional<kernel::KernelRoute>& goal,
                const KnownRoutes& known, bool exclusive, RoutePlan& plan);

}  // namespace ocicat::dataplane
