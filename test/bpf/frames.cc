#include "bpf/frames.h"

#include <algorithm>
#include <span>

namespace ocicat::test {
namespace {

void put16(Bytes& bytes, std::size_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

void put_address(Bytes& bytes, std::string_view text, bool v4) {
  const auto address = *IpAddress::parse(text);
  bytes.insert(bytes.end(), address.bytes().begin() + (v4 ? 12 : 0), address.bytes().end());
}

constexpr std::size_t kIp = 14, kTransport = kIp + 20;  // where they begin, of IPv4 without options

// The sum of the words, of which the last may be half.
std::uint32_t sum(std::span<const std::uint8_t> bytes, std::uint32_t total = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) total += std::uint32_t{bytes[i]} << (i % 2 == 0 ? 8 : 0);
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return total;
}

std::uint32_t header_sum(const Bytes& frame) {
  return sum(std::span(frame).subspan(kIp, 20));
}
std::uint32_t transport_sum(const Bytes& frame) {
  const auto pseudo = sum(std::span(frame).subspan(kIp + 12, 8));
  const auto size = static_cast<std::uint32_t>(frame.size() - kTransport);
  return sum(std::span(frame).subspan(kTransport), pseudo + frame[kIp + 9] + size);
}

void put_sum(Bytes& frame, std::size_t at, std::uint32_t total) {
  frame.at(at) = static_cast<std::uint8_t>(~total >> 8);
  frame.at(at + 1) = static_cast<std::uint8_t>(~total);
}

}  // namespace

Bytes summed_up(Bytes frame) {
  const std::size_t field = kTransport + (frame.at(kIp + 9) == 6 ? 16 : 6);
  for (const auto at : {kIp + 10, field}) frame.at(at) = frame.at(at + 1) = 0;
  put_sum(frame, kIp + 10, header_sum(frame));
  put_sum(frame, field, transport_sum(frame));
  return frame;
}

bool is_summed_up(const Bytes& frame) {
  return header_sum(frame) == 0xffff && transport_sum(frame) == 0xffff;
}

Bytes operator+(Bytes before, const Bytes& after) {
  before.insert(before.end(), after.begin(), after.end());
  return before;
}

Bytes with(Bytes bytes, std::size_t at, std::uint8_t value) {
  bytes.at(at) = value;
  return bytes;
}

Bytes ethernet(std::uint16_t type, const Bytes& payload) {
  Bytes frame(12, 0xee);
  put16(frame, type);
  return frame + payload;
}

Bytes ethernet(const Bytes& packet) {
  return ethernet(packet.at(0) >> 4 == 6 ? 0x86dd : 0x0800, packet);
}

Bytes ipv4(const Ipv4& header, const Bytes& payload) {
  const auto size = 20 + header.options.size();
  Bytes bytes{static_cast<std::uint8_t>(static_cast<unsigned>(header.version) << 4 | size / 4), 0};
  put16(bytes, static_cast<std::size_t>(static_cast<int>(size + payload.size()) + header.length_off_by));
  put16(bytes, 0x1234);
  put16(bytes, header.fragment);
  bytes.push_back(64);
  bytes.push_back(header.protocol);
  put16(bytes, 0);
  put_address(bytes, header.source, true);
  put_address(bytes, header.destination, true);
  return bytes + header.options + payload;
}

Bytes ipv6(const Ipv6& header, const Bytes& payload) {
  Bytes bytes{0x60, 0, 0, 0};
  put16(bytes, static_cast<std::size_t>(static_cast<int>(payload.size()) + header.length_off_by));
  bytes.push_back(header.next);
  bytes.push_back(64);
  put_address(bytes, header.source, false);
  put_address(bytes, header.destination, false);
  return bytes + payload;
}

Bytes extension(std::uint8_t next, std::uint8_t eights) {
  Bytes bytes{next, eights};
  for (std::size_t left = 6 + std::size_t{eights} * 8; left > 0;) {  // padding says how much of it there is
    const auto size = std::min<std::size_t>(left, left > 255 && left < 258 ? 128 : 257);
    bytes.push_back(1);
    bytes.push_back(static_cast<std::uint8_t>(size - 2));
    bytes.resize(bytes.size() + size - 2);
    left -= size;
  }
  return bytes;
}

Bytes fragment_header(std::uint8_t next, std::uint16_t offset_and_more, std::uint32_t id) {
  Bytes bytes{next, 0};
  put16(bytes, offset_and_more);
  put16(bytes, id >> 16);
  put16(bytes, id & 0xffff);
  return bytes;
}

Bytes udp(std::uint16_t source, std::uint16_t destination, std::size_t payload) {
  Bytes bytes;
  put16(bytes, source);
  put16(bytes, destination);
  put16(bytes, 8 + payload);
  put16(bytes, 0);
  return bytes + Bytes(payload);
}

Bytes tcp(std::uint16_t source, std::uint16_t destination, std::uint8_t flags, std::uint8_t words) {
  Bytes bytes;
  put16(bytes, source);
  put16(bytes, destination);
  bytes.resize(12);
  bytes.push_back(static_cast<std::uint8_t>(words << 4));
  bytes.push_back(flags);
  bytes.resize(std::max<std::size_t>(20, std::size_t{words} * 4));
  return bytes;
}

Bytes sctp_chunk(std::uint8_t type, std::uint16_t length) {
  Bytes bytes{type, 0};
  put16(bytes, length);
  return bytes;
}

Bytes sctp(std::uint16_t source, std::uint16_t destination, std::initializer_list<std::uint8_t> chunks) {
  constexpr std::uint8_t kInit = 1;
  Bytes bytes;
  put16(bytes, source);
  put16(bytes, destination);
  put16(bytes, 0);
  put16(bytes, chunks.size() != 0 && *chunks.begin() == kInit ? 0 : 7);
  put16(bytes, 0);
  put16(bytes, 0);
  for (const auto type : chunks) bytes = bytes + sctp_chunk(type);
  return bytes;
}

Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint16_t id, const Bytes& payload) {
  Bytes bytes{type, code, 0, 0};
  put16(bytes, id);
  put16(bytes, 1);
  return bytes + payload;
}

}  // namespace ocicat::test
