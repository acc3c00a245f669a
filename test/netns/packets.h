// Packets made by hand, for tests: any protocol, any source, as a raw socket sends them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/verdict.h"

namespace ocicat::test {

struct RawPacket {
  policy::Packet packet;
  std::uint8_t tcp_flags = 0x02;  // SYN
  std::uint32_t token = 0;        // known again at the receiver
};

// The whole IP packet, checksums right.
std::vector<std::uint8_t> bytes_of(const RawPacket& packet);

// The token of a packet seen; 0 where there is none.
std::uint32_t token_of(const std::uint8_t* bytes, std::size_t size);

// Sends from the calling thread's namespace, past its own idea of addresses. Where its own rules refuse the
// packet, it is lost as it is anywhere else on the way.
void send_raw(const RawPacket& packet);

}  // namespace ocicat::test
