#include "resources/number_or_string.h"

#include <algorithm>
#include <charconv>

#include "resources/fields.h"

namespace ocicat {
namespace {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr bool is_port_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '.' || c == '-';
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

// Digits only; nothing where there are others or the number exceeds `most`.
std::optional<std::uint16_t> number_in(std::string_view text, std::uint16_t most) {
  if (!all_digits(text)) return std::nullopt;
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number > most) return std::nullopt;
  return number;
}

std::optional<Port> port_of(std::string_view text) {
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    const auto first = number_in(text.substr(0, colon), 65535);
    const auto last = number_in(text.substr(colon + 1), 65535);
    if (!first || !last || *first > *last) return std::nullopt;
    return PortRange{*first, *last};
  }
  if (all_digits(text)) {
    const auto number = number_in(text, 65535);
    return number ? std::optional<Port>(PortRange{*number, *number}) : std::nullopt;
  }
  if (text.empty() || text.size() > 128 || !std::ranges::all_of(text, is_port_name_character))
    return std::nullopt;
  return std::string(text);
}

std::optional<ProtocolMatch> protocol_of(std::string_view text) {
  if (const auto number = number_in(text, 255); number && *number > 0) {
    return ProtocolMatch{static_cast<Protocol>(*number), false};
  }
  for (const auto number : {kTcp, kUdp, kIcmp, kIcmpV6, kSctp, kUdpLite}) {
    if (text == protocol_name(number)) return ProtocolMatch{number, number == kIcmp || number == kIcmpV6};
  }
  return std::nullopt;
}

Error must_be(const boost::json::value& value, std::string_view what) {
  return {ErrorCode::kInvalid, fmt::format("{}: must be {}", fields::shown(value), what)};
}

}  // namespace

Result<Port> read_port(const boost::json::value& value) {
  if (const auto* number = value.if_int64(); number != nullptr && *number >= 0 && *number <= 65535) {
    const auto port = static_cast<std::uint16_t>(*number);
    return PortRange{port, port};
  }
  if (const auto text = fields::text_of(value)) {
    if (auto port = port_of(*text)) return *std::move(port);
  }
  return std::unexpected(must_be(value, "a port from 0 to 65535, a range first:last, or the name of a port"));
}

Result<ProtocolMatch> read_protocol(const boost::json::value& value) {
  if (const auto* number = value.if_int64(); number != nullptr && *number >= 1 && *number <= 255) {
    return ProtocolMatch{static_cast<Protocol>(*number), false};
  }
  if (const auto text = fields::text_of(value)) {
    if (const auto protocol = protocol_of(*text)) return *protocol;
  }
  return std::unexpected(must_be(value, "TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255"));
}

}  // namespace ocicat
