// Packets of known connections that programs put into tunnels to other hosts.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "dataplane/overlay/vxlan.h"
#include "maps/counters.h"
#include "netns/agent_host.h"
#include "netns/tap.h"

namespace ocicat::test {
namespace {

constexpr std::size_t kOuterIp = kEthernet;
constexpr std::uint16_t kPort = 4789;
constexpr std::uint32_t kVni = 4096;

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

  // Where in a frame: its own transport, and that and the frame in the tunnel if it is one.
  std::size_t transport() const { return kEthernet + (v4() ? 20 : 40); }
  std::size_t outer_udp() const { return transport(); }
  std::size_t inner() const { return outer_udp() + 8 + 8; }
  std::uint32_t mtu() const { return 1500 - dataplane::vxlan_overhead(family()); }

  VxlanDevice device() const {
    return {.end = here_, .host = Testbed::host_address(family()), .vni = kVni, .port = kPort, .mtu = mtu()};
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
  // After others have changed routes: the agent looks at those again 50 ms after the last time at the earliest, and
  // what a program has asked holds for a quarter of a second.
  bool comes_to_leave_it_to_the_interface(const RawPacket& packet) {
    using Clock = std::chrono::steady_clock;
    for (const auto end = Clock::now() + std::chrono::seconds(20); Clock::now() < end;) {
      if (!sent(frame_of(again(packet))).second) return true;
    }
    return false;
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
    frame.resize(transport() + 8);
    frame.insert(frame.end(), {8, 0, 0, 0, 0, kVni >> 8, 0, 0});
    frame.insert(frame.end(), inner.begin(), inner.end());
    const auto length = static_cast<std::uint32_t>(frame.size() - transport());
    if (v4()) {
      set16(frame, kEthernet + 2, length + 20);
      fix_checksum(frame);
    } else {
      set16(frame, kEthernet + 4, length);
    }
    set16(frame, transport() + 4, length);
    set16(frame, transport() + 6, 0);
    if (!v4()) set16(frame, transport() + 6, ~transport_sum(frame) & 0xffff);
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
  std::pair<IpAddress, MacAddress> end_of(const Frame& frame) const {
    if (frame.empty()) return {};
    MacAddress mac;
    std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(inner()), mac.bytes.size(), mac.bytes.begin());
    if (v4()) return {IpAddress::v4(get16(frame, kOuterIp + 16) << 16 | get16(frame, kOuterIp + 18)), mac};
    IpAddress::Bytes address{};
    std::copy_n(frame.begin() + kOuterIp + 24, address.size(), address.begin());
    return {IpAddress::v6(address), mac};
  }
  void set_redirect(bool on) {
    auto changes = HostChanges();
    changes.settings = all().settings;
    changes.settings->redirect = on;
    agent_->apply(std::move(changes));
  }
  // From here on all sums are in the packets, and none is trusted where it is to be looked at.
  void sum_in_software() {
    bed_.host().run(
        [&] { shell("ethtool -K uplink tx off > /dev/null; ethtool -K calia rx off > /dev/null"); });
    bed_.outside().ns().run([] { shell("ethtool -K eth0 rx off > /dev/null"); });
    agent_->apply({});
  }
  // The other host as it really is: its own end of the tunnel, and the workload there.
  void connect_far_workload() {
    bed_.outside().ns().run([&] {
      const auto& name = dataplane::vxlan_name(family());
      const auto nodad = v4() ? "" : "nodad";
      shell(fmt::format(
          "ip link add {0} address {1} type vxlan id {2} local {3} dstport {4} nolearning;"
          "ip link set {0} up mtu {5}; ip addr add {6} dev {0} {11}; ip addr add {7} dev lo {11};"
          "bridge fdb add {8} dev {0} dst {9}; ip neigh add {10} lladdr {8} dev {0} nud permanent;"
          "ip route replace {12} via {10} dev {0} onlink",
          name, there_.mac.to_string(), kVni, cluster().to_string(), kPort, mtu(),
          Prefix::host(there_.address).to_string(), Prefix::host(far_).to_string(), here_.mac.to_string(),
          Testbed::host_address(family()).to_string(), here_.address.to_string(), nodad,
          Prefix::host(a_.address(family())).to_string()));
    });
    a_.ns().run([&] { shell(fmt::format("ip link set eth0 mtu {}", mtu())); });
    for (const auto* station : {&a_, &bed_.outside()})
      station->ns().run([] { shell("nft delete table inet quiet"); });  // which keeps them from answering
  }
  // Of that namespace, bound to the address.
  UniqueFd socket_at(const kernel::NetworkNamespace& ns, const IpAddress& address, int type) const {
    UniqueFd socket;
    ns.run([&] {
      socket = UniqueFd(::socket(v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
      constexpr timeval kPatience{.tv_sec = 20, .tv_usec = 0};
      CHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) == 0);
      const auto at = socket_address(address, 0);
      CHECK(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    });
    return socket;
  }
  sockaddr_in6 socket_address(const IpAddress& address, std::uint16_t port) const {
    sockaddr_in6 at{};
    if (v4()) {
      sockaddr_in four{};
      four.sin_family = AF_INET;
      four.sin_port = port;
      std::copy_n(address.bytes().begin() + 12, 4, reinterpret_cast<std::uint8_t*>(&four.sin_addr));
      std::copy_n(reinterpret_cast<const std::uint8_t*>(&four), sizeof four,
                  reinterpret_cast<std::uint8_t*>(&at));
      return at;
    }
    at.sin6_family = AF_INET6;
    at.sin6_port = port;
    std::copy_n(address.bytes().begin(), 16, at.sin6_addr.s6_addr);
    return at;
  }
  // Connects, from the workload to the one at the other host, and leads there.
  void connect_to(const UniqueFd& from, const UniqueFd& to) const {
    sockaddr_in6 at{};
    socklen_t length = sizeof at;
    CHECK(::getsockname(to.get(), reinterpret_cast<sockaddr*>(&at), &length) == 0);
    CHECK(::connect(from.get(), reinterpret_cast<const sockaddr*>(&at), length) == 0);
  }
  static std::vector<std::uint8_t> text(std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 + size);
    return bytes;
  }
  // Of every length, each answered.
  void exchange_datagrams() {
    const auto here = socket_at(a_.ns(), a_.address(family()), SOCK_DGRAM);
    const auto there = socket_at(bed_.outside().ns(), far_, SOCK_DGRAM);
    connect_to(here, there);
    const auto largest = mtu() - (v4() ? 28 : 48);
    std::vector<std::uint8_t> seen(65'536);
    for (std::size_t size = 0; size <= largest; size += size < 16    ? 1
                                                        : size == 16 ? (largest - 16) % 35
                                                                     : 35) {
      const auto sent = text(size);
      ASSERT_EQ(::send(here.get(), sent.data(), size, 0), static_cast<ssize_t>(size));
      sockaddr_in6 from{};
      socklen_t length = sizeof from;
      ASSERT_EQ(
          ::recvfrom(there.get(), seen.data(), seen.size(), 0, reinterpret_cast<sockaddr*>(&from), &length),
          static_cast<ssize_t>(size));
      ASSERT_TRUE(std::equal(sent.begin(), sent.end(), seen.begin()));
      ASSERT_EQ(::sendto(there.get(), sent.data(), size, 0, reinterpret_cast<sockaddr*>(&from), length),
                static_cast<ssize_t>(size));
      ASSERT_EQ(::recv(here.get(), seen.data(), seen.size(), 0), static_cast<ssize_t>(size));
    }
  }
  // As much as is cut into many packets, both ways.
  void exchange_stream() {
    const auto here = socket_at(a_.ns(), a_.address(family()), SOCK_STREAM);
    const auto listening = socket_at(bed_.outside().ns(), far_, SOCK_STREAM);
    CHECK(::listen(listening.get(), 1) == 0);
    connect_to(here, listening);
    const UniqueFd there(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(there);
    const auto sent = text(1'000'001);
    for (const auto& [from, to] : {std::pair{&here, &there}, std::pair{&there, &here}}) {
      std::thread sender([&] {
        for (std::size_t at = 0; at < sent.size();) {
          const auto some = ::send(from->get(), sent.data() + at, sent.size() - at, 0);
          CHECK(some > 0);
          at += static_cast<std::size_t>(some);
        }
      });
      std::vector<std::uint8_t> seen(sent.size());
      const auto size = ::recv(to->get(), seen.data(), seen.size(), MSG_WAITALL);
      sender.join();
      ASSERT_EQ(size, static_cast<ssize_t>(sent.size()));
      EXPECT_EQ(seen, sent);
    }
  }
  void set_traffic(Frame& frame, int traffic) const {
    if (v4()) {
      frame.at(kEthernet + 1) = static_cast<std::uint8_t>(traffic);
      fix_checksum(frame);
    } else {
      frame.at(kEthernet) = static_cast<std::uint8_t>(0x60 | traffic >> 4);
      frame.at(kEthernet + 1) = static_cast<std::uint8_t>(traffic << 4);
    }
  }

  std::map<int, std::uint64_t> counted_;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Tap at_a_{a_.ns()}, outside_{bed_.outside().ns()};
  PinFolder pins_;
  network::Vtep here_{of("10.65.1.0", "fd00:65:1::"), *MacAddress::parse("66:00:00:00:00:01")};
  network::Vtep there_{of("10.65.2.0", "fd00:65:2::"), *MacAddress::parse("66:00:00:00:00:02")};
  IpAddress far_ = of("10.65.2.7", "fd00:65:2::7");  // a workload there
  IpAddress other_host_ = of("203.0.113.9", "2001:db8:f::9");
  std::optional<AgentHost> agent_;
};

TEST_P(EbpfTunnel, WhatProgramsMakeIsWhatTheInterfaceMakes) {
  sum_in_software();
  const auto packet = known();
  for (const int traffic : {0, 1, 2, 3, 0xb8, 0xbb}) {  // congestion, and another type of service
    auto frame = frame_of(packet);
    set_traffic(frame, traffic);
    auto [ours, by_program] = sent(frame);
    EXPECT_TRUE(by_program);
    ASSERT_FALSE(ours.empty());
    set_redirect(false);
    auto [theirs, by_program_again] = sent(frame);
    EXPECT_FALSE(by_program_again);
    ASSERT_FALSE(theirs.empty());
    set_redirect(true);
    for (auto* seen : {&ours, &theirs}) {
      if (!v4()) {
        EXPECT_EQ(transport_sum(*seen), 0xffffU) << traffic;
        continue;
      }
      EXPECT_EQ(sum16(*seen, kOuterIp, outer_udp()), 0xffffU) << traffic;
      set16(*seen, kOuterIp + 4, 0);   // identifier,
      set16(*seen, kOuterIp + 10, 0);  // and so the sum
    }
    EXPECT_EQ(get16(ours, outer_udp() + 6) == 0, v4());
    if (v4()) set16(theirs, outer_udp() + 6, 0);
    EXPECT_EQ(ours, theirs) << traffic;
  }
}

TEST_P(EbpfTunnel, WhatIsTooLargeForTheTunnelTakesTheStackWhichTellsTheSender) {
  const auto packet = known();
  auto fits = frame_of(packet), does_not = frame_of(again(packet));
  fits = frame_of(packet, mtu() + kEthernet - fits.size());
  does_not = frame_of(again(packet), mtu() + kEthernet + 1 - does_not.size());
  for (auto* frame : {&fits, &does_not}) {
    if (!v4()) continue;
    set16(*frame, kEthernet + 6, 0x4000);  // not to be fragmented
    fix_checksum(*frame);
  }
  EXPECT_TRUE(sent(fits).second);
  at_a_.received();
  EXPECT_TRUE(carried(does_not).empty());
  const auto errors = at_a_.received();
  EXPECT_TRUE(std::ranges::any_of(errors, [&](const Frame& frame) {
    if (frame.size() <= transport() + 8) return false;
    const auto type = get16(frame, transport());
    return v4() ? frame[kEthernet + 9] == kIcmp && type == 0x0304 && get16(frame, transport() + 6) == mtu()
                : frame[kEthernet + 6] == kIcmpV6 && type == 0x0200 && get16(frame, transport() + 6) == mtu();
  }));
}

TEST_P(EbpfTunnel, WhatIsTooLargeForTheWayToTheOtherHostIsLeftToTheInterface) {
  const auto packet = known();
  move_end();
  on_host(
      fmt::format("ip route add {} via {} mtu lock 1400", other_host_.to_string(), cluster().to_string()));
  EXPECT_TRUE(goes_by_program(again(packet)));
  const auto frame = frame_of(again(packet), 1'340);
  EXPECT_FALSE(sent(frame).second);
}

TEST_P(EbpfTunnel, AnEndThatChangesIsReachedByTheNextPacket) {
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

TEST_P(EbpfTunnel, RoutesToTheOtherHostAreHeeded) {
  const auto packet = known();
  move_end();
  EXPECT_TRUE(goes_by_program(again(packet)));
  on_host(fmt::format("ip route add blackhole {}", other_host_.to_string()));
  EXPECT_TRUE(comes_to_leave_it_to_the_interface(packet));
}

TEST_P(EbpfTunnel, PolicyEndsAConnectionWithItsNextPacket) {
  const auto packet = known();
  HostChanges closed;
  add_pod(closed, "a", a_, kAllowAll, kDenyAll);
  agent_->apply(closed);
  const auto [seen, by_program] = sent(frame_of(again(packet)));
  EXPECT_TRUE(seen.empty());
  EXPECT_FALSE(by_program);
}

TEST_P(EbpfTunnel, TheInterfaceHasItsSayWhereSomebodyWantsIt) {
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

TEST_P(EbpfTunnel, WhatIsInATunnelOfTheWorkloadsOwnIsLeftToTheInterface) {
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
  EXPECT_TRUE(std::ranges::any_of(outside_.received(), [&](const Frame& frame) {
    const auto port = inner() + transport() + 2;
    return frame.size() > port + 2 && get16(frame, outer_udp() + 2) == kPort && get16(frame, port) == 8472;
  }));
}

TEST_P(EbpfTunnel, AnAgentThatGoesAndComesLeavesThemAsTheyAre) {
  const auto packet = known();
  agent_.reset();
  EXPECT_TRUE(goes_by_program(again(packet)));
  agent_.emplace(bed_, pins_.options(dataplane::Datapath::kEbpf));
  agent_->put(all());
  const auto report = agent_->await_revision(1);
  EXPECT_EQ(report.kernel_writes, 0U);
  EXPECT_TRUE(goes_by_program(again(packet)));
}

TEST_P(EbpfTunnel, PacketsOfEveryLengthHaveRightSums) {
  sum_in_software();
  const auto packet = known();
  const auto least = frame_of(packet).size();
  for (std::size_t padding = 0; padding <= mtu() + kEthernet - least; padding += padding < 20 ? 1 : 117) {
    const auto frame = frame_of(again(packet), padding);
    auto [seen, by_program] = sent(frame);
    ASSERT_TRUE(by_program) << padding;
    ASSERT_EQ(seen.size(), frame.size() + dataplane::vxlan_overhead(family())) << padding;
    EXPECT_TRUE(v4() || transport_sum(seen) == 0xffff) << padding;
    // Inside it is the packet, a hop on.
    seen.erase(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(inner()));
    EXPECT_EQ(seen.at(v4() ? kHopsV4 : kHopsV6), frame.at(v4() ? kHopsV4 : kHopsV6) - 1) << padding;
    EXPECT_TRUE(std::equal(frame.begin() + static_cast<std::ptrdiff_t>(transport()), frame.end(),
                           seen.begin() + static_cast<std::ptrdiff_t>(transport())))
        << padding;
  }
}

// Both kernels as they are, but that all sums are looked at: nothing comes out of the tunnel whose own is wrong.
TEST_P(EbpfTunnel, TheOtherHostTakesWhatSocketsSend) {
  sum_in_software();
  connect_far_workload();
  known();
  for (const auto* offloads : {"on", "off"}) {
    a_.ns().run([&] { shell(fmt::format("ethtool -K eth0 tx {} > /dev/null", offloads)); });
    agent_->apply({});
    grown(bpf::COUNT_ENCAPSULATED);
    exchange_datagrams();
    EXPECT_GT(grown(bpf::COUNT_ENCAPSULATED), 40U) << offloads;
    exchange_stream();
    // Two megabytes may be few packets, of which the large ones of IPv6 leave by the interface.
    EXPECT_GE(grown(bpf::COUNT_ENCAPSULATED), 5U) << offloads;
    a_.ns().run([&] {
      for (const int size : {0, 1, 55, 1'000, static_cast<int>(mtu()) - (v4() ? 28 : 48)})
        shell(fmt::format("ping -q -c 3 -i 0.01 -W 10 -s {} {} > /dev/null", size, far_.to_string()));
    });
    EXPECT_GE(grown(bpf::COUNT_ENCAPSULATED), 10U) << offloads;
  }
  bed_.outside().ns().run(
      [] { shell("nstat -asz | awk '/InCsumErrors/ && $2 != 0 { wrong = 1; print } END { exit wrong }'"); });
}

INSTANTIATE_TEST_SUITE_P(Families, EbpfTunnel, testing::Values(Family::kIpv4, Family::kIpv6));

// Where UDP has a sum over all that it carries.
using EbpfTunnelV6 = EbpfTunnel;

TEST_P(EbpfTunnelV6, ASumThatComesToNothingIsSaidAsAllOnes) {
  sum_in_software();
  const auto packet = known();
  const auto frame = frame_of(packet);
  auto seen = carried(frame);
  ASSERT_EQ(transport_sum(seen), 0xffffU);
  // So much more in the MAC of the other end, and nothing is left to make up for.
  const auto missing = get16(seen, outer_udp() + 6);
  auto word = 0x0002 + missing;
  word = (word & 0xffff) + (word >> 16);
  network::Vtep other = there_;
  other.mac.bytes[4] = static_cast<std::uint8_t>(word >> 8);
  other.mac.bytes[5] = static_cast<std::uint8_t>(word);
  HostChanges changed;
  changed.peers.update(cluster(), network::Peer{.vtep = other});
  agent_->apply(changed);
  bool by_program = false;
  std::tie(seen, by_program) = sent(frame);
  EXPECT_TRUE(by_program);
  EXPECT_EQ(end_of(seen).second, other.mac);
  EXPECT_EQ(get16(seen, outer_udp() + 6), 0xffffU);
  EXPECT_EQ(transport_sum(seen), 0xffffU);
}

TEST_P(EbpfTunnelV6, WhatWasSummedUpWronglyIsWrongOutsideAsWell) {
  sum_in_software();
  auto frame = frame_of(known());
  set16(frame, transport() + 6, get16(frame, transport() + 6) ^ 1);
  const auto [seen, by_program] = sent(frame);
  EXPECT_TRUE(by_program);
  ASSERT_FALSE(seen.empty());
  EXPECT_NE(transport_sum(seen), 0xffffU);
}

TEST_P(EbpfTunnelV6, WhatDoesNotSayItsSumIsSummedUpByTheInterfacePastTheStack) {
  sum_in_software();
  const auto packet = known();
  struct Row {
    const char* what;
    Frame frame;
  };
  std::vector<Row> rows{{"UDP without a sum", frame_of(again(packet))},
                        {"bytes behind the packet", frame_of(again(packet))},
                        {"bytes behind UDP", frame_of(again(packet), 7)},
                        {"UDP-Lite", {}}};
  set16(rows[0].frame, transport() + 6, 0);
  rows[1].frame.insert(rows[1].frame.end(), {1, 2, 3});
  auto& behind = rows[2].frame;
  set16(behind, transport() + 4, get16(behind, transport() + 4) - 7);
  auto other = packet;
  other.packet.protocol = kUdpLite;
  rows[3].frame = frame_of(known(other, bpf::COUNT_REDIRECTED));
  for (const auto& [what, frame] : rows) {
    grown(bpf::COUNT_REDIRECTED);
    const auto [seen, by_program] = sent(frame);
    EXPECT_FALSE(by_program) << what;
    EXPECT_GE(grown(bpf::COUNT_REDIRECTED), 1U) << what;
    ASSERT_FALSE(seen.empty()) << what;
    EXPECT_EQ(transport_sum(seen), 0xffffU) << what;
    EXPECT_EQ(end_of(seen), (std::pair{cluster(), there_.mac})) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EbpfTunnelV6, testing::Values(Family::kIpv6));

}  // namespace
}  // namespace ocicat::test
