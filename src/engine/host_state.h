// What a host should look like: one value, computed by pure code, made true by dataplane/.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/changes.h"
#include "base/ip.h"
#include "network/route_resolver.h"
#include "policy/host_settings.h"
#include "policy/tables.h"
#include "resources/kinds.h"
#include "resources/qos.h"
#include "resources/revisions.h"

namespace ocicat {

// The programs of an endpoint for one of its own addresses. Rules about the endpoint's own side are already
// decided by the sets that this address is in.
struct AddressPrograms {
  IpAddress address;
  policy::ProgramId ingress{};
  policy::ProgramId egress{};

  bool operator==(const AddressPrograms&) const = default;
};

// One workload on this host. Packets from its interface that come neither from one of its addresses nor from
// one of its sources are dropped, packets to its interface for another address as well. One that is denied all for want of
// entries has no other than denied ones.
struct EndpointState {
  std::string interface_name;
  std::vector<AddressPrograms> addresses;  // by address, ascending
  // From where else it may send, and which chain judges what it sends from there, by family (0: IPv4): its
  // side is open, as a host endpoint's.
  std::vector<Prefix> sources = {};  // masked, disjoint, ascending
  std::array<policy::ChainId, 2> source_chains{};
  BandwidthLimits limits = {};         // of all that goes to it and comes from it, allowed or not
  std::vector<IpAddress> denied = {};  // ascending

  policy::ChainId source_chain(Family family) const { return source_chains[family == Family::kIpv4 ? 0 : 1]; }
  // Whether it may send from there beside its own addresses.
  bool may_send_from(const IpAddress& address) const;
  bool operator==(const EndpointState&) const = default;
};

// A host endpoint of this host: policy for interfaces that are no workload's.
//
// Which interfaces they are is for the datapath to find out, which knows them and their addresses: of all
// host endpoints that an interface matches, the first by key has it, a match by name counting no more than
// one by address; one for "*" has what no other has, workloads' interfaces included (semantics.md 2.4). An
// interface without a host endpoint is open.
struct HostEndpointState {
  std::uint32_t id = 0;        // dense, from 1; survives a restart
  std::string interface_name;  // a name; "*": all that are left; empty: those with an expected address
  std::vector<IpAddress> expected_addresses;  // ascending
  // By family (0: IPv4) and index_of(hook). Id 0: no policy there, the packet goes on. "*" has no untracked
  // chains.
  std::array<std::array<policy::ChainId, policy::kHooks.size()>, 2> chains{};

  policy::ChainId chain(Family family, policy::Hook hook) const {
    return chains[family == Family::kIpv4 ? 0 : 1][index_of(hook)];
  }
  bool operator==(const HostEndpointState&) const = default;
};
inline constexpr std::string_view kAllInterfaces = "*";

// Where packets for a prefix go.
using Route = network::Way;

// The interface of this host that VXLAN packets of one family come and go by.
struct VxlanDevice {
  network::Vtep end;
  IpAddress host;          // they go from here
  std::uint32_t vni = 0;   // 24 bits
  std::uint16_t port = 0;  // UDP
  std::uint32_t mtu = 0;   // 0: what the interface that has `host` leaves
  // Whether the kernel is not to be trusted with checksums of what is in the tunnel; nothing: its version
  // tells.
  std::optional<bool> checksum_offload_broken = {};
  bool operator==(const VxlanDevice&) const = default;
};
using VxlanDevices = std::array<std::optional<VxlanDevice>, 2>;  // by family (0: IPv4)

// The interface of this host that IPIP packets come and go by.
struct IpipDevice {
  IpAddress host;                    // they go from here
  std::optional<IpAddress> address;  // of the interface itself
  std::uint32_t mtu = 0;             // 0: what the interface that has `host` leaves

  bool operator==(const IpipDevice&) const = default;
};

struct HostState {
  HostSettings settings;
  policy::Tables tables;
  std::map<ResourceKey, EndpointState> endpoints;           // by WorkloadEndpoint or Pod
  std::map<ResourceKey, HostEndpointState> host_endpoints;  // by HostEndpoint
  std::map<Prefix, Route> routes;
  VxlanDevices vxlan;
  std::optional<IpipDevice> ipip;
  std::map<IpAddress, network::Peer> peers;  // the other hosts of the cluster
  // What the host translates: an address to that of a workload of its own which is reached under it, of the
  // same family.
  std::map<IpAddress, IpAddress> floating;
};

// A step from one HostState to the next.
struct HostChanges {
  std::optional<HostSettings> settings;
  policy::TablesChanges tables;
  Changes<ResourceKey, EndpointState> endpoints;
  Changes<ResourceKey, HostEndpointState> host_endpoints;
  Changes<Prefix, Route> routes;
  std::optional<VxlanDevices> vxlan;
  std::optional<std::optional<IpipDevice>> ipip;
  Changes<IpAddress, network::Peer> peers;
  Changes<IpAddress, IpAddress> floating;
  // What could not be used and why: shown in status, never silently dropped.
  Changes<ResourceKey, std::string> refused;
  // What is in force, but as the bound that it is beyond, of endpoints of this host.
  Changes<ResourceKey, std::string> bounded;
  Revisions revisions;  // how far the engine has seen each kind; reported once it is in the kernel

  void apply_to(HostState& state) const;  // all but refused, bounded and revisions
  void absorb(HostChanges later);
  bool empty() const;
  // Whether nothing of it is to be in the kernel: all of it is only told.
  bool only_tells() const;
};

}  // namespace ocicat
