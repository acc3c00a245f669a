// The nouns as C++ values: what the engine computes from.
//
// Decoding turns a document of any kind into one of these. Kubernetes kinds arrive converted: a Namespace and
// a ServiceAccount as Profile, a Pod as WorkloadEndpoint, a Kubernetes NetworkPolicy as NetworkPolicy; the
// key they are kept under stays the Kubernetes one.
//
//   source   docs/spec: validation.md 7 (conversions) and 10 (number-or-string types), semantics.md 1 to 3
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "resources/bgp.h"
#include "resources/kinds.h"
#include "resources/metadata.h"
#include "resources/qos.h"

namespace ocicat {

// 1..255, as in the IP header.
using Protocol = std::uint8_t;
inline constexpr Protocol kIcmp = 1;
inline constexpr Protocol kIpInIp = 4;
inline constexpr Protocol kTcp = 6;
inline constexpr Protocol kUdp = 17;
inline constexpr Protocol kIcmpV6 = 58;
inline constexpr Protocol kSctp = 132;
inline constexpr Protocol kUdpLite = 136;

// Whether packets of the protocol carry ports that rules can name.
constexpr bool has_ports(Protocol protocol) {
  return protocol == kTcp || protocol == kUdp || protocol == kSctp;
}
// "TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite" or the number.
std::string protocol_name(Protocol protocol);

// What a rule says in `protocol` or `notProtocol`. The *names* ICMP and ICMPv6 imply a family, their numbers
// do not (semantics.md 3).
struct ProtocolMatch {
  Protocol number = 0;
  bool implies_family = false;  // written by name, and the name is ICMP or ICMPv6

  bool operator==(const ProtocolMatch&) const = default;
};

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;

  auto operator<=>(const PortRange&) const = default;
};

// An entry of a `ports` list: numbers or a name.
using Port = std::variant<PortRange, std::string>;

struct IcmpMatch {
  std::optional<std::uint8_t> type;
  std::optional<std::uint8_t> code;

  bool operator==(const IcmpMatch&) const = default;
};

struct ServiceAccountMatch {
  std::vector<std::string> names;
  std::string selector;

  bool operator==(const ServiceAccountMatch&) const = default;
};

struct ServiceMatch {
  std::string name;
  std::string ns;

  bool operator==(const ServiceMatch&) const = default;
};

// `source` or `destination` of a rule, as written.
struct EntityRule {
  std::string selector;
  std::string not_selector;
  std::string namespace_selector;
  std::optional<ServiceAccountMatch> service_accounts;
  std::optional<ServiceMatch> services;
  std::vector<Prefix> nets;
  std::vector<Prefix> not_nets;
  std::vector<Port> ports;
  std::vector<Port> not_ports;

  bool operator==(const EntityRule&) const = default;
};

enum class Action : std::uint8_t { kAllow, kDeny, kLog, kPass };
std::string_view to_string(Action action);  // "allow", "deny", "log", "pass"

struct HttpPath {
  bool prefix = false;
  std::string value;

  bool operator==(const HttpPath&) const = default;
};

struct HttpMatch {
  std::vector<std::string> methods;
  std::vector<HttpPath> paths;

  bool operator==(const HttpMatch&) const = default;
};

struct Rule {
  Action action = Action::kAllow;
  std::optional<Family> ip_version;
  std::optional<ProtocolMatch> protocol;
  std::optional<ProtocolMatch> not_protocol;
  std::optional<IcmpMatch> icmp;
  std::optional<IcmpMatch> not_icmp;
  std::optional<HttpMatch> http;  // ignored at L3/L4, kept for the filter in the pod
  EntityRule source;
  EntityRule destination;
  Labels annotations;
  // Its place in the list as written, where one rule of Kubernetes became several or others were left out.
  std::optional<std::uint32_t> written_at;

  // Its number, where it stands at `place` of the list that it is in now.
  int index_at(std::size_t place) const {
    return static_cast<int>(written_at.value_or(static_cast<std::uint32_t>(place)));
  }
  bool operator==(const Rule&) const = default;
};

struct Tier {
  Metadata metadata;
  std::optional<double> order;            // none sorts last
  Action default_action = Action::kDeny;  // kDeny or kPass

  bool operator==(const Tier&) const = default;
};

