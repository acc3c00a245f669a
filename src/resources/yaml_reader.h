// Text to values, with the line of every field. YAML through libyaml's events; JSON by a reader of its own,
// since it allows what YAML's grammar does not (surrogate pairs) and is what machines write.
#pragma once

#include <boost/json/value.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ocicat {

// What is wrong with the text, apart from what it says.
struct TextFault {
  int line = 0;
  std::string field_path;
  std::string rule;
};

struct ReadValue {
  boost::json::value value;  // not to be used where there are faults
  int line = 0;
  std::map<std::string, int> line_of;  // field path → line
  std::vector<TextFault> faults;
};

// Bounds that keep hostile text cheap: lists and mappings inside each other, and what aliases may add to a
// document. Beyond them lies a fault, not a crash.
inline constexpr int kMaxDepth = 64;
inline constexpr std::size_t kMaxAliasedNodes = 100'000;
inline constexpr std::size_t kMaxAliasedBytes = std::size_t{4} << 20;

// The documents of a text. `first_line` is the number of the text's first line in its file. After a syntax
// error the rest of the text is lost: it is the last value's fault.
std::vector<ReadValue> read_yaml(std::string_view text, int first_line);

// The values of a text that is JSON from end to end, several in a row allowed; nothing where it is not.
std::optional<std::vector<ReadValue>> read_json(std::string_view text, int first_line);

}  // namespace ocicat
