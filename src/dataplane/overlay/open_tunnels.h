// The tunnels of a VXLAN interface as the kernel has them, for whoever leads packets there (routes/), or fills
// them by itself (ebpf/).
#pragma once

#include <map>
#include <optional>

#include "base/changes.h"
#include "kernel/tunnels.h"

namespace ocicat::dataplane {

struct TunnelInterface {
  int link = 0;  // 0: whoever has packets for these tunnels leaves them to the kernel
  kernel::VxlanConfig config;
  kernel::PortRange source_ports;

  bool operator==(const TunnelInterface&) const = default;
};

// What is at the other end.
struct TunnelEnd {
  MacAddress mac;
  IpAddress host;

  bool operator==(const TunnelEnd&) const = default;
};

struct TunnelChanges {
  std::optional<TunnelInterface> interface;  // from here on
  Changes<IpAddress, TunnelEnd> ends;        // by the address of the VTEP

  bool empty() const { return !interface && ends.empty(); }
};

struct OpenTunnels {
  TunnelInterface interface;
  std::map<IpAddress, TunnelEnd> ends;

  void apply(const TunnelChanges& changes) {
    if (changes.interface) interface = *changes.interface;
    changes.ends.apply_to(ends);
  }
};

}  // namespace ocicat::dataplane
