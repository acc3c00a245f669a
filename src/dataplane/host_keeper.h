// Holds one host to what is desired: policy first, then routes, so that no way leads past policy or
// translation. The part of DataplaneLoop that neither waits nor knows the time.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "dataplane/dataplane.h"
#include "dataplane/limits/bandwidth_table.h"
#include "dataplane/nat/nat_table.h"
#include "dataplane/nftables/revocation.h"
#include "dataplane/overlay/ipip.h"
#include "dataplane/overlay/vxlan.h"
#include "dataplane/policy_datapath.h"
#include "dataplane/routes/route_table.h"
#include "kernel/connections.h"
#include "kernel/nft.h"

namespace ocicat::dataplane {

class HostKeeper {
 public:
  // Borrows the kernels.
  struct Kernels {
    kernel::nft::Kernel& policy_table;
    kernel::nft::Kernel& nat_table;
    kernel::RouteKernel& routes;
    kernel::TunnelKernel& tunnels;
    kernel::ConnectionKernel& connections;
    kernel::QueueKernel& queues;
  };
  HostKeeper(const Kernels& kernels, const Options& options);

  // A step of what is desired. Written at once where the kernel's state is known; else by the next attempt().
  void take(const HostChanges& changes);

  // Somebody else may have changed something.
  struct Doubts {
    bool policy = false, nat = false, routes = false, next_hops = false, ends = false;
    kernel::LinkDoubts links{};
    bool any() const { return policy || nat || routes || next_hops || ends || links.any(); }
  };
  void doubt(const Doubts& doubts);

  // Makes it so. Nothing is written before the first take(). False: something failed, as the report says.
  bool attempt();

  // Whether policy in force has changed since open connections were judged by it, and somebody has to.
  bool connections_wait() const { return connections_wait_ && policy_->in_step(); }
  // Judges them: those that are denied by now end, those that are allowed again go on
  // (nftables/revocation.h). An error is in the report until a round has succeeded.
  Result<void> judge_connections();

  // Whether there is anything to do.
  bool started() const { return started_; }
  // Whether there is policy here at all.
  bool enforces() const { return policy_->enforces(); }
  const Report& report() const { return report_; }
  // All that are desired here, in force or not.
  const std::map<ResourceKey, EndpointState>& endpoints() const { return endpoints_; }
  // How far what is desired has been taken, in the kernel or not.
  const Revisions& taken() const { return wanted_; }
  // The endpoint as the kernel enforces it: policy and limits in force at its interface, routes in place, those of
  // its floating addresses and their translation as well.
  // nullptr: it is not, or not as desired.
  const EndpointState* in_force(const ResourceKey& endpoint) const;
  // Whether a route to it is wanted that is not in the kernel.
  bool lacks_route(const Prefix& destination) const { return routes_.lacks(destination); }
  // Whether the next hop object of that number is ours.
  bool has_hop(std::uint32_t number) const { return routes_.has_hop(number); }
  // The interfaces of tunnels that have ends, as far as they are known, and whether one that has gone is wanted there.
  std::set<int> tunnel_links() const;
  bool misses_end(const kernel::EndMonitor::Gone& gone) const {
    return std::ranges::any_of(vxlan_, [&](const Vxlan& vxlan) { return vxlan.misses(gone); });
  }

 private:
  bool started_ = false;
  bool as_it_was_ = false;  // the last attempt() has done all, and nothing has come for the kernel since
  std::unique_ptr<PolicyDatapath> policy_;
  NatTable nat_;
  bool floating_taken_ = true;  // the kernel translates all floating addresses as is wanted
  RouteTable routes_;
  std::array<Vxlan, 2> vxlan_;           // by family (0: IPv4)
  std::array<bool, 2> tunnels_taken_{};  // the policy has all news of them
  Ipip ipip_;
  BandwidthTable bandwidth_;
  // Reads the links where they are not known, for all parts. Whether they may be others now.
  Result<bool> learn_links();
  // Gives host endpoints the interfaces that are theirs as far as is known.
  void assign_interfaces();
  void apply(const HostChanges& changes);
  void want_overlays(const HostChanges& changes);
  Result<void> for_overlays(const std::function<Result<void>(Overlay&)>& act);
  Result<void> tell_of_tunnels(std::size_t family);
  Result<void> sync_overlays_and_routes();
  Result<void> sync_translation();
  // Limits, translation, overlays, routes: what fails keeps nothing else from being tried.
  Result<void> sync_ways();
  // Of those.
  std::uint64_t writes() const;
  std::vector<TunnelLink> tunnels() const;
  // Whether a host endpoint is found by addresses.
  bool must_know_links() const;
  bool is_ready(const EndpointState& endpoint) const;
  bool is_reached_by_floating(const EndpointState& endpoint) const;
  bool connections_stay() const { return settings_.open_connections == OpenConnections::kStay; }
  // Remembers whose addresses come, go or move.
  void note_renewed(const Changes<ResourceKey, EndpointState>& changes);
  // One round over open connections, by what is desired. How many are denied by now.
  Result<std::size_t> revoke_connections(const policy::Tables& tables);
  // What eBPF has let through goes on behind nftables' table, which is about to be in force, as far as policy
  // allows it.
  Result<void> take_connections_back();

  Options options_;
  kernel::nft::Kernel& policy_kernel_;
  kernel::RouteKernel& route_kernel_;
  kernel::ConnectionKernel& connections_;
  bool connections_taken_back_ = false;
  std::map<ResourceKey, EndpointState> endpoints_;
  HostSettings settings_;
  HostEndpoints host_endpoints_;
  HostInterfaces interfaces_;
  bool assigned_ = true;  // the policy has taken them
  bool heard_of_links_ = false;
  bool links_told_ = false;  // to the policy, as the routes know them
  bool mtu_known_ = false;
  Revisions wanted_;
  std::string take_error_;
  bool connections_wait_ = false;
  bool revoked_remain_ = true;  // of open connections, as far as is known
  Renewed renewed_;
  std::string connection_error_;
  bool mending_policy_ = false;  // doubts and nothing else: what is written then is a repair
  bool mending_routes_ = false;
  Report report_;
};

}  // namespace ocicat::dataplane
