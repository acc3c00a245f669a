#include "dataplane/nftables/net_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace ocicat::dataplane {
namespace {

using policy::ClassId;
using Change = std::pair<Prefix, std::optional<ClassId>>;

Entries all_of(const NetRanges& ranges) {
  Entries entries;
  ranges.add_all(entries);
  std::ranges::sort(entries);
  return entries;
}

TEST(NetRanges, GiveEachAddressTheClassOfItsLongestPrefix) {
  NetRanges ranges(Family::kIpv4);
  Entries removed, added;
  ranges.update({{*Prefix::parse("10.0.0.0/8"), ClassId{1}}, {*Prefix::parse("10.1.0.0/16"), ClassId{2}}},
                removed, added);
  const Entries expected{range_entry(Family::kIpv4, *IpAddress::parse("10.0.0.0"),
                                     *IpAddress::parse("10.0.255.255"), ClassId{1}),
                         range_entry(Family::kIpv4, *IpAddress::parse("10.1.0.0"),
                                     *IpAddress::parse("10.1.255.255"), ClassId{2}),
                         range_entry(Family::kIpv4, *IpAddress::parse("10.2.0.0"),
                                     *IpAddress::parse("10.255.255.255"), ClassId{1})};
  EXPECT_EQ(all_of(ranges), expected);
}

TEST(NetRanges, CoverTheWholeAddressSpaceWithoutAnEnd) {
  for (const auto* text : {"0.0.0.0/0", "::/0"}) {
    const auto everything = *Prefix::parse(text);
    NetRanges ranges(everything.family());
    Entries removed, added;
    ranges.update({{everything, ClassId{3}}}, removed, added);
    ASSERT_EQ(added.size(), 1U);
    EXPECT_TRUE(added.front().end.empty());
  }
}

TEST(NetRanges, StepByStepAreWhatTheyAreAtOnce) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (const auto family : kFamilies) {
    NetRanges ranges(family);
    Entries held;
    std::map<Prefix, ClassId> nets;
    for (int step = 0; step < 400; ++step) {
      std::map<Prefix, std::optional<ClassId>> changes;
      for (auto i = random() % 4; i > 0; --i) {
        // Few addresses, around the borders of the space and of the mapped addresses, so that prefixes nest
        // and touch.
        const char* bases4[] = {"0.0.0.0", "255.255.255.255", "10.0.0.0", "10.0.0.255"};
        const char* bases6[] = {"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                                "fd00::", "::fffe:ffff:ffff"};
        const auto base =
            *IpAddress::parse(family == Family::kIpv4 ? bases4[random() % 4] : bases6[random() % 4]);
        const int bits = bits_of(family);
        const auto prefix =
            Prefix{base, static_cast<std::uint8_t>(random() % 3 == 0
                                                       ? random() % 4
                                                       : static_cast<unsigned>(bits) - 1 - random() % 10)}
                .masked();
        if (prefix.family() != family) continue;
        changes[prefix] = random() % 3 == 0
                              ? std::nullopt
                              : std::optional(ClassId{static_cast<std::uint32_t>(random() % 4)});
      }
      Entries removed, added;
      ranges.update({changes.begin(), changes.end()}, removed, added);
      for (const auto& [prefix, value] : changes) {
        if (value)
          nets.insert_or_assign(prefix, *value);
        else
          nets.erase(prefix);
      }
      for (const auto& entry : removed) ASSERT_EQ(std::erase(held, entry), 1U);
      held.insert(held.end(), added.begin(), added.end());
      std::ranges::sort(held);
      ASSERT_EQ(held, all_of(ranges));
      NetRanges fresh(family);
      Entries fresh_removed, fresh_added;
      fresh.update({nets.begin(), nets.end()}, fresh_removed, fresh_added);
      ASSERT_EQ(all_of(fresh), held);
    }
  }
}

}  // namespace
}  // namespace ocicat::dataplane
