// S4: many selectors in use, and endpoints of which each matches exactly one.
//
//   source   projectcalico/calico felix/labelindex/named_port_bench_test.go
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// One policy for the one local endpoint, with a rule for each selector `alpha == "beta" && has(ipset-i)`.
struct LabelIndex {
  unsigned selectors = 10'000;
  unsigned endpoints = 100'000;

  Item policy() const;
  Item local() const;
  // An endpoint with the label of one selector.
  Item endpoint(unsigned number, unsigned selector) const;

  // The endpoints are dealt out to the selectors in turn.
  void each(const Take& take) const;
};

}  // namespace ocicat::test