// All policy kinds. `kind` is the kind that the document had: it is part of the policy's identity, and tells
// staged from enforced and namespaced from global.
struct NetworkPolicy {
  Kind kind = Kind::kNetworkPolicy;
  Metadata metadata;
  std::string tier = "default";
  std::optional<double> order;  // none sorts last
  std::string selector;
  std::string namespace_selector;  // global kinds only
  std::string service_account_selector;
  bool applies_to_ingress = false;  // spec.types, defaults applied
  bool applies_to_egress = false;
  std::vector<Rule> ingress;
  std::vector<Rule> egress;
  bool do_not_track = false;
  bool pre_dnat = false;
  bool apply_on_forward = false;
  bool staged_delete = false;      // stagedAction: Delete
  bool needed_everywhere = false;  // performanceHints
  // Set where whom it selects can be read but what it says cannot: it then denies all in its directions for
  // those it selects (both, where the directions cannot be read), and says why. Rules are empty.
  std::string broken;
  // Rules of Kubernetes' kinds that could not be converted, and what became of them. The others count.
  std::string unconverted;

  bool staged() const { return is_staged(kind); }
  bool operator==(const NetworkPolicy&) const = default;
};

// NetworkSet and GlobalNetworkSet.
struct NetworkSet {
  Metadata metadata;  // metadata.ns is empty for a GlobalNetworkSet
  std::vector<Prefix> nets;

  bool operator==(const NetworkSet&) const = default;
};

struct Profile {
  Metadata metadata;  // name as endpoints refer to it: "kns.shop"
  Labels labels_to_apply;
  std::vector<Rule> ingress;
  std::vector<Rule> egress;
  std::string broken;  // as in NetworkPolicy

  bool operator==(const Profile&) const = default;
};

struct EndpointPort {
  std::string name;
  Protocol protocol = kTcp;
  std::uint16_t port = 0;

  auto operator<=>(const EndpointPort&) const = default;
};

// Another address under which an endpoint is reached: its host translates it (spec.ipNATs).
struct FloatingAddress {
  IpAddress address;
  IpAddress own;  // one of the endpoint's, of the same family

  auto operator<=>(const FloatingAddress&) const = default;
};

struct WorkloadEndpoint {
  Metadata metadata;  // labels as the engine sees them: namespace, orchestrator and service account added,
                      // pcns. and pcsa. stripped
  std::string node;
  std::string orchestrator;
  std::string workload;  // pod name, where there is one
  std::string interface_name;
  std::vector<IpAddress> addresses;
  std::vector<std::string> profiles;
  std::vector<EndpointPort> ports;
  std::vector<Prefix> allowed_source_prefixes;
  std::string service_account;
  QosControls qos;
  std::vector<FloatingAddress> floating;

  bool operator==(const WorkloadEndpoint&) const = default;
};

struct HostEndpoint {
  Metadata metadata;
  std::string node;
  std::string interface_name;  // "*" stands for all
  std::vector<IpAddress> expected_addresses;
  std::vector<std::string> profiles;
  std::vector<EndpointPort> ports;

  bool operator==(const HostEndpoint&) const = default;
};

// Part of what stands behind a service, as `services` of a rule means it.
struct EndpointSlice {
  Metadata metadata;                 // without labels
  std::string service;               // in the same namespace; empty: of none
  std::vector<IpAddress> addresses;  // ready or not; what is no IP address is left out
  struct Port {
    Protocol protocol = kTcp;
    std::uint16_t number = 0;

    auto operator<=>(const Port&) const = default;
  };
  std::vector<Port> ports;            // those with a number
  std::vector<std::string> ready_on;  // hosts that have a ready endpoint of it; ascending

  bool operator==(const EndpointSlice&) const = default;
};

// Where a service is reached from outside, as far as a router may tell others of it.
struct Service {
  Metadata metadata;        // without labels
  bool local_only = false;  // externalTrafficPolicy: Local: only hosts with a ready endpoint take its traffic
  std::vector<IpAddress> cluster_addresses;  // as written; none of a headless one
  std::vector<IpAddress> external_addresses;
  std::vector<IpAddress> load_balancer_addresses;

  bool operator==(const Service&) const = default;
};

struct Node {
  Metadata metadata;
  std::optional<Prefix> ipv4;  // address with the length of its subnet
  std::optional<Prefix> ipv6;
  std::optional<AsNumber> as_number;
  // Of a route reflector: reflectors of one cluster share it.
  std::optional<IpAddress> reflector_cluster;
  struct Tunnel {
    std::optional<IpAddress> address;
    std::optional<MacAddress> mac;

