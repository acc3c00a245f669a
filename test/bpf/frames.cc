#include "bpf/frames.h"

#include <algorithm>

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

}  // namespace

Bytes operator+(Bytes before, const Bytes& after) {
  before.insert(before.end(), after.begin(), after.end());
  return before;
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

Bytes extension(std::uint8_t next) {
  return {next, 0, 1, 4, 0, 0, 0, 0};
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
