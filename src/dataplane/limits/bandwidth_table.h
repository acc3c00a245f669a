// Limits of what workloads receive and send: holds the kernel's queues to what endpoints ask for.
//
// What goes to a workload waits in a queue of the host's side of its interface, what comes from it in that of
// a relay (kernel/queues.h). A relay is whole before anything is led into it, and a queue is empty before it
// goes.
//
//   writes   only what differs from what the kernel holds
//   cost     of a host without limits: one look, at the start
//   errors   what failed is tried again at the next sync(); whatever else is possible is done
//   design   docs/design/dataplane.md#bandwidth
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "dataplane/routes/route_plan.h"
#include "engine/host_state.h"
#include "kernel/queues.h"

namespace ocicat::dataplane {

// The bucket for a limit at an interface that takes packets of so many bytes: a burst holds one at least.
kernel::Bucket bucket_of(const Bandwidth& bandwidth, std::uint32_t mtu);

class BandwidthTable {
 public:
  // Borrows the kernel.
  explicit BandwidthTable(kernel::QueueKernel& kernel) : kernel_(kernel) {}

  void want(const Changes<ResourceKey, EndpointState>& endpoints);
  // Links or queues may be others by now.
  void distrust();

  // Makes it so, for the interfaces that are there. An error names the first of what failed.
  Result<void> sync(const Links& links);

  // Whether its limits are in force, or it has none.
  bool is_ready(const EndpointState& endpoint) const;
  std::uint64_t writes() const { return writes_; }

 private:
  using Buckets = std::map<kernel::Passing, kernel::Bucket>;
  Buckets wanted(const Links& links) const;
  Result<void> write(Result<void> done);
  Result<void> hold(const kernel::Passing& passing, const kernel::Bucket& bucket, const kernel::Limit* there);
  Result<void> let_go(const kernel::Passing& passing, const kernel::Limit& there, bool link_is_there);

  kernel::QueueKernel& kernel_;
  std::map<ResourceKey, EndpointState> limited_;
  bool known_ = false;              // the kernel holds what is wanted, but for what failed
  bool left_ = false;               // limits are there that are not wanted
  std::set<std::string> in_force_;  // interfaces all of whose limits are held
  std::uint64_t writes_ = 0;
};

// Removes all there are, with what waits in them.
Result<void> remove_limits(kernel::QueueKernel& kernel);

}  // namespace ocicat::dataplane
