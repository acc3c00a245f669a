// Packets that go past the stack, and those that must not: what arrives, what it looks like, and by which way
// it came.
#include <gtest/gtest.h>

#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <span>

#include "dataplane/ebpf/objects.h"
#include "maps/counters.h"
#include "netns/agent_host.h"
#include "netns/tap.h"

namespace ocicat::test {
namespace {

class EbpfRedirect : public testing::TestWithParam<Family> {
 protected:
  EbpfRedirect() {
    bed_.silence_ipv6();
    auto changes = first_state(1);
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    add_pod(changes, "b", b_, kAllowAll, kAllowAll);
    agent_.apply(changes);
  }
  Family family() const { return GetParam(); }
  bool v4() const { return family() == Family::kIpv4; }
  void change(HostChanges changes) { agent_.apply(std::move(changes)); }
  // The agent knows of it once this returns.
  void on_host(const std::string& command) {
    bed_.host().run([&] { shell(command); });
    change({});
  }
  std::uint64_t redirected() {
    const auto now = pins_.counters().at(bpf::COUNT_REDIRECTED);
    return now - std::exchange(redirected_, now);
  }
  RawPacket between(const Station& from, const Station& to) const {
    return probe(from.address(family()), to.address(family()), kUdp, 53);
  }
  static RawPacket turned(RawPacket packet) {
    std::swap(packet.packet.source, packet.packet.destination);
    std::swap(packet.packet.source_port, packet.packet.destination_port);
    packet.token = new_token();
    return packet;
  }
  static RawPacket again(RawPacket packet) {
    packet.token = new_token();
    return packet;
  }
  // The frame with the token, as it arrives at `to`; nothing where it does not.
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
  bool arrives(const Tap& from, const Station& to, const Tap& at, const Frame& frame) {
    return !carried(from, to, at, frame).empty();
  }
  // Whether it arrives, and past the stack.
  bool goes_past(const Tap& from, const Station& to, const Tap& at, const RawPacket& packet) {
    redirected();
    return arrives(from, to, at, frame_of(packet)) && redirected() == 1;
  }
  // Sends until nothing of it goes past the stack any more: what routes said is remembered for a while.
  bool heeds(const std::function<void()>& send) {
    using Clock = std::chrono::steady_clock;
    for (const auto end = Clock::now() + std::chrono::seconds(10); Clock::now() < end;) {
      redirected();
      send();
      if (redirected() == 0) return true;
    }
    return false;
  }
  // What a router makes of a frame that it forwards.
  Frame forwarded(Frame frame, const Mac& source, const Mac& destination) const {
    std::ranges::copy(destination, frame.begin());
    std::ranges::copy(source, frame.begin() + 6);
    --frame.at(v4() ? kHopsV4 : kHopsV6);
    if (v4()) fix_checksum(frame);
    return frame;
  }
  // Known at both ends, and so past the stack from now on.
  RawPacket known_between_workloads() {
    const auto packet = between(a_, b_);
    EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame_of(packet)));
    EXPECT_TRUE(goes_past(at_a_, b_, at_b_, again(packet)));
    EXPECT_TRUE(goes_past(at_b_, a_, at_a_, turned(packet)));
    return again(packet);
  }
  RawPacket known_with_outside() {
    const auto packet = between(a_, bed_.outside());
    EXPECT_TRUE(arrives(at_a_, bed_.outside(), outside_, frame_of(packet)));
    EXPECT_TRUE(arrives(outside_, a_, at_a_, frame_of(turned(packet))));
    EXPECT_TRUE(goes_past(at_a_, bed_.outside(), outside_, again(packet)));
    EXPECT_TRUE(goes_past(outside_, a_, at_a_, turned(packet)));
    return again(packet);
  }
  // Whether an ICMP error of this type is among what has come in; its third word to `detail`.
  bool has_error(const std::vector<Frame>& frames, std::uint8_t type, std::uint32_t* detail = nullptr) const {
    for (const auto& frame : frames) {
      const std::size_t at = kEthernet + (v4() ? 20 : 40);
      const auto protocol = frame.size() > at + 8 ? frame[v4() ? kEthernet + 9 : kEthernet + 6] : 0;
      if (protocol != (v4() ? kIcmp : kIcmpV6) || frame[at] != type) continue;
      if (detail != nullptr) *detail = std::uint32_t{frame[at + 6]} << 8 | frame[at + 7];
      return true;
    }
    return false;
  }

