// Packets of known connections that programs put into tunnels to other hosts.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "dataplane/overlay/vxlan.h"
#include "maps/counters.h"
#include "netns/agent_host.h"
#include "netns/tap.h"

namespace ocicat::test {
namespace {

constexpr std::size_t kOuterIp = kEthernet, kOuterUdp = kOuterIp + 20, kInner = kOuterUdp + 8 + 8;
constexpr std::uint16_t kPort = 4789;
constexpr std::uint32_t kVni = 4096, kMtu = 1450;

std::uint32_t get16(const Frame& frame, std::size_t at) {
  return std::uint32_t{frame.at(at)} << 8 | frame.at(at + 1);
}

class EbpfTunnel : public testing::TestWithParam<Family> {
 protected:
  EbpfTunnel() {
    bed_.silence_ipv6();
    agent_.emplace(bed_, pins_.options(dataplane::Datapath::kEbpf));
    agent_->apply(all());
  }
  Family family() const { return GetParam(); }
  bool v4() const { return family() == Family::kIpv4; }
  IpAddress of(const char* four, const char* six) const { return *IpAddress::parse(v4() ? four : six); }

  VxlanDevice device() const {
    return {.end = here_,
            .host = Testbed::host_address(family()),
            .vni = kVni,
            .port = kPort,
            .mtu = v4() ? kMtu : 0};
  }
  void set_device(HostChanges& changes, const VxlanDevice& device) const {
    changes.vxlan.emplace()[v4() ? 0 : 1] = device;
  }
  // The host at the other end is `outside`.
  HostChanges all() {
    auto changes = first_state(1);
    auto& overlays = changes.settings->overlays;
    (v4() ? overlays.vxlan4 : overlays.vxlan6) = true;
    changes.settings->redirect = true;
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    changes.peers.update(cluster(), network::Peer{.vtep = there_});
    set_device(changes, device());
    changes.routes.update(Prefix::host(far_), Route{Route::Kind::kVxlan, "", there_.address});
    return changes;
  }
  const IpAddress& cluster() { return bed_.outside().address(family()); }
  // The agent knows of it once this returns.
  void on_host(const std::string& command) {
    bed_.host().run([&] { shell(command); });
    agent_->apply({});
  }
  std::uint64_t grown(bpf::counter counter) {
    const auto now = pins_.counters().at(counter);
    return now - std::exchange(counted_[counter], now);
  }
  RawPacket request() const { return probe(a_.address(family()), far_, kUdp, 53); }

