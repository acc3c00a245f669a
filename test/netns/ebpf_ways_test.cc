// What the eBPF datapath knows of the ways that packets take past its programs.
#include <gtest/gtest.h>

#include <net/if.h>

#include <functional>

#include "dataplane/ebpf/address_image.h"
#include "maps/connections.h"
#include "maps/endpoints.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;

class EbpfWays : public testing::Test {
 protected:
  EbpfWays() {
    auto changes = first_state(1);
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    add_pod(changes, "b", b_, kAllowAll, kAllowAll);
    agent_.put(changes);
    agent_.await_revision(1);
  }
  int index_of(const std::string& interface) {
    int index = 0;
    bed_.host().run([&] { index = static_cast<int>(::if_nametoindex(interface.c_str())); });
    return index;
  }
  bool is_attached(const std::string& interface, const char* hook) {
    return std::filesystem::exists(pins_.path() / "links" / fmt::format("{}-{}", index_of(interface), hook));
  }
  bool passes(const Station& from, const Station& to, const RawPacket& packet) {
    return !bed_.arriving(from, to, {packet}).empty();
  }
  void for_each_connection(
      const std::function<void(const bpf::connection_key&, const bpf::connection&)>& visit) {
    const auto all = pins_.connections();
    CHECK(all);
    for (const auto& tracked : all->as<bpf::tracked>()) {
      if (tracked.version != 0) visit(tracked.key, tracked.connection);
    }
  }
  // Where the peer's end of a workload's only connection with it is, as the connection has it.
  std::uint32_t way_of(const IpAddress& own, const IpAddress& peer) {
    using dataplane::ebpf::address_of;
    std::uint32_t way = 0;
    int found = 0;
    for_each_connection([&](const auto& key, const auto& connection) {
      for (std::size_t end = 0; end < 2; ++end) {
        if (address_of(key.address[end]) != peer || address_of(key.address[1 - end]) != own) continue;
        way = connection.endpoint[end];
        ++found;
      }
    });
    EXPECT_EQ(found, 1);
    return way;
  }
  std::uint32_t by_uplink() { return END_OUTSIDE | static_cast<std::uint32_t>(index_of("uplink")); }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(Datapath::kEbpf)};
};

RawPacket reply_to(RawPacket packet) {
  std::swap(packet.packet.source, packet.packet.destination);
  std::swap(packet.packet.source_port, packet.packet.destination_port);
  packet.token = new_token();
  return packet;
}

TEST_F(EbpfWays, HaveProgramsAtAllInterfacesThatCarryFrames) {
  for (const auto* interface : {"calia", "calib", "uplink"})
    EXPECT_TRUE(is_attached(interface, "ingress")) << interface;
  EXPECT_TRUE(is_attached("calia", "egress"));
  EXPECT_FALSE(is_attached("lo", "ingress"));
}

TEST_F(EbpfWays, FollowInterfacesThatComeGoAndJoinOthers) {
  auto change = [&, revision = 1U](const char* command) mutable {
    bed_.host().run([&] { shell(command); });
    agent_.put(at_revision(++revision));
    agent_.await_revision(revision);
  };
  change("ip link add later type veth peer name other; ip link add bridge type bridge");
  for (const auto* interface : {"later", "other", "bridge"})
    EXPECT_TRUE(is_attached(interface, "ingress")) << interface;
  const auto gone = index_of("other");
  change("ip link set later master bridge");
  EXPECT_FALSE(is_attached("later", "ingress"));
  change("ip link set later nomaster");
  EXPECT_TRUE(is_attached("later", "ingress"));
  change("ip link del other");
  EXPECT_FALSE(std::filesystem::exists(pins_.path() / "links" / fmt::format("{}-ingress", gone)));
}

