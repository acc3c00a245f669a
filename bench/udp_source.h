// A datagram socket outside, which sends from any address that it is told.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <span>

#include "base/ip.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/bpf/load.h"

namespace ocicat::bench {

inline sockaddr_in socket_address(const IpAddress& address, std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  std::ranges::copy(std::span(address.bytes()).last(4), reinterpret_cast<std::uint8_t*>(&result.sin_addr));
  return result;
}

// Of the calling thread's network namespace.
inline UniqueFd socket_from(const IpAddress& source) {
  UniqueFd made(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  CHECK(::setsockopt(made.get(), IPPROTO_IP, IP_TRANSPARENT, &yes, sizeof yes) == 0);
  const auto from = socket_address(source, 4'000);
  CHECK(::bind(made.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0);
  return made;
}

// Sends a datagram whose frame has so many bytes: LOAD_FRAME or LOAD_OTHERS.
inline void send_frame(const UniqueFd& socket, const sockaddr_in& to, std::size_t frame) {
  constexpr std::size_t kHeaders = 14 + 20 + 8;
  static constexpr std::array<char, LOAD_OTHERS> kNothing{};
  CHECK(::sendto(socket.get(), kNothing.data(), frame - kHeaders, 0, reinterpret_cast<const sockaddr*>(&to),
                 sizeof to) == static_cast<ssize_t>(frame - kHeaders));
}

}  // namespace ocicat::bench
