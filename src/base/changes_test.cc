#include "base/changes.h"

#include <gtest/gtest.h>

#include <random>

namespace ocicat {
namespace {

using IntChanges = Changes<int, int>;

class ChangesLaws : public testing::TestWithParam<unsigned> {
 protected:
  std::mt19937 random_{GetParam()};

  IntChanges::Map some_map() {
    IntChanges::Map map;
    for (int i = 0; i < 10; ++i) {
      if (random_() % 2) map[i] = static_cast<int>(random_() % 3);
    }
    return map;
  }
};

TEST_P(ChangesLaws, BetweenTwoMapsLeadsFromOneToTheOther) {
  auto before = some_map();
  const auto after = some_map();
  IntChanges::between(before, after).apply_to(before);
  EXPECT_EQ(before, after);
}

TEST_P(ChangesLaws, AbsorbingIsTheSameAsApplyingOneAfterTheOther) {
  const auto a = some_map();
  const auto first = IntChanges::between(a, some_map());
  const auto second = IntChanges::between(some_map(), some_map());
  auto one_by_one = a;
  first.apply_to(one_by_one);
  second.apply_to(one_by_one);
  auto together = first;
  together.absorb(second);
  auto at_once = a;
  together.apply_to(at_once);
  EXPECT_EQ(one_by_one, at_once);
}

TEST(Changes, EqualMapsDifferInNothing) {
  EXPECT_TRUE(IntChanges::between({{1, 2}}, {{1, 2}}).empty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChangesLaws, testing::Range(1U, 40U));

}  // namespace
}  // namespace ocicat
