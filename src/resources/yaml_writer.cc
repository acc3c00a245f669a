// to_yaml(): block style, as kubectl prints it. What is written reads back as the same value, here and in
// readers of YAML 1.1 and 1.2 alike: a string that any of them could take for something else is quoted.
#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <iterator>

#include "resources/document.h"
#include "resources/yaml_scalar.h"

namespace ocicat {

namespace json = boost::json;

namespace {

// Keys beyond this need YAML's long form, `? key`: readers look ahead 1024 characters for the colon.
constexpr std::size_t kMaxSimpleKey = 500;
// YAML's list of characters that cannot begin an unquoted word, and a few that only sometimes can.
constexpr std::string_view kIndicators = "-?:,[]{}#&*!|>'\"%@`=<~";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Dates, and numbers to the base 60, which only some readers take for more than text.
bool looks_like_a_time(std::string_view text) {
  const bool starts_numeric = is_digit(text[0]) || text[0] == '+';
  const bool starts_with_year =
      text.size() > 4 && text[4] == '-' && std::ranges::all_of(text.substr(0, 4), is_digit);
  return starts_with_year || (starts_numeric && text.find(':') != std::string_view::npos);
}

bool can_stand_unquoted(std::string_view text) {
  if (text.empty() || text.size() > 1000 || text.front() == ' ' || text.back() == ' ' || text.back() == ':')
    return false;
  if (kIndicators.find(text.front()) != std::string_view::npos || text.starts_with("...")) return false;
  if (std::ranges::any_of(text, [](char c) { return c < ' ' || c > '~'; })) return false;
  if (text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos) return false;
  return !looks_like_a_time(text) && resolve_plain_scalar(text).is_string();
}

// Lines that can stand under `|` as they are, and nothing that a reader would fold, strip or refuse.
bool can_stand_as_lines(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.front() == '\n' || text.front() == ' ') return false;
  if (text.ends_with("\n\n") || text.find(" \n") != std::string_view::npos || text.back() == ' ')
    return false;
  return std::ranges::all_of(text, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

class YamlWriter {
 public:
  explicit YamlWriter(std::string& out) : out_(out) {}

  // A value on lines of its own, the first of them already begun (`column` blanks or "- " are written).
  void block(const json::value& value, std::size_t column) {
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
      mapping(*object, column);
    } else if (const auto* list = value.if_array(); list != nullptr && !list->empty()) {
      sequence(*list, column);
    } else {
      scalar(value, column);
      out_ += '\n';
    }
  }

 private:
  void mapping(const json::object& object, std::size_t column) {
    bool first = true;
    for (const auto& [key, value] : object) {
      if (!first) indent(column);
      first = false;
      if (key.size() > kMaxSimpleKey) {
        out_ += "? ";
        quoted(key);
        out_ += '\n';
        indent(column);
      } else {
        can_stand_unquoted(key) ? void(out_ += std::string_view(key)) : quoted(key);
      }
      out_ += ':';
      entry(value, column);
    }
  }

  // What follows "key:". Lists stand at the key's own column, mappings two further in.
  void entry(const json::value& value, std::size_t column) {
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
      out_ += '\n';
      indent(column + 2);
      mapping(*object, column + 2);
    } else if (const auto* list = value.if_array(); list != nullptr && !list->empty()) {
      out_ += '\n';
      indent(column);
      sequence(*list, column);
    } else {
      out_ += ' ';
      scalar(value, column);
      out_ += '\n';
    }
  }

  void sequence(const json::array& list, std::size_t column) {
    bool first = true;
    for (const auto& item : list) {
      if (!first) indent(column);
      first = false;
      out_ += "- ";
      block(item, column + 2);
    }
  }

  void scalar(const json::value& value, std::size_t column) {
    const auto* text = value.if_string();
    if (value.is_double()) {
      number(value.get_double());
    } else if (text == nullptr) {
      out_ += json::serialize(value);
    } else if (can_stand_unquoted(*text)) {
      out_ += std::string_view(*text);
    } else if (!text->empty() && can_stand_as_lines(*text)) {
      lines(*text, column);
    } else {
      quoted(*text);
    }
  }

  // The shortest text that reads back as the same double, and as a double.
  void number(double number) {
    const std::string text = fmt::to_string(number);
    out_ += text;
    if (text.find_first_not_of("-0123456789") == std::string::npos) out_ += ".0";
  }

  void lines(std::string_view text, std::size_t column) {
    const bool ends_with_newline = text.back() == '\n';
    if (ends_with_newline) text.remove_suffix(1);
    out_ += ends_with_newline ? "|" : "|-";
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      out_ += '\n';
      if (end > 0) indent(column + 2);
      out_ += text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  // In double quotes, with everything escaped that YAML does not count as printable.
  void quoted(std::string_view text) {
    out_ += '"';
    for (std::size_t at = 0; at < text.size();) {
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte < 0x80) {
        ascii(text[at]);
        ++at;
        continue;
      }
      const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
      const std::string_view sequence = text.substr(at, length);
      const std::uint32_t code = decode(sequence);
      const bool printable = code >= 0xA0 && code != 0x2028 && code != 0x2029 && code != 0xFEFF &&
                             code != 0xFFFE && code != 0xFFFF;
      printable ? void(out_ += sequence) : void(fmt::format_to(std::back_inserter(out_), "\\u{:04X}", code));
      at += length;
    }
    out_ += '"';
  }

  void ascii(char c) {
    switch (c) {
      case '"':
        out_ += "\\\"";
        break;
      case '\\':
        out_ += "\\\\";
        break;
      case '\n':
        out_ += "\\n";
        break;
      case '\t':
        out_ += "\\t";
        break;
      case '\r':
        out_ += "\\r";
        break;
      default:
        if (c >= ' ' && c <= '~') {
          out_ += c;
        } else {
          fmt::format_to(std::back_inserter(out_), "\\x{:02X}",
                         static_cast<unsigned>(static_cast<unsigned char>(c)));
        }
    }
  }

  // The code point of one UTF-8 sequence; JSON strings hold no broken ones.
  static std::uint32_t decode(std::string_view sequence) {
    const auto byte = [&](std::size_t i) {
      return static_cast<std::uint32_t>(static_cast<unsigned char>(sequence[i]));
    };
    std::uint32_t code = byte(0) & (0xFFU >> (sequence.size() + 1));
    for (std::size_t i = 1; i < sequence.size(); ++i) code = (code << 6) | (byte(i) & 0x3F);
    return code;
  }

  void indent(std::size_t column) { out_.append(column, ' '); }

  std::string& out_;
};

}  // namespace

std::string to_yaml(const json::value& value) {
  std::string text;
  YamlWriter writer(text);
  const auto* several = value.if_array();
  if (several == nullptr) {
    writer.block(value, 0);
    return text;
  }
  for (const auto& one : *several) {
    if (!text.empty()) text += "---\n";
    writer.block(one, 0);
  }
  return text;
}

}  // namespace ocicat
