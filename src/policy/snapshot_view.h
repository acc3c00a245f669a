// A snapshot in the terms that policy is told in: members and their labels, tiers and their policies,
// profiles.
//
//   in       resources as they stand; keys and resources may come in any mixture
//   out      values only; nothing refers back to the snapshot
//   errors   none: what cannot be used is in `problems`
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/evaluator.h"
#include "policy/model.h"

namespace ocicat::policy {

// An endpoint or network set: what selectors select.
struct Member {
  ResourceKey key;
  std::string title;  // for people: "billing/card-vault", "NetworkSet shop/partners"
  Labels labels;      // its own, then those inherited from its profiles, in their order
  std::vector<std::string> profiles;
  std::vector<Prefix> nets;              // an endpoint's addresses as host prefixes
  std::vector<EndpointPort> ports;       // network sets have none
  EncapsulationGuard encapsulation;      // of the host it is on
  std::optional<Failsafes> failsafes{};  // of the host it is on; host endpoints only
  bool all_interfaces = false;           // a host endpoint for "*"
  std::vector<Prefix> sources{};         // from where else a workload asks to send
  bool allows_spoofing = false;          // so say the settings of the host it is on

  bool is_host() const { return failsafes.has_value(); }
  bool owns(const IpAddress& address) const;
  bool is_selected_by(const Selector& selector) const;
  // Each host judges by its own settings: whether this member is there for it, on whose host `judge` is.
  bool counts_for(const Member& judge) const { return sources.empty() || judge.allows_spoofing; }
};

struct TierView {
  TierPlace place;
  std::vector<Policy> policies;  // in order
};

// A rule as traces name it.
struct RuleName {
  ResourceKey policy;  // or profile
  Direction direction = Direction::kIngress;
  int index = 0;

  auto operator<=>(const RuleName&) const = default;
};

struct SnapshotView {
  std::vector<Member> endpoints;  // workloads with at least one address; host endpoints
  std::vector<Member> sets;
  std::vector<TierView> tiers;                   // in order; those without policies too
  bool has_staged = false;                       // some policy in them is
  std::map<std::string, ProfileRules> profiles;  // by the name endpoints use
  std::vector<EndpointSlice> slices;             // of services
  std::vector<Evaluator::Problem> problems;
  std::map<RuleName, Labels> annotations;  // of rules that have some

  // Null where there is none.
  const Member* endpoint(const ResourceKey& key) const;
  // Every member that has this address, endpoints, then sets; also those that do not count for everyone.
  // Costs a search, and a look at each member that has more than single addresses.
  std::vector<const Member*> owners(const IpAddress& address) const;

  // Members by number: endpoints first, then sets. Who has a single address, ascending; who has other nets.
  using MemberNumber = std::uint32_t;
  std::vector<std::pair<IpAddress, MemberNumber>> by_address;
  std::vector<MemberNumber> with_wide_nets;
  void index_addresses();
  const Member& member(MemberNumber number) const {
    return number < endpoints.size() ? endpoints[number] : sets[number - endpoints.size()];
  }
};

// Where a Profile and a namespace or service account go by one profile name, the Profile counts.
SnapshotView view_of(const Snapshot& snapshot);

}  // namespace ocicat::policy
