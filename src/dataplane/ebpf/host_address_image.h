// The host's own addresses, for programs to tell what is for it from what no route leads to
// (bpf/maps/host_addresses.h).
//
//   cost     of the first look the addresses in the map, then of each the host's
//   errors   the kernel's, where there is no more room; then the map counts as unknown
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "base/ip.h"
#include "base/result.h"
#include "kernel/bpf.h"

namespace ocicat::dataplane::ebpf {

class HostAddressImage {
 public:
  // Borrows the map.
  explicit HostAddressImage(kernel::bpf::ElementMap& map) : map_(map) {}

  // Has the map say this; how many writes it took.
  Result<std::uint64_t> sync(const std::set<IpAddress>& wanted);

 private:
  kernel::bpf::ElementMap& map_;
  std::optional<std::set<IpAddress>> there_;
};

}  // namespace ocicat::dataplane::ebpf