    bool operator==(const Tunnel&) const = default;
  };
  std::array<Tunnel, 2> vxlan;    // by the family it carries (0: IPv4)
  std::optional<IpAddress> ipip;  // of the interface of IPIP, which needs none

  bool operator==(const Node&) const = default;
};

enum class PoolUse : std::uint8_t { kWorkload = 1, kTunnel = 2, kLoadBalancer = 4 };  // may be or-ed
std::string_view to_string(PoolUse use);                                              // "Workload"

// A block has at most so many bits of addresses.
inline constexpr int kMaxBlockBits = 12;

struct IpPool {
  enum class Encapsulation : std::uint8_t { kNever, kCrossSubnet, kAlways };

  Metadata metadata;   // without labels
  Prefix cidr;         // masked
  int block_size = 0;  // length of the prefix of a block
  bool nat_outgoing = false;
  bool disabled = false;           // nothing new is assigned from it
  bool exported = true;            // hosts tell their BGP peers of it
  bool automatic = true;           // assignmentMode: else only who names the pool gets from it
  std::string node_selector;       // empty: all()
  std::string namespace_selector;  // empty: all()
  std::uint8_t allowed_uses = 0;   // of PoolUse
  Encapsulation ipip = Encapsulation::kNever;
  Encapsulation vxlan = Encapsulation::kNever;

  // Between some hosts or all.
  bool encapsulated() const { return ipip != Encapsulation::kNever || vxlan != Encapsulation::kNever; }

  bool allows(PoolUse use) const { return (allowed_uses & static_cast<std::uint8_t>(use)) != 0; }

  bool operator==(const IpPool&) const = default;
};

// An IPAMBlock as far as the ways to its addresses go; ipam.h has the whole of it.
struct AddressBlock {
  Metadata metadata;  // without labels
  Prefix cidr;        // masked
  std::string node;   // whose block it is; empty: no host's
  // Addresses that were given to a host which is not `node`; ascending.
  struct Elsewhere {
    IpAddress address;
    std::string node;

    auto operator<=>(const Elsewhere&) const = default;
  };
  std::vector<Elsewhere> elsewhere;

  bool operator==(const AddressBlock&) const = default;
};

// A BlockAffinity as far as a host's router goes.
struct BlockClaim {
  Metadata metadata;      // without labels
  Prefix cidr;            // masked
  std::string node;       // who wants the block, has it, or gives it up; empty: no host, or no more
  bool confirmed = true;  // it has it

  bool operator==(const BlockClaim&) const = default;
};

// The raw spec fields as text, in the form of an environment variable; the agent resolves them over its
// sources (validation.md 8).
struct FelixConfiguration {
  Metadata metadata;
  std::string node_selector;
  Labels values;  // spec field name → text

  bool operator==(const FelixConfiguration&) const = default;
};

// What a change of policy means for connections that are open.
enum class OpenConnections : std::uint8_t {
  kFollowPolicy,  // what is denied by now ends
  kStay,          // until they end by themselves
};

// Settings that Calico has no field for: those named `node.<host>` count before `default`.
struct AgentConfiguration {
  Metadata metadata;
  std::optional<OpenConnections> open_connections;

  bool operator==(const AgentConfiguration&) const = default;
};

// What Calico says of the cluster as a whole, in `default`.
struct ClusterInformation {
  Metadata metadata;
  bool datastore_ready = true;  // false: nothing is to be added, as while the data is moved elsewhere

  bool operator==(const ClusterInformation&) const = default;
};

using Resource = std::variant<Tier, NetworkPolicy, NetworkSet, Profile, WorkloadEndpoint, HostEndpoint, Node,
                              IpPool, BgpConfiguration, BgpPeer, BgpFilter, FelixConfiguration, EndpointSlice,
                              Service, AddressBlock, BlockClaim, AgentConfiguration, ClusterInformation>;

// The kinds that policy and the routes to workloads are computed from: every agent watches them.
std::span<const Kind> watched_kinds();
// The kinds that a router is configured from: an agent that keeps one watches them as well.
std::span<const Kind> bgp_kinds();
// The kinds that an agent which serves container runtimes watches besides.
std::span<const Kind> cni_kinds();
// All of them: decode() turns these into a Resource, and no other.
bool is_decoded(Kind kind);

}  // namespace ocicat