  std::uint64_t redirected_ = 0;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  Tap at_a_{a_.ns()}, at_b_{b_.ns()}, outside_{bed_.outside().ns()};
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(dataplane::Datapath::kEbpf)};
};

TEST_P(EbpfRedirect, LooksLikeForwardingToTheOtherWorkload) {
  const auto packet = between(a_, b_);
  const auto first = carried(at_a_, b_, at_b_, frame_of(packet));
  redirected();
  const auto later = again(packet);
  const auto second = carried(at_a_, b_, at_b_, frame_of(later));
  EXPECT_EQ(redirected(), 1U);
  EXPECT_EQ(first, forwarded(frame_of(packet), kAtHost, kAtStation));
  EXPECT_EQ(second, forwarded(frame_of(later), kAtHost, kAtStation));
}

TEST_P(EbpfRedirect, LooksLikeForwardingBetweenAWorkloadAndTheOutside) {
  const auto packet = known_with_outside();
  EXPECT_EQ(carried(at_a_, bed_.outside(), outside_, frame_of(packet)),
            forwarded(frame_of(packet), kAtHost, kAtStation));
  const auto answer = turned(packet);
  EXPECT_EQ(carried(outside_, a_, at_a_, frame_of(answer)), forwarded(frame_of(answer), kAtHost, kAtStation));
  EXPECT_EQ(redirected(), 2U);
}

TEST_P(EbpfRedirect, LeavesTheFirstPacketOfAConnectionToTheStack) {
  redirected();
  EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame_of(between(a_, b_))));
  EXPECT_TRUE(arrives(outside_, b_, at_b_, frame_of(between(bed_.outside(), b_))));
  EXPECT_TRUE(arrives(at_a_, bed_.outside(), outside_, frame_of(between(a_, bed_.outside()))));
  EXPECT_EQ(redirected(), 0U);
}

TEST_P(EbpfRedirect, LeavesTheLastHopToTheStackWhichTellsTheSender) {
  for (const bool outside : {false, true}) {
    auto frame = frame_of(outside ? known_with_outside() : known_between_workloads());
    frame.at(v4() ? kHopsV4 : kHopsV6) = 1;
    if (v4()) fix_checksum(frame);
    at_a_.received();
    redirected();
    EXPECT_FALSE(outside ? arrives(at_a_, bed_.outside(), outside_, frame)
                         : arrives(at_a_, b_, at_b_, frame));
    EXPECT_EQ(redirected(), 0U);
    EXPECT_TRUE(has_error(at_a_.received(), v4() ? 11 : 3));
  }
}

