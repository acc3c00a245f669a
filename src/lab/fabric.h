// The wiring of a lab, as lines for `ip -batch`: pure text, so that it can be read and tested.
//
// Hosts are joined by a full mesh of point-to-point links, without a bridge; a host's node addresses are on
// its loopback and on every link, and the other nodes' are one hop away. Pods are wired by ocicat-cni
// (pod.h).
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace ocicat::lab {

struct HostWiring {
  std::string name;  // "host1"
  std::string network_namespace;
  IpAddress ipv4;
  IpAddress ipv6;
};

// The node addresses of the n-th host, from 1, in rack r, from 0: 172.31.r.n and fd31:0:0:r::n, of which each
// rack has a /24 and a /64. Private to the lab's namespaces.
IpAddress node_address(int host, int rack, Family family);
Prefix with_rack(const IpAddress& node);
// All that pods and tunnels have addresses of: 10.65.0.0/16 and fd65::/112.
Prefix pod_net(Family family);
// Their n-th, from 0.
IpAddress pod_address(int index, Family family);

// The far side of a host's link to PEER is called after the peer: "to-host2".
std::string link_name(const std::string& peer);

// Run inside `hosts[index]`: its links to the hosts after it.
std::string link_lines(const std::vector<HostWiring>& hosts, std::size_t index);
// Run inside `hosts[index]` once all links are there: addresses and routes to the other nodes.
std::string host_lines(const std::vector<HostWiring>& hosts, std::size_t index);
// Does it: namespaces, settings and lines.
Result<void> wire_hosts(const std::vector<HostWiring>& hosts);
// Whether the kernel has the tunnels that a lab is to have: its agents would go on trying. kUnsupported: it has not.
Result<void> must_have_ipip(const HostWiring& host);

}  // namespace ocicat::lab