  // What comes to the other host when the workload sends this; nothing where it does not.
  Frame carried(const Frame& frame) {
    outside_.received();
    at_a_.send(frame);
    bed_.arriving(a_, bed_.outside(), {});  // until all has come that will
    const auto token = token_of(frame.data(), frame.size());
    for (auto& seen : outside_.received()) {
      if (token_of(seen.data(), seen.size()) == token) return std::move(seen);
    }
    return {};
  }
  // The same, and whether it was a program that has put it into the tunnel.
  std::pair<Frame, bool> sent(const Frame& frame) {
    grown(bpf::COUNT_ENCAPSULATED);
    auto seen = carried(frame);
    return {std::move(seen), grown(bpf::COUNT_ENCAPSULATED) == 1};
  }
  bool goes_by_program(const RawPacket& packet) {
    const auto [seen, by_program] = sent(frame_of(packet));
    return !seen.empty() && by_program;
  }
  static RawPacket again(RawPacket packet) {
    packet.token = new_token();
    return packet;
  }
  // From the other host, out of the tunnel, to the workload.
  void answer(const RawPacket& request) {
    auto packet = again(request);
    std::swap(packet.packet.source, packet.packet.destination);
    std::swap(packet.packet.source_port, packet.packet.destination_port);
    auto inner = frame_of(packet);
    std::ranges::copy(here_.mac.bytes, inner.begin());
    std::ranges::copy(there_.mac.bytes, inner.begin() + 6);
    auto outer = probe(cluster(), Testbed::host_address(family()), kUdp, kPort);
    auto frame = frame_of(outer, 8 + inner.size());
    const auto at = kEthernet + (v4() ? 20U : 40U) + 8;
    frame.resize(at);
    frame.insert(frame.end(), {8, 0, 0, 0, 0, kVni >> 8, 0, 0});
    frame.insert(frame.end(), inner.begin(), inner.end());
    const auto transport = kEthernet + (v4() ? 20U : 40U);
    if (v4()) {
      set16(frame, kEthernet + 2, static_cast<std::uint32_t>(frame.size() - kEthernet));
      fix_checksum(frame);
    } else {
      set16(frame, kEthernet + 4, static_cast<std::uint32_t>(frame.size() - transport));
    }
    set16(frame, transport + 4, static_cast<std::uint32_t>(frame.size() - transport));
    set16(frame, transport + 6, 0);
    if (!v4()) {
      // IPv6 has no packets without a sum: over the addresses, the length and the protocol as well.
      auto sum = sum16(frame, kEthernet + 8, transport) + kUdp +
                 static_cast<std::uint32_t>(frame.size() - transport);
      auto even = frame;
      if (even.size() % 2 != 0) even.push_back(0);
      sum += sum16(even, transport, even.size());
      while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
      set16(frame, transport + 6, ~sum & 0xffff);
    }
    outside_.send(frame);
    bed_.arriving(bed_.outside(), a_, {});
  }
  // A connection whose answers have come out of the tunnel. (The kernel takes packets for an interface only
  // after it has seen to its carrier, a second at most.)
  RawPacket known() { return known(request(), bpf::COUNT_ENCAPSULATED); }
  RawPacket known(const RawPacket& packet, bpf::counter counter) {
    using Clock = std::chrono::steady_clock;
    for (const auto end = Clock::now() + std::chrono::seconds(20); Clock::now() < end;) {
      grown(counter);
      carried(frame_of(again(packet)));
      if (grown(counter) == 1) return again(packet);
      answer(packet);
    }
    ADD_FAILURE() << "it never went past the stack";
    return packet;
  }
  // To another host, behind the same router.
  void move_end() {
    HostChanges moved;
    moved.peers.remove(cluster());
    moved.peers.update(other_host_, network::Peer{.vtep = there_});
    agent_->apply(moved);
  }
  // The host to which a frame goes, and the MAC of its VTEP.
  static std::pair<IpAddress, MacAddress> end_of(const Frame& frame) {
    if (frame.empty()) return {};
    MacAddress mac;
    std::copy_n(frame.begin() + kInner, mac.bytes.size(), mac.bytes.begin());
    return {IpAddress::v4(get16(frame, kOuterIp + 16) << 16 | get16(frame, kOuterIp + 18)), mac};
  }