TEST_P(EbpfRedirect, LeavesWhatIsTooLargeToTheStackWhichTellsTheSender) {
  for (const bool outside : {false, true}) {
    auto frame = frame_of(outside ? known_with_outside() : known_between_workloads(), 1'340);
    if (v4()) {
      set16(frame, kEthernet + 6, 0x4000);  // not to be fragmented
      fix_checksum(frame);
    }
    const auto send = [&] {
      redirected();
      return outside ? arrives(at_a_, bed_.outside(), outside_, frame) : arrives(at_a_, b_, at_b_, frame);
    };
    EXPECT_TRUE(send());
    EXPECT_EQ(redirected(), 1U);
    on_host(fmt::format("ip link set {} mtu 1300", outside ? "uplink" : "calib"));
    at_a_.received();
    EXPECT_FALSE(send());
    EXPECT_EQ(redirected(), 0U);
    std::uint32_t mtu = 0;
    EXPECT_TRUE(has_error(at_a_.received(), v4() ? 3 : 2, &mtu));
    EXPECT_EQ(mtu, 1300U);
  }
}

TEST_P(EbpfRedirect, HeedsTheRoutesThatThereAre) {
  const auto inside = known_between_workloads();
  const auto outer = known_with_outside();
  bed_.host().run([&] {
    shell(fmt::format("ip {} rule add from {} blackhole", v4() ? "-4" : "-6",
                      a_.address(family()).to_string()));
  });
  EXPECT_TRUE(heeds([&] {
    arrives(at_a_, b_, at_b_, frame_of(inside));
    arrives(at_a_, bed_.outside(), outside_, frame_of(outer));
  }));
  EXPECT_FALSE(arrives(at_a_, b_, at_b_, frame_of(inside)));
  EXPECT_FALSE(arrives(at_a_, bed_.outside(), outside_, frame_of(outer)));
}

TEST_P(EbpfRedirect, HeedsThatAnInterfaceDoesNotForward) {
  const auto inside = known_between_workloads();
  const auto outer = known_with_outside();
  bed_.host().run([&] {
    for (const auto* interface : {"calia", "uplink"})
      shell(fmt::format("sysctl -qw net.{}.conf.{}.forwarding=0", v4() ? "ipv4" : "ipv6", interface));
  });
  EXPECT_TRUE(heeds([&] {  // what becomes of them is the stack's own affair
    arrives(at_a_, b_, at_b_, frame_of(inside));
    arrives(outside_, a_, at_a_, frame_of(turned(outer)));
  }));
}

TEST_P(EbpfRedirect, LeavesAnUnknownNeighbourToTheStack) {
  const auto packet = known_between_workloads();
  EXPECT_TRUE(heeds([&] {  // each time the stack learns it again
    bed_.host().run([&] {
      shell(fmt::format("ip neigh del {} dev calib 2>/dev/null; true", b_.address(family()).to_string()));
    });
    arrives(at_a_, b_, at_b_, frame_of(packet));
  }));
}

TEST_P(EbpfRedirect, LeavesANextHopThatDoesNotAnswerToTheStackWhichTellsTheSender) {
  const auto outer = known_with_outside();
  bed_.outside().ns().run([] { shell("ip link set eth0 arp off"); });
  bed_.host().run([&] {
    const auto address = bed_.outside().address(family()).to_string();
    shell(fmt::format(
        "sysctl -qw net.{}.neigh.uplink.retrans_time_ms=10; ip neigh replace {} dev uplink nud failed",
        v4() ? "ipv4" : "ipv6", address));
  });
  using Clock = std::chrono::steady_clock;
  bool told = false;
  for (const auto end = Clock::now() + std::chrono::seconds(10); !told && Clock::now() < end;) {
    at_a_.send(frame_of(again(outer)));
    told = has_error(at_a_.received(), v4() ? 3 : 1);
  }
  EXPECT_TRUE(told);
}

// Some way to the other workload, of which no news comes to the agent: its MAC.
TEST_P(EbpfRedirect, RemembersWhatRoutesSaidForAQuarterOfASecondAtMost) {
  const auto packet = known_between_workloads();
  bed_.host().run([&] {
    shell(fmt::format("ip neigh replace {} lladdr 02:00:00:00:00:77 dev calib",
                      b_.address(family()).to_string()));
  });
  using Clock = std::chrono::steady_clock;
  Frame last;
  for (const auto end = Clock::now() + std::chrono::seconds(10); Clock::now() < end;) {
    last = carried(at_a_, b_, at_b_, frame_of(again(packet)));
    if (last.empty() || last[5] == 0x77) break;
  }
  EXPECT_TRUE(last.empty() || last[5] == 0x77);
}

TEST_P(EbpfRedirect, LeavesFramesForOthersToTheStackWhichDropsThem) {
  auto frame = frame_of(known_between_workloads());
  frame.at(5) = 0x77;
  redirected();
  EXPECT_FALSE(arrives(at_a_, b_, at_b_, frame));
  EXPECT_EQ(redirected(), 0U);
}

TEST_P(EbpfRedirect, LeavesInterfacesToTheStackThatSomebodyLimits) {
  const auto inside = known_between_workloads();
  const auto outer = known_with_outside();
  on_host("tc qdisc add dev calib root tbf rate 100mbit burst 100k latency 100ms");
  redirected();
  EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame_of(again(inside))));
  EXPECT_TRUE(arrives(at_b_, a_, at_a_, frame_of(turned(inside))));
  EXPECT_EQ(redirected(), 0U);
  EXPECT_TRUE(goes_past(at_a_, bed_.outside(), outside_, again(outer)));  // is not concerned
  on_host("tc qdisc del dev calib root; tc qdisc add dev calia clsact");
  redirected();
  EXPECT_TRUE(arrives(at_a_, bed_.outside(), outside_, frame_of(again(outer))));
  EXPECT_EQ(redirected(), 0U);
  on_host("tc qdisc del dev calia clsact");
  EXPECT_TRUE(goes_past(at_a_, b_, at_b_, again(inside)));
}

