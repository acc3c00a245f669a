// The tunnels that programs fill by themselves (bpf/maps/tunnels.h).
//
//   seen     at once, each tunnel as a whole: packets that are on their way go the old way or the new one
//   slots    one that comes to be free is used again by a later update; whoever remembers which one it was
//            has to be told in between (EbpfPolicy::reroute)
//   room     for TUNNELS_MAX - 1; what is beyond is left to the interface
//   cost     of an update: what was wanted anew, and what has no room
#pragma once

#include <map>
#include <set>
#include <span>

#include "dataplane/overlay/open_tunnels.h"
#include "kernel/bpf.h"
#include "maps/tunnels.h"

namespace ocicat::dataplane::ebpf {

class TunnelImage {
 public:
  // Borrows both.
  TunnelImage(std::span<bpf::tunnel> memory, kernel::bpf::ElementMap& vteps)
      : memory_(memory), vteps_(vteps) {}

  // All of that family.
  void want(Family family, const OpenTunnels& tunnels);
  // Others than before; the interface is as before.
  void want(const TunnelInterface& interface, const Changes<IpAddress, TunnelEnd>& ends);
  Result<void> update();
  // The same, whatever the maps hold.
  Result<void> resync();
  std::uint64_t writes() const { return writes_; }

 private:
  void write(std::uint32_t slot, bpf::tunnel wanted);
  void want(const TunnelInterface& interface, const IpAddress& vtep, const TunnelEnd& end);
  Result<void> leave(const IpAddress& vtep);
  Result<void> add(const IpAddress& vtep, const bpf::tunnel& tunnel);
  Result<void> read();

  std::span<bpf::tunnel> memory_;
  kernel::bpf::ElementMap& vteps_;
  std::map<IpAddress, bpf::tunnel> wanted_;  // by the VTEP
  std::set<IpAddress> dirty_;                // to be looked at
  std::map<IpAddress, std::uint32_t> slots_;
  std::set<std::uint32_t> free_;
  bool known_ = false;  // what the maps hold
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane::ebpf
