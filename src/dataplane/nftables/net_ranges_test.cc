#include "dataplane/nftables/net_ranges.h"
#include "test/support/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

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

// For addresses in no net; NetRanges leaves it to constant_entries().
Entry net_entry_of_none(Family family) {
  for (const auto& entry : constant_entries()) {
    if (entry.map == nets_map(family) && !is_exact(entry)) return entry;
  }
  return {};
}

void write(const Transaction& transaction, Entries& held) {
  for (const auto& entry : transaction.removed) ASSERT_EQ(std::erase(held, entry), 1U);
  held.insert(held.end(), transaction.added.begin(), transaction.added.end());
  std::ranges::sort(held);
}

// Who has which class, where intervals change. Intervals and nets may be of different moments.
std::optional<std::uint32_t> class_of(const IpAddress& address, const Entries& intervals,
                                      const Entries& nets) {
  const auto key = range_entry(address.family(), address, address, std::nullopt).key;
  for (const auto& range : intervals) {
    if (range.map != ranges_map(address.family()) || key < range.key) continue;
    if (!range.end.empty() && !(key < range.end)) continue;
    for (const auto& net : nets) {
      if (net.map != nets_map(address.family()) ||
          !std::ranges::equal(net.key.view().subspan(4), range.data.view()))
        continue;
      return net.data.be32_at(0);
    }
  }
  return std::nullopt;
}

Entry interval(const char* first, const char* last, const char* net) {
  return range_entry(Family::kIpv4, *IpAddress::parse(first), *IpAddress::parse(last),
                     net == nullptr ? std::nullopt : Prefix::parse(net));
}

TEST(NetRanges, LeadEachAddressToItsLongestNetAndTheNetToItsClass) {
  NetRanges ranges(Family::kIpv4);
  PolicyDelta delta;
  ranges.update({{*Prefix::parse("10.0.0.0/8"), ClassId{1}}, {*Prefix::parse("10.1.0.0/16"), ClassId{2}}},
                delta);
  Entries expected{interval("0.0.0.0", "9.255.255.255", nullptr),
                   interval("10.0.0.0", "10.0.255.255", "10.0.0.0/8"),
                   interval("10.1.0.0", "10.1.255.255", "10.1.0.0/16"),
                   interval("10.2.0.0", "10.255.255.255", "10.0.0.0/8"),
                   interval("11.0.0.0", "255.255.255.255", nullptr),
                   net_entry(*Prefix::parse("10.0.0.0/8"), ClassId{1}),
                   net_entry(*Prefix::parse("10.1.0.0/16"), ClassId{2})};
  std::ranges::sort(expected);
  EXPECT_EQ(all_of(ranges), expected);
}

TEST(NetRanges, CoverTheWholeAddressSpaceWithoutAnEndWithAndWithoutNets) {
  for (const auto* text : {"0.0.0.0/0", "::/0"}) {
    const auto everything = *Prefix::parse(text);
    NetRanges ranges(everything.family());
    ASSERT_EQ(all_of(ranges).size(), 1U);
    EXPECT_TRUE(all_of(ranges).front().end.empty());
    PolicyDelta delta;
    ranges.update({{everything, ClassId{3}}}, delta);
    const auto all = all_of(ranges);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_TRUE(all.front().end.empty());
  }
}

TEST(NetRanges, AClassThatChangesIsOneElement) {
  NetRanges ranges(Family::kIpv4);
  const auto net = *Prefix::parse("10.0.0.0/8");
  PolicyDelta first, second;
  ranges.update({{net, ClassId{1}}}, first);
  ranges.update({{net, ClassId{2}}}, second);
  EXPECT_EQ(second.step.removed, Entries{net_entry(net, ClassId{1})});
  EXPECT_EQ(second.step.added, Entries{net_entry(net, ClassId{2})});
  EXPECT_TRUE(second.prepared.empty() && second.settled.empty() && second.garbage.empty());
}

TEST(NetRanges, NoTwoNetsAreWrittenAlike) {
  std::set<kernel::nft::ElementKey> keys;
  for (int length = 0; length < 32; ++length) {
    for (const auto* text : {"0.0.0.0", "128.0.0.0", "255.255.255.254", "10.0.0.0"}) {
      const auto net = Prefix{*IpAddress::parse(text), static_cast<std::uint8_t>(length)};
      if (!net.is_masked()) continue;
      EXPECT_TRUE(keys.insert(net_key(Family::kIpv4, net)).second) << net.to_string();
    }
  }
  EXPECT_TRUE(keys.insert(net_key(Family::kIpv4, std::nullopt)).second);
}

TEST(NetRanges, StepByStepAreWhatTheyAreAtOnceAndLateIntervalsMeanTheSame) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  std::mt19937 random(seed);
  for (const auto family : kFamilies) {
    NetRanges ranges(family);
    Entries held = all_of(ranges);
    held.push_back(net_entry_of_none(family));
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
      PolicyDelta delta;
      const auto before = held;
      ranges.update({changes.begin(), changes.end()}, delta);
      write(delta.prepared, held);
      const auto prepared = held;
      write(delta.step, held);
      const auto stepped = held;
      EXPECT_TRUE(std::ranges::none_of(delta.step.added,
                                       [&](const auto& entry) { return entry.map == ranges_map(family); }));
      write(delta.settled, held);
      for (const auto& [prefix, unused] : changes) {
        for (const auto& address : {prefix.first(), prefix.last()}) {
          EXPECT_EQ(class_of(address, prepared, prepared), class_of(address, before, before));
          EXPECT_EQ(class_of(address, before, prepared), class_of(address, before, before));
          EXPECT_EQ(class_of(address, held, held), class_of(address, stepped, stepped));
          EXPECT_EQ(class_of(address, stepped, held), class_of(address, stepped, stepped));
        }
      }
      write({delta.garbage, {}}, held);
      for (const auto& [prefix, value] : changes) {
        if (value)
          nets.insert_or_assign(prefix, *value);
        else
          nets.erase(prefix);
      }
      NetRanges fresh(family);
      PolicyDelta unused;
      fresh.update({nets.begin(), nets.end()}, unused);
      auto expected = all_of(fresh);
      expected.push_back(net_entry_of_none(family));
      std::ranges::sort(expected);
      ASSERT_EQ(held, expected);
      ASSERT_EQ(all_of(ranges), all_of(fresh));
    }
  }
}

}  // namespace
}  // namespace ocicat::dataplane
