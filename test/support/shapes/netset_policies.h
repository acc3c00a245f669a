// S2: network sets, each with a policy for everyone that allows from it.
//
//   source   projectcalico/calico felix/calc/calc_graph_bench_test.go
#pragma once

#include "test/support/shapes/tag_policies.h"

namespace ocicat::test {

// Sets have 1, 1, 1, 1, 2, 3, 4, 5, 100, 1000 addresses in turn, counting up from 10.0.0.1, where the
// endpoints (S1's) begin as well.
struct NetsetPolicies {
  unsigned remote = 10'000;
  unsigned local = 200;
  unsigned sets = 1'000;

  static Item policy(unsigned number);
  static Item set(unsigned number);

  void each(const Take& take) const;
};

}  // namespace ocicat::test
