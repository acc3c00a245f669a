#include "lab/ports.h"

#include <charconv>

namespace ocicat::lab {
namespace {

struct ProtocolWord {
  std::string_view word;
  Protocol protocol;
};
constexpr ProtocolWord kWords[] = {{"tcp", kTcp}, {"udp", kUdp}, {"sctp", kSctp}};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Result<NamedPort> parse_port(std::string_view text) {
  NamedPort port;
  std::string_view rest = text;
  if (const auto equals = rest.find('='); equals != std::string_view::npos) {
    port.name = rest.substr(0, equals);
    rest.remove_prefix(equals + 1);
  }
  if (rest == "icmp" && port.name.empty()) {
    port.protocol = kIcmp;
    return port;
  }
  const auto slash = rest.find('/');
  for (const auto& [word, protocol] : kWords) {
    if (slash == std::string_view::npos || rest.substr(0, slash) != word) continue;
    const auto number = rest.substr(slash + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port.port);
    if (error != std::errc{} || end != number.data() + number.size() || port.port == 0) break;
    port.protocol = protocol;
    return port;
  }
  return fail(ErrorCode::kInvalid,
              "port \"{}\": must be tcp/PORT, udp/PORT, sctp/PORT (with NAME= in front) or icmp", text);
}

}  // namespace

std::string NamedPort::to_string() const {
  for (const auto& entry : kWords) {
    if (entry.protocol == protocol) return fmt::format("{}/{}", entry.word, port);
  }
  return "icmp";
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> pieces;
  while (!trimmed(text).empty()) {
    const auto comma = text.find(',');
    pieces.emplace_back(trimmed(text.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return pieces;
}

Result<std::vector<NamedPort>> parse_ports(std::string_view text) {
  std::vector<NamedPort> ports;
  for (const auto& piece : split_list(text)) {
    TRY(auto port, parse_port(piece));
    ports.push_back(std::move(port));
  }
  return ports;
}

std::string ports_text(const std::vector<NamedPort>& ports) {
  std::string text;
  for (const auto& port : ports) {
    if (!text.empty()) text += ',';
    if (!port.name.empty()) text += port.name + "=";
    text += port.to_string();
  }
  return text;
}

Result<std::vector<IpAddress>> parse_pod_addresses(std::string_view text) {
  // Loopback, link-local and multicast addresses, and those of the lab's hosts.
  constexpr const char* kOthers[] = {"0.0.0.0/8",     "127.0.0.0/8", "169.254.0.0/16",
                                     "172.31.0.0/16", "224.0.0.0/3", "::/127",
                                     "fe80::/10",     "ff00::/8",    "fd31::/16"};
  std::vector<IpAddress> addresses;
  for (const auto& piece : split_list(text)) {
    const auto address = IpAddress::parse(piece);
    if (!address) return fail(ErrorCode::kInvalid, "address \"{}\": must be an IPv4 or IPv6 address", piece);
    for (const auto* other : kOthers) {
      if (Prefix::parse(other)->contains(*address)) {
        return fail(ErrorCode::kInvalid, "address {}: a pod cannot have one of {}", piece, other);
      }
    }
    for (const auto& before : addresses) {
      if (before.family() != address->family()) continue;
      return fail(ErrorCode::kInvalid, "address {}: a pod has at most one a family, and {} is one", piece,
                  before.to_string());
    }
    addresses.push_back(*address);
  }
  return addresses;
}

Result<Labels> parse_labels(std::string_view text) {
  Labels labels;
  for (const auto& piece : split_list(text)) {
    const auto equals = piece.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::kInvalid, "label \"{}\": must be KEY=VALUE", piece);
    }
    if (!labels.emplace(piece.substr(0, equals), piece.substr(equals + 1)).second) {
      return fail(ErrorCode::kInvalid, "label {} is named twice: say it once", piece.substr(0, equals));
    }
  }
  return labels;
}

}  // namespace ocicat::lab
