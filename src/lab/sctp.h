// Just enough SCTP (RFC 9260) to open an association's first half: kernels of small machines often have no
// SCTP sockets, while connection tracking and policy know the protocol well.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ocicat::lab::sctp {

enum class Chunk : std::uint8_t { kInit = 1, kInitAck = 2, kAbort = 6 };

// A packet with one chunk. Ports in host order; tags as numbers.
struct Packet {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint32_t verification_tag = 0;  // 0 in an INIT
  Chunk chunk = Chunk::kInit;
  std::uint32_t initiate_tag = 0;  // INIT and INIT ACK; never 0 there

  bool operator==(const Packet&) const = default;
};

// From the common header on, without an IP header; with its checksum (CRC32c).
std::vector<std::uint8_t> encode(const Packet& packet);
// Nothing where it is too short, wrongly summed, or starts with a chunk of another type.
std::optional<Packet> decode(std::span<const std::uint8_t> bytes);

// What a host answers to an INIT: INIT ACK where something listens, else ABORT.
Packet answer(const Packet& init, bool listening, std::uint32_t own_tag);

}  // namespace ocicat::lab::sctp
