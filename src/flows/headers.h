// The headers of a packet that somebody has cut short, as far as they can be read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "policy/verdict.h"

namespace ocicat::flows {

struct Headers {
  policy::Packet packet;   // ports and ICMP's type 0 where they cannot be read, or the packet has none
  std::uint32_t size = 0;  // as the packet says, header included
};

// From the IP header on. Nothing: there is none, or it is cut short itself.
std::optional<Headers> headers_of(std::span<const std::uint8_t> bytes);

}  // namespace ocicat::flows
