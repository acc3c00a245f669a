#include "netns/packets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array<std::uint8_t, 4> kMagic{0x0c, 0x1c, 0xa7, 0x5e};

void put16(Bytes& bytes, std::size_t at, std::uint32_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
  put16(bytes, at, value >> 16);
  put16(bytes, at + 2, value & 0xffff);
}

void put_address(Bytes& bytes, std::size_t at, const IpAddress& address) {
  const std::size_t from = address.is_v4() ? 12 : 0;
  std::memcpy(bytes.data() + at, address.bytes().data() + from, 16 - from);
}

std::uint32_t sum_of(const Bytes& bytes, std::size_t from, std::size_t to) {
  std::uint32_t sum = 0;
  for (std::size_t i = from; i < to; i += 2) {
    sum += std::uint32_t{bytes[i]} << 8;
    if (i + 1 < to) sum += bytes[i + 1];
  }
  return sum;
}

std::uint16_t folded(std::uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// SCTP's checksum, bit by bit (RFC 9260, appendix A).
std::uint32_t crc32c(const Bytes& bytes) {
  std::uint32_t crc = ~0U;
  for (const auto byte : bytes) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

void put_token(Bytes& bytes, std::size_t at, std::uint32_t token) {
  std::memcpy(bytes.data() + at, kMagic.data(), kMagic.size());
  put32(bytes, at + 4, token);
}

Bytes transport_of(const RawPacket& raw) {
  const auto& packet = raw.packet;
  const auto with_ports = [&](std::size_t header) {
    Bytes bytes(header + 8);
    put16(bytes, 0, packet.source_port);
    put16(bytes, 2, packet.destination_port);
    put_token(bytes, header, raw.token);
    return bytes;
  };
  switch (packet.protocol) {
    case kTcp: {
      Bytes bytes = with_ports(20);
      put32(bytes, 4, raw.token);
      bytes[12] = 5 << 4;
      bytes[13] = raw.tcp_flags;
      put16(bytes, 14, 1024);
      return bytes;
    }
    case kUdp:
    case kUdpLite: {
      Bytes bytes = with_ports(8);
      put16(bytes, 4, static_cast<std::uint32_t>(bytes.size()));
      return bytes;
    }
    case kSctp: {
      // Common header, then an INIT chunk whose last parameter is unknown and carries the token.
      Bytes bytes(12 + 20 + 12);
      put16(bytes, 0, packet.source_port);
      put16(bytes, 2, packet.destination_port);
      bytes[12] = 1;
      put16(bytes, 14, 32);
      put32(bytes, 16, raw.token | 1);
      put32(bytes, 20, 65536);
      put16(bytes, 24, 1);
      put16(bytes, 26, 1);
      put16(bytes, 32, 0xc000);
      put16(bytes, 34, 12);
      put_token(bytes, 36, raw.token);
      const std::uint32_t crc = crc32c(bytes);
      std::memcpy(bytes.data() + 8, &crc, sizeof crc);
      return bytes;
    }
    case kIcmp:
    case kIcmpV6: {
      Bytes bytes(16);
      bytes[0] = packet.icmp_type;
      bytes[1] = packet.icmp_code;
      put16(bytes, 4, raw.token);
      put_token(bytes, 8, raw.token);
      return bytes;
    }
    default: {
      Bytes bytes(16);
      put_token(bytes, 8, raw.token);
      return bytes;
    }
  }
}

// Where the checksum stands that covers addresses too, or the message alone.
std::size_t checksum_offset(Protocol protocol) {
  switch (protocol) {
    case kTcp:
      return 16;
    case kUdp:
    case kUdpLite:
      return 6;
    case kIcmp:
    case kIcmpV6:
      return 2;
    default:
      return 0;
  }
}

}  // namespace

std::vector<std::uint8_t> bytes_of(const RawPacket& raw) {
  const auto& packet = raw.packet;
  const bool v4 = packet.family() == Family::kIpv4;
  Bytes transport = transport_of(raw);
  const std::size_t header = v4 ? 20 : 40;
  Bytes bytes(header);
  put_address(bytes, v4 ? 12 : 8, packet.source);
  put_address(bytes, v4 ? 16 : 24, packet.destination);
  if (v4) {
    bytes[0] = 0x45;
    put16(bytes, 2, static_cast<std::uint32_t>(header + transport.size()));
    put16(bytes, 4, raw.token);
    bytes[8] = 64;
    bytes[9] = packet.protocol;
    put16(bytes, 10, folded(sum_of(bytes, 0, header)));
  } else {
    bytes[0] = 0x60;
    put16(bytes, 4, static_cast<std::uint32_t>(transport.size()));
    bytes[6] = packet.protocol;
    bytes[7] = packet.protocol == kIcmpV6 ? 255 : 64;
  }
  if (const auto at = checksum_offset(packet.protocol); at != 0) {
    std::uint32_t sum = sum_of(transport, 0, transport.size());
    if (packet.protocol != kIcmp) {
      sum +=
          sum_of(bytes, v4 ? 12 : 8, header) + packet.protocol + static_cast<std::uint32_t>(transport.size());
    }
    put16(transport, at, folded(sum));
  }
  bytes.insert(bytes.end(), transport.begin(), transport.end());
  return bytes;
}

std::uint32_t token_of(const std::uint8_t* bytes, std::size_t size) {
  for (std::size_t at = 20; at + 8 <= size; ++at) {
    if (std::memcmp(bytes + at, kMagic.data(), kMagic.size()) != 0) continue;
    return std::uint32_t{bytes[at + 4]} << 24 | std::uint32_t{bytes[at + 5]} << 16 |
           std::uint32_t{bytes[at + 6]} << 8 | bytes[at + 7];
  }
  return 0;
}

void send_raw(const RawPacket& raw) {
  const Bytes bytes = bytes_of(raw);
  const bool v4 = raw.packet.family() == Family::kIpv4;
  const UniqueFd socket(::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  CHECK(socket);
  const auto& address = raw.packet.destination.bytes();
  ssize_t sent = -1;
  if (v4) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    std::memcpy(&to.sin_addr, address.data() + 12, 4);
    sent = ::sendto(socket.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  } else {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    std::memcpy(&to.sin6_addr, address.data(), 16);
    sent = ::sendto(socket.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  if (sent < 0 && errno == EPERM) return;  // a rule of the sender's own
  if (sent < 0) std::perror("send_raw");
  CHECK(sent == static_cast<ssize_t>(bytes.size()));
}

}  // namespace ocicat::test
