// What a program counted of one packet.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "maps/counters.h"

namespace ocicat::test {

// The packet's fate by one, and nothing else; judgements aside, of which it may take any number.
inline void expect_counted(const std::vector<std::uint64_t>& before, const std::vector<std::uint64_t>& after,
                           bpf::counter fate, const char* what) {
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (i == bpf::COUNT_JUDGED || i == bpf::COUNT_REJUDGED || i == bpf::COUNT_RETRIED) continue;
    EXPECT_EQ(after[i] - before[i], i == static_cast<std::size_t>(fate) ? 1U : 0U)
        << what << ": counter " << i;
  }
}

}  // namespace ocicat::test
