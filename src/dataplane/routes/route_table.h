// The routes of a host: holds those that carry our protocol number to what is desired.
//
//   writes   only what differs from what the kernel holds
//   errors   what failed is tried again at the next sync(); whatever else is possible is done
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "dataplane/routes/route_plan.h"
#include "engine/host_state.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

class RouteTable {
 public:
  struct Options {
    int protocol = 80;
    bool sweep = true;
  };
  // Borrows the kernel.
  RouteTable(kernel::RouteKernel& kernel, Options options) : kernel_(kernel), options_(options) {}

  void want(const Changes<Prefix, Route>& routes, const Changes<ResourceKey, EndpointState>& endpoints);

  // What the kernel says is known no longer.
  void distrust_links() { links_known_ = false; }
  void distrust_next_hops() { next_hops_.clear(); }
  void distrust_routes() { routes_known_ = false; }

  // The links of the host, read where they are not known.
  Result<void> learn_links();
  const std::map<std::string, kernel::Link>& links() const { return links_; }

  // Makes it so. An error names the first of what failed.
  Result<void> sync();

  // Whether the interface is there and up, and the routes of the endpoint's addresses are in place.
  bool is_ready(const EndpointState& endpoint) const;
  std::uint64_t writes() const { return writes_; }
  bool has_next_hops() const;

 private:
  Result<void> learn();
  Result<void> set_up_interfaces();
  void find_next_hops();
  Result<void> check_tunnels() const;

  kernel::RouteKernel& kernel_;
  Options options_;
  std::map<Prefix, Route> wanted_;
  struct WorkloadInterface {
    std::string name;
    bool any_path = false;  // it may send from others' addresses
  };
  std::map<ResourceKey, WorkloadInterface> interface_by_endpoint_;
  std::map<std::string, kernel::Link> links_;  // by name
  // Interface → index of the link whose settings are made, and whether for any path.
  std::map<std::string, std::pair<int, bool>> set_up_;
  NextHops next_hops_;
  std::set<kernel::KernelRoute> ours_;
  std::set<Prefix> released_;  // wanted once by us, and no longer
  std::set<Prefix> waiting_;
  bool links_known_ = false;
  bool routes_known_ = false;
  bool forwarding_ = false;
  std::uint64_t writes_ = 0;
};

// Removes every route that carries the protocol number.
Result<void> remove_routes(kernel::RouteKernel& kernel, int protocol);

}  // namespace ocicat::dataplane
