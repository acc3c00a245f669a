#include "base/prefix_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ocicat {
namespace {

Prefix prefix(std::string_view text) {
  return *Prefix::parse(text);
}

TEST(PrefixMap, TellsTheLongestThatHoldsAnAddressInItsFamily) {
  PrefixMap<int> map;
  for (const auto& [text, value] : std::map<const char*, int>{
           {"0.0.0.0/0", 1}, {"10.0.0.0/8", 2}, {"10.1.0.0/16", 3}, {"10.1.0.7/32", 4}, {"::/0", 5}}) {
    *map.try_emplace(prefix(text)).first = value;
  }
  const auto at = [&](const char* address) { return *map.longest(*IpAddress::parse(address)); };
  EXPECT_EQ(at("10.1.0.7"), 4);
  EXPECT_EQ(at("10.1.0.8"), 3);
  EXPECT_EQ(at("10.2.0.8"), 2);
  EXPECT_EQ(at("192.0.2.1"), 1);
  EXPECT_EQ(at("fd00::1"), 5);
  map.erase(prefix("10.1.0.0/16"));
  map.erase(prefix("10.1.0.0/16"));
  EXPECT_EQ(at("10.1.0.8"), 2);
  EXPECT_EQ(map.find(prefix("10.1.0.0/16")), nullptr);
  EXPECT_EQ(*map.find(prefix("10.0.0.0/8")), 2);
  EXPECT_FALSE(map.try_emplace(prefix("10.0.0.0/8")).second);
}

TEST(PrefixMap, AgreesWithLookingAtAllThroughAnyHistory) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  PrefixMap<int> map;
  std::map<Prefix, int> all;
  const auto any_address = [&] {
    auto address = IpAddress::v4(0x0a000000 + random() % 4096).bytes();
    if (random() % 2 == 0) address[0] = 0xfd;  // of the other family
    return IpAddress::v6(address);
  };
  for (int step = 0; step < 5'000; ++step) {
    const auto address = any_address();
    const auto chosen = Prefix{address, static_cast<std::uint8_t>(20 + random() % 13)}.masked();
    if (random() % 3 != 0) {
      *map.try_emplace(chosen).first = step;
      all.insert_or_assign(chosen, step);
    } else {
      map.erase(chosen);
      all.erase(chosen);
    }
    const auto asked = any_address();
    const std::pair<const Prefix, int>* longest = nullptr;
    for (const auto& entry : all) {
      if (entry.first.contains(asked) && (longest == nullptr || entry.first.length > longest->first.length))
        longest = &entry;
    }
    const auto* found = map.longest(asked);
    ASSERT_EQ(found == nullptr, longest == nullptr);
    if (found != nullptr) {
      ASSERT_EQ(*found, longest->second);
    }
  }
}

}  // namespace
}  // namespace ocicat
