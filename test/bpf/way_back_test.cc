// The program at the host's own interfaces: what comes from where no route leads.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <thread>

#include "bpf/workload_programs.h"
#include "dataplane/ebpf/address_image.h"

namespace ocicat::test {
namespace {

using WayBack = HostSettings::WayBack;

constexpr int kPass = -1, kDrop = 2;
constexpr auto kNear4 = "192.0.2.1"sv, kAside4 = "198.51.100.7"sv, kNowhere4 = "100.64.0.9"sv;
constexpr auto kBehind4 = "198.18.5.7"sv, kBehind6 = "2001:db8:b::7"sv;
constexpr auto kNear6 = "2001:db8::1"sv, kAside6 = "2001:db8:a::7"sv, kNowhere6 = "3fff::9"sv;

// Beside the uplink, by which 192.0.2.0/24 and 2001:db8::/64 are reached, there is another link of the host.
class ReversePath : public WorkloadPrograms {
 protected:
  ReversePath() {
    bed_.host().run([] {
      shell(
          "ip -4 route del default 2> /dev/null; ip -6 route del default 2> /dev/null;"
          "ip link add aside type veth peer name beyond; ip link set aside up; ip link set beyond up;"
          "ip addr add 198.51.100.1/24 dev aside; ip addr add 2001:db8:a::1/64 dev aside nodad;"
          "ip link set uplink address ee:ee:ee:ee:ee:ee");  // whom the frames are for
    });
  }
  void check(WayBack how) {
    HostChanges changes;
    changes.settings = settings_;
    changes.settings->way_back = how;
    change(std::move(changes));
  }
  int comes(const Bytes& frame) const {
    const auto program = kernel::bpf::open_pin(pins_.path() / "programs" / "from_network");
    CHECK(program);
    int answer = 0;
    bed_.host().run([&] {
      const auto uplink = static_cast<int>(::if_nametoindex("uplink"));
      const auto done = kernel::bpf::run(program->get(), frame, uplink, uplink);
      CHECK(done);
      answer = done->answer;
    });
    return answer;
  }
  int from(std::string_view source) const {
    return source.find(':') == std::string_view::npos
               ? comes(ethernet(ipv4({.source = source, .destination = kA4}, udp(53, 4000))))
               : comes(ethernet(ipv6({.source = source, .destination = kA6}, udp(53, 4000))));
  }

