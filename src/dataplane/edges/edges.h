// What a host takes and refuses whatever policy says: tunnelled packets, and packets for services that nobody
// serves. Chains to jump to, the same for whatever enforces policy; whoever has them in its table has the
// sets of hosts as well.
//
//   source   semantics.md 2.4, 4.3
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/host_state.h"
#include "kernel/nft.h"

namespace ocicat::dataplane {

// Of tunnels: what comes in is taken from hosts of the cluster alone, what goes out to them passes, and what
// VXLAN carries is tracked once it is out of the tunnel. Where an overlay is in use.
inline constexpr const char* kTunnelled = "tunnelled";
inline constexpr const char* kTunnelledIn = "tunnelled_in";
inline constexpr const char* kTunnelledOut = "tunnelled_out";
inline constexpr const char* kUntrackedTunnels = "untracked_tunnels";
// Behind translation, what still has the address of a service.
inline constexpr const char* kServiceLoops = "service_loops";

struct Edges {
  std::vector<kernel::nft::Chain> chains;  // in an order in which each leads to earlier ones only
  std::vector<kernel::nft::Rule> rules;
};
// What tunnels carry in and out, and is accepted, carries a mark from there on if one is given, a bit of the
// packet's.
Edges edges_for(const HostSettings& settings, std::uint32_t mark = 0);

using HostAddresses = boost::unordered_flat_set<IpAddress>;
// The addresses of the other hosts of the cluster, and what the set holds of these; ascending.
const kernel::nft::Set& hosts_set(Family family);
std::vector<kernel::nft::Element> host_elements(const HostAddresses& hosts, Family family);

// Rules that answer a packet that is refused; what cannot be answered goes on.
std::vector<kernel::nft::Rule> rejection(std::string_view chain);

}  // namespace ocicat::dataplane
