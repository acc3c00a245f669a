#include "policy/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>
#include <vector>

#include "base/varint.h"
#include "test/support/random.h"

namespace ocicat::policy {
namespace {

using test::Random;

std::vector<Interval> intervals_of(const Table& table) {
  std::vector<Interval> intervals;
  for (const auto& interval : table) intervals.push_back(interval);
  return intervals;
}

// Near and far from each other, short and long, up to both ends of the key space.
std::vector<Interval> random_intervals(Random& random) {
  std::vector<Interval> intervals;
  std::uint32_t next = random.percent(20) ? 0 : static_cast<std::uint32_t>(random.below(1 << 16));
  for (auto left = random.below(100); left > 0; --left) {
    const auto some = [&] {
      return static_cast<std::uint32_t>(random.below(random.percent(5)    ? 1 << 20
                                                     : random.percent(50) ? 2
                                                                          : 40));
    };
    Interval interval{next + some(), 0, {}, {}};
    interval.last = interval.first + some();
    if (interval.last > kLastTableKey) break;
    if (left == 1 && random.percent(30)) interval.last = kLastTableKey;
    const auto id =
        static_cast<std::uint32_t>(random.percent(10) ? 0xffffffff - random.below(3) : 1 + random.below(300));
    if (random.percent(20)) {
      interval.source_ports = TableId{id};
    } else {
      interval.outcome = OutcomeId{id};
    }
    intervals.push_back(interval);
    next = interval.last + 1;
  }
  return intervals;
}

TEST(TablePropertyTest, GivesBackWhatItWasMadeOf) {
  for (std::uint64_t seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto intervals = random_intervals(random);
    const Table table(intervals);
    ASSERT_EQ(intervals_of(table), intervals);
    EXPECT_EQ(table.size(), intervals.size());
    EXPECT_EQ(table.empty(), intervals.empty());
    EXPECT_EQ(table, Table(intervals));
    auto other = intervals;
    if (other.empty()) continue;
    auto& one = other[random.below(other.size())];
    if (one.outcome != OutcomeId{}) {
      one.outcome = OutcomeId{static_cast<std::uint32_t>(one.outcome) ^ 1U << random.below(32)};
    } else {
      one.source_ports = TableId{static_cast<std::uint32_t>(one.source_ports) ^ 1U << 31};
    }
    EXPECT_FALSE(table == Table(other));
  }
}

TEST(TablePropertyTest, FindsWhatHoldsAKeyAndWhatComesBehindIt) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto intervals = random_intervals(random);
    const Table table(intervals);
    std::vector<std::uint32_t> keys{0, kLastTableKey};
    for (const auto& [first, last, outcome, sources] : intervals) {
      for (const auto key : {first - 1, first, last, last + 1}) {
        if (key <= kLastTableKey) keys.push_back(key);
      }
    }
    for (const auto key : keys) {
      const auto want = std::ranges::lower_bound(intervals, key, {}, &Interval::last);
      const auto from = table.from(key);
      ASSERT_EQ(from == table.end(), want == intervals.end());
      const auto found = table.find(key);
      ASSERT_EQ(found.has_value(), want != intervals.end() && want->first <= key);
      if (want == intervals.end()) continue;
      EXPECT_EQ(*from, *want);
      if (found) {
        EXPECT_EQ(*found, *want);
      }
      EXPECT_TRUE(std::ranges::equal(std::ranges::subrange(from, table.end()),
                                     std::ranges::subrange(want, intervals.end())));
    }
  }
}

TEST(Table, HasNothingAndTakesNothingWithoutIntervals) {
  const Table table;
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.size(), 0U);
  EXPECT_TRUE(table.begin() == table.end());
  EXPECT_FALSE(table.find(0).has_value());
  EXPECT_TRUE(table.bytes().empty());
}

TEST(Table, IsSharedByItsCopiesForAsLongAsOneIsThere) {
  Table copy;
  {
    const Table table{{1, 2, OutcomeId{3}, {}}};
    copy = table;
    EXPECT_EQ(copy.bytes().data(), table.bytes().data());
  }
  EXPECT_EQ(intervals_of(copy), (std::vector<Interval>{{1, 2, OutcomeId{3}, {}}}));
}

TEST(Table, TakesTwoBytesForAPortBesideAnother) {
  std::vector<Interval> ports;
  for (std::uint32_t i = 0; i < 16; ++i) {
    const auto port = table_key(kTcp, static_cast<std::uint16_t>(1'000 + 2 * i));
    ports.push_back({port, port, OutcomeId{1'000 + i}, {}});
  }
  // The number of intervals; the first from nothing.
  EXPECT_EQ(Table(ports).bytes().size(), 1 + (3 + 2) + 15 * 2U);
}

}  // namespace
}  // namespace ocicat::policy
