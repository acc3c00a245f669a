#include "netns/testbed.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>

#include "kernel/netlink.h"

namespace ocicat::test {
namespace {

kernel::NetworkNamespace new_namespace() {
  auto ns = kernel::NetworkNamespace::create();
  if (!ns) std::fprintf(stderr, "these tests need root: %s\n", ns.error().message.c_str());
  CHECK(ns);
  return std::move(*ns);
}

// Softirqs run where the packet was sent, so order is kept.
void stay_on_one_processor() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  CHECK(::sched_setaffinity(0, sizeof set, &set) == 0);
}

constexpr const char* kHostMac = "ee:ee:ee:ee:ee:ee";
constexpr const char* kStationMac = "02:00:00:00:00:01";
constexpr const char* kHostLinkLocal = "fe80::ecee:eeff:feee:eeee";

// The kernel takes packets for an interface only after it has seen to its carrier, once a second at most.
void await_up(const std::string& interface) {
  shell(fmt::format("until [ \"$(ip -br link show dev {} | awk '{{print $2}}')\" = UP ]; do sleep 0.01; done",
                    interface));
}

}  // namespace

std::uint32_t new_token() {
  static std::atomic<std::uint32_t> next = 0xf0000000;
  return ++next;
}

void shell(const std::string& command) {
  const int status = std::system(command.c_str());
  if (status != 0) std::fprintf(stderr, "failed (%d): %s\n", status, command.c_str());
  CHECK(status == 0);
}

Station::Station(std::string name, IpAddress v4, IpAddress v6)
    : interface_(std::move(name)), v4_(v4), v6_(v6), ns_(new_namespace()) {}

void Station::send(const std::vector<RawPacket>& packets) const {
  ns_.run([&] {
    stay_on_one_processor();
    for (const auto& packet : packets) send_raw(packet);
  });
}

void Station::send_past_rules(const std::vector<Bytes>& packets) const {
  ns_.run([&] {
    stay_on_one_processor();
    const UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK(socket);
    for (const auto& packet : packets) {
      sockaddr_ll to{};
      to.sll_family = AF_PACKET;
      to.sll_protocol = htons(packet.front() >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
      to.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
      to.sll_halen = ETH_ALEN;
      std::ranges::fill_n(to.sll_addr, ETH_ALEN, std::uint8_t{0xee});  // kHostMac
      CHECK(::sendto(socket.get(), packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&to),
                     sizeof to) == static_cast<ssize_t>(packet.size()));
    }
  });
}

std::set<std::uint32_t> Station::received() const {
  std::set<std::uint32_t> tokens;
  std::array<std::uint8_t, 2048> buffer{};
  while (true) {
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t size = ::recvfrom(sniffer_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                                    reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0) return tokens;
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    for (const auto token : tokens_of(buffer.data(), static_cast<std::size_t>(size))) tokens.insert(token);
  }
}

void Station::await(std::uint32_t token, std::set<std::uint32_t>& seen) const {
  while (true) {
    seen.merge(received());
    if (seen.contains(token)) return;
    pollfd fd{sniffer_.get(), POLLIN, 0};
    constexpr int kGiveUp = 20'000;  // milliseconds: the packet is known to pass, so it is lost for good
    CHECK(::poll(&fd, 1, kGiveUp) > 0);
  }
}

