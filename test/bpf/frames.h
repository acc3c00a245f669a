// Frames built by layers, honest or not.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace ocicat::test {

using Bytes = std::vector<std::uint8_t>;

Bytes operator+(Bytes before, const Bytes& after);
// With one byte changed.
Bytes with(Bytes bytes, std::size_t at, std::uint8_t value);

// A frame with that payload; the type follows the IP version.
Bytes ethernet(const Bytes& packet);
Bytes ethernet(std::uint16_t type, const Bytes& payload);

struct Ipv4 {
  std::string_view source, destination;
  std::uint8_t protocol = 17;
  std::uint16_t fragment = 0;  // flags and offset, as in the header
  Bytes options = {};          // a multiple of 4
  int length_off_by = 0;       // the header says so much more than there is
  std::uint8_t version = 4;
};
Bytes ipv4(const Ipv4& header, const Bytes& payload);

struct Ipv6 {
  std::string_view source, destination;
  std::uint8_t next = 17;
  int length_off_by = 0;
};
Bytes ipv6(const Ipv6& header, const Bytes& payload);
// An extension header of 8 bytes, and of as many more eights.
Bytes extension(std::uint8_t next, std::uint8_t eights = 0);
Bytes fragment_header(std::uint8_t next, std::uint16_t offset_and_more, std::uint32_t id);

Bytes udp(std::uint16_t source, std::uint16_t destination, std::size_t payload = 8);
Bytes tcp(std::uint16_t source, std::uint16_t destination, std::uint8_t flags, std::uint8_t words = 5);
// A chunk without content, and a packet of such chunks; the tag is 0 where the first opens an association.
Bytes sctp_chunk(std::uint8_t type, std::uint16_t length = 4);
Bytes sctp(std::uint16_t source, std::uint16_t destination, std::initializer_list<std::uint8_t> chunks);
Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint16_t id, const Bytes& payload = Bytes(8));

// A frame whose IPv4 header, without options, and UDP or TCP have right checksums.
Bytes summed_up(Bytes frame);
// Whether they have.
bool is_summed_up(const Bytes& frame);

}  // namespace ocicat::test
