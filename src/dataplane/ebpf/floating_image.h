// Floating addresses, for programs to judge what is for one by where it leads (bpf/maps/floating.h).
//
//   order    one that comes is there before the kernel translates it; one that goes stays until the kernel has
//            ceased to: so nobody is judged by an address that is not the packet's last
//   cost     of an update: the floating addresses of the host
//   errors   the kernel's, where there is no more room
#pragma once

#include <map>

#include "base/changes.h"
#include "base/ip.h"
#include "dataplane/ebpf/step.h"
#include "kernel/bpf.h"

namespace ocicat::dataplane::ebpf {

class FloatingImage {
 public:
  // Borrows the map.
  explicit FloatingImage(kernel::bpf::ElementMap& map) : map_(map) {}

  void want(const Changes<IpAddress, IpAddress>& changes) { changes.apply_to(wanted_); }
  // Writes those that come, or lead elsewhere. Whether some come: what goes there may have been judged by the
  // floating address itself until now.
  Result<bool> update(Step& step);
  // The same, whatever the map holds.
  Result<bool> resync(Step& step);
  // Removes those that have gone.
  Result<void> settle(Step& step);
  // Whether programs have to look.
  bool empty() const { return there_.empty(); }

 private:
  kernel::bpf::ElementMap& map_;
  std::map<IpAddress, IpAddress> wanted_;
  std::map<IpAddress, IpAddress> there_;
};

}  // namespace ocicat::dataplane::ebpf
