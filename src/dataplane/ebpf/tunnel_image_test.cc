#include "dataplane/ebpf/tunnel_image.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "dataplane/ebpf/address_image.h"
#include "kernel/simulated_bpf.h"

namespace ocicat::dataplane::ebpf {
namespace {

constexpr std::uint32_t kRoom = 8;

IpAddress vtep(std::uint32_t number) {
  return IpAddress::v4(0x0a410000U + number);
}
TunnelEnd end(std::uint32_t number) {
  return {MacAddress{{0x66, 0, 0, 0, 0, static_cast<std::uint8_t>(number)}},
          IpAddress::v4(0xc0000200U + number)};
}

class TunnelImageTest : public testing::Test {
 protected:
  OpenTunnels to(const std::map<std::uint32_t, std::uint32_t>& ends) const {
    OpenTunnels tunnels;
    tunnels.interface.link = 5;
    tunnels.interface.config = {.mac = *MacAddress::parse("66:00:00:00:00:01"),
                                .local = IpAddress::v4(0xc0000201),
                                .parent = 2,
                                .vni = 0x123456,
                                .port = 4789};
    for (const auto& [number, where] : ends) tunnels.ends.emplace(vtep(number), end(where));
    return tunnels;
  }
  std::uint32_t slot_of(std::uint32_t number) const { return slot_of(vtep(number)); }
  std::uint32_t slot_of(const IpAddress& end) const {
    const auto key = address_of(end);
    const auto found = vteps_.elements.find(kernel::bpf::text_of(kernel::bpf::bytes_of(key)));
    std::uint32_t slot = 0;
    if (found != vteps_.elements.end()) std::memcpy(&slot, found->second.data(), sizeof slot);
    return slot;
  }
  // What follows the outer Ethernet header of a packet for the VTEP; empty: there is no tunnel.
  std::vector<std::uint8_t> headers(const IpAddress& end) const {
    const auto& tunnel = memory_.at(slot_of(end));
    if (tunnel.device == 0 || tunnel.version % 2 != 0) return {};
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(tunnel.header);
    return {bytes, bytes + (end.is_v4() ? bpf::TUNNEL_HEADERS_V4 : bpf::TUNNEL_HEADERS_V6)};
  }
  // Where the maps say that packets for the VTEP go: the last byte of the host's address; 0: nowhere.
  std::uint32_t host_of(std::uint32_t number) const {
    const auto there = headers(vtep(number));
    return there.empty() ? 0 : there.at(19);
  }

