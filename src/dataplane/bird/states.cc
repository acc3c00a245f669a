#include "dataplane/bird/states.h"

#include <charconv>
#include <optional>

namespace ocicat::dataplane {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::uint32_t kIpv6Metric = 1024;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view take_word(std::string_view& text) {
  text = trimmed(text);
  const auto end = text.find_first_of(kBlanks);
  const auto word = text.substr(0, end);
  text.remove_prefix(word.size());
  return word;
}

// "    Neighbor AS:      64512" → the text after the colon, where the line says `name`.
std::optional<std::string_view> field(std::string_view line, std::string_view name) {
  const auto text = trimmed(line);
  if (!text.starts_with(name) || !text.substr(name.size()).starts_with(':')) return std::nullopt;
  return trimmed(text.substr(name.size() + 1));
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "2 imported, 1 exported, 2 preferred"; there may be "1 filtered" between.
void read_counts(std::string_view text, SessionState& session) {
  while (!text.empty()) {
    const auto comma = text.find(',');
    auto part = text.substr(0, comma);
    const auto count = number(take_word(part));
    const auto what = take_word(part);
    if (what == "imported") session.imported = count;
    if (what == "exported") session.exported = count;
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
}

}  // namespace

std::vector<SessionState> read_sessions(std::string_view protocols) {
  std::vector<SessionState> sessions;
  bool in_session = false;
  while (!protocols.empty()) {
    auto line = take_line(protocols);
    if (trimmed(line).empty()) continue;
    if (kBlanks.find(line.front()) == std::string_view::npos) {
      const auto name = take_word(line);
      in_session = take_word(line) == "BGP";
      if (!in_session) continue;
      take_word(line);  // table
      const auto state = take_word(line);
      auto& session = sessions.emplace_back();
      session.name = name;
      session.since = take_word(line);
      session.state = state == "down" ? "Down" : std::string(take_word(line));
    } else if (in_session) {
      auto& session = sessions.back();
      if (const auto found = field(line, "BGP state")) session.state = *found;
      if (const auto found = field(line, "Last error")) session.reason = *found;
      if (const auto found = field(line, "Routes")) read_counts(*found, session);
    }
  }
  for (auto& session : sessions) {
    if (session.established()) session.reason.clear();
  }
  return sessions;
}

std::set<Way> read_ways(std::string_view routes) {
  std::set<Way> ways;
  std::optional<Prefix> destination;
  std::vector<std::optional<IpAddress>> gateways;
  std::uint32_t metric = 0;
  const auto take_route = [&] {
    for (const auto& gateway : gateways) ways.insert({*destination, gateway, metric});
    gateways.clear();
  };
  while (!routes.empty()) {
    auto line = take_line(routes);
    if (trimmed(line).empty()) continue;
    // A destination stands once, at the beginning of its first route's line.
    if (kBlanks.find(line.front()) == std::string_view::npos) {
      take_route();
      const auto read = Prefix::parse(take_word(line));
      destination = read ? std::optional(*read) : std::nullopt;
      // What the kernel makes of none.
      metric = destination && destination->family() == Family::kIpv6 ? kIpv6Metric : 0;
      if (destination && take_word(line) == "unreachable") gateways.emplace_back();
    } else if (const auto said = field(line, "Kernel.metric")) {
      metric = static_cast<std::uint32_t>(number(*said));
    } else if (take_word(line) == "via" && destination) {
      if (const auto gateway = IpAddress::parse(take_word(line))) gateways.emplace_back(gateway);
    }
  }
  take_route();
  return ways;
}

bool recovers(std::string_view status) {
  return status.find("Graceful restart recovery in progress") != std::string_view::npos;
}

bool reconfigures(std::string_view status) {
  return status.find("Reconfiguration in progress") != std::string_view::npos;
}

}  // namespace ocicat::dataplane
