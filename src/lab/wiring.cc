#include "lab/wiring.h"

#include <algorithm>

#include "resources/decode.h"

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

PodWiring pod_wiring(const Layout& layout, const PodRecord& pod, const LabRecord& lab) {
  return {.network_namespace = layout.pod_namespace(pod.ns, pod.name),
          .host_namespace = layout.host_namespace(pod.host),
          .host_interface = workload_interface_name(pod.ns, pod.name),
          .addresses = pod.addresses,
          // What VXLAN over IPv6 leaves of the fabric's 1500.
          .mtu = lab.network.starts_with("vxlan") ? 1430 : 1500};
}

}  // namespace ocicat::lab
