// The sockets and packets that a round of probes is made of.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "base/ip.h"

namespace ocicat::lab {

// An address as the socket calls take and give it. Ports in host order.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;

  SocketAddress() = default;
  SocketAddress(const IpAddress& address, std::uint16_t port);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  IpAddress address() const;
};

int domain_of(Family family);  // AF_INET, AF_INET6

// Many sockets share the port, each with a peer of its own. Where somebody listens on it, the kernel chooses
// one.
void take_port(int fd, Family family, std::uint16_t port);

inline constexpr std::size_t kEchoHeader = 8;  // of ICMP and ICMPv6 alike
std::vector<std::uint8_t> echo_request(Family family, std::uint16_t id, std::uint16_t sequence);
// Only echo replies are of interest; without a filter every ICMP message of the namespace would arrive.
void filter_echo_replies(int fd, Family family);

}  // namespace ocicat::lab
