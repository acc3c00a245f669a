// Policy in its effective form: selectors rewritten, families resolved, Calico's and Kubernetes' kinds made one.
//
// The evaluator reads these one packet at a time; the compiler turns them into decision tables. Both start here,
// so what differs between them is only how they think, never what they were told.
//
//   source   docs/spec: semantics.md 1.3 (rewriting), 2 (order), 3 (rules)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "policy/verdict.h"
#include "resources/selector/selector.h"
#include "resources/types.h"

namespace ocicat::policy {

// One side of a rule. Every criterion that is set must hold.
struct EntityMatch {
  // The address belongs to an endpoint or network set that this selects. (pos) && !(neg) are already one.
  std::optional<Selector> selector;
  // Only where the rule has no positive part: the address is *not* in this set, which strangers satisfy.
  std::optional<Selector> not_in_selector;
  std::optional<ServiceMatch> services;
  std::vector<Prefix> nets;      // any of; empty: no limit
  std::vector<Prefix> not_nets;  // none of
  std::vector<PortRange> ports;  // numeric or named, any of; both empty: no limit
  std::vector<std::string> named_ports;
  std::vector<PortRange> not_ports;  // none of
  std::vector<std::string> not_named_ports;

  bool operator==(const EntityMatch&) const = default;
};

struct MatchRule {
  Action action = Action::kAllow;
  // Families it can match at all: ipVersion, ICMP by name, and nets of one family (semantics.md 3).
  bool ipv4 = true;
  bool ipv6 = true;
  std::optional<Protocol> protocol;
  std::optional<Protocol> not_protocol;
  std::optional<IcmpMatch> icmp;
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
  std::string broken;  // not empty: denies all, in its directions

  bool operator==(const Policy&) const = default;
};

struct ProfileRules {
  std::string name;
  std::vector<MatchRule> ingress;
  std::vector<MatchRule> egress;
  std::string broken;

  bool operator==(const ProfileRules&) const = default;
};

// Fails only where the selector cannot be read: whom it concerns is then unknown, and the caller keeps the last
// readable version. A rule that cannot be read makes the policy `broken`.
Result<Policy> effective(const NetworkPolicy& policy);
ProfileRules effective(const Profile& profile);

// Order of policies within a tier: order (none last), then "name/namespace/kind" (semantics.md 2.1).
bool before(const Policy& a, const Policy& b);

}  // namespace ocicat::policy
