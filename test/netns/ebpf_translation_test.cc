// What leaves by natOutgoing, and its answers: past the stack once the kernel has translated the first packets,
// and no longer than it does.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>

#include "dataplane/ebpf/objects.h"
#include "maps/counters.h"
#include "netns/agent_host.h"
#include "netns/tap.h"

namespace ocicat::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint8_t kFin = 0x01;
constexpr std::uint16_t kAsking = 4'321;

class EbpfTranslation : public testing::TestWithParam<Family> {
 protected:
  EbpfTranslation() {
    bed_.silence_ipv6();
    bed_.host().run([] {
      shell(
          "nft 'add table inet watch; add counter inet watch passed;"
          "add chain inet watch forward { type filter hook forward priority 0; };"
          "add rule inet watch forward meta l4proto { tcp, udp } counter name passed'");
    });
    settings_.nat = pools();
    start();
  }
  void start(bool can_ask = true) {
    auto options = pins_.options(dataplane::Datapath::kEbpf);
    options.usable.conntrack = can_ask;
    agent_ = std::make_unique<AgentHost>(bed_, options);
    auto changes = first_state(1);
    changes.settings = settings_;
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    add_pod(changes, "b", b_, kAllowAll, kAllowAll);
    agent_->apply(changes);
  }
  static HostSettings::NatOutgoing pools() {
    HostSettings::NatOutgoing nat;
    nat.sources = {*Prefix::parse("10.65.0.0/16"), *Prefix::parse("fd00:65::/64")};
    nat.inside = nat.sources;
    return nat;
  }
  void apply_settings() {
    HostChanges changes;
    changes.settings = settings_;
    agent_->apply(changes);
  }
  bool v4() const { return GetParam() == Family::kIpv4; }
  std::uint64_t translated() {
    const auto now = pins_.counters().at(bpf::COUNT_TRANSLATED);
    return now - std::exchange(translated_, now);
  }
  RawPacket from(const Station& station, Protocol protocol = kUdp, std::uint8_t flags = kAck) const {
    auto packet = probe(station.address(GetParam()), bed_outside().address(GetParam()), protocol, 53);
    packet.packet.source_port = kAsking;
    packet.tcp_flags = flags;
    return packet;
  }
  const Station& bed_outside() const { return const_cast<Testbed&>(bed_).outside(); }
  static RawPacket again(RawPacket packet, std::uint8_t flags = kAck) {
    packet.token = new_token();
    packet.tcp_flags = flags;
    return packet;
  }
  // What the workload's packet is there, by the port that the kernel has chosen.
  RawPacket outside(RawPacket packet) const {
    packet.packet.source = Testbed::host_address(GetParam());
    packet.packet.source_port = port_;
    return packet;
  }
  static RawPacket turned(RawPacket packet, std::uint8_t flags = kAck) {
    std::swap(packet.packet.source, packet.packet.destination);
    std::swap(packet.packet.source_port, packet.packet.destination_port);
    return again(packet, flags);
  }
  Frame carried(const Tap& from, const Station& to, const Tap& at, const Frame& frame) {
    at.received();
    from.send(frame);
    bed_.arriving(a_, to, {});  // until all has come that will
    const auto token = token_of(frame.data(), frame.size());
    for (auto& seen : at.received()) {
      if (token_of(seen.data(), seen.size()) == token) return std::move(seen);
    }
    return {};
  }
  Frame leaving(const RawPacket& packet, const Tap& from) {
    return carried(from, bed_.outside(), outside_, frame_of(packet));
  }
  Frame coming(const RawPacket& packet, const Station& to, const Tap& at) {
    return carried(outside_, to, at, frame_of(packet));
  }
  Frame leaving(const RawPacket& packet) { return leaving(packet, at_a_); }
  Frame coming(const RawPacket& packet) { return coming(packet, a_, at_a_); }
  // What a router makes of the frame.
  Frame forwarded(Frame frame) const {
    std::ranges::copy(kAtStation, frame.begin());
    std::ranges::copy(kAtHost, frame.begin() + 6);
    --frame.at(v4() ? kHopsV4 : kHopsV6);
    if (v4()) fix_checksum(frame);
    return frame;
  }
  std::uint16_t port_in(const Frame& frame) const {
    const std::size_t at = kEthernet + (v4() ? 20 : 40);
    if (frame.empty()) return 0;
    return static_cast<std::uint16_t>(frame.at(at) << 8 | frame.at(at + 1));
  }
  // Until both directions are past the stack: the first packets, the way, and what is known of it.
  RawPacket known(Protocol protocol = kUdp) { return known(protocol, a_, at_a_); }
  RawPacket known(Protocol protocol, const Station& station, const Tap& at) {
    const auto packet = from(station, protocol, kSyn);
    translated();
    port_ = port_in(leaving(again(packet, kSyn), at));
    EXPECT_FALSE(coming(turned(outside(packet), kSyn | kAck), station, at).empty());
    EXPECT_EQ(translated(), 0U);  // these are the kernel's
    EXPECT_FALSE(leaving(again(packet), at).empty());
    EXPECT_FALSE(coming(turned(outside(packet)), station, at).empty());
    EXPECT_TRUE(go_past(packet, station, at));
    return again(packet);
  }
  // Whether both directions do; at once, or once it is asked again.
  bool go_past(const RawPacket& packet, const Station& station, const Tap& at) {
    return comes_to([&] {
      translated();
      return port_in(leaving(again(packet), at)) == port_ &&
             !coming(turned(outside(packet)), station, at).empty() && translated() == 2;
    });
  }
  bool go_past(const RawPacket& packet) { return go_past(packet, a_, at_a_); }
  // Sends until this holds of what arrives; what the kernel said holds for a while.
  bool comes_to(const std::function<bool()>& holds) {
    for (const auto end = Clock::now() + std::chrono::seconds(10); Clock::now() < end;) {
      if (holds()) return true;
    }
    return false;
  }

