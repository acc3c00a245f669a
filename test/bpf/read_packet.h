// What the RFCs say of a packet's headers: the slow and obvious twin of bpf/lib/packet.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <tuple>

#include "policy/verdict.h"

namespace ocicat::test {

// One direction of a connection. An ICMP query goes from its identifier to its type and code.
using Flow = std::tuple<Protocol, IpAddress, std::uint16_t, IpAddress, std::uint16_t>;
Flow reversed(const Flow& flow);

struct Reading {
  enum class Part { kWhole, kFirst, kLater };

  policy::Packet packet;  // as policy is asked about it
  Flow flow;
  Part part = Part::kWhole;
  std::uint32_t fragment_id = 0;
  std::size_t begins =
      0;  // of a later fragment, where; of the first, where what follows the headers does: in bytes
  std::uint8_t tcp_flags = 0;  // of SCTP: SYN for INIT, ACK for other chunks
  bool is_error = false;       // of ICMP
  std::optional<Flow> about;   // of the packet that it quotes, where that has ports and who sent it is told
};

// The packet begins with its IP header; nothing: it is malformed. `quoted`: by an ICMP error, cut short.
std::optional<Reading> read_packet(std::span<const std::uint8_t> packet, Family family, bool quoted = false);

// Whether neighbours find each other by it, or learn of groups.
bool is_discovery(const Reading& reading);

}  // namespace ocicat::test
