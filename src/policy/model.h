// Policy in its effective form: selectors rewritten, families resolved, Calico's and Kubernetes' kinds made
// one.
//
// The evaluator reads these one packet at a time; the compiler turns them into decision tables. Both start
// here, so what differs between them is only how they think, never what they were told.
//
//   source   docs/spec: semantics.md 1.3 (rewriting), 2 (order), 3 (rules)
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/verdict.h"
#include "resources/selector/selector.h"
#include "resources/types.h"

namespace ocicat::policy {

// One side of a rule. Every criterion that is set must hold.
//
// A *member* below is an endpoint or network set; an address is in the set of a selector if one of its owners
// is selected. An address may have several owners, or none (a stranger).
struct EntityMatch {
  // The address has an owner that this selects. (pos) && !(neg) are already one. all() means every member,
  // not every address.
  std::optional<Selector> selector;
  // Only where the rule has no positive part: the address is *not* in this set, which strangers satisfy.
  std::optional<Selector> not_in_selector;
  // What stands behind it, by its EndpointSlices: of a destination (address, protocol, port), of a source the
  // address. One without slices has nothing behind it: nothing matches. The namespace is always filled in.
  std::optional<ServiceMatch> services;
  std::vector<Prefix> nets;      // any of; empty: no limit; masked
  std::vector<Prefix> not_nets;  // none of; masked
  // Numeric or named, any of; both empty: no limit. A named port is the set of (address, protocol, port) of
  // the endpoints that have a port of that name and named_port_protocol(), restricted by `selector` of this
  // side. Network sets have none. Where a side has named ports only, they stand for `selector` as well.
  std::vector<PortRange> ports;
  std::vector<std::string> named_ports;
  // None of. The sets of named ports are restricted by `selector` here too.
  std::vector<PortRange> not_ports;
  std::vector<std::string> not_named_ports;

  bool operator==(const EntityMatch&) const = default;
};

// All criteria must hold; those that are not set do. HTTP is for the filter in the pod and not part of this.
struct MatchRule {
  Action action = Action::kAllow;
  // Families it can match at all: ipVersion, ICMP by name, and nets of one family. Neither: it never matches.
  bool ipv4 = true;
  bool ipv6 = true;
  std::optional<Protocol> protocol;
  std::optional<Protocol> not_protocol;
  // Holds for carries_icmp() packets of that type and code. Has a type where it is set.
  std::optional<IcmpMatch> icmp;
  // Fails for exactly the packets for which the same `icmp` would hold: it says nothing about the protocol.
  std::optional<IcmpMatch> not_icmp;
  EntityMatch source;
  EntityMatch destination;
  int index = 0;  // in the list as written

  bool operator==(const MatchRule&) const = default;
};

struct Policy {
  ResourceKey id;
  std::string tier;
  std::optional<double> order;
  Selector selector = Selector::all();
  bool applies_to_ingress = false;
  bool applies_to_egress = false;
  std::vector<MatchRule> ingress;
  std::vector<MatchRule> egress;
  bool staged = false;
  bool do_not_track = false;
  bool pre_dnat = false;
  bool apply_on_forward = false;
  std::string broken;  // not empty: denies all, in its directions, for whom it selects

  bool operator==(const Policy&) const = default;
};

struct ProfileRules {
  std::string name;
  std::vector<MatchRule> ingress;
  std::vector<MatchRule> egress;
  std::string broken;  // not empty: denies all

  bool operator==(const ProfileRules&) const = default;
};

// What workloads may not send whatever policy says: packets that carry other packets past it
// (semantics.md 2.3, step 4). From FelixConfiguration.
struct EncapsulationGuard {
  std::uint16_t vxlan_port = 4789;  // vxlanPort
  bool allow_vxlan = false;         // allowVXLANPacketsFromWorkloads
  bool allow_ipip = false;          // allowIPIPPacketsFromWorkloads