// Nobody tells the agent of it.
TEST_P(EbpfRedirect, LeavesAllToTheStackWhereTheHostHasPolicyOfIpsec) {
  const auto inside = known_between_workloads();
  const auto outer = known_with_outside();
  const auto ip = [&](const std::string& words) {
    bed_.host().run([&] { shell("ip xfrm policy " + words); });
  };
  const auto refused = fmt::format("src {} dst {}", a_.address(family()).to_string(),
                                   bed_.outside().address(family()).to_string());
  for (const auto* direction : {"out", "fwd"}) {
    ip(fmt::format("add {} dir {} action block", refused, direction));
    bool leaves = true;
    EXPECT_TRUE(heeds([&] {  // what it does not name as well
      leaves = arrives(at_a_, bed_.outside(), outside_, frame_of(again(outer)));
      EXPECT_TRUE(arrives(outside_, a_, at_a_, frame_of(turned(outer))));
      EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame_of(again(inside))));
    }));
    EXPECT_FALSE(leaves) << direction;
    ip(fmt::format("delete {} dir {}", refused, direction));
    EXPECT_TRUE(goes_past(at_a_, bed_.outside(), outside_, again(outer)));
    EXPECT_TRUE(goes_past(at_a_, b_, at_b_, again(inside)));
  }
}

TEST_P(EbpfRedirect, IsOffWhereTheSettingsSaySo) {
  const auto inside = known_between_workloads();
  const auto outer = known_with_outside();
  HostChanges off;
  off.settings.emplace();
  off.settings->redirect = false;
  change(off);
  redirected();
  EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame_of(again(inside))));
  EXPECT_TRUE(arrives(at_a_, bed_.outside(), outside_, frame_of(again(outer))));
  EXPECT_TRUE(arrives(outside_, a_, at_a_, frame_of(turned(outer))));
  EXPECT_EQ(redirected(), 0U);
  off.settings->redirect = true;
  change(off);
  EXPECT_TRUE(goes_past(at_a_, b_, at_b_, again(inside)));
}

TEST_P(EbpfRedirect, EndsWithTheNextPacketAfterANewDeny) {
  const auto inside = known_between_workloads();
  const auto outer = known_with_outside();
  HostChanges closed;
  add_pod(closed, "b", b_, kDenyAll, kAllowAll);
  change(closed);
  EXPECT_FALSE(arrives(at_a_, b_, at_b_, frame_of(again(inside))));
  EXPECT_FALSE(arrives(at_b_, a_, at_a_, frame_of(turned(inside))));
  HostChanges both;
  add_pod(both, "a", a_, kAllowAll, kDenyAll);
  change(both);
  EXPECT_FALSE(arrives(outside_, a_, at_a_, frame_of(turned(outer))));
  EXPECT_FALSE(arrives(at_a_, bed_.outside(), outside_, frame_of(again(outer))));
}

TEST_P(EbpfRedirect, TakesNobodysWordFromAnotherInterface) {
  const auto outer = known_with_outside();
  bed_.host().run([&] {
    shell(
        "ip link add back address ee:ee:ee:ee:ee:ee type veth peer name far address 02:00:00:00:00:01;"
        "ip link set back up; ip link set far up; sysctl -qw net.ipv4.conf.back.rp_filter=1;"
        "nft 'add table ip6 check; add chain ip6 check in { type filter hook prerouting priority -300; };"
        "add rule ip6 check in iifname back fib saddr . iif oif missing drop'");
  });
  change({});
  const Tap far(bed_.host(), "far");
  redirected();
  EXPECT_FALSE(arrives(far, a_, at_a_, frame_of(turned(outer))));
  EXPECT_EQ(redirected(), 0U);
  EXPECT_TRUE(goes_past(outside_, a_, at_a_, turned(outer)));
  EXPECT_TRUE(goes_past(at_a_, bed_.outside(), outside_, again(outer)));
}

