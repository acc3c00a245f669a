#include "dataplane/bird/reloads.h"

#include <array>
#include <cctype>
#include <functional>
#include <map>
#include <vector>

namespace ocicat::dataplane {
namespace {

using Direction = Reload::Direction;

bool in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Words that may be names; those in quotes are none.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      at = std::min(text.find('"', at + 1), text.size() - 1) + 1;
    } else if (!in_word(c)) {
      ++at;
    } else {
      const auto first = at;
      while (at < text.size() && in_word(text[at])) ++at;
      words.push_back(text.substr(first, at - first));
    }
  }
  return words;
}

struct Protocol {
  bool filters = false;                // has filters at all
  std::array<std::string, 2> passing;  // by Direction: the lines that decide what passes
};

// Whatever begins at a line's beginning goes on to the next such line.
struct Configuration {
  std::map<std::string_view, std::string_view> definitions;  // functions and filters, by name
  std::map<std::string_view, Protocol> protocols;
};

bool begins_item(std::string_view line) {
  return !line.empty() && std::isalpha(static_cast<unsigned char>(line.front())) != 0;
}

Protocol protocol_of(std::string_view body) {
  Protocol protocol;
  while (!body.empty()) {
    const auto line = body.substr(0, body.find('\n'));
    body.remove_prefix(std::min(line.size() + 1, body.size()));
    const auto words = words_of(line);
    if (line.starts_with('#') || words.empty()) continue;
    const bool in = words.front() == "import";
    const bool out = words.front() == "export" || words.front() == "next";
    protocol.filters |= in || out;
    if (!out) protocol.passing[0].append(line).append("\n");
    if (!in) protocol.passing[1].append(line).append("\n");
  }
  return protocol;
}

Configuration read(std::string_view text) {
  Configuration configuration;
  while (!text.empty()) {
    const auto item_from = text;
    std::size_t length = 0;
    do {
      const auto end = text.find('\n');
      const auto taken = end == std::string_view::npos ? text.size() : end + 1;
      length += taken;
      text.remove_prefix(taken);
    } while (!text.empty() && !begins_item(text) && !text.starts_with('#'));
    const auto item = item_from.substr(0, length);
    if (!begins_item(item)) continue;
    const auto head = words_of(item.substr(0, item.find('\n')));
    if (head.size() >= 2 && (head[0] == "function" || head[0] == "filter"))
      configuration.definitions.emplace(head[1], item);
    if (head.size() >= 3 && head[0] == "protocol")
      configuration.protocols.emplace(head[2], protocol_of(item.substr(item.find('\n') + 1)));
  }
  return configuration;
}

// Whether what a text says has another meaning in `after`, as one it names has.
class Meaning {
 public:
  Meaning(const Configuration& before, const Configuration& after) : before_(before), after_(after) {}

  bool other_in(std::string_view text) {
    for (const auto word : words_of(text)) {
      if (other(word)) return true;
    }
    return false;
  }

 private:
  // BIRD knows a function only after it is defined: no circles.
  bool other(std::string_view name) {
    const auto now = after_.definitions.find(name);
    if (now == after_.definitions.end()) return false;
    if (const auto known = known_.find(name); known != known_.end()) return known->second;
    const auto was = before_.definitions.find(name);
    known_[name] = false;  // its own name stands in its text
    const bool is = was == before_.definitions.end() || was->second != now->second || other_in(now->second);
    return known_[name] = is;
  }

  const Configuration& before_;
  const Configuration& after_;
  std::map<std::string_view, bool> known_;
};

void add(std::set<Reload>& reloads, std::string_view name, const Protocol& protocol,
         const std::function<bool(std::size_t)>& concerns) {
  if (!protocol.filters) return;
  for (const auto direction : {Direction::kIn, Direction::kOut}) {
    if (concerns(static_cast<std::size_t>(direction))) reloads.insert({std::string(name), direction});
  }
}

}  // namespace

std::set<Reload> reloads_between(std::string_view before_text, std::string_view after_text) {
  const auto before = read(before_text);
  const auto after = read(after_text);
  Meaning meaning(before, after);
  std::set<Reload> reloads;
  for (const auto& [name, protocol] : after.protocols) {
    const auto was = before.protocols.find(name);
    if (was == before.protocols.end()) continue;
    add(reloads, name, protocol, [&](std::size_t direction) {
      return protocol.passing[direction] != was->second.passing[direction] ||
             meaning.other_in(protocol.passing[direction]);
    });
  }
  return reloads;
}

std::set<Reload> reloads_of(std::string_view text) {
  std::set<Reload> reloads;
  for (const auto& [name, protocol] : read(text).protocols)
    add(reloads, name, protocol, [](std::size_t) { return true; });
  return reloads;
}

}  // namespace ocicat::dataplane
