#include "netns/tap.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <thread>

#include "base/result.h"

namespace ocicat::test {
namespace {

void stay_on_first_processor() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  CHECK(::sched_setaffinity(0, sizeof set, &set) == 0);
}

}  // namespace

void set16(Frame& frame, std::size_t at, std::uint32_t value) {
  frame.at(at) = static_cast<std::uint8_t>(value >> 8);
  frame.at(at + 1) = static_cast<std::uint8_t>(value);
}

std::uint32_t sum16(const Frame& frame, std::size_t from, std::size_t to) {
  std::uint32_t sum = 0;
  for (std::size_t i = from; i < to; i += 2) sum += std::uint32_t{frame.at(i)} << 8 | frame.at(i + 1);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

std::size_t ip_header(const Frame& frame) {
  return std::size_t{frame.at(kEthernet) & 0xfU} * 4;
}

void fix_checksum(Frame& frame) {
  set16(frame, kEthernet + 10, 0);
  set16(frame, kEthernet + 10, ~sum16(frame, kEthernet, kEthernet + ip_header(frame)) & 0xffff);
}

std::uint32_t transport_sum(const Frame& frame, std::size_t ip) {
  const bool v4 = frame.at(ip) >> 4 == 4;
  const std::size_t transport = ip + (v4 ? 20 : 40), length_at = ip + (v4 ? 2 : 4);
  const auto said = std::size_t{frame.at(length_at)} << 8 | frame.at(length_at + 1);
  const auto length = v4 ? said - 20 : said;
  Frame even(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(transport + length));
  if (length % 2 != 0) even.push_back(0);
  auto sum = sum16(even, v4 ? ip + 12 : ip + 8, even.size()) + frame.at(v4 ? ip + 9 : ip + 6) +
             static_cast<std::uint32_t>(length);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

Frame frame_of(const RawPacket& packet, std::size_t padding) {
  const bool v4 = packet.packet.family() == Family::kIpv4;
  const auto bytes = bytes_of(packet);
  Frame frame(kEthernet + bytes.size() + padding);
  std::ranges::copy(kAtHost, frame.begin());
  std::ranges::copy(kAtStation, frame.begin() + 6);
  set16(frame, 12, v4 ? 0x0800 : 0x86dd);
  std::ranges::copy(bytes, frame.begin() + kEthernet);
  if (padding == 0) return frame;
  const std::size_t transport = kEthernet + (v4 ? 20 : 40);
  if (v4) {
    set16(frame, kEthernet + 2, static_cast<std::uint32_t>(frame.size() - kEthernet));
    fix_checksum(frame);
  } else {
    set16(frame, kEthernet + 4, static_cast<std::uint32_t>(frame.size() - transport));
  }
  set16(frame, transport + 4, static_cast<std::uint32_t>(frame.size() - transport));
  set16(frame, transport + 6, 0);
  if (!v4) set16(frame, transport + 6, ~transport_sum(frame) & 0xffff);
  return frame;
}

Tap::Tap(const kernel::NetworkNamespace& ns, const char* interface) {
  ns.run([&] {
    socket_ = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    CHECK(socket_);
    at_.sll_family = AF_PACKET;
    at_.sll_protocol = htons(ETH_P_ALL);
    at_.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
    CHECK(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&at_), sizeof at_) == 0);
  });
}

void Tap::send(const Frame& frame) const {
  std::thread([&] {
    stay_on_first_processor();
    CHECK(::sendto(socket_.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&at_),
                   sizeof at_) == static_cast<ssize_t>(frame.size()));
  }).join();
}

std::vector<Frame> Tap::received() const {
  std::vector<Frame> frames;
  while (true) {
    Frame frame(70'000);
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const auto size = ::recvfrom(socket_.get(), frame.data(), frame.size(), MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0) return frames;
    frame.resize(static_cast<std::size_t>(size));
    if (from.sll_pkttype != PACKET_OUTGOING) frames.push_back(std::move(frame));
  }
}

}  // namespace ocicat::test
