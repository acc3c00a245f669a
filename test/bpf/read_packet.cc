#include "bpf/read_packet.h"

#include <algorithm>
#include <array>

namespace ocicat::test {
namespace {

using Span = std::span<const std::uint8_t>;

constexpr std::array<std::uint8_t, 4> kExtensions{0, 43, 44, 60};
constexpr std::uint8_t kFragment = 44;
constexpr int kMostExtensions = 7;

std::uint16_t word(Span bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

IpAddress address_v6(Span bytes) {
  IpAddress::Bytes copy{};
  std::ranges::copy(bytes.first(16), copy.begin());
  return IpAddress::v6(copy);
}
IpAddress address_v4(Span bytes) {
  return IpAddress::v4(static_cast<std::uint32_t>(word(bytes, 0)) << 16 | word(bytes, 2));
}

// What follows the IP header; nothing: there is none.
std::optional<Span> read_v4(Span packet, bool quoted, Reading& reading) {
  if (packet.size() < 20 || packet[0] >> 4 != 4) return std::nullopt;
  const std::size_t header = std::size_t{packet[0]} % 16 * 4;
  const std::size_t length = quoted ? packet.size() : word(packet, 2);
  if (header < 20 || length < header || length > packet.size()) return std::nullopt;
  reading.packet.protocol = packet[9];
  reading.packet.source = address_v4(packet.subspan(12));
  reading.packet.destination = address_v4(packet.subspan(16));
  const unsigned flags = word(packet, 6), offset = flags % 0x2000 * 8;
  if (offset != 0 || (flags & 0x2000) != 0) {
    reading.part = offset != 0 ? Reading::Part::kLater : Reading::Part::kFirst;
    reading.fragment_id = word(packet, 4);
    reading.begins = offset;
  }
  return packet.subspan(header, length - header);
}

std::optional<Span> read_v6(Span packet, bool quoted, Reading& reading) {
  if (packet.size() < 40 || packet[0] >> 4 != 6) return std::nullopt;
  const std::size_t length = quoted ? packet.size() : std::size_t{40} + word(packet, 4);
  if (length > packet.size()) return std::nullopt;
  reading.packet.source = address_v6(packet.subspan(8));
  reading.packet.destination = address_v6(packet.subspan(24));
  if (reading.packet.source.is_v4() || reading.packet.destination.is_v4()) return std::nullopt;
  Span rest = packet.subspan(40, length - 40);
  std::uint8_t next = packet[6];
  for (int headers = 0;; ++headers) {
    reading.packet.protocol = next;
    if (std::ranges::find(kExtensions, next) == kExtensions.end()) return rest;
    if (reading.part == Reading::Part::kLater) return rest;
    if (headers == kMostExtensions || rest.size() < 8) return std::nullopt;
    std::size_t size = (std::size_t{rest[1]} + 1) * 8;
    if (reading.part == Reading::Part::kFirst) reading.begins += size;
    if (next == kFragment) {
      const unsigned offset = word(rest, 2) & 0xfff8U;
      if (reading.part != Reading::Part::kWhole) return std::nullopt;
      if (offset != 0 || rest[3] % 2 != 0) {
        reading.part = offset != 0 ? Reading::Part::kLater : Reading::Part::kFirst;
        reading.fragment_id = static_cast<std::uint32_t>(word(rest, 4)) << 16 | word(rest, 6);
        reading.begins = offset;
      }
      size = 8;
    }
    next = rest[0];
    rest = size < rest.size() ? rest.subspan(size) : Span{};
  }
}

bool is_error(Family family, std::uint8_t type) {
  constexpr std::array kTypes{3, 4, 5, 11, 12};
  return family == Family::kIpv4 ? std::ranges::find(kTypes, type) != kTypes.end() : type >= 1 && type <= 4;
}

// The question that this type answers, or is; 0: it is neither.
std::uint8_t question_of(Family family, std::uint8_t type) {
  if (family == Family::kIpv6) return type == 128 || type == 129 ? 128 : type == 139 || type == 140 ? 139 : 0;
  switch (type) {
    case 0:
    case 8:
      return 8;
    case 13:
    case 14:
      return 13;
    case 15:
    case 16:
      return 15;
    case 17:
    case 18:
      return 17;
    default:
      return 0;
  }
}

bool read_icmp(Span bytes, Family family, Reading& reading) {
  if (bytes.size() < 8) return false;
  reading.begins += 8;
  auto& packet = reading.packet;
  packet.icmp_type = bytes[0];
  packet.icmp_code = bytes[1];
  if (is_error(family, bytes[0])) {
    reading.is_error = true;
    const auto about = read_packet(bytes.subspan(8), family, true);
    if (about && about->part != Reading::Part::kLater && !about->is_error &&
        about->packet.source == packet.destination)
      reading.about = about->flow;
    return true;
  }
  const auto question = question_of(family, bytes[0]);
  if (question == 0) return true;
  const auto asked = static_cast<std::uint16_t>(question << 8 | bytes[1]);
  reading.flow = {packet.protocol, packet.source, word(bytes, 4), packet.destination, asked};
  if (question != bytes[0])
    reading.flow = {packet.protocol, packet.source, asked, packet.destination, word(bytes, 4)};
  return true;
}

bool read_ports(Span bytes, bool quoted, Reading& reading) {
  auto& packet = reading.packet;
  const std::size_t least = quoted ? 8 : packet.protocol == kTcp ? 20 : packet.protocol == kSctp ? 12 : 8;
  if (bytes.size() < least) return false;
  reading.begins += packet.protocol == kTcp ? std::size_t{bytes[12]} / 16 * 4 : least;
  packet.source_port = word(bytes, 0);
  packet.destination_port = word(bytes, 2);
  reading.flow = {packet.protocol, packet.source, packet.source_port, packet.destination,
                  packet.destination_port};
  if (quoted) return true;
  if (packet.protocol == kTcp) {
    const std::size_t header = std::size_t{bytes[12]} / 16 * 4;
    reading.tcp_flags = bytes[13];
    return header >= 20 && header <= bytes.size();
  }
  constexpr std::uint8_t kInit = 1, kSyn = 2, kAck = 16;
  if (packet.protocol == kSctp && bytes.size() > least)
    reading.tcp_flags = bytes[least] == kInit ? kSyn : kAck;
  if (packet.protocol == kUdp && reading.part == Reading::Part::kWhole)
    return word(bytes, 4) >= 8 && word(bytes, 4) <= bytes.size();
  return true;
}

}  // namespace

Flow reversed(const Flow& flow) {
  const auto& [protocol, source, source_port, destination, destination_port] = flow;
  return {protocol, destination, destination_port, source, source_port};
}

std::optional<Reading> read_packet(Span packet, Family family, bool quoted) {
  Reading reading;
  const auto rest =
      family == Family::kIpv4 ? read_v4(packet, quoted, reading) : read_v6(packet, quoted, reading);
  if (!rest) return std::nullopt;
  const auto protocol = reading.packet.protocol;
  reading.flow = {protocol, reading.packet.source, 0, reading.packet.destination, 0};
  if (reading.part == Reading::Part::kLater) return reading;
  bool fits = true;
  if (has_ports(protocol) || protocol == kUdpLite) fits = read_ports(*rest, quoted, reading);
  if (protocol == (family == Family::kIpv4 ? kIcmp : kIcmpV6)) fits = read_icmp(*rest, family, reading);
  if (!fits) return std::nullopt;
  return reading;
}

bool is_discovery(const Reading& reading) {
  const auto type = reading.packet.icmp_type;
  return reading.packet.protocol == kIcmpV6 && reading.packet.source.family() == Family::kIpv6 &&
         reading.part != Reading::Part::kLater &&
         ((type >= 130 && type <= 136 && type != 134) || type == 143);
}

}  // namespace ocicat::test