  HostSettings settings_ = *first_state(1).settings;
};

TEST_F(ReversePath, IsAskedLooselyUnlessSomebodySaysOtherwise) {
  for (const auto source : {kNear4, kAside4, kNear6, kAside6}) EXPECT_EQ(from(source), kPass) << source;
  const auto before = counters();
  events();
  for (const auto source : {kNowhere4, kHost4, kNowhere6}) EXPECT_EQ(from(source), kDrop) << source;
  EXPECT_EQ(counters()[bpf::DROP_NO_WAY_BACK] - before[bpf::DROP_NO_WAY_BACK], 3U);
  const auto told = events();
  ASSERT_EQ(told.size(), 3U);
  for (const auto& event : told) EXPECT_EQ(event.reason, bpf::DROP_NO_WAY_BACK);
}

TEST_F(ReversePath, StrictlyIsByTheSameInterface) {
  check(WayBack::kStrict);
  for (const auto source : {kNear4, kNear6}) EXPECT_EQ(from(source), kPass) << source;
  for (const auto source : {kAside4, kAside6, kNowhere4, kNowhere6}) EXPECT_EQ(from(source), kDrop) << source;
}

TEST_F(ReversePath, IsAskedOfNobodyWhereItIsDisabled) {
  check(WayBack::kUnchecked);
  for (const auto source : {kAside4, kNowhere4, kNowhere6}) EXPECT_EQ(from(source), kPass) << source;
}

TEST_F(ReversePath, IsNotAskedOfWhatKeepsALinkGoingAndOfWhatIsForAGroup) {
  check(WayBack::kStrict);
  EXPECT_EQ(comes(ethernet(ipv4({.source = "0.0.0.0", .destination = "255.255.255.255"}, udp(68, 67)))),
            kPass);
  EXPECT_EQ(comes(ethernet(ipv4({.source = kNowhere4, .destination = "224.0.0.251"}, udp(5353, 5353)))),
            kPass);
  EXPECT_EQ(comes(ethernet(ipv6({.source = "fe80::1", .destination = kA6}, udp(53, 4000)))), kPass);
  EXPECT_EQ(comes(ethernet(ipv6({.source = kNowhere6, .destination = "ff02::fb"}, udp(5353, 5353)))), kPass);
  EXPECT_EQ(comes(ethernet(ipv6({.source = kNowhere6, .destination = "fe80::2"}, udp(547, 546)))), kPass);
  const Bytes advertisement = icmp(136, 0, 0, Bytes(16));
  EXPECT_EQ(comes(ethernet(ipv6({.source = kNowhere6, .destination = kA6, .next = 58}, advertisement))),
            kPass);
}

TEST_F(ReversePath, IsAskedOfAKnownConnectionAsWell) {
  check(WayBack::kStrict);
  EXPECT_EQ(run(At::kFromB, ethernet(ipv4({.source = kB4, .destination = kAside4}, udp(4000, 53)))), kPass);
  EXPECT_EQ(comes(ethernet(ipv4({.source = kAside4, .destination = kB4}, udp(53, 4000)))), kDrop);
}

// A device on top of the interface has it, or whoever looks on, and its own routes.
TEST_F(ReversePath, IsNotAskedOfFramesForAnotherMac) {
  const auto frame = ethernet(ipv4({.source = kNowhere4, .destination = kA4}, udp(53, 4000)));
  EXPECT_EQ(comes(frame), kDrop);
  EXPECT_EQ(comes(with(frame, 5, 0xef)), kPass);
}

TEST_F(ReversePath, IsAskedOfFramesThatHaveAPriorityAndNoVlan) {
  const auto frame = [](const Bytes& tag, std::string_view source) {
    return Bytes(12, 0xee) + tag + Bytes{0x08, 0x00} +
           ipv4({.source = source, .destination = kA4}, udp(53, 4000));
  };
  const Bytes none, priority{0x81, 0x00, 0x60, 0x00}, vlan_7{0x81, 0x00, 0x00, 0x07};
  events();
  bed_.outside().ns().run([&] {
    const UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
    for (const auto& [tag, source] : {std::pair(vlan_7, "100.64.0.7"), std::pair(priority, "100.64.0.8"),
                                      std::pair(none, "100.64.0.9")}) {
      const auto bytes = frame(tag, source);
      ASSERT_EQ(::sendto(socket.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                         sizeof to),
                static_cast<ssize_t>(bytes.size()));
    }
  });
  std::vector<std::uint32_t> refused;
  const auto last = inet_addr("100.64.0.9");
  while (refused.empty() || refused.back() != last) {
    for (const auto& event : events())
      if (event.reason == bpf::DROP_NO_WAY_BACK) refused.push_back(event.source.word[3]);
  }
  EXPECT_EQ(refused, (std::vector{inet_addr("100.64.0.8"), last}));
}

// Of its routes, not the host's: there the other link is out of reach, and what the host has no route to is in reach.
TEST_F(ReversePath, OfAnInterfaceInAVrfIsAskedOfThat) {
  bool has_vrf = true;
  bed_.host().run([&] {
    has_vrf = std::system("ip link add blue type vrf table 10 2> /dev/null") == 0;
    if (!has_vrf) return;
    shell("ip link set blue up; ip link set uplink master blue; ip link set uplink up");
    for (const auto* nets : {"-4 192.0.2.0/24 100.64.0.0/24", "-6 2001:db8::/64 3fff::/64"}) {
      shell(fmt::format(
          "set -- {}; ip $1 route replace $2 dev uplink table 10; ip $1 route replace $3 dev uplink table 10;"
          // Else the kernel goes on to the host's own.
          "ip $1 route add unreachable default metric 4278198272 table 10",
          nets));
    }
  });
  if (!has_vrf) GTEST_SKIP() << "this kernel has no VRFs";
  for (const auto source : {kNear4, kNowhere4, kNear6, kNowhere6}) EXPECT_EQ(from(source), kPass) << source;
  for (const auto source : {kAside4, kAside6}) EXPECT_EQ(from(source), kDrop) << source;
  // The program is there, whose interface is part of another.
  events();
  const auto& outside = bed_.outside();
  const auto index = [&] {
    std::uint32_t found = 0;
    bed_.host().run([&] { found = ::if_nametoindex("uplink"); });
    return found;
  }();
  bool told = false;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!told && std::chrono::steady_clock::now() < give_up) {
    outside.send({probe(*IpAddress::parse(kAside4), Testbed::host_address(Family::kIpv4), kUdp, 53)});
    for (const auto& event : events())
      told |= event.reason == bpf::DROP_NO_WAY_BACK && event.interface == index;
  }
  EXPECT_TRUE(told);
}

// As tunnels carry them, and PPP.
class WithoutAFrame : public ReversePath {
 protected:
  WithoutAFrame() {
    bed_.host().run([this] {
      device_ = UniqueFd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
      CHECK(device_);
      ifreq asked{};
      std::strcpy(asked.ifr_name, "bare");
      asked.ifr_flags = IFF_TUN | IFF_NO_PI;
      CHECK(::ioctl(device_.get(), TUNSETIFF, &asked) == 0);
      shell(
          "ip link set bare up; ip addr add 198.18.5.1/24 dev bare; ip addr add 2001:db8:b::1/64 dev bare "
          "nodad;"
          "echo 1 > /proc/sys/net/ipv4/conf/bare/forwarding; echo 1 > "
          "/proc/sys/net/ipv6/conf/bare/forwarding");
      index_ = ::if_nametoindex("bare");
    });
    while (refused({kNowhere4}).empty()) std::this_thread::yield();  // until the agent has heard of it
  }
  // Which of these sources are, of packets that come in there: each is judged before write() is done.
  std::vector<std::string> refused(std::vector<std::string_view> sources) {
    events();
    for (const auto source : sources) {
      const bool v4 = source.find(':') == std::string_view::npos;
      const auto packet = v4 ? ipv4({.source = source, .destination = kA4}, udp(53, 4000))
                             : ipv6({.source = source, .destination = kA6}, udp(53, 4000));
      CHECK(::write(device_.get(), packet.data(), packet.size()) == static_cast<ssize_t>(packet.size()));
      size_[v4] = packet.size();
    }
    std::vector<std::string> found;
    for (const auto& event : events()) {
      if (event.reason != bpf::DROP_NO_WAY_BACK) continue;
      const auto source = dataplane::ebpf::address_of(event.source);
      EXPECT_EQ(event.interface, index_);
      EXPECT_EQ(event.size, size_[source.is_v4()]);
      found.push_back(source.to_string());
    }
    return found;
  }

  UniqueFd device_;
  std::uint32_t index_ = 0;
  std::size_t size_[2] = {};
};

TEST_F(WithoutAFrame, TheWayBackIsAskedForAsWell) {
  const std::vector<std::string_view> sources{kBehind4, kAside4, kNowhere4, kHost4,
                                              kBehind6, kAside6, kNowhere6};
  using Refused = std::vector<std::string>;
  EXPECT_EQ(refused(sources), (Refused{"100.64.0.9", "192.0.2.254", "3fff::9"}));
  check(WayBack::kStrict);
  EXPECT_EQ(refused(sources),
            (Refused{"198.51.100.7", "100.64.0.9", "192.0.2.254", "2001:db8:a::7", "3fff::9"}));
  check(WayBack::kUnchecked);
  EXPECT_EQ(refused(sources), Refused());
}

}  // namespace
}  // namespace ocicat::test
