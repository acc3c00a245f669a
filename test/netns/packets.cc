#include "netns/packets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

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
  const auto number = raw.number != 0 ? raw.number : raw.token;
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
      put32(bytes, 4, number);
      if (raw.answers) put32(bytes, 8, number + 1);
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
      // Common header, then a chunk INIT (or INIT ACK) whose last parameter is unknown and carries the token.
      Bytes bytes(12 + 20 + 12);
      put16(bytes, 0, packet.source_port);
      put16(bytes, 2, packet.destination_port);
      constexpr std::uint32_t kTag = 1;  // of either side
      if (raw.answers) put32(bytes, 4, kTag);
      bytes[12] = raw.answers ? 2 : 1;
      put16(bytes, 14, 32);
      put32(bytes, 16, kTag);
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
      Bytes bytes(raw.about.empty() ? 16 : 8);
      bytes[0] = packet.icmp_type;
      bytes[1] = packet.icmp_code;
      if (!raw.about.empty()) {
        bytes.insert(bytes.end(), raw.about.begin(), raw.about.end());
        return bytes;
      }
      put16(bytes, 4, number);
      put_token(bytes, 8, raw.token);
      return bytes;
    }
    case kAuthentication:
    case kMobility: {
      // Behind the header, TCP that opens a connection.
      const std::size_t header = packet.protocol == kAuthentication ? 24 : 8;
      Bytes bytes = with_ports(header + 20);
      std::copy_n(bytes.begin(), 4, bytes.begin() + static_cast<std::ptrdiff_t>(header));
      put32(bytes, 0, std::uint32_t{kTcp} << 24 | (packet.protocol == kAuthentication ? 4U << 16 : 0));
      bytes[header + 12] = 5 << 4;
      bytes[header + 13] = kSyn;
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

constexpr std::uint8_t kFragmentHeader = 44;  // IPv6's next header

// Behind it comes `size` of payload; of IPv6 headers too.
Bytes ip_header_of(const RawPacket& raw, std::uint8_t protocol, std::size_t size) {
  const auto& packet = raw.packet;
  const bool v4 = packet.family() == Family::kIpv4;
  Bytes bytes(v4 ? 20 : 40);
  put_address(bytes, v4 ? 12 : 8, packet.source);
  put_address(bytes, v4 ? 16 : 24, packet.destination);
  if (v4) {
    bytes[0] = 0x45;
    put16(bytes, 2, static_cast<std::uint32_t>(bytes.size() + size));
    put16(bytes, 4, raw.token);
    bytes[8] = 64;
    bytes[9] = protocol;
  } else {
    bytes[0] = 0x60;
    put16(bytes, 4, static_cast<std::uint32_t>(size));
    bytes[6] = protocol;
    bytes[7] = packet.protocol == kIcmpV6 ? 255 : 64;
  }
  return bytes;
}

void put_header_sum(Bytes& ip) {
  if (ip.size() == 20) put16(ip, 10, folded(sum_of(ip, 0, ip.size())));
}

void put_transport_sum(Bytes& transport, const Bytes& ip, Protocol protocol) {
  const auto at = checksum_offset(protocol);
  if (at == 0) return;
  std::uint32_t sum = sum_of(transport, 0, transport.size());
  if (protocol != kIcmp) {
    const std::size_t addresses = ip.size() == 20 ? 12 : 8;
    sum += sum_of(ip, addresses, ip.size()) + protocol + static_cast<std::uint32_t>(transport.size());
  }
  put16(transport, at, folded(sum));
}

Bytes joined(Bytes front, std::span<const std::uint8_t> back) {
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

}  // namespace

std::vector<std::uint8_t> bytes_of(const RawPacket& raw) {
  Bytes transport = transport_of(raw);
  Bytes ip = ip_header_of(raw, raw.packet.protocol, transport.size());
  put_transport_sum(transport, ip, raw.packet.protocol);
  put_header_sum(ip);
  return joined(std::move(ip), transport);
}

std::array<std::vector<std::uint8_t>, 2> fragments_of(const RawPacket& raw, std::uint32_t second_token) {
  constexpr std::size_t kUnit = 8, kSecond = 16;
  const auto protocol = raw.packet.protocol;
  const bool v4 = raw.packet.family() == Family::kIpv4;
  Bytes transport = transport_of(raw);
  const std::size_t first = (transport.size() + kUnit - 1) / kUnit * kUnit;
  transport.resize(first + kSecond);
  put_token(transport, first, second_token);
  if (protocol == kUdp || protocol == kUdpLite)
    put16(transport, 4, static_cast<std::uint32_t>(transport.size()));
  put_transport_sum(transport, ip_header_of(raw, protocol, transport.size()), protocol);

  const auto fragment = [&](std::size_t from, std::size_t to) {
    const auto payload = std::span(transport).subspan(from, to - from);
    const bool more = to < transport.size();
    if (v4) {
      Bytes ip = ip_header_of(raw, protocol, payload.size());
      put16(ip, 6, static_cast<std::uint32_t>(from / kUnit) | (more ? 0x2000U : 0U));
      put_header_sum(ip);
      return joined(std::move(ip), payload);
    }
    Bytes header(kUnit);
    header[0] = protocol;
    put16(header, 2, static_cast<std::uint32_t>(from) | (more ? 1U : 0U));
    put32(header, 4, raw.token);
    return joined(joined(ip_header_of(raw, kFragmentHeader, header.size() + payload.size()), header),
                  payload);
  };
  return {fragment(0, first), fragment(first, transport.size())};
}

std::uint32_t token_of(const std::uint8_t* bytes, std::size_t size) {
  const auto tokens = tokens_of(bytes, size);
  return tokens.empty() ? 0 : tokens.front();
}

std::vector<std::uint32_t> tokens_of(const std::uint8_t* bytes, std::size_t size) {
  std::vector<std::uint32_t> tokens;
  for (std::size_t at = 20; at + 8 <= size; ++at) {
    if (std::memcmp(bytes + at, kMagic.data(), kMagic.size()) != 0) continue;
    tokens.push_back(std::uint32_t{bytes[at + 4]} << 24 | std::uint32_t{bytes[at + 5]} << 16 |
                     std::uint32_t{bytes[at + 6]} << 8 | bytes[at + 7]);
  }
  return tokens;
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
