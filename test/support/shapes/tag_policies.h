// S1: many endpoints with a few marker labels, and policies that select by them.
//
//   source   projectcalico/calico felix/calc/calc_graph_bench_test.go
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// Policy i selects the endpoints with one marker, and allows ingress from those with five others. 29 markers,
// in a cycle of 31: two come twice as often. The order of input: policies, 100 namespaces, remote endpoints,
// local endpoints.
struct TagPolicies {
  unsigned remote = 250'000;
  unsigned local = 200;
  unsigned policies = 10'000;

  static constexpr unsigned kNamespaces = 100;
  static constexpr unsigned kMarkers = 31;

  static std::string marker(std::size_t number);
  static Item policy(unsigned number);
  static Item profile(unsigned number);
  // Not of S1: for everyone, from 0.0.0.0/0 except 10.0.0.0/8, which is around all addresses of the shape.
  static Item from_outside();
  // Remote ones have the numbers below `remote`, local ones those after them.
  Item endpoint(unsigned number) const { return endpoint(number, number + 1); }
  // The same endpoint with another marker.
  Item endpoint(unsigned number, std::size_t marker_number) const;

  void each(const Take& take) const;
};

}  // namespace ocicat::test
