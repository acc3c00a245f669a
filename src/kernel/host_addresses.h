// By which address a host is known to others, where nobody has said so.
//
//   source   getifaddrs(3); which interfaces do not count: Calico's list for "first-found"
#pragma once

#include <optional>
#include <set>

#include "base/ip.h"

namespace ocicat::kernel {

// The address that packets of this host carry on its default route, with the length of its subnet; without
// such a route the first one of an interface that is up and neither the loopback, a workload's nor a tunnel.
// Nothing: there is none of the family. In the network namespace of the calling thread; sends nothing.
std::optional<Prefix> main_address(Family family);

// All of them, in the network namespace of the calling thread.
std::set<IpAddress> own_addresses();

}  // namespace ocicat::kernel
