// S6: chains of rules, each rule with a set of its own: what programs a ruleset for iptables or nftables
// chain by chain is measured with.
//
//   source   projectcalico/calico felix/nftables/bench_test.go
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// A chain is a policy for everyone; each of its rules allows TCP to a port from the members of one set. Sets
// are network sets; rules take them in turn.
struct ChainsOfSets {
  unsigned sets = 100;
  unsigned members = 20;  // of each set
  unsigned chains = 100;
  unsigned rules = 10;  // of each chain

  static ChainsOfSets small() { return {100, 20, 100, 10}; }
  static ChainsOfSets medium() { return {500, 50, 500, 10}; }
  static ChainsOfSets large() { return {2'000, 100, 2'000, 10}; }

  // `without`: as many of its members left out, from the end.
  Item set(unsigned number, unsigned without = 0) const;
  // `shift` is added to its ports.
  Item chain(unsigned number, unsigned shift = 0) const;
  static Item endpoint(unsigned number);

  // Sets and chains; no endpoint.
  void each(const Take& take) const;
};

}  // namespace ocicat::test
