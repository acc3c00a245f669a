// The routes of a host: holds those that carry our protocol number to what is desired.
//
//   writes   only what differs from what the kernel holds
//   cost     of a step: what it changes, and the routes by links and next hops that have changed; of routes
//            that were distrusted: a dump, compared as it comes
//   errors   what failed is tried again at the next sync(); whatever else is possible is done
//   tunnels  what is to travel in one never travels without: where its route cannot be, a blackhole is in its
//            place
//   objects  routes into tunnels are by next hop objects, one for each end, which come before the routes and go
//            when nobody's are by them any more: with one that goes the kernel takes its routes
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/overlay/open_tunnels.h"
#include "dataplane/routes/hop_table.h"
#include "dataplane/routes/route_plan.h"
#include "engine/host_state.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

class RouteTable {
 public:
  struct Options {
    int protocol = 80;
    bool sweep = true;
    std::uint32_t host_metric = kRouteMetric;  // of routes by other hosts
  };
  // Borrows the kernel.
  RouteTable(kernel::RouteKernel& kernel, Options options) : kernel_(kernel), options_(options) {}

  void want(const Changes<Prefix, Route>& routes, const Changes<ResourceKey, EndpointState>& endpoints);

  // Ends of that family's VXLAN tunnels that are there by now, or no more. A route into a tunnel waits for its
  // own; before anything is said of ends, one that the kernel has stays.
  void learn_ends(Family family, const Changes<IpAddress, TunnelEnd>& ends);

  // What the kernel says is known no longer.
  void distrust_links(const kernel::LinkDoubts& doubts = {.all = true}) { link_doubts_.add(doubts); }
  void distrust_next_hops() { next_hops_known_ = false; }
  // Also of who else uses our objects.
  void distrust_routes() {
    routes_known_ = false;
    lent_.reset();
  }

  bool knows_links() const { return !link_doubts_.any(); }
  // The links of the host, read where they are not known.
  Result<void> learn_links();
  const Links& links() const { return links_; }

  // Makes it so. An error names the first of what failed.
  Result<void> sync();

  // Whether the interface is there and up, and the routes of the endpoint's addresses are in place.
  bool is_ready(const EndpointState& endpoint) const;
  // Whether a route to it is wanted that is not in the kernel.
  bool lacks(const Prefix& destination) const { return waiting_.contains(destination); }
  // Whether the next hop object of that number is ours.
  bool has_hop(std::uint32_t number) const { return hops_.find(number) != nullptr; }
  // Whether the last sync() has left nothing that is not wanted any more, even where something new was refused.
  bool old_ways_gone() const { return old_ways_gone_; }
  // How many are wanted, and how many of them are not in the kernel.
  std::size_t wanted() const { return wanted_.size(); }
  std::size_t waiting() const { return waiting_.size(); }
  std::uint64_t writes() const { return writes_; }

 private:
  Result<Links> read_links() const;
  Result<void> learn();
  Result<void> set_up_interfaces();
  void find_next_hops();
  void ask_next_hop(const IpAddress& address, std::optional<kernel::NextHop>& known);
  // Whether all that a route into a tunnel needs is known: before, what is there stays.
  bool knows_tunnel(const Prefix& destination, const Route& route) const;
  // Where the route is to lead, by whatever; nothing: it cannot be, so far.
  std::optional<kernel::KernelRoute> way_of(const Prefix& destination, const Route& route) const;
  // The route as the kernel is to have it; nothing: it cannot be, so far.
  std::optional<kernel::KernelRoute> goal_of(const Prefix& destination, const Route& route) const;
  RoutePlan plan();
  Result<void> carry_out(const RoutePlan& plan);
  // Objects for all ways into tunnels that are to be, and have none.
  Result<void> bring_hops();
  std::vector<kernel::HopObject> missing_hops();
  // Of those that were refused, what still is.
  Result<std::vector<kernel::HopFailure>> renumber(std::vector<kernel::HopFailure> refused);
  Result<std::vector<kernel::HopFailure>> add_with_ways(std::vector<kernel::HopFailure> refused);
  Result<std::vector<kernel::HopFailure>> add_hops(const std::vector<kernel::HopObject>& hops);
  Result<void> take_hops_away();
  // Of ours, those by which no route of ours is and that nobody else uses.
  Result<std::vector<kernel::HopObject>> unused_hops();
  // All of these, once. What failed is to be looked at again.
  Result<void> settle();
  // Keeps or brings blackholes in place of those that were refused; what is left to be removed.
  Result<std::vector<kernel::KernelRoute>> stand_in(const std::vector<kernel::RouteFailure>& refused,
                                                    std::vector<kernel::KernelRoute> removed);
  void depend(const Prefix& destination, const Route& route);
  void no_longer_depend(const Prefix& destination, const Route& route);

  using Prefixes = boost::unordered_flat_set<Prefix>;
  void look_at(const Prefixes& prefixes) { dirty_.insert(dirty_.end(), prefixes.begin(), prefixes.end()); }

  kernel::RouteKernel& kernel_;
  Options options_;
  boost::unordered_flat_map<Prefix, Route> wanted_;
  // Which of them lead through a link, by a host, and to the end of a tunnel.
  std::map<std::string, Prefixes> wanted_by_link_;
  boost::unordered_flat_map<IpAddress, Prefixes> wanted_by_hop_;
  boost::unordered_flat_map<IpAddress, Prefixes> wanted_by_end_;
  std::vector<Prefix> dirty_;  // to be looked at; may be there twice
  struct WorkloadInterface {
    std::string name;
    bool any_path = false;  // it may send from others' addresses
  };
  std::map<ResourceKey, WorkloadInterface> interface_by_endpoint_;
  Links links_;
  // Interface → index of the link whose settings are made, and whether for any path.
  std::map<std::string, std::pair<int, bool>> set_up_;
  // Of all in wanted_by_hop_, once asked; nothing: it cannot be reached.
  boost::unordered_flat_map<IpAddress, std::optional<kernel::NextHop>> next_hops_;
  // Of those, the ones to ask for: new, or not reachable when they were asked for last.
  std::set<IpAddress> hops_to_ask_;
  boost::unordered_flat_set<IpAddress> ends_;  // of tunnels, that are there
  std::set<Family> ends_known_;
  KnownRoutes known_;
  HopTable hops_;
  std::vector<std::uint32_t> idle_hops_;         // by which no route may be; may be there twice
  std::optional<std::set<std::uint32_t>> lent_;  // objects that others use, once asked
  Prefixes released_;                            // wanted once by us, and no longer
  // Interface not there or not up, end of the tunnel not there, next hop not reachable, or refused by the
  // kernel.
  Prefixes waiting_;
  kernel::LinkDoubts link_doubts_{.all = true};
  bool next_hops_known_ = true;
  bool routes_known_ = false;
  bool old_ways_gone_ = false;
  bool forwarding_ = false;
  std::uint64_t writes_ = 0;
};

// Removes every route that carries the protocol number, and every next hop object.
Result<void> remove_routes(kernel::RouteKernel& kernel, int protocol);

}  // namespace ocicat::dataplane
