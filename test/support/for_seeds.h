// What property tests share: seeds, and how long to go on.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "test/support/random.h"

namespace ocicat::test {

// Calls `check(seed)` for one seed after the other: `cases` of them, or for OCICAT_PROPERTY_SECONDS seconds.
// OCICAT_SEED is the first; without it, a random one. `check` returns false to stop, having said why.
template <class Check>
void for_seeds(int cases, Check check) {
  const char* seconds = std::getenv("OCICAT_PROPERTY_SECONDS");
  std::uint64_t seed = any_seed();
  std::printf("first seed: OCICAT_SEED=%llu\n", static_cast<unsigned long long>(seed));
  const auto start = std::chrono::steady_clock::now();
  const auto patience = std::chrono::duration<double>(seconds != nullptr ? std::atof(seconds) : 0);
  for (int done = 0;; ++done, ++seed) {
    const bool enough =
        seconds != nullptr ? std::chrono::steady_clock::now() - start > patience : done >= cases;
    if (enough) return;
    if (check(seed)) continue;
    std::printf("to see it again: OCICAT_SEED=%llu\n", static_cast<unsigned long long>(seed));
    return;
  }
}

}  // namespace ocicat::test