TEST_P(EbpfRedirect, LeavesTranslatedConnectionsToTheStack) {
  bed_.host().run([&] {
    shell(fmt::format(
        "nft 'add table {0} other; add chain {0} other out {{ type nat hook postrouting priority 100; }};"
        "add rule {0} other out oifname uplink {0} saddr {1} masquerade'",
        v4() ? "ip" : "ip6", a_.address(family()).to_string()));
  });
  const auto packet = between(a_, bed_.outside());
  redirected();
  for (int i = 0; i < 3; ++i) {
    const auto sent = carried(at_a_, bed_.outside(), outside_, frame_of(again(packet)));
    ASSERT_FALSE(sent.empty());
    RawPacket translated = packet;
    translated.packet.source = Testbed::host_address(family());
    const std::size_t at = kEthernet + (v4() ? 12 : 8);
    const auto expected = frame_of(translated);
    const auto source_of = [&](const Frame& frame) { return std::span(frame).subspan(at, v4() ? 4 : 16); };
    EXPECT_TRUE(std::ranges::equal(source_of(sent), source_of(expected)));
    EXPECT_TRUE(arrives(outside_, a_, at_a_, frame_of(turned(translated))));
    // As nobody would send it who has not guessed.
    arrives(outside_, a_, at_a_, frame_of(turned(packet)));
  }
  EXPECT_EQ(redirected(), 0U);
}

TEST_P(EbpfRedirect, LeavesNothingOfAWorkloadThatHasGone) {
  const auto packet = known_between_workloads();
  HostChanges gone;
  remove_pod(gone, "b", b_);
  change(gone);
  EXPECT_FALSE(arrives(at_a_, a_, at_b_, frame_of(packet)));
  HostChanges back;
  add_pod(back, "b", b_, kAllowAll, kAllowAll);
  change(back);
  EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame_of(again(packet))));
  EXPECT_TRUE(goes_past(at_a_, b_, at_b_, again(packet)));
}

TEST_P(EbpfRedirect, LeavesOptionsToTheStack) {
  auto frame = frame_of(known_between_workloads());
  if (v4()) {
    frame.insert(frame.begin() + kEthernet + 20, {1, 1, 1, 0});
    frame.at(kEthernet) = 0x46;
    set16(frame, kEthernet + 2, static_cast<std::uint32_t>(frame.size() - kEthernet));
    fix_checksum(frame);
  } else {
    frame.insert(frame.begin() + kEthernet + 40, {kUdp, 0, 1, 4, 0, 0, 0, 0});
    frame.at(kEthernet + 6) = 0;  // hop by hop: padding
    set16(frame, kEthernet + 4, static_cast<std::uint32_t>(frame.size() - kEthernet - 40));
  }
  redirected();
  EXPECT_TRUE(arrives(at_a_, b_, at_b_, frame));
  EXPECT_EQ(redirected(), 0U);
}

TEST_P(EbpfRedirect, LeavesFragmentsToTheStack) {
  const auto packet = known_between_workloads();
  auto first = frame_of(packet);
  if (v4()) {
    set16(first, kEthernet + 6, 0x2000);
    fix_checksum(first);
  } else {
    first.insert(first.begin() + kEthernet + 40, {kUdp, 0, 0, 1, 0, 0, 0, 9});
    first.at(kEthernet + 6) = 44;
    set16(first, kEthernet + 4, static_cast<std::uint32_t>(first.size() - kEthernet - 40));
  }
  redirected();
  arrives(at_a_, b_, at_b_, first);
  EXPECT_EQ(redirected(), 0U);
}

INSTANTIATE_TEST_SUITE_P(, EbpfRedirect, testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& instance) {
                           return instance.param == Family::kIpv4 ? "IPv4" : "IPv6";
                         });

}  // namespace
}  // namespace ocicat::test
