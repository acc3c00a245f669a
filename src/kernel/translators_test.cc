// What the kernel says of rules, taken apart without a kernel.
#include "kernel/translators.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace ocicat::kernel {
namespace {

// Of struct ipt_entry and ip6t_entry: sizes, and where offsets stand (linux/netfilter_ipv4/ip_tables.h).
struct Layout {
  std::size_t entry, target_offset;
  bool ipv6;
};
constexpr Layout kLayouts[] = {{112, 88, false}, {168, 140, true}};

void put16(std::vector<std::uint8_t>& bytes, std::size_t at, std::size_t value) {
  const auto number = static_cast<std::uint16_t>(value);
  std::memcpy(bytes.data() + at, &number, sizeof number);
}

std::vector<std::uint8_t> entry(const Layout& layout, std::string_view target) {
  constexpr std::size_t kTarget = 40;
  std::vector<std::uint8_t> bytes(layout.entry + kTarget);
  put16(bytes, layout.target_offset, layout.entry);
  put16(bytes, layout.target_offset + 2, bytes.size());
  std::memcpy(bytes.data() + layout.entry + 2, target.data(), target.size());
  return bytes;
}

std::vector<std::uint8_t> entries(const Layout& layout, std::initializer_list<std::string_view> targets) {
  std::vector<std::uint8_t> all;
  for (const auto target : targets) {
    const auto one = entry(layout, target);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

TEST(Translators, AnEntryThatLeadsElsewhereIsFoundAmongOthers) {
  for (const auto& layout : kLayouts) {
    EXPECT_FALSE(has_translating_entry({}, layout.ipv6));
    EXPECT_FALSE(has_translating_entry(entries(layout, {"", "MASQUERADE", "SNAT", "ERROR"}), layout.ipv6));
    for (const auto* target : {"DNAT", "REDIRECT", "NETMAP"})
      EXPECT_TRUE(has_translating_entry(entries(layout, {"", target, "ERROR"}), layout.ipv6)) << target;
  }
}

TEST(Translators, EntriesThatAreCutShortOrContradictThemselvesSayNothing) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const auto& layout : kLayouts) {
    auto whole = entries(layout, {"", "DNAT"});
    for (std::size_t size = 0; size + 1 < whole.size(); ++size)
      EXPECT_FALSE(has_translating_entry(std::span(whole).first(size), layout.ipv6)) << size;
    for (int i = 0; i < 2000; ++i) {
      auto broken = whole;
      for (int byte = 0; byte < 8; ++byte)
        broken[random() % broken.size()] = static_cast<std::uint8_t>(random());
      has_translating_entry(broken, layout.ipv6);  // and does not read beyond the end
    }
  }
}

TEST(Translators, ServicesOfIpvsAreCounted) {
  constexpr std::string_view kNone =
      "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
      "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
  EXPECT_EQ(virtual_services({}), 0);
  EXPECT_EQ(virtual_services(kNone), 0);
  EXPECT_EQ(virtual_services(std::string(kNone) +
                             "TCP  0A600001:01BB rr\n  -> 0A410002:01BB Masq 1 0 0\nFWM  00000001 rr\n"),
            2);
}

}  // namespace
}  // namespace ocicat::kernel