  std::uint64_t translated_ = 0;
  std::uint16_t port_ = 0;
  HostSettings settings_;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  Tap at_a_{a_.ns()}, at_b_{b_.ns()}, outside_{bed_.outside().ns()};
  PinFolder pins_;
  std::unique_ptr<AgentHost> agent_;
};

TEST_P(EbpfTranslation, LooksLikeTheKernelsInBothDirections) {
  for (const auto protocol : {kUdp, kTcp}) {
    auto packet = known(protocol);
    const auto answer = turned(outside(packet));
    auto inside = answer;
    inside.packet.destination = a_.address(GetParam());
    inside.packet.destination_port = kAsking;
    EXPECT_TRUE(comes_to([&] {  // once a second the kernel makes them
      translated();
      EXPECT_EQ(leaving(packet), forwarded(frame_of(outside(packet))));
      EXPECT_EQ(coming(answer), forwarded(frame_of(inside)));
      return translated() == 2U;
    }));
  }
}

TEST_P(EbpfTranslation, LeavesAPacketWithoutASumWithoutOne) {
  if (!v4()) GTEST_SKIP() << "UDP over IPv6 has a sum";
  const auto packet = known();
  const std::size_t at = kEthernet + 20 + 6;
  auto frame = frame_of(packet);
  set16(frame, at, 0);
  EXPECT_TRUE(comes_to([&] {
    translated();
    auto expected = forwarded(frame_of(outside(packet)));
    set16(expected, at, 0);
    EXPECT_EQ(carried(at_a_, bed_.outside(), outside_, frame), expected);
    return translated() == 1U;
  }));
}

TEST_P(EbpfTranslation, TellsWorkloadsApartThatAskFromTheSamePort) {
  const auto first = known(kUdp, a_, at_a_);
  const auto port = port_;
  const auto second = known(kUdp, b_, at_b_);
  EXPECT_NE(port_, port);
  EXPECT_TRUE(go_past(second, b_, at_b_));
  port_ = port;
  EXPECT_TRUE(go_past(first, a_, at_a_));
}

TEST_P(EbpfTranslation, EndsWithTheNextPacketAfterANewDeny) {
  const auto packet = known();
  HostChanges closed;
  add_pod(closed, "a", a_, kAllowAll, kDenyAll);
  agent_->apply(closed);
  EXPECT_TRUE(coming(turned(outside(packet))).empty());
  EXPECT_TRUE(leaving(again(packet)).empty());
}

TEST_P(EbpfTranslation, IsNotDisturbedByPolicyThatStillAllowsIt) {
  const auto packet = known();
  HostChanges other;
  add_pod(other, "a", a_, kDenyAll, kAllowAll);
  agent_->apply(other);
  EXPECT_EQ(port_in(leaving(again(packet))), port_);
  EXPECT_FALSE(coming(turned(outside(packet))).empty());
  EXPECT_TRUE(go_past(packet));
}

TEST_P(EbpfTranslation, FollowsTheKernelThatHasForgottenIt) {
  const auto packet = known();
  const auto before = port_;
  bed_.forget_connections();
  EXPECT_TRUE(comes_to([&] {
    const auto now = port_in(leaving(again(packet)));
    EXPECT_NE(now, 0);
    port_ = now;
    return now != before;  // it chooses at random
  }));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(port_in(leaving(again(packet))), port_);
  const auto now = std::exchange(port_, before);
  EXPECT_TRUE(coming(turned(outside(packet))).empty());
  port_ = now;
  EXPECT_TRUE(go_past(packet));
}

TEST_P(EbpfTranslation, EndsWhereNoPoolAsksForItAnyMore) {
  const auto packet = known();
  const auto nat = std::exchange(settings_.nat, {});
  apply_settings();
  translated();
  leaving(again(packet));  // whatever the kernel makes of it
  coming(turned(outside(packet)));
  EXPECT_EQ(translated(), 0U);
  settings_.nat = nat;
  apply_settings();
  EXPECT_EQ(port_in(leaving(again(packet))), port_);
  EXPECT_TRUE(go_past(packet));
}

