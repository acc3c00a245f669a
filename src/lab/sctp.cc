#include "lab/sctp.h"

#include <array>

namespace ocicat::lab::sctp {
namespace {

constexpr std::size_t kCommonHeader = 12;
constexpr std::size_t kChecksumAt = 8;
constexpr std::size_t kInitLength = 20;    // chunk header and the fixed fields
constexpr std::uint16_t kStateCookie = 7;  // parameter that an INIT ACK must carry
constexpr std::uint32_t kReceiverWindow = 65536;

using Bytes = std::vector<std::uint8_t>;

void put16(Bytes& bytes, std::uint16_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value & 0xff));
}

void put32(Bytes& bytes, std::uint32_t value) {
  put16(bytes, static_cast<std::uint16_t>(value >> 16));
  put16(bytes, static_cast<std::uint16_t>(value & 0xffff));
}

std::uint16_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

std::uint32_t get32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint32_t>(get16(bytes, at)) << 16 | get16(bytes, at + 2);
}

// CRC32c over the packet, its checksum field taken as zero.
std::uint32_t checksum(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = ~0U;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const bool in_field = at >= kChecksumAt && at < kChecksumAt + 4;
    crc ^= in_field ? 0U : bytes[at];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

// The field holds the CRC least significant byte first (RFC 9260, appendix A).
std::array<std::uint8_t, 4> field_of(std::uint32_t crc) {
  return {static_cast<std::uint8_t>(crc & 0xff), static_cast<std::uint8_t>(crc >> 8 & 0xff),
          static_cast<std::uint8_t>(crc >> 16 & 0xff), static_cast<std::uint8_t>(crc >> 24)};
}

}  // namespace

std::vector<std::uint8_t> encode(const Packet& packet) {
  Bytes bytes;
  put16(bytes, packet.source_port);
  put16(bytes, packet.destination_port);
  put32(bytes, packet.verification_tag);
  put32(bytes, 0);
  bytes.push_back(static_cast<std::uint8_t>(packet.chunk));
  bytes.push_back(0);
  if (packet.chunk == Chunk::kAbort) {
    put16(bytes, 4);
  } else {
    const bool with_cookie = packet.chunk == Chunk::kInitAck;
    put16(bytes, static_cast<std::uint16_t>(kInitLength + (with_cookie ? 8 : 0)));
    put32(bytes, packet.initiate_tag);
    put32(bytes, kReceiverWindow);
    put16(bytes, 1);  // streams out
    put16(bytes, 1);  // streams in
    put32(bytes, 1);  // first sequence number
    if (with_cookie) {
      put16(bytes, kStateCookie);
      put16(bytes, 8);
      put32(bytes, packet.initiate_tag);
    }
  }
  const auto field = field_of(checksum(bytes));
  for (std::size_t at = 0; at < field.size(); ++at) bytes[kChecksumAt + at] = field[at];
  return bytes;
}

std::optional<Packet> decode(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kCommonHeader + 4) return std::nullopt;
  const auto field = field_of(checksum(bytes));
  for (std::size_t at = 0; at < field.size(); ++at) {
    if (bytes[kChecksumAt + at] != field[at]) return std::nullopt;
  }
  Packet packet{.source_port = get16(bytes, 0),
                .destination_port = get16(bytes, 2),
                .verification_tag = get32(bytes, 4)};
  switch (bytes[kCommonHeader]) {
    case static_cast<std::uint8_t>(Chunk::kInit):
    case static_cast<std::uint8_t>(Chunk::kInitAck):
      if (bytes.size() < kCommonHeader + kInitLength) return std::nullopt;
      packet.initiate_tag = get32(bytes, kCommonHeader + 4);
      break;
    case static_cast<std::uint8_t>(Chunk::kAbort):
      break;
    default:
      return std::nullopt;
  }
  packet.chunk = static_cast<Chunk>(bytes[kCommonHeader]);
  return packet;
}

Packet answer(const Packet& init, bool listening, std::uint32_t own_tag) {
  return {.source_port = init.destination_port,
          .destination_port = init.source_port,
          .verification_tag = init.initiate_tag,
          .chunk = listening ? Chunk::kInitAck : Chunk::kAbort,
          .initiate_tag = listening ? own_tag : 0};
}

}  // namespace ocicat::lab::sctp
