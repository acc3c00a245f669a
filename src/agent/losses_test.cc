// What is lost is told once, whichever agent runs.
#include "agent/losses.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace ocicat::agent {
namespace {

void tell(Account& account, int times) {
  for (int i = 0; i < times; ++i) account.told();
}

TEST(Account, WithNobodyBeforeNothingIsOwedOfWhatWasCountedByThen) {
  Account account;
  account.told();  // not known yet what it counts from
  account.count(100);
  EXPECT_EQ(account.settle(), 0U);
  account.count(107);
  tell(account, 3);
  EXPECT_EQ(account.settle(), 4U);
  EXPECT_EQ(account.settle(), 0U);
}

TEST(Account, OwesWhatWasCountedWhileNobodyTold) {
  Account account(100);
  account.count(130);
  EXPECT_EQ(account.settle(), 30U);
  EXPECT_EQ(account.settle(), 0U);
  EXPECT_EQ(account.settled(), 130);
}

TEST(Account, WhatIsToldBeforeItIsCountedIsNotLost) {
  Account account(100);
  account.count(100);
  tell(account, 5);
  EXPECT_EQ(account.settle(), 0U);
  EXPECT_EQ(account.settled(), 105);
  account.count(105);
  EXPECT_EQ(account.settle(), 0U);
}

TEST(Account, OfACounterMadeAnewOwesAllAndWhatWasOwedOfTheOneBefore) {
  Account account(100);
  account.count(103);
  account.count(7);
  EXPECT_EQ(account.settled(), -3);
  Account next(*account.settled());
  next.count(8);
  EXPECT_EQ(next.settle(), 11U);

  Account first(100);  // made anew while no agent ran
  first.count(7);
  EXPECT_EQ(first.settle(), 7U);
}

class LossesTest : public testing::Test {
 protected:
  LossesTest() {
    std::string path = (std::filesystem::temp_directory_path() / "ocicat-losses-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  ~LossesTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file() const { return folder_ / "losses"; }

  // Of an agent that finds such a number; what it is owed.
  std::uint64_t agent_that_counts(const std::string& name, std::uint64_t number) {
    Losses losses(file());
    losses.of(name).count(number);
    const auto lost = losses.of(name).settle();
    losses.write();
    return lost;
  }

  std::filesystem::path folder_;
};

TEST_F(LossesTest, ToldByOneAgentAreNotToldByTheNext) {
  EXPECT_EQ(agent_that_counts("ring", 40), 0U);
  EXPECT_EQ(agent_that_counts("ring", 50), 10U);
  EXPECT_EQ(agent_that_counts("ring", 50), 0U);
  EXPECT_EQ(agent_that_counts("policy", 9), 0U);  // with the other datapath
  EXPECT_EQ(agent_that_counts("policy", 10), 1U);
  EXPECT_EQ(agent_that_counts("ring", 51), 1U) << "kept meanwhile";
}

TEST_F(LossesTest, AnAgentThatDiesAfterItHasToldAndBeforeItHasWrittenLeavesThemToTheNext) {
  agent_that_counts("ring", 40);
  {
    Losses dies(file());
    dies.of("ring").count(45);
    EXPECT_EQ(dies.of("ring").settle(), 5U);
  }
  EXPECT_EQ(agent_that_counts("ring", 46), 6U);
}

TEST_F(LossesTest, AFileThatCannotBeReadIsNone) {
  std::ofstream(file()) << "ring forty\n";
  EXPECT_EQ(agent_that_counts("ring", 50), 0U);
  EXPECT_EQ(agent_that_counts("ring", 51), 1U);
}

}  // namespace
}  // namespace ocicat::agent
