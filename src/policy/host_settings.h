// Settings of the whole host, from FelixConfiguration, AgentConfiguration, IPPool and BGPConfiguration.
//
// For each field the first source that sets it counts: the configuration named `node.<host>`, the one that
// selects the host's node by its labels (of several the first by name), the one named `default`, the built-in
// value. Empty text is not set; text that cannot be read is the built-in value, which then counts.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/model.h"
#include "resources/types.h"

namespace ocicat {

inline constexpr const char* kUplinks = "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)";

// What concerns the whole host.
struct HostSettings {
  // Overlays in use: packets that come in a tunnel are taken from other hosts of the cluster alone.
  struct Overlays {
    bool vxlan4 = false;  // between IPv4 addresses of hosts
    bool vxlan6 = false;
    bool ipip = false;
    // Ports of WireGuard by family (0: IPv4), which anybody may speak to: it takes what is signed. 0: none.
    std::array<std::uint16_t, 2> wireguard_ports{};
    std::uint32_t vni = 4096;
    std::array<std::uint32_t, 2> mtus{};  // of VXLAN's devices by family (0: IPv4); 0: worked out
    std::uint32_t ipip_mtu = 0;           // of IPIP's device; 0: worked out
    // featureDetectOverride, ChecksumOffloadBroken; nothing: as the kernel's version has it.
    std::optional<bool> checksum_offload_broken;
    std::vector<Prefix> external_nodes;  // externalNodesList: hosts of nobody's cluster that may send, too

    bool vxlan(Family family) const { return family == Family::kIpv4 ? vxlan4 : vxlan6; }
    bool any() const { return vxlan4 || vxlan6 || ipip || wireguard_ports != std::array<std::uint16_t, 2>{}; }
    bool operator==(const Overlays&) const = default;
  };
  // Source translation: what comes from within `sources` and goes to nobody inside leaves with an address of
  // this host.
  struct NatOutgoing {
    std::vector<Prefix> sources;       // pools with natOutgoing; masked, ascending
    std::vector<Prefix> inside;        // all pools; likewise
    bool hosts_inside = false;         // natOutgoingExclusions: IPPoolsAndHostIPs
    std::optional<IpAddress> address;  // natOutgoingAddress, IPv4; else that of the interface it leaves by
    std::pair<std::uint16_t, std::uint16_t> ports{};  // natPortRange, of TCP and UDP; 0: any
    std::string
        interface;  // iptablesNATOutgoingInterfaceFilter: only what leaves by it; "eth+": by any so named

    bool operator==(const NatOutgoing&) const = default;
  };
  // For how long a connection counts without packets, where eBPF tracks them: bpfConntrackTimeouts.
  struct Timeouts {
    static constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 7);

    std::chrono::milliseconds tcp_opening = std::chrono::seconds(20);  // tcpSynSent
    std::chrono::milliseconds tcp = std::chrono::hours(1);             // tcpEstablished
    std::chrono::milliseconds tcp_ended = std::chrono::seconds(40);    // tcpFinsSeen: both ends have
    std::chrono::milliseconds tcp_reset = std::chrono::seconds(40);    // tcpResetSeen
    std::chrono::milliseconds udp = std::chrono::seconds(60);          // udpTimeout
    std::chrono::milliseconds icmp = std::chrono::seconds(5);          // icmpTimeout
    std::chrono::milliseconds others = std::chrono::minutes(10);       // genericTimeout

    bool operator==(const Timeouts&) const = default;
  };
  // What each Log rule may say: logActionRateLimit, logActionRateLimitBurst.
  struct LogLimit {
    std::uint32_t lines = 0;  // 0: whatever it has to
    std::chrono::seconds per{1};
    std::uint32_t burst = 5;

    bool operator==(const LogLimit&) const = default;
  };
  enum class ServiceLoops : std::uint8_t { kDrop, kReject, kForward };
  enum class ToHost : std::uint8_t { kDrop, kAccept, kReturn };
  std::vector<std::string> workload_prefixes{"cali"};  // interfaces that are workloads', known to us or not
  ToHost endpoint_to_host = ToHost::kDrop;             // defaultEndpointToHostAction
  bool drop_invalid = true;                            // not disableConntrackInvalidCheck
  enum class WayBack : std::uint8_t { kUnchecked, kLoose, kStrict };
  WayBack way_back = WayBack::kLoose;  // bpfEnforceRPF: of what comes in by the host's own interfaces
  // bpfAttachType: by what programs are at interfaces; kBest: tcx where the kernel has it.
  enum class AttachType : std::uint8_t { kBest, kTc, kTcx };
  AttachType attach_type = AttachType::kBest;
  bool redirect = true;   // bpfRedirectToPeer: past the stack where nothing but forwarding would happen there
  bool at_driver = true;  // xdpEnabled: what doNotTrack denies ends in the driver
  bool reject = false;    // iptablesFilterDenyAction: Reject
  std::optional<bool> nftables_rejects;  // nftablesFilterDenyAction: what counts with nftables, if it is set
  std::string log_prefix = "calico-packet";
  LogLimit log_limit;
  std::chrono::milliseconds flow_window = std::chrono::minutes(5);  // flowLogsFlushInterval: flows are summed
  Timeouts timeouts;
  OpenConnections open_connections = OpenConnections::kFollowPolicy;  // AgentConfiguration
  policy::EncapsulationGuard encapsulation;  // decided by programs, not by the ruleset
  policy::Failsafes failsafes;               // failsafeInboundHostPorts, failsafeOutboundHostPorts; likewise
  // The lowest bit of nftablesMarkMask: carried by packets that untracked or pre-DNAT policy has allowed.
  std::uint32_t accept_mark = 0x10000;
  // The next bit of it (of a mask with one bit, that one), in the marks of connections that policy denies by
  // now.
  std::uint32_t revoked_mark = 0x20000;
  // The third, likewise: a workload has begun the connection from where it may send beside its own addresses.
  // Of a mask with fewer bits 0: nobody knows.
  std::uint32_t elsewhere_mark = 0x40000;
  bool allow_spoofing = false;  // workloadSourceSpoofing: Any
  // mtuIfacePattern: interfaces by which the host reaches others, which bound what workloads may send at
  // once.
  std::string uplinks = kUplinks;
  Overlays overlays;
  // Where packets for a service that nobody serves end, which routers would send round and round.
  ServiceLoops service_loops = ServiceLoops::kDrop;  // serviceLoopPrevention
  std::vector<Prefix> service_nets;                  // masked, ascending
  NatOutgoing nat;
  bool floating_addresses = false;  // floatingIPs: Enabled

  bool operator==(const HostSettings&) const = default;
};

using AgentConfigurations = std::map<std::string, AgentConfiguration>;  // by name
using FelixConfigurations = std::map<std::string, FelixConfiguration>;  // by name

// What else settings follow from, by name.
struct NetworkResources {
  std::map<std::string, IpPool> pools;
  std::map<std::string, BgpConfiguration> bgp_configurations;
};

// `node` is the host's name; without one only `default` counts. `labels` are those of its Node.
HostSettings resolve_settings(const FelixConfigurations& configurations,
                              const std::optional<std::string>& node, const Labels& labels,
                              const NetworkResources& network = {},
                              const AgentConfigurations& agent_configurations = {});

}  // namespace ocicat