  std::vector<bpf::tunnel> memory_ = std::vector<bpf::tunnel>(kRoom);
  kernel::bpf::SimulatedMap vteps_;
  TunnelImage image_{memory_, vteps_};
};

TEST_F(TunnelImageTest, HoldsTheHeadersOfAPacket) {
  image_.want(Family::kIpv4, to({{9, 2}}));
  ASSERT_TRUE(image_.update());
  const std::vector<std::vector<std::uint8_t>> parts{
      {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0},              // IPv4, its sum apart
      {192, 0, 2, 1, 192, 0, 2, 2},                           // from here to there
      {0, 0, 0x12, 0xb5, 0, 0, 0, 0},                         // UDP to 4789
      {8, 0, 0, 0, 0x12, 0x34, 0x56, 0},                      // VXLAN
      {0x66, 0, 0, 0, 0, 2, 0x66, 0, 0, 0, 0, 1, 0x08, 0x00}  // Ethernet, to the VTEP
  };
  std::vector<std::uint8_t> wanted;
  for (const auto& part : parts) wanted.insert(wanted.end(), part.begin(), part.end());
  auto there = headers(vtep(9));
  ASSERT_EQ(there.size(), wanted.size());
  // Of the other words: with lengths and identifier still to come.
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < 20; at += 2) {
    if (at != 10) sum += std::uint32_t{there[at]} << 8 | there[at + 1];
  }
  sum = (sum & 0xffff) + (sum >> 16);
  EXPECT_EQ(std::uint32_t{there[10]} << 8 | there[11], sum);
  there[10] = there[11] = 0;
  EXPECT_EQ(there, wanted);
  const auto& tunnel = memory_.at(slot_of(9));
  EXPECT_EQ(tunnel.device, 5U);
  EXPECT_EQ(tunnel.parent, 2U);
  EXPECT_EQ(tunnel.port, 32768);
  EXPECT_EQ(tunnel.ports, 60999 - 32768);
}

TEST_F(TunnelImageTest, HoldsTheHeadersOfAPacketOverIpv6) {
  const auto at_end = *IpAddress::parse("fd00:65:2::");
  auto tunnels = to({});
  tunnels.interface.config.local = *IpAddress::parse("2001:db8::1");
  tunnels.ends.emplace(at_end, TunnelEnd{end(2).mac, *IpAddress::parse("2001:db8::2")});
  tunnels.ends.emplace(vtep(3), end(3));  // of the other family: none that could be
  image_.want(Family::kIpv6, tunnels);
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(vteps_.elements.size(), 1U);
  const std::vector<std::vector<std::uint8_t>> parts{
      {0x60, 0, 0, 0, 0, 0, 17, 64},                                 // IPv6 with UDP
      {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},  // from here
      {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2},  // to there
      {0, 0, 0x12, 0xb5, 0, 0, 0, 0},                                // UDP to 4789, its sum apart
      {8, 0, 0, 0, 0x12, 0x34, 0x56, 0},                             // VXLAN
      {0x66, 0, 0, 0, 0, 2, 0x66, 0, 0, 0, 0, 1, 0x86, 0xdd}         // Ethernet, to the VTEP
  };
  std::vector<std::uint8_t> wanted;
  for (const auto& part : parts) wanted.insert(wanted.end(), part.begin(), part.end());
  ASSERT_EQ(wanted.size(), static_cast<std::size_t>(bpf::TUNNEL_HEADERS_V6));
  auto there = headers(at_end);
  ASSERT_EQ(there.size(), wanted.size());
  // Of the addresses and all behind them, and the protocol: with lengths and source port still to come.
  std::uint32_t sum = 17;
  for (std::size_t at = 8; at < wanted.size(); at += 2)
    sum += std::uint32_t{wanted[at]} << 8 | wanted[at + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  EXPECT_EQ(std::uint32_t{there[46]} << 8 | there[47], sum);
  there[46] = there[47] = 0;
  EXPECT_EQ(there, wanted);
}

TEST_F(TunnelImageTest, HoldsThoseOfBothFamiliesApart) {
  const auto at_end = *IpAddress::parse("fd00:65:2::");
  auto six = to({});
  six.interface.config.local = *IpAddress::parse("2001:db8::1");
  six.ends.emplace(at_end, TunnelEnd{end(2).mac, *IpAddress::parse("2001:db8::2")});
  image_.want(Family::kIpv4, to({{2, 2}}));
  image_.want(Family::kIpv6, six);
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(host_of(2), 2U);
  EXPECT_FALSE(headers(at_end).empty());
  image_.want(Family::kIpv4, {});
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(host_of(2), 0U);
  EXPECT_FALSE(headers(at_end).empty());
}

TEST_F(TunnelImageTest, WritesWhatDiffersInPlace) {
  image_.want(Family::kIpv4, to({{2, 2}, {3, 3}}));
  ASSERT_TRUE(image_.update());
  const auto slot = slot_of(2);
  const auto version = memory_.at(slot).version;
  const auto writes = image_.writes();
  image_.want(Family::kIpv4, to({{2, 4}, {3, 3}}));
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(image_.writes(), writes + 1);
  EXPECT_EQ(slot_of(2), slot);
  EXPECT_EQ(memory_.at(slot).version, version + 2);
  EXPECT_EQ(host_of(2), 4U);
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(image_.writes(), writes + 1);
}

TEST_F(TunnelImageTest, TakesChangesToSomeAndLeavesTheOthers) {
  const auto some = to({{2, 2}, {3, 3}});
  image_.want(Family::kIpv4, some);
  ASSERT_TRUE(image_.update());
  const auto writes = image_.writes();
  Changes<IpAddress, TunnelEnd> changes;
  changes.update(vtep(3), end(4));
  changes.update(vtep(5), end(5));
  image_.want(some.interface, changes);
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(image_.writes() - writes, 3U) << "one in place, one in its slot and under its key";
  EXPECT_EQ(host_of(2), 2U);
  EXPECT_EQ(host_of(3), 4U);
  EXPECT_EQ(host_of(5), 5U);
  changes.clear();
  changes.remove(vtep(2));
  image_.want(some.interface, changes);
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(host_of(2), 0U);
  EXPECT_EQ(host_of(5), 5U);
}

TEST_F(TunnelImageTest, GivesASlotToAnotherTunnelOnlyInALaterUpdate) {
  image_.want(Family::kIpv4, to({{2, 2}}));
  ASSERT_TRUE(image_.update());
  const auto slot = slot_of(2);
  image_.want(Family::kIpv4, to({{3, 3}}));
  ASSERT_TRUE(image_.update());
  EXPECT_NE(slot_of(3), slot);
  EXPECT_EQ(memory_.at(slot).device, 0U);
  image_.want(Family::kIpv4, to({{3, 3}, {4, 4}}));
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(slot_of(4), slot);
}

TEST_F(TunnelImageTest, LeavesWhatDoesNotFitToTheInterface) {
  std::map<std::uint32_t, std::uint32_t> many;
  for (std::uint32_t number = 2; number < 20; ++number) many.emplace(number, number);
  image_.want(Family::kIpv4, to(many));
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(vteps_.elements.size(), kRoom - 1);
  image_.want(Family::kIpv4, to({{19, 19}}));
  ASSERT_TRUE(image_.update());
  ASSERT_TRUE(image_.update());
  EXPECT_EQ(host_of(19), 19U);
  EXPECT_EQ(vteps_.elements.size(), 1U);
}

TEST_F(TunnelImageTest, IsRightAfterAnyHistoryAndAnyFailureAndForWhoeverComesNext) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::minstd_rand random(seed);
  OpenTunnels before = to({});
  image_.want(Family::kIpv4, before);
  for (int round = 0; round < 400; ++round) {
    std::map<std::uint32_t, std::uint32_t> ends;
    for (std::uint32_t number = 2; number < 6; ++number) {
      if (random() % 2 == 0) ends.emplace(number, 2 + random() % 4);
    }
    if (random() % 4 == 0) vteps_.fails_after = static_cast<int>(random() % 3);
    const auto wanted_now = to(ends);
    if (random() % 2 == 0) {
      image_.want(Family::kIpv4, wanted_now);
    } else {
      image_.want(before.interface, Changes<IpAddress, TunnelEnd>::between(before.ends, wanted_now.ends));
    }
    before = wanted_now;
    if (!image_.update()) vteps_.fails_after.reset();
    vteps_.fails_after.reset();
    if (random() % 8 == 0) memory_.at(1 + random() % (kRoom - 1)).version |= 1;  // stopped in the middle
    TunnelImage next(memory_, vteps_);
    auto& writer = random() % 2 == 0 ? next : image_;
    writer.want(Family::kIpv4, to(ends));
    ASSERT_TRUE(writer.resync());
    ASSERT_TRUE(writer.update());  // where there was no room in one
    for (std::uint32_t number = 2; number < 6; ++number) {
      const auto wanted = ends.find(number);
      ASSERT_EQ(host_of(number), wanted == ends.end() ? 0 : wanted->second);
    }
    for (std::uint32_t slot = 1; slot < kRoom; ++slot) ASSERT_EQ(memory_.at(slot).version % 2, 0U);
    ASSERT_TRUE(image_.resync());
  }
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
