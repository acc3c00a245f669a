#include "views/traffic.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace ocicat::views {
namespace {

constexpr std::uint8_t kEchoRequest = 8;
constexpr std::uint8_t kEchoRequestV6 = 128;

struct Named {
  std::string_view name;
  Protocol number;
};
constexpr std::array kNamed{Named{"tcp", kTcp},         Named{"udp", kUdp},   Named{"sctp", kSctp},
                            Named{"udplite", kUdpLite}, Named{"icmp", kIcmp}, Named{"icmpv6", kIcmpV6}};

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::optional<unsigned> number_in(std::string_view text, unsigned first, unsigned last) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < first || value > last) return {};
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

Result<void> read_port(Traffic& traffic, const std::vector<std::string_view>& parts, std::string_view text) {
  if (parts.size() == 1) return {};  // every port
  if (parts.size() != 2) return fail(ErrorCode::kInvalid, "\"{}\": write {}/PORT", text, lower(parts[0]));
  const auto port = number_in(parts[1], 1, 65535);
  if (!port) return fail(ErrorCode::kInvalid, "\"{}\": a port is a number from 1 to 65535", text);
  traffic.port = static_cast<std::uint16_t>(*port);
  return {};
}

Result<void> read_icmp(Traffic& traffic, const std::vector<std::string_view>& parts, std::string_view text) {
  traffic.icmp_type = traffic.protocol == kIcmp ? kEchoRequest : kEchoRequestV6;
  if (parts.size() > 3) return fail(ErrorCode::kInvalid, "\"{}\": write {}/TYPE/CODE", text, parts[0]);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto value = number_in(parts[i], 0, 255);
    if (!value)
      return fail(ErrorCode::kInvalid, "\"{}\": an ICMP type or code is a number from 0 to 255", text);
    (i == 1 ? traffic.icmp_type : traffic.icmp_code) = static_cast<std::uint8_t>(*value);
  }
  return {};
}

}  // namespace

policy::Packet Traffic::packet(const IpAddress& source, const IpAddress& destination,
                               std::uint16_t source_port) const {
  policy::Packet packet;
  packet.source = source;
  packet.destination = destination;
  packet.protocol = protocol;
  if (has_port()) {
    packet.source_port = source_port;
    packet.destination_port = port;
  }
  packet.icmp_type = icmp_type;
  packet.icmp_code = icmp_code;
  return packet;
}

std::string Traffic::protocol_text() const {
  const auto it = std::ranges::find(kNamed, protocol, &Named::number);
  // ICMP by number implies no family, so it is told apart from ICMP by name.
  if (it == kNamed.end() || (is_icmp() && !family)) return fmt::format("{}", protocol);
  return std::string(it->name);
}

std::string Traffic::to_string() const {
  if (every_port()) return protocol_text();
  if (has_port()) return fmt::format("{}/{}", protocol_text(), port);
  if (is_icmp()) return fmt::format("{}/{}/{}", protocol_text(), icmp_type, icmp_code);
  return protocol_text();
}

Result<Traffic> parse_traffic(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, '/');
  Traffic traffic;
  if (const auto it = std::ranges::find(kNamed, lower(parts[0]), &Named::name); it != kNamed.end()) {
    traffic.protocol = it->number;
    if (traffic.is_icmp()) traffic.family = traffic.protocol == kIcmp ? Family::kIpv4 : Family::kIpv6;
  } else if (const auto number = number_in(parts[0], 1, 255)) {
    traffic.protocol = static_cast<Protocol>(*number);
  } else {
    return fail(ErrorCode::kInvalid,
                "\"{}\": expected PROTO/PORT such as tcp/80 or udp/53, icmp, icmp/TYPE/CODE, icmpv6, or a "
                "protocol, by "
                "name or as a number from 1 to 255",
                text);
  }
  if (traffic.has_port()) {
    TRY_VOID(read_port(traffic, parts, text));
  } else if (traffic.is_icmp()) {
    TRY_VOID(read_icmp(traffic, parts, text));
  } else if (parts.size() > 1) {
    return fail(ErrorCode::kInvalid, "\"{}\": protocol {} has no ports", text, parts[0]);
  }
  return traffic;
}

Result<std::vector<Traffic>> parse_traffic_list(std::string_view text) {
  std::vector<Traffic> list;
  for (const std::string_view part : split(text, ',')) {
    TRY(Traffic traffic, parse_traffic(part));
    if (traffic.every_port()) {
      return fail(ErrorCode::kInvalid, "\"{0}\": a port is needed here, such as {0}/80", part);
    }
    if (std::ranges::find(list, traffic) == list.end()) list.push_back(traffic);
  }
  return list;
}

Result<Family> parse_family(std::string_view text) {
  if (text == "4") return Family::kIpv4;
  if (text == "6") return Family::kIpv6;
  return fail(ErrorCode::kInvalid, "\"{}\": a family is 4 or 6", text);
}

}  // namespace ocicat::views
