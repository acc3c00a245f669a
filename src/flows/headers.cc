#include "flows/headers.h"

#include <algorithm>

namespace ocicat::flows {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kHeader4 = 20, kHeader6 = 40;
constexpr int kMostExtensions = 8;

std::uint16_t be16(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

IpAddress v4(Bytes bytes, std::size_t at) {
  return IpAddress::v4(std::uint32_t{be16(bytes, at)} << 16 | be16(bytes, at + 2));
}
IpAddress v6(Bytes bytes, std::size_t at) {
  IpAddress::Bytes address;
  std::ranges::copy(bytes.subspan(at, address.size()), address.begin());
  return IpAddress::v6(address);
}

bool is_extension(std::uint8_t next) {
  constexpr std::uint8_t kHopByHop = 0, kRouting = 43, kDestination = 60;
  return next == kHopByHop || next == kRouting || next == kDestination;
}

// Behind IPv6's extension headers; fragments and authenticated packets end there.
Bytes skip_extensions(Bytes rest, std::uint8_t& next) {
  for (int i = 0; i < kMostExtensions && is_extension(next) && rest.size() >= 8; ++i) {
    next = rest[0];
    const std::size_t length = (std::size_t{rest[1]} + 1) * 8;
    rest = rest.subspan(std::min(length, rest.size()));
  }
  return rest;
}

void read_transport(Bytes rest, policy::Packet& packet) {
  if ((has_ports(packet.protocol) || packet.protocol == kUdpLite) && rest.size() >= 4) {
    packet.source_port = be16(rest, 0);
    packet.destination_port = be16(rest, 2);
  } else if ((packet.protocol == kIcmp || packet.protocol == kIcmpV6) && rest.size() >= 2) {
    packet.icmp_type = rest[0];
    packet.icmp_code = rest[1];
  }
}

}  // namespace

std::optional<Headers> headers_of(Bytes bytes) {
  Headers headers;
  auto& packet = headers.packet;
  if (bytes.size() >= kHeader4 && bytes[0] >> 4 == 4) {
    packet.source = v4(bytes, 12);
    packet.destination = v4(bytes, 16);
    packet.protocol = bytes[9];
    headers.size = be16(bytes, 2);
    const std::size_t length = std::size_t{bytes[0]} % 16 * 4;
    const bool later = (be16(bytes, 6) & 0x1fff) != 0;  // a fragment without the transport's header
    if (!later && length >= kHeader4 && length <= bytes.size()) read_transport(bytes.subspan(length), packet);
    return headers;
  }
  if (bytes.size() >= kHeader6 && bytes[0] >> 4 == 6) {
    packet.source = v6(bytes, 8);
    packet.destination = v6(bytes, 24);
    headers.size = be16(bytes, 4) + kHeader6;
    auto next = bytes[6];
    const auto rest = skip_extensions(bytes.subspan(kHeader6), next);
    packet.protocol = next;
    read_transport(rest, packet);
    return headers;
  }
  return std::nullopt;
}

}  // namespace ocicat::flows