Testbed::Testbed() : host_(new_namespace()) {
  host_.run([] {
    shell(
        "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
        "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
        "net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
  });
  add_station("uplink", "192.0.2.1", "2001:db8::1");
  host_.run([] {
    shell(
        "ip addr add 192.0.2.254/24 dev uplink; ip addr add 2001:db8::fe/64 dev uplink nodad;"
        "ip route add 203.0.113.0/24 via 192.0.2.1; ip route add default via 192.0.2.1;"
        "ip -6 route add default via 2001:db8::1");
  });
}

Station& Testbed::add_station(const std::string& interface, const std::string& v4, const std::string& v6) {
  stations_.push_back(std::make_unique<Station>(interface, *IpAddress::parse(v4), *IpAddress::parse(v6)));
  auto& station = *stations_.back();
  station.ns().run([&] {
    shell("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0; ip link set lo up");
    shell(fmt::format("ip link add eth0 address {} type veth peer name {} address {} netns {}", kStationMac,
                      interface, kHostMac, host_.path()));
    shell(fmt::format("ip addr add {}/32 dev eth0; ip addr add {}/128 dev eth0 nodad; ip link set eth0 up",
                      v4, v6));
    shell(
        fmt::format("ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1;"
                    "ip -6 route add default via {} dev eth0;"
                    "ip neigh add 169.254.1.1 dev eth0 lladdr {} nud permanent;"
                    "ip neigh add {} dev eth0 lladdr {} nud permanent",
                    kHostLinkLocal, kHostMac, kHostLinkLocal, kHostMac));
    // It listens and never speaks: no answer of its own may make a connection known.
    shell(
        "nft 'add table inet quiet; add chain inet quiet out { type filter hook output priority 0; };"
        "add rule inet quiet out icmp type { destination-unreachable, echo-reply } drop;"
        "add rule inet quiet out icmpv6 type { destination-unreachable, echo-reply, parameter-problem } drop;"
        "add rule inet quiet out tcp flags & rst == rst drop'");
    station.sniffer_ = UniqueFd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    CHECK(station.sniffer_);
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
    CHECK(::bind(station.sniffer_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  });
  host_.run([&] {
    shell(
        fmt::format("ip link set {0} up; ip neigh add {1} dev {0} lladdr {3} nud permanent;"
                    "ip neigh add {2} dev {0} lladdr {3} nud permanent",
                    interface, v4, v6, kStationMac));
    await_up(interface);
  });
  station.ns().run([] { await_up("eth0"); });
  return station;
}

Station& Testbed::add_pod(const std::string& name, const std::string& v4, const std::string& v6,
                          Routes routes) {
  auto& station = add_station("cali" + name, v4, v6);
  if (routes == Routes::kMade) {
    host_.run([&] {
      shell(fmt::format("ip route add {0} dev {2}; ip route add {1} dev {2} metric 2000", v4, v6,
                        station.interface()));
    });
  }
  return station;
}

void Testbed::silence_ipv6() const {
  const auto silence = [] {
    shell(
        "nft 'add table inet silent; add chain inet silent out { type filter hook output priority 0; };"
        "add rule inet silent out icmpv6 type { 131, 132, 133, 143 } drop'");
  };
  host_.run(silence);
  for (const auto& station : stations_) station->ns().run(silence);
}

int Testbed::counted_by(const std::string& table, const std::string& counter) const {
  int packets = -1;
  host_.run([&] {
    const auto command = fmt::format(
        "nft reset counter inet {} {} | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'", table, counter);
    FILE* out = ::popen(command.c_str(), "r");
    CHECK(out != nullptr && std::fscanf(out, "%d", &packets) == 1);
    ::pclose(out);
  });
  return packets;
}

void Testbed::send_of_host(const std::vector<RawPacket>& packets) const {
  host_.run([&] {
    stay_on_one_processor();
    for (const auto& packet : packets) send_raw(packet);
  });
}

void Testbed::forget_connections() const {
  host_.run([] {
    auto socket = kernel::NetlinkSocket::open(NETLINK_NETFILTER);
    CHECK(socket);
    kernel::MessageBuilder message;
    const nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, 0};
    message.begin(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK,
                  socket->next_sequence(), header);
    message.end();
    CHECK(socket->request(message.bytes()));
  });
}

namespace {

std::set<std::uint32_t> those_seen(const std::vector<RawPacket>& packets,
                                   const std::set<std::uint32_t>& seen) {
  std::set<std::uint32_t> arrived;
  for (const auto& packet : packets) {
    if (seen.contains(packet.token)) arrived.insert(packet.token);
  }
  return arrived;
}

}  // namespace

std::set<std::uint32_t> Testbed::arriving(const Station& from, const Station& to,
                                          const std::vector<RawPacket>& packets) const {
  return those_seen(packets, arriving(to, [&] { from.send(packets); }));
}

std::set<std::uint32_t> Testbed::arriving(const Station& to, const std::function<void()>& send) const {
  to.received();
  send();
  // From the host itself, which nothing polices. Twice: when the first has arrived, what was before it in the
  // queue has been forwarded, and stands before the second.
  std::set<std::uint32_t> seen;
  host_.run([&] {
    stay_on_one_processor();
    for (int i = 0; i < 2; ++i) {
      RawPacket marker;
      marker.packet = {host_address(Family::kIpv4), to.address(Family::kIpv4), kUdp, 9, 9, 0, 0};
      marker.token = new_token();
      send_raw(marker);
      to.await(marker.token, seen);
    }
  });
  return seen;
}

std::set<std::uint32_t> Testbed::leaving_host(const Station& sure,
                                              const std::vector<RawPacket>& packets) const {
  auto& outside = *stations_.front();
  outside.received();
  send_of_host(packets);
  std::set<std::uint32_t> seen;
  RawPacket marker;
  marker.packet = {sure.address(Family::kIpv4), outside.address(Family::kIpv4), kUdp, 9, 9, 0, 0};
  marker.token = new_token();
  sure.send({marker});
  outside.await(marker.token, seen);
  return those_seen(packets, seen);
}

IpAddress Testbed::host_address(Family family) {
  return *IpAddress::parse(family == Family::kIpv4 ? "192.0.2.254" : "2001:db8::fe");
}

}  // namespace ocicat::test
