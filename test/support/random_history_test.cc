#include "test/support/random_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/support/describe.h"
#include "test/support/history_census.h"

namespace ocicat::test {
namespace {

TEST(RandomHistory, TriesTheMemoryOfWhoeverFollows) {
  Random random{any_seed()};
  const SnapshotSize size{.hosts = 3};
  auto snapshot = random_snapshot(random, size);
  HistoryCensus census;
  for (int i = 0; i < 10'000; ++i) {  // what comes most rarely, some twenty times
    const auto step = random_step(random, snapshot, size);
    census.note(snapshot, step);
    step.apply_to(snapshot);
  }
  EXPECT_THAT(census.never_seen(), testing::IsEmpty());
}

TEST(Describe, SaysWhoIsThereAndWhoIsGone) {
  Step step;
  step.update({Kind::kTier, "", "first"}, Tier{.order = 3, .default_action = Action::kPass});
  step.remove({Kind::kPod, "shop", "api"});
  EXPECT_EQ(describe(step), "    Tier first: else pass order 3\n    Pod shop/api: gone\n");
}

}  // namespace
}  // namespace ocicat::test
