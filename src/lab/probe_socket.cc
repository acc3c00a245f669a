#include "lab/probe_socket.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>

#include <cstring>
#include <span>

namespace ocicat::lab {
namespace {

// The Internet checksum (RFC 1071) of an ICMP message; the kernel fills in that of ICMPv6.
std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) sum += at % 2 == 0 ? bytes[at] * 256U : bytes[at];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace

SocketAddress::SocketAddress(const IpAddress& address, std::uint16_t port) {
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(address.v4_value());
    std::memcpy(&storage, &v4, length = sizeof v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.bytes().data(), address.bytes().size());
    std::memcpy(&storage, &v6, length = sizeof v6);
  }
}

IpAddress SocketAddress::address() const {
  if (storage.ss_family == AF_INET) {
    return IpAddress::v4(ntohl(reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr));
  }
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, bytes.size());
  return IpAddress::v6(bytes);
}

// Many sockets share the port, each with a peer of its own. Where somebody listens on it, the kernel chooses
// one.
void take_port(int fd, Family family, std::uint16_t port) {
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const SocketAddress own(family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress(), port);
  [[maybe_unused]] const int refused = bind(fd, own.get(), own.length);
}

int domain_of(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

std::vector<std::uint8_t> echo_request(Family family, std::uint16_t id, std::uint16_t sequence) {
  std::vector<std::uint8_t> bytes(kEchoHeader);
  bytes[0] = family == Family::kIpv4 ? std::uint8_t{ICMP_ECHO} : std::uint8_t{ICMP6_ECHO_REQUEST};
  const auto put = [&](std::size_t at, std::uint16_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value & 0xff);
  };
  put(4, id);
  put(6, sequence);
  if (family == Family::kIpv4) put(2, internet_checksum(bytes));
  return bytes;
}

void filter_echo_replies(int fd, Family family) {
  if (family == Family::kIpv4) {
    icmp_filter filter{~(1U << ICMP_ECHOREPLY)};
    setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
    return;
  }
  icmp6_filter filter{};
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
  setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
}

}  // namespace ocicat::lab
