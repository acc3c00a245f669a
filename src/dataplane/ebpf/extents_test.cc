#include "dataplane/ebpf/extents.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace ocicat::dataplane::ebpf {
namespace {

TEST(Extents, NeverGiveOutIndexZero) {
  Extents extents(4);
  EXPECT_EQ(extents.allocate(3), (Extent{1, 3}));
  EXPECT_EQ(extents.allocate(1), std::nullopt);
  EXPECT_FALSE(extents.claim({0, 1}));
}

TEST(Extents, TakeTheSmallestGapThatFits) {
  Extents extents(100);
  EXPECT_TRUE(extents.claim({11, 10}));
  EXPECT_TRUE(extents.claim({25, 70}));
  EXPECT_EQ(extents.allocate(4), (Extent{21, 4}));
  EXPECT_EQ(extents.allocate(5), (Extent{95, 5}));
  EXPECT_EQ(extents.allocate(6), (Extent{1, 6}));
}

TEST(Extents, RefuseWhatIsInUseOrOutOfBounds) {
  Extents extents(100);
  EXPECT_TRUE(extents.claim({10, 10}));
  for (const Extent& bad : {Extent{10, 10}, Extent{5, 6}, Extent{19, 1}, Extent{1, 99}, Extent{99, 2},
                            Extent{1, 0xffffffff}, Extent{50, 0}}) {
    EXPECT_FALSE(extents.claim(bad)) << bad.first << " " << bad.size;
  }
}

TEST(Extents, AreWholeAgainWhenAllHasBeenGivenBack) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::minstd_rand random(seed);
  Extents extents(1000);
  std::vector<Extent> held;
  std::vector<bool> used(1000);
  for (int i = 0; i < 2000; ++i) {
    if (random() % 2 == 0) {
      const auto extent = extents.allocate(1 + static_cast<std::uint32_t>(random() % 40));
      if (!extent) continue;
      for (auto at = extent->first; at < extent->end(); ++at) {
        EXPECT_FALSE(used[at]);
        used[at] = true;
      }
      held.push_back(*extent);
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      for (auto at = held.back().first; at < held.back().end(); ++at) used[at] = false;
      extents.release(held.back());
      held.pop_back();
    }
  }
  for (const auto& extent : held) extents.release(extent);
  EXPECT_EQ(extents.in_use(), 0U);
  EXPECT_EQ(extents.allocate(999), (Extent{1, 999}));
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
