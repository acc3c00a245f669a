#include "dataplane/retry.h"

#include <gtest/gtest.h>

namespace ocicat::dataplane {
namespace {

using std::chrono::milliseconds;

class RetryTest : public testing::Test {
 protected:
  // Fails as often as it takes for the pause to be the longest.
  void fail_for_long() {
    for (int i = 0; i < 20; ++i) {
      now_ = std::max(now_, retry_.not_before());
      retry_.failed(now_);
    }
  }
  Retry::Time now_ = Retry::Time() + milliseconds(1'000'000);
  Retry retry_;
};

TEST_F(RetryTest, WhatHasNotFailedNeedNotWait) {
  EXPECT_FALSE(retry_.failing());
  EXPECT_LE(retry_.not_before(), now_);
}

TEST_F(RetryTest, PausesDoubleUpToTheLongest) {
  Retry::Duration before{};
  for (int i = 0; i < 12; ++i) {
    retry_.failed(now_);
    const auto pause = retry_.not_before() - now_;
    EXPECT_EQ(pause, i == 0 ? Retry::kFirst : std::min(2 * before, Retry::kLongest));
    before = pause;
    now_ += pause;
  }
  EXPECT_TRUE(retry_.failing());
}

TEST_F(RetryTest, WhatChangesDoesNotWaitForWhatFailsOverAndOver) {
  fail_for_long();
  EXPECT_EQ(retry_.not_before() - now_, Retry::kLongest);
  retry_.changed(now_);
  EXPECT_EQ(retry_.not_before() - now_, Retry::kChanged);
  // A second one does not put it off.
  retry_.changed(now_ + milliseconds(50));
  EXPECT_EQ(retry_.not_before() - now_, Retry::kChanged);
  // And pauses go on growing where it did not help.
  now_ = retry_.not_before();
  retry_.failed(now_);
  EXPECT_EQ(retry_.not_before() - now_, Retry::kLongest);
}

TEST_F(RetryTest, AfterASuccessPausesAreShortAgain) {
  fail_for_long();
  now_ = retry_.not_before();
  retry_.succeeded();
  EXPECT_FALSE(retry_.failing());
  retry_.failed(now_);
  EXPECT_EQ(retry_.not_before() - now_, Retry::kFirst);
}

}  // namespace
}  // namespace ocicat::dataplane
