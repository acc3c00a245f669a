#include "test/support/shrink.h"

#include <gtest/gtest.h>

#include <numeric>

namespace ocicat::test {
namespace {

std::vector<int> up_to(int count) {
  std::vector<int> items(static_cast<std::size_t>(count));
  std::iota(items.begin(), items.end(), 0);
  return items;
}

bool has(const std::vector<int>& items, int item) {
  return std::ranges::find(items, item) != items.end();
}

TEST(Shrink, LeavesOnlyWhatTheFailureNeeds) {
  const auto left = shrink(
      up_to(1'000), [](const auto& items) { return has(items, 3) && has(items, 500) && has(items, 999); });
  EXPECT_EQ(left, (std::vector{3, 500, 999}));
}

TEST(Shrink, LeavesNothingWhereNothingIsNeeded) {
  EXPECT_TRUE(shrink(up_to(10), [](const auto&) { return true; }).empty());
}

// Items of which the earlier is needed only as long as the later is there.
TEST(Shrink, TriesAgainWhatTurnsOutToBeNeededNoMore) {
  const auto fails = [](const std::vector<int>& items) { return has(items, 7) || !has(items, 1); };
  const auto left = shrink(up_to(16), fails);
  EXPECT_LE(left.size(), 1U);
  EXPECT_TRUE(fails(left));
}

TEST(Shrink, StopsWhereItsBudgetEnds) {
  int calls = 0;
  const auto left = shrink(
      up_to(1'000),
      [&](const auto& items) {
        ++calls;
        return has(items, 3);
      },
      5);
  EXPECT_EQ(calls, 5);
  EXPECT_TRUE(has(left, 3));
}

}  // namespace
}  // namespace ocicat::test
