#include "lab/patience.h"

#include <gtest/gtest.h>

namespace ocicat::lab {
namespace {

using namespace std::chrono_literals;

class PatienceTest : public testing::Test {
 protected:
  Result<void> wait(const std::function<Result<std::string>()>& what_is_missing) {
    return wait_until_complete(60s, what_is_missing,
                               {.now = [this] { return now_; }, .pause = [this](auto ms) { now_ += ms; }});
  }

  Time::Clock::time_point now_;
  int looks_ = 0;
};

TEST_F(PatienceTest, EndsOnceNothingIsMissing) {
  ASSERT_TRUE(wait([&] { return std::string(++looks_ < 7 ? "host1" : ""); }));
  EXPECT_EQ(looks_, 7);
}

TEST_F(PatienceTest, IsOverAfterTheTimeGivenAndSaysWhatIsMissingThen) {
  const auto waited = wait([&] { return fmt::format("look {}", ++looks_); });
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(waited.error().message, fmt::format("after 60000 ms: look {}", looks_));
  EXPECT_EQ(looks_, 60'000 / 3 + 1);
}

TEST_F(PatienceTest, EndsWithLooksThatTakeLong) {
  EXPECT_FALSE(wait([&] {
    now_ += 30s;  // as where nobody answers
    return std::string("the server does not answer");
  }));
  EXPECT_LE(now_.time_since_epoch(), 200s);
}

TEST_F(PatienceTest, IsNotUsedUpByATimeInWhichNobodyCouldDoAnything) {
  EXPECT_TRUE(wait([&] {
    if (++looks_ == 2) now_ += 1h;  // between what the look saw and what comes of it
    return std::string(looks_ < 1000 ? "host2" : "");
  }));
}

// As the server's connections, which it closes after a minute in which nobody asked.
TEST_F(PatienceTest, AsksAgainWhereWhoIsAskedIsNotThereForAMoment) {
  EXPECT_TRUE(wait([&]() -> Result<std::string> {
    if (++looks_ == 2) return fail(ErrorCode::kUnavailable, "the server broke off");
    return looks_ < 4 ? "host2" : "";
  }));
  EXPECT_EQ(looks_, 4);
  const auto waited =
      wait([]() -> Result<std::string> { return fail(ErrorCode::kUnavailable, "no server"); });
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().message, "after 60000 ms: no server");
}

TEST_F(PatienceTest, AsksNoMoreWhereThatFailsOtherwise) {
  const auto waited = wait([&]() -> Result<std::string> {
    ++looks_;
    return fail(ErrorCode::kInternal, "it cannot be read");
  });
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kInternal);
  EXPECT_EQ(looks_, 1);
}

}  // namespace
}  // namespace ocicat::lab
