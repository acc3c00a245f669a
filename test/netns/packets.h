// Packets made by hand, for tests: any protocol, any source, as a raw socket sends them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/verdict.h"

namespace ocicat::test {

inline constexpr std::uint8_t kSyn = 0x02, kAck = 0x10;  // flags of TCP
// Protocols whose packets are made with a TCP packet behind their header, to the packet's port.
inline constexpr Protocol kAuthentication = 51, kMobility = 135;

struct RawPacket {
  policy::Packet packet;
  std::uint8_t tcp_flags = kSyn;
  std::uint32_t token = 0;   // known again at the receiver
  std::uint32_t number = 0;  // TCP's sequence number, ICMP's identifier; 0: the token
  bool answers = false;      // SCTP's INIT ACK in place of INIT, and TCP's acknowledgement of this number
  std::vector<std::uint8_t> about;  // of an ICMP error: the packet that it quotes
};

// The whole IP packet, checksums right.
std::vector<std::uint8_t> bytes_of(const RawPacket& packet);
// The packet, made longer by sixteen bytes, in two fragments: the first holds all that `bytes_of` has of it, the
// second bears a token of its own. Not of SCTP and ICMP errors.
std::array<std::vector<std::uint8_t>, 2> fragments_of(const RawPacket& packet, std::uint32_t second_token);

// The token of a packet seen; 0 where there is none.
std::uint32_t token_of(const std::uint8_t* bytes, std::size_t size);
// All of them, in order: a packet put together from fragments has several.
std::vector<std::uint32_t> tokens_of(const std::uint8_t* bytes, std::size_t size);

// Sends from the calling thread's namespace, past its own idea of addresses. Where its own rules refuse the
// packet, it is lost as it is anywhere else on the way.
void send_raw(const RawPacket& packet);

}  // namespace ocicat::test