TEST_F(EbpfWays, AreLearnedFromWhatComesThroughTheStackAsItWentIn) {
  for (const auto family : kFamilies) {
    const auto& far = bed_.outside().address(family);
    const auto request = probe(a_.address(family), far, kUdp, 53);
    EXPECT_TRUE(passes(a_, bed_.outside(), request));
    EXPECT_EQ(way_of(a_.address(family), far), 0U);
    EXPECT_TRUE(passes(bed_.outside(), a_, reply_to(request)));
    EXPECT_EQ(way_of(a_.address(family), far), by_uplink());
    // The first one of a connection is of none yet.
    auto incoming = probe(far, b_.address(family), kUdp, 53);
    for (int i = 0; i < 2; ++i, incoming.token = new_token())
      EXPECT_TRUE(passes(bed_.outside(), b_, incoming));
    EXPECT_EQ(way_of(b_.address(family), far), by_uplink());
  }
}

TEST_F(EbpfWays, AreNotLearnedWhereSomebodyTranslates) {
  bed_.host().run([] {
    shell(
        "nft 'add table ip other; add chain ip other in { type nat hook prerouting priority -100; };"
        "add chain ip other out { type nat hook postrouting priority 100; };"
        "add rule ip other in iifname uplink udp dport 8080 dnat to 10.65.0.3:80;"
        "add rule ip other out oifname uplink ip saddr 10.65.0.2 masquerade'");
  });
  const auto& far = bed_.outside().address(Family::kIpv4);
  auto incoming = probe(far, Testbed::host_address(Family::kIpv4), kUdp, 8080);
  EXPECT_TRUE(passes(bed_.outside(), b_, incoming));
  EXPECT_EQ(way_of(b_.address(Family::kIpv4), far), 0U);
  const auto request = probe(a_.address(Family::kIpv4), far, kUdp, 53);
  EXPECT_TRUE(passes(a_, bed_.outside(), request));
  auto answer = reply_to(request);
  answer.packet.destination = Testbed::host_address(Family::kIpv4);
  EXPECT_TRUE(passes(bed_.outside(), a_, answer));
  EXPECT_EQ(way_of(a_.address(Family::kIpv4), far), 0U);
}

// A stamp has 15 bits: of so many translations, some leave it as it is.
TEST_F(EbpfWays, AreLearnedOfNoneOfManyThatAreTranslated) {
  bed_.host().run([] {
    shell(
        "nft 'add table ip other; add chain ip other in { type nat hook prerouting priority -100; };"
        "add rule ip other in iifname uplink ip daddr 10.9.0.0/16 dnat to 10.65.0.3'");
  });
  const auto& far = bed_.outside().address(Family::kIpv4);
  constexpr std::uint32_t kTogether = 128;  // as many as find room at the receiver
  for (std::uint32_t first = 0; first < 0x10000; first += kTogether) {
    std::vector<RawPacket> packets;
    for (auto i = first; i < first + kTogether; ++i) {
      packets.push_back(probe(far, IpAddress::v4(0x0a090000 + i), kUdp, 80));
      packets.back().packet.source_port = static_cast<std::uint16_t>(i | 1);
    }
    EXPECT_FALSE(bed_.arriving(bed_.outside(), b_, packets).empty());
  }
  std::size_t translated = 0;
  for_each_connection([&](const bpf::connection_key&, const bpf::connection& connection) {
    for (const auto end : connection.endpoint) EXPECT_EQ(end & END_OUTSIDE, 0);
    ++translated;
  });
  EXPECT_GT(translated, 10'000U);
}

TEST_F(EbpfWays, OfOtherWorkloadsHereAreTheirEndpoints) {
  const auto request = probe(a_.address(Family::kIpv4), b_.address(Family::kIpv4), kUdp, 53);
  EXPECT_TRUE(passes(a_, b_, request));
  EXPECT_TRUE(passes(b_, a_, reply_to(request)));
  const auto end = way_of(a_.address(Family::kIpv4), b_.address(Family::kIpv4));
  EXPECT_NE(end, 0U);
  EXPECT_LT(end, static_cast<std::uint32_t>(bpf::ENDPOINTS_MAX));
}

}  // namespace
}  // namespace ocicat::test
