// Where policy is asked on a packet's way from one party to another.
#pragma once

#include <vector>

#include "policy/verdict.h"
#include "views/inventory.h"

namespace ocicat::views {

// One chain of one endpoint. What untracked or pre-DNAT policy has allowed is not asked about again at the
// same host endpoint as it comes in.
struct Stop {
  ResourceKey endpoint;
  policy::Hook hook;
  bool unless_accepted = false;

  // Its allow is such an answer.
  bool accepts() const {
    return hook.chain == policy::ChainKind::kUntracked || hook.chain == policy::ChainKind::kPreDnat;
  }
  bool operator==(const Stop&) const = default;
};

// In order: egress, what is asked at the host where `from` is; ingress, at that where `to` is. None where
// nobody has policy there, and where a host speaks to its own workloads, or to itself.
std::vector<Stop> stops_of(const Party& from, const Party& to, policy::Direction direction);

// Goes by the stops. `judge(stop)` gives the verdict of one.
// Deny where one denies, else allow.
template <class Judge>
policy::Verdict verdict_of(const std::vector<Stop>& stops, Judge judge) {
  bool accepted = false;
  auto verdict = policy::Verdict::kAllow;
  for (const auto& stop : stops) {
    if (stop.unless_accepted && accepted) continue;
    const auto here = judge(stop);
    if (here == policy::Verdict::kDeny) verdict = here;
    accepted |= stop.accepts() && here == policy::Verdict::kAllow;
  }
  return verdict;
}

}  // namespace ocicat::views
