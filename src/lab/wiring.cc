#include "lab/wiring.h"

#include <algorithm>

namespace ocicat::lab {

std::vector<HostWiring> host_wirings(const Layout& layout, const LabRecord& lab) {
  std::vector<HostWiring> wirings;
  for (const auto& host : lab.host_names()) {
    const int number = static_cast<int>(wirings.size()) + 1;
    const int rack = (number - 1) % std::max(lab.racks, 1);
    wirings.push_back({.name = host,
                       .network_namespace = layout.host_namespace(host),
                       .ipv4 = node_address(number, rack, Family::kIpv4),
                       .ipv6 = node_address(number, rack, Family::kIpv6)});
  }
  return wirings;
}

}  // namespace ocicat::lab