TEST_P(EbpfTranslation, IsOffWhereTheSettingsSaySo) {
  const auto packet = known();
  settings_.redirect = false;
  apply_settings();
  translated();
  EXPECT_EQ(port_in(leaving(again(packet))), port_);
  EXPECT_FALSE(coming(turned(outside(packet))).empty());
  EXPECT_EQ(translated(), 0U);
}

TEST_P(EbpfTranslation, IsTheKernelsWhereTheHostHasPolicyOfIpsec) {
  const auto packet = known();
  const auto ip = [&](const char* what) {
    bed_.host().run([&] {
      shell(fmt::format("ip xfrm policy {} src {} dst {} dir fwd {}", what,
                        a_.address(GetParam()).to_string(), bed_.outside().address(GetParam()).to_string(),
                        std::string_view(what) == "add" ? "action block" : ""));
    });
  };
  ip("add");
  EXPECT_TRUE(comes_to([&] { return leaving(again(packet)).empty(); }));
  translated();
  EXPECT_FALSE(coming(turned(outside(packet))).empty());
  EXPECT_EQ(translated(), 0U);
  ip("delete");
  EXPECT_TRUE(go_past(packet));
}

// The kernel would forget what it has not seen for so long.
TEST_P(EbpfTranslation, KeepsTheKernelsOwnEntryAlive) {
  bed_.host().run([] {
    shell(
        "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=4 "
        "net.netfilter.nf_conntrack_udp_timeout_stream=4");
  });
  const auto packet = known();
  bed_.counted_by("watch", "passed");
  translated();
  int sent = 0;
  for (const auto end = Clock::now() + std::chrono::seconds(9); Clock::now() < end; ++sent)
    ASSERT_EQ(port_in(leaving(again(packet))), port_);
  const auto seen = bed_.counted_by("watch", "passed");
  EXPECT_GE(seen, 3);
  EXPECT_EQ(static_cast<int>(translated()) + seen, sent);
}

TEST_P(EbpfTranslation, LeavesTheEndOfTcpToTheKernel) {
  const auto packet = known(kTcp);
  translated();
  EXPECT_EQ(port_in(leaving(again(packet, kFin | kAck))), port_);
  EXPECT_FALSE(coming(turned(outside(packet), kFin | kAck)).empty());
  EXPECT_EQ(translated(), 0U);
}

TEST_P(EbpfTranslation, LeavesWhatIsTooLargeToTheStack) {
  const auto packet = known();
  auto frame = frame_of(packet, 1'340);
  if (v4()) {
    set16(frame, kEthernet + 6, 0x4000);  // not to be fragmented
    fix_checksum(frame);
  }
  EXPECT_FALSE(carried(at_a_, bed_.outside(), outside_, frame).empty());
  bed_.host().run([] { shell("ip link set uplink mtu 1300"); });
  agent_->apply({});
  translated();
  EXPECT_TRUE(carried(at_a_, bed_.outside(), outside_, frame).empty());
  EXPECT_EQ(translated(), 0U);
}

TEST_P(EbpfTranslation, TakesNobodysAnswersFromAnotherInterface) {
  const auto packet = known();
  bed_.host().run([] {
    shell(
        "ip link add back address ee:ee:ee:ee:ee:ee type veth peer name far address 02:00:00:00:00:01;"
        "ip link set back up; ip link set far up");
  });
  agent_->apply({});
  EXPECT_TRUE(go_past(packet));
  const Tap far(bed_.host(), "far");
  translated();
  carried(far, a_, at_a_, frame_of(turned(outside(packet))));
  EXPECT_EQ(translated(), 0U);
}

TEST_P(EbpfTranslation, TakesTheStackWhereTheKernelAnswersNoProgramsAndSaysSo) {
  const auto packet = known();
  agent_.reset();
  start(false);
  translated();
  EXPECT_EQ(port_in(leaving(again(packet))), port_);
  EXPECT_FALSE(coming(turned(outside(packet))).empty());
  EXPECT_EQ(translated(), 0U);
  agent_->await([](const dataplane::Report& report) {
    return report.notes.size() == 1 && report.notes.front().starts_with("what leaves by natOutgoing takes");
  });
}

TEST_P(EbpfTranslation, NeedsNoAgent) {
  const auto packet = known();
  agent_.reset();
  EXPECT_TRUE(go_past(packet));
  start();
  EXPECT_EQ(port_in(leaving(again(packet))), port_);
  EXPECT_FALSE(coming(turned(outside(packet))).empty());
  EXPECT_TRUE(go_past(packet));
}

INSTANTIATE_TEST_SUITE_P(, EbpfTranslation, testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& instance) {
                           return instance.param == Family::kIpv4 ? "IPv4" : "IPv6";
                         });

}  // namespace
}  // namespace ocicat::test
