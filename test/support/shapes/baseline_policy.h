// S5: the policy of a large production cluster: 294 policies that apply to every endpoint, 19,992 rules, most
// of them Pass, 3,708 sets of nets with the sizes that were measured there: 250,000 addresses in all.
//
//   source   projectcalico/calico app-policy/checker/bench_test.go
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// A quarter of the rules refers to a set, half of these on either side; no rule matches a packet that is not
// to (or from, where the set is on the source's side) one of the ports. Sets are network sets, picked by a
// label.
struct BaselinePolicy {
  unsigned policies = 294;
  unsigned rules = 68;  // of each policy
  unsigned ports = 1;   // that its rules name, in turn
  std::uint64_t seed = 20'200;

  static constexpr const char* kTier = "perimeter";
  static constexpr unsigned kSets = 3'708;
  static constexpr std::uint16_t kFirstPort = 30'000;

  static unsigned set_size(unsigned number);
  // `first` is the number of its first address; see each().
  static Item set(unsigned number, unsigned first);
  Item policy(unsigned number) const;
  // An endpoint that all policies select.
  static Item endpoint(unsigned number);

  // Tier, sets and policies; no endpoint.
  void each(const Take& take) const;
};

}  // namespace ocicat::test