  bool refuses(const Packet& packet) const {
    if (packet.protocol == kIpInIp) return !allow_ipip;
    return packet.protocol == kUdp && packet.destination_port == vxlan_port && !allow_vxlan;
  }
  bool operator==(const EncapsulationGuard&) const = default;
};

// Ports of a host that no policy closes, so that nobody locks himself out (semantics.md 2.4). From
// FelixConfiguration.
struct FailsafePort {
  Protocol protocol = kTcp;
  std::uint16_t port = 0;
  std::optional<Prefix> net;  // of the peer; none: any, in both families

  bool operator==(const FailsafePort&) const = default;
};
struct Failsafes {
  std::vector<FailsafePort> inbound{{kTcp, 22, {}},   {kUdp, 68, {}},   {kTcp, 179, {}},
                                    {kTcp, 2379, {}}, {kTcp, 2380, {}}, {kTcp, 5473, {}},
                                    {kTcp, 6443, {}}, {kTcp, 6666, {}}, {kTcp, 6667, {}}};
  std::vector<FailsafePort> outbound{{kUdp, 53, {}},   {kUdp, 67, {}},   {kTcp, 179, {}},
                                     {kTcp, 2379, {}}, {kTcp, 2380, {}}, {kTcp, 5473, {}},
                                     {kTcp, 6443, {}}, {kTcp, 6666, {}}, {kTcp, 6667, {}}};

  // What they are as rules of a hook, in order; none for forwarded packets. Normal chains: Allow. Others:
  // Pass is the last word, the packet goes on without one. Before connection tracking replies are let through
  // too.
  std::vector<MatchRule> rules(Hook hook) const;
  bool operator==(const Failsafes&) const = default;
};
// "tcp:22,udp:10.0.0.0/8:68,sctp:[fd00::/8]:99,179"; a number alone is TCP, "none" is no port. None where it
// cannot be read.
std::optional<std::vector<FailsafePort>> parse_failsafes(std::string_view text);

// Fails only where the selector cannot be read: whom it concerns is then unknown, and the caller keeps the
// last readable version. A rule that cannot be read, or that asks for what cannot be (ports without a
// protocol that has them, an empty range), makes the policy `broken` and leaves it without rules.
//
// Not for a staged policy with stagedAction Delete: it says nothing about packets, callers leave it out.
Result<Policy> effective(const NetworkPolicy& policy);
ProfileRules effective(const Profile& profile);

// A tier, as far as policy is concerned with it.
struct TierPlace {
  std::string name;
  std::optional<double> order;            // none sorts last
  Action default_action = Action::kDeny;  // kPass, or kDeny which all else means
  bool missing = false;                   // named by policies only: they still apply, after all other tiers

  bool operator==(const TierPlace&) const = default;
};

TierPlace effective(const Tier& tier);
// A tier that no resource describes. The built-in ones (default, kube-admin, kube-baseline) exist
// nevertheless, with the order and action that the API prescribes for them; others are missing and deny.
TierPlace undescribed_tier(std::string_view name);

// What is to be told of a tier that policies name, and of a profile that endpoints name, where nobody made
// them.
std::string about_missing_tier();
std::string about_missing_profile(std::string_view name);

// Order of tiers: missing ones last, then by order (none last), then by name.
bool before(const TierPlace& a, const TierPlace& b);

// projectcalico-default-allow, which always exists and allows all.
inline constexpr std::string_view kDefaultAllowProfile = "projectcalico-default-allow";
ProfileRules default_allow_profile();

// The kind's name in the identity that breaks ties; Calico's own, which tells apart what Kubernetes calls
// alike.
std::string_view name_for_order(Kind kind);

// Order of policies within a tier: order (none last), then "name/namespace/kind".
bool before(const Policy& a, const Policy& b);

// Whether `icmp` criteria can say anything about such a packet: ICMP over IPv4, ICMPv6 over IPv6.
constexpr bool carries_icmp(Family family, Protocol protocol) {
  return protocol == (family == Family::kIpv4 ? kIcmp : kIcmpV6);
}

// The protocol that a rule's named ports must have: the rule's own, else TCP.
constexpr Protocol named_port_protocol(const MatchRule& rule) {
  return rule.protocol.value_or(kTcp);
}

inline bool can_match(const MatchRule& rule, Family family) {
  return family == Family::kIpv4 ? rule.ipv4 : rule.ipv6;
}

}  // namespace ocicat::policy
