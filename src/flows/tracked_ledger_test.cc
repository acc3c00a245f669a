// What connections carry, told once. That the kernel counts and tells so: test/e2e/test_carried.py.
#include "flows/tracked_ledger.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mount.h>

#include <filesystem>

namespace ocicat::flows {
namespace {

using policy::Direction;

constexpr std::uint32_t kRevokedBit = 2;

// Workload `a`, which may send to anybody and is sent to by anybody.
class Tracked : public testing::Test {
 protected:
  Tracked() {
    using namespace policy;
    HostChanges changes;
    auto& tables = changes.tables;
    tables.outcomes.update(OutcomeId{1}, {Verdict::kAllow, {}});
    tables.tables.update(TableId{1}, {{{0, kLastTableKey, OutcomeId{1}, {}}}});
    tables.programs.update(ProgramId{1}, {VocabularyId{1}, TableId{1}});
    changes.endpoints.update({Kind::kPod, "shop", "a"},
                             {"a", {{*IpAddress::parse("10.65.0.2"), ProgramId{1}, ProgramId{1}}}});
    replay_.update(changes);
    std::string name = std::filesystem::temp_directory_path() / "ledger.XXXXXX";
    folder_ = ::mkdtemp(name.data());
    open();
    ledger_->end_look();
  }
  ~Tracked() override { std::filesystem::remove_all(folder_); }

  void open(std::uint64_t era = 1, std::uint32_t most = 8) {
    ledger_.reset();
    auto opened = TrackedLedger::open(folder_ / "connections", era, most);
    ASSERT_TRUE(opened) << opened.error().message;
    ledger_.emplace(*std::move(opened));
  }
  static kernel::Connection connection(std::uint64_t sent, std::uint64_t answered, std::uint8_t number = 1) {
    kernel::Connection one{*IpAddress::parse("10.65.0.2"), *IpAddress::parse("203.0.113.1"), kUdp};
    one.destination_port = 53;
    one.identity = {number};
    one.counted = true;
    one.packets = {sent, answered};
    one.bytes = {100 * sent, 100 * answered};
    return one;
  }
  std::vector<Event> book(const kernel::Connection& one, bool goes_on = true) {
    std::vector<Event> events;
    ledger_->book(one, goes_on, replay_, {}, kRevokedBit,
                  [&](const Event& event) { events.push_back(event); });
    return events;
  }
  // Packets out and in.
  std::pair<std::uint64_t, std::uint64_t> told(const kernel::Connection& one, bool goes_on = true) {
    const auto events = book(one, goes_on);
    if (events.size() != 1) return {99, 99};
    EXPECT_EQ(events[0].end, Direction::kEgress);
    EXPECT_EQ(events[0].outcomes[static_cast<std::size_t>(Direction::kEgress)], policy::OutcomeId{1});
    EXPECT_EQ(events[0].carried->goes_on, goes_on);
    EXPECT_EQ(events[0].carried->bytes_out, 100 * events[0].carried->packets_out);
    return {events[0].carried->packets_out, events[0].carried->packets_in};
  }