  std::map<int, std::uint64_t> counted_;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Tap at_a_{a_.ns()}, outside_{bed_.outside().ns()};
  PinFolder pins_;
  network::Vtep here_{of("10.65.1.0", "fd00:65:1::"), *MacAddress::parse("66:00:00:00:00:01")};
  network::Vtep there_{of("10.65.2.0", "fd00:65:2::"), *MacAddress::parse("66:00:00:00:00:02")};
  IpAddress far_ = of("10.65.2.7", "fd00:65:2::7");  // a workload there
  IpAddress other_host_ = *IpAddress::parse("203.0.113.9");
  std::optional<AgentHost> agent_;
};

using EbpfTunnelV4 = EbpfTunnel;

TEST_P(EbpfTunnelV4, WhatProgramsMakeIsWhatTheInterfaceMakes) {
  const auto packet = known();
  const auto set_redirect = [&](bool on) {
    auto changes = HostChanges();
    changes.settings = all().settings;
    changes.settings->redirect = on;
    agent_->apply(std::move(changes));
  };
  for (const int traffic : {0, 1, 2, 3, 0xb8, 0xbb}) {  // congestion, and another type of service
    auto frame = frame_of(packet);
    frame.at(kEthernet + 1) = static_cast<std::uint8_t>(traffic);
    fix_checksum(frame);
    const auto sum_is_right = [](const Frame& seen) { return sum16(seen, kOuterIp, kOuterUdp) == 0xffff; };
    auto [ours, by_program] = sent(frame);
    EXPECT_TRUE(by_program);
    ASSERT_FALSE(ours.empty());
    set_redirect(false);
    auto [theirs, by_program_again] = sent(frame);
    EXPECT_FALSE(by_program_again);
    ASSERT_FALSE(theirs.empty());
    set_redirect(true);
    EXPECT_TRUE(sum_is_right(ours) && sum_is_right(theirs));
    EXPECT_EQ(get16(ours, kOuterUdp + 6), 0U);
    for (auto* seen : {&ours, &theirs}) {
      set16(*seen, kOuterIp + 4, 0);   // identifier,
      set16(*seen, kOuterIp + 10, 0);  // and so the sum
      set16(*seen, kOuterUdp + 6, 0);  // none, or right
    }
    EXPECT_EQ(ours, theirs) << traffic;
  }
}

TEST_P(EbpfTunnelV4, WhatIsTooLargeForTheTunnelTakesTheStackWhichTellsTheSender) {
  const auto packet = known();
  auto fits = frame_of(packet), does_not = frame_of(again(packet));
  fits = frame_of(packet, kMtu + kEthernet - fits.size());
  does_not = frame_of(again(packet), kMtu + kEthernet + 1 - does_not.size());
  for (auto* frame : {&fits, &does_not}) {
    set16(*frame, kEthernet + 6, 0x4000);  // not to be fragmented
    fix_checksum(*frame);
  }
  EXPECT_TRUE(sent(fits).second);
  at_a_.received();
  EXPECT_TRUE(carried(does_not).empty());
  const auto errors = at_a_.received();
  EXPECT_TRUE(std::ranges::any_of(errors, [](const Frame& frame) {
    return frame.size() > kOuterUdp + 8 && frame[kEthernet + 9] == kIcmp && frame[kOuterUdp] == 3 &&
           frame[kOuterUdp + 1] == 4 && get16(frame, kOuterUdp + 6) == kMtu;
  }));
}

TEST_P(EbpfTunnelV4, WhatIsTooLargeForTheWayToTheOtherHostIsLeftToTheInterface) {
  const auto packet = known();
  move_end();
  on_host(
      fmt::format("ip route add {} via {} mtu lock 1400", other_host_.to_string(), cluster().to_string()));
  EXPECT_TRUE(goes_by_program(again(packet)));
  const auto frame = frame_of(again(packet), 1'340);
  EXPECT_FALSE(sent(frame).second);
}

TEST_P(EbpfTunnelV4, AnEndThatChangesIsReachedByTheNextPacket) {
  const auto packet = known();
  EXPECT_EQ(end_of(carried(frame_of(again(packet)))), (std::pair{cluster(), there_.mac}));
  const network::Vtep other{there_.address, *MacAddress::parse("66:00:00:00:00:03")};
  HostChanges changed;
  changed.peers.update(cluster(), network::Peer{.vtep = other});
  agent_->apply(changed);
  auto [seen, by_program] = sent(frame_of(again(packet)));
  EXPECT_TRUE(by_program);
  EXPECT_EQ(end_of(seen), (std::pair{cluster(), other.mac}));
  move_end();
  std::tie(seen, by_program) = sent(frame_of(again(packet)));
  EXPECT_TRUE(by_program);
  EXPECT_EQ(end_of(seen), (std::pair{other_host_, there_.mac}));
  HostChanges gone;
  gone.peers.remove(other_host_);
  agent_->apply(gone);
  std::tie(seen, by_program) = sent(frame_of(again(packet)));
  EXPECT_FALSE(by_program);
  EXPECT_TRUE(seen.empty());
}

TEST_P(EbpfTunnelV4, RoutesToTheOtherHostAreHeeded) {
  const auto packet = known();
  move_end();
  EXPECT_TRUE(goes_by_program(again(packet)));
  on_host(fmt::format("ip route add blackhole {}", other_host_.to_string()));
  EXPECT_FALSE(sent(frame_of(again(packet))).second);
}

TEST_P(EbpfTunnelV4, PolicyEndsAConnectionWithItsNextPacket) {
  const auto packet = known();
  HostChanges closed;
  add_pod(closed, "a", a_, kAllowAll, kDenyAll);
  agent_->apply(closed);
  const auto [seen, by_program] = sent(frame_of(again(packet)));
  EXPECT_TRUE(seen.empty());
  EXPECT_FALSE(by_program);
}

TEST_P(EbpfTunnelV4, TheInterfaceHasItsSayWhereSomebodyWantsIt) {
  const auto packet = known();
  const auto& name = dataplane::vxlan_name(family());
  on_host(fmt::format("tc qdisc add dev {0} clsact", name));
  auto [seen, by_program] = sent(frame_of(again(packet)));
  EXPECT_FALSE(seen.empty());
  EXPECT_FALSE(by_program);
  on_host(fmt::format("tc qdisc del dev {} clsact", name));
  EXPECT_TRUE(goes_by_program(again(packet)));
  // Whose carrier makes wrong checksums makes them before.
  auto broken = device();
  broken.checksum_offload_broken = true;
  HostChanges told;
  set_device(told, broken);
  agent_->apply(told);
  std::tie(seen, by_program) = sent(frame_of(again(packet)));
  EXPECT_FALSE(seen.empty());
  EXPECT_FALSE(by_program);
}

TEST_P(EbpfTunnelV4, WhatIsInATunnelOfTheWorkloadsOwnIsLeftToTheInterface) {
  auto nested = probe(a_.address(family()), far_, kUdp, 8472);
  nested.packet.source_port = 40000;
  EXPECT_TRUE(goes_by_program(known(nested, bpf::COUNT_ENCAPSULATED)));
  a_.ns().run([&] {
    shell(fmt::format(
        "ip link add nested type vxlan id 9 remote {} dstport 8472 srcport 40000 40001 nolearning;"
        "ip addr add 10.99.0.1/24 dev nested; ip link set nested up;"
        "ip neigh add 10.99.0.2 lladdr 66:00:00:00:00:09 dev nested nud permanent",
        far_.to_string()));
  });
  outside_.received();
  grown(bpf::COUNT_ENCAPSULATED);
  a_.ns().run([] {  // whose sum is left to a device
    shell(
        "python3 -c \"import socket; s = socket.socket(); s.setblocking(0); s.connect_ex(('10.99.0.2', "
        "80))\"");
  });
  bed_.arriving(a_, bed_.outside(), {});
  EXPECT_EQ(grown(bpf::COUNT_ENCAPSULATED), 0U);
  EXPECT_TRUE(std::ranges::any_of(outside_.received(), [](const Frame& frame) {
    const auto port = kInner + kEthernet + 20 + 2;
    return frame.size() > port + 2 && get16(frame, kOuterUdp + 2) == kPort && get16(frame, port) == 8472;
  }));
}

TEST_P(EbpfTunnelV4, AnAgentThatGoesAndComesLeavesThemAsTheyAre) {
  const auto packet = known();
  agent_.reset();
  EXPECT_TRUE(goes_by_program(again(packet)));
  agent_.emplace(bed_, pins_.options(dataplane::Datapath::kEbpf));
  agent_->put(all());
  const auto report = agent_->await_revision(1);
  EXPECT_EQ(report.kernel_writes, 0U);
  EXPECT_TRUE(goes_by_program(again(packet)));
}

INSTANTIATE_TEST_SUITE_P(All, EbpfTunnelV4, testing::Values(Family::kIpv4));

// Sums over all of a large packet are for the interface to make.
using EbpfTunnelV6 = EbpfTunnel;

TEST_P(EbpfTunnelV6, PacketsGoPastTheStackToTheInterface) {
  const auto packet = known(request(), bpf::COUNT_REDIRECTED);
  const auto [seen, by_program] = sent(frame_of(packet));
  EXPECT_FALSE(seen.empty());
  EXPECT_FALSE(by_program);
}

INSTANTIATE_TEST_SUITE_P(All, EbpfTunnelV6, testing::Values(Family::kIpv6));

}  // namespace
}  // namespace ocicat::test
