// What a packet is besides where it comes from and goes to, as people write it: "tcp/80", "icmp", "icmp/3/1",
// "47"; and, where no port is named, what packets: "tcp" and "6" are TCP to every port.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/verdict.h"

namespace ocicat::views {

// The source port of a question that names none: the first of the dynamic ports (RFC 6335).
inline constexpr std::uint16_t kAnySourcePort = 49152;

struct Traffic {
  Protocol protocol = kTcp;
  std::uint16_t port = 0;      // destination port; protocols with ports. 0: every port, from 1 on
  std::uint8_t icmp_type = 0;  // ICMP and ICMPv6
  std::uint8_t icmp_code = 0;
  std::optional<Family> family;  // where the name of the protocol implies one: icmp and icmpv6

  // TCP, UDP, SCTP, UDPLite: what follows the slash is a port.
  bool has_port() const { return has_ports(protocol) || protocol == kUdpLite; }
  bool every_port() const { return has_port() && port == 0; }
  bool is_icmp() const { return protocol == kIcmp || protocol == kIcmpV6; }
  policy::Packet packet(const IpAddress& source, const IpAddress& destination,
                        std::uint16_t source_port) const;

  std::string protocol_text() const;  // "tcp", "icmpv6", "47"
  std::string to_string() const;      // "tcp/80", "tcp", "icmp/8/0", "47"; parses back to the same

  bool operator==(const Traffic&) const = default;
};

// PROTO/PORT with PROTO one of tcp, udp, sctp, udplite (any case) or a protocol number; icmp or icmpv6, which
// mean an echo request unless a type, or a type and a code, follow; or the protocol alone.
Result<Traffic> parse_traffic(std::string_view text);
// The same, several, separated by commas: "tcp/80,udp/53". Each is one packet, so every port is refused.
Result<std::vector<Traffic>> parse_traffic_list(std::string_view text);

// "4" and "6", or what is wrong with it.
Result<Family> parse_family(std::string_view text);
inline int number_of(Family family) {
  return family == Family::kIpv4 ? 4 : 6;
}

}  // namespace ocicat::views
