#include "dataplane/judging_pace.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace ocicat::dataplane {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Duration = JudgingPace::Duration;
using Time = JudgingPace::Time;

constexpr Time kStart = Time() + seconds(1000);

// An agent to which a change comes every `gap`, as its loop acts: what comes during a round is in force after it.
struct Churn {
  Duration gap = milliseconds(10);
  int rounds = 300;
  std::function<Duration(Duration last)> takes;
  int busy = 1;  // the machine's others: a round takes so many times its processor time

  Duration longest{};  // from being in force to the end of the round
  Duration all{}, judging{};

  void run() {
    JudgingPace pace;
    auto now = kStart;
    Time next_change = now;
    Duration took{};
    for (int round = 0; round < rounds;) {
      std::optional<Time> in_force;
      while (!pace.due() || now < *pace.due()) {
        if (pace.due() && *pace.due() < next_change) {
          now = *pace.due();
          continue;
        }
        now = std::max(now, next_change);
        next_change += gap;
        if (!in_force) in_force = now;
        pace.wait(now);
      }
      took = takes(took);
      const auto began = std::exchange(now, now + busy * took);
      pace.judged(began, now, took);
      longest = std::max(longest, now - *in_force);
      judging += took;
      ++round;
    }
    all = now - kStart;
  }
};

TEST(JudgingPaceTest, AfterAQuietTimeARoundWaitsOnlyForWhatElseChanges) {
  JudgingPace pace;
  EXPECT_FALSE(pace.due());
  pace.wait(kStart);
  pace.wait(kStart + milliseconds(90));
  EXPECT_EQ(pace.due(), kStart + JudgingPace::kGather);
  pace.judged(kStart + milliseconds(100), kStart + milliseconds(300), milliseconds(200));
  EXPECT_FALSE(pace.due());
  pace.wait(kStart + seconds(2));
  EXPECT_EQ(pace.due(), kStart + seconds(2) + JudgingPace::kGather);
}

TEST(JudgingPaceTest, WhatIsDeniedEndsWithinASecondHoweverLongRoundsTake) {
  for (int took = 1; took <= 900; took += 7) {
    Churn churn{.takes = [&](Duration) { return milliseconds(took); }};
    churn.run();
    EXPECT_LE(churn.longest, seconds(1)) << took << " ms";
  }
}

TEST(JudgingPaceTest, WhatIsDeniedEndsInTimeAlsoWhereARoundTakesTwiceAsLongAsTheLast) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> factor(0.3, 2.0);
  const auto another = [&](Duration last) {
    const auto next = std::chrono::duration_cast<Duration>(last * factor(random));
    return std::clamp<Duration>(next, milliseconds(5), milliseconds(500));
  };
  for (const auto gap : {milliseconds(1), milliseconds(10), milliseconds(130), milliseconds(700)}) {
    Churn churn{.gap = gap, .rounds = 1000, .takes = another};
    churn.run();
    EXPECT_LE(churn.longest, JudgingPace::kEndsWithin) << gap.count() << " ms between changes";
  }
}

TEST(JudgingPaceTest, RoundsTakeAFourthOfAProcessorAtMostWhileTheSecondLeavesRoomForIt) {
  for (const auto took : {milliseconds(1), milliseconds(30), milliseconds(100), milliseconds(120)}) {
    Churn churn{.takes = [&](Duration) { return took; }};
    churn.run();
    EXPECT_LE(churn.judging * 4, churn.all + 4 * took) << took.count() << " ms";
  }
}

TEST(JudgingPaceTest, WhatOthersTakeOfTheProcessorMakesNoRestLonger) {
  Churn churn{.takes = [](Duration) { return milliseconds(20); }, .busy = 10};
  churn.run();
  EXPECT_LE(churn.longest, milliseconds(20 * 10) + JudgingPace::kGather);
}

}  // namespace
}  // namespace ocicat::dataplane
