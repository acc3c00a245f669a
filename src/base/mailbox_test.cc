#include "base/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace ocicat {
namespace {

// Only a failing test waits so long.
constexpr std::chrono::seconds kPatience{60};

struct Sum {
  int value = 0;
  int parts = 1;

  void absorb(Sum later) {
    value += later.value;
    parts += later.parts;
  }
};

TEST(Mailbox, ANewerMessageIsAbsorbedIntoTheOneThatWaits) {
  Mailbox<Sum> mailbox;
  mailbox.put({1});
  mailbox.put({2});
  const auto taken = mailbox.take();
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->value, 3);
  EXPECT_FALSE(mailbox.take());
}

TEST(Mailbox, WhatIsLeftWakesNobodyAndIsThereAtTheNextLook) {
  Mailbox<Sum> mailbox;
  int woken = 0;
  mailbox.on_put([&] { ++woken; });
  mailbox.leave({1});
  mailbox.leave({2});
  EXPECT_EQ(woken, 0);
  const auto taken = mailbox.take_within(std::chrono::nanoseconds(0));
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->value, 3);
}

TEST(Mailbox, WhatIsPutInTurnIsNeverAbsorbedByWhatCameBefore) {
  constexpr int kMessages = 1'000;
  Mailbox<Sum> mailbox;
  std::jthread sender([&] {
    for (int i = 0; i < kMessages; ++i) mailbox.put_in_turn({i});
  });
  for (int i = 0; i < kMessages; ++i) {
    const auto taken = mailbox.take_within(kPatience);
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->value, i);
    EXPECT_EQ(taken->parts, 1);
  }
}

TEST(Mailbox, WhoWaitsForItsTurnGoesOnWhenTheMailboxIsClosed) {
  Mailbox<Sum> mailbox;
  mailbox.put({1});
  std::jthread sender([&] { mailbox.put_in_turn({2}); });
  mailbox.close();
  sender.join();
  EXPECT_EQ(mailbox.take()->value, 3) << "nothing is lost";
}

}  // namespace
}  // namespace ocicat
