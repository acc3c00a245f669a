// The worst case: endpoints of which no two look alike to the policies, so that nothing can be shared.
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// Every endpoint has 20 labels with one of 64 values each. Each of 1,000 selectors asks one label for half of
// the values, so it matches a random half of the endpoints. Local endpoints lie in namespaces; each namespace
// has one policy with 50 of the selectors, each on a port of its own.
struct NoTwoAlike {
  unsigned endpoints = 20'000;
  unsigned local = 100;
  unsigned namespaces = 20;
  unsigned selectors = 50;  // of each namespace
  std::uint64_t seed = 1;

  Item policy(unsigned ns) const;
  // The same endpoint looks different in every `version`.
  Item remote(unsigned number, unsigned version = 0) const;
  Item local_endpoint(unsigned number) const;

  // Policies, remote endpoints, local endpoints.
  void each(const Take& take) const;
};

}  // namespace ocicat::test