  using Pair = std::pair<std::uint64_t, std::uint64_t>;
  std::filesystem::path folder_;
  Replay replay_;
  std::optional<TrackedLedger> ledger_;
};

TEST_F(Tracked, WhatHasComeSinceTheLastLookIsTold) {
  EXPECT_EQ(told(connection(3, 2)), Pair(3, 2));
  EXPECT_EQ(told(connection(3, 2)), Pair(0, 0));
  EXPECT_EQ(told(connection(10, 4)), Pair(7, 2));
  EXPECT_EQ(told(connection(11, 4), false), Pair(1, 0));
  EXPECT_EQ(ledger_->size(), 0U);
}

TEST_F(Tracked, OneThatBeginsAndEndsBetweenLooksIsToldWhole) {
  EXPECT_EQ(told(connection(3, 2), false), Pair(3, 2));
}

TEST_F(Tracked, TheNextAgentTellsTheRest) {
  EXPECT_EQ(told(connection(3, 2)), Pair(3, 2));
  open();
  EXPECT_EQ(told(connection(5, 2)), Pair(2, 0));
}

TEST_F(Tracked, WhatAnotherStartOfTheMachineHasToldIsForgottenAndNothingOwed) {
  EXPECT_EQ(told(connection(3, 2)), Pair(3, 2));
  open(2);
  EXPECT_EQ(told(connection(5, 2)), Pair(0, 0));
  ledger_->end_look();
  EXPECT_EQ(told(connection(6, 2)), Pair(1, 0));
}

TEST_F(Tracked, CountersThatSomebodySetToNothingCountAnew) {
  EXPECT_EQ(told(connection(3, 2)), Pair(3, 2));
  EXPECT_EQ(told(connection(1, 0)), Pair(1, 0));
}

TEST_F(Tracked, WithoutRoomAllIsToldAtTheEnd) {
  for (std::uint8_t i = 1; i <= 8; ++i) told(connection(1, 1, i));
  for (int look = 0; look < 2; ++look) EXPECT_TRUE(book(connection(1, 1, 9)).empty());
  EXPECT_EQ(told(connection(2, 2, 9), false), Pair(2, 2));
}

// Needs root. Memory of a file for which there is no room would end the process.
TEST_F(Tracked, OnAFullDiskAllIsToldAtTheEnd) {
  ledger_.reset();
  ASSERT_EQ(::mount("ledger", folder_.c_str(), "tmpfs", 0, "size=4096"), 0);
  open(1, 1'024);
  ledger_->end_look();
  for (std::uint8_t i = 1; i <= 63; ++i) EXPECT_EQ(told(connection(1, 1, i)), Pair(1, 1));
  EXPECT_TRUE(book(connection(1, 1, 64)).empty());
  EXPECT_EQ(told(connection(2, 2, 64), false), Pair(2, 2));
  EXPECT_EQ(told(connection(2, 1, 63)), Pair(1, 0));
  const auto another = TrackedLedger::open(folder_ / "another", 1);
  ASSERT_FALSE(another);
  EXPECT_NE(another.error().message.find("No space left"), std::string::npos);
  EXPECT_EQ(::umount2(folder_.c_str(), MNT_DETACH), 0);
}

// As somebody has cut it, or a machine that lost power: what is said to be used is not there.
TEST_F(Tracked, OfAFileThatWasCutWhatIsLeftCounts) {
  EXPECT_EQ(told(connection(3, 2)), Pair(3, 2));
  ledger_.reset();
  std::filesystem::resize_file(folder_ / "connections", 64);
  open();
  EXPECT_EQ(ledger_->size(), 0U);
  EXPECT_EQ(told(connection(5, 2)), Pair(5, 2));
  EXPECT_EQ(told(connection(5, 2)), Pair(0, 0));
}

TEST_F(Tracked, WhatIsRefusedMeanwhileIsNotCarried) {
  EXPECT_EQ(told(connection(3, 2)), Pair(3, 2));
  auto denied = connection(5, 2);
  denied.mark = kRevokedBit;
  EXPECT_EQ(told(denied), Pair(2, 0)) << "some of it may have passed";
  denied.packets[0] = 9;
  denied.bytes[0] = 900;
  EXPECT_EQ(told(denied), Pair(0, 0));
  EXPECT_EQ(told(connection(10, 2)), Pair(1, 0));
}

TEST_F(Tracked, WhatConcernsNobodyHereIsNotKept) {
  auto other = connection(3, 2);
  other.source = *IpAddress::parse("192.0.2.1");
  EXPECT_TRUE(book(other).empty());
  EXPECT_EQ(ledger_->size(), 0U);
}

TEST_F(Tracked, OneThatIsGoneUnheardOfIsCounted) {
  told(connection(3, 2));
  EXPECT_EQ(ledger_->end_look(), 0U);
  EXPECT_EQ(ledger_->end_look(), 0U);
  EXPECT_EQ(ledger_->end_look(), 1U);
  EXPECT_EQ(ledger_->size(), 0U);
}

}  // namespace
}  // namespace ocicat::flows
