// The tunnels of a VXLAN interface as the kernel has them, for a datapath that fills them by itself.
#pragma once

#include <map>

#include "kernel/tunnels.h"

namespace ocicat::dataplane {

// None: whoever has packets for them leaves them to the interface.
struct OpenTunnels {
  int link = 0;  // the interface
  kernel::VxlanConfig config;
  kernel::PortRange source_ports;
  // What is at the other ends, by the address of the VTEP.
  struct End {
    MacAddress mac;
    IpAddress host;

    bool operator==(const End&) const = default;
  };
  std::map<IpAddress, End> ends;
};

}  // namespace ocicat::dataplane
