#include "resources/yaml_scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace ocicat {

namespace json = boost::json;

namespace {

template <std::size_t N>
bool is_one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::ranges::find(words, text) != words.end();
}

constexpr std::array<std::string_view, 11> kTrue{"y",    "Y",    "yes", "Yes", "YES", "true",
                                                 "True", "TRUE", "on",  "On",  "ON"};
constexpr std::array<std::string_view, 11> kFalse{"n",     "N",     "no",  "No",  "NO", "false",
                                                  "False", "FALSE", "off", "Off", "OFF"};
constexpr std::array<std::string_view, 5> kNull{"", "~", "null", "Null", "NULL"};
constexpr std::array<std::string_view, 3> kNan{".nan", ".NaN", ".NAN"};
constexpr std::array<std::string_view, 3> kInfinity{".inf", ".Inf", ".INF"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::size_t digits_at(std::string_view text, std::size_t from) {
  std::size_t end = from;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - from;
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_a_float(std::string_view text) {
  std::size_t at = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  const std::size_t whole = digits_at(text, at);
  at += whole;
  if (at < text.size() && text[at] == '.') {
    const std::size_t fraction = digits_at(text, at + 1);
    if (whole == 0 && fraction == 0) return false;
    at += 1 + fraction;
  } else if (whole == 0) {
    return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    const std::size_t exponent = digits_at(text, at);
    if (exponent == 0) return false;
    at += exponent;
  }
  return at == text.size();
}

// The digits of an integer with its base: a prefix says it, a leading zero means octal.
int take_base(std::string_view& digits) {
  if (digits.size() < 2 || digits[0] != '0') return 10;
  switch (digits[1]) {
    case 'x':
    case 'X':
      digits.remove_prefix(2);
      return 16;
    case 'b':
    case 'B':
      digits.remove_prefix(2);
      return 2;
    case 'o':
    case 'O':
      digits.remove_prefix(2);
      return 8;
    default:
      digits.remove_prefix(1);
      return 8;
  }
}

std::optional<json::value> parse_integer(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  const bool has_sign = negative || (!text.empty() && text[0] == '+');
  std::string_view digits = text.substr(has_sign ? 1 : 0);
  const int base = take_base(digits);
  std::uint64_t magnitude = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  if (error != std::errc() || stop != digits.data() + digits.size()) return std::nullopt;

  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (negative) {
    if (magnitude > kMax + 1) return std::nullopt;
    return json::value(static_cast<std::int64_t>(0 - magnitude));
  }
  if (magnitude <= kMax) return json::value(static_cast<std::int64_t>(magnitude));
  if (has_sign) return std::nullopt;
  return json::value(magnitude);
}

std::optional<json::value> parse_float(std::string_view text) {
  if (!looks_like_a_float(text)) return std::nullopt;
  if (text[0] == '+') text.remove_prefix(1);
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return json::value(number);
}

json::value as_text(std::string_view text) {
  return json::value(json::string_view(text.data(), text.size()));
}

std::optional<json::value> resolve_word(std::string_view text) {
  if (is_one_of(text, kNull)) return json::value(nullptr);
  if (is_one_of(text, kTrue)) return json::value(true);
  if (is_one_of(text, kFalse)) return json::value(false);
  if (is_one_of(text, kNan)) return json::value(std::numeric_limits<double>::quiet_NaN());
  const bool negative = !text.empty() && text[0] == '-';
  const bool has_sign = negative || (!text.empty() && text[0] == '+');
  if (is_one_of(text.substr(has_sign ? 1 : 0), kInfinity)) {
    return json::value((negative ? -1 : 1) * std::numeric_limits<double>::infinity());
  }
  return std::nullopt;
}

}  // namespace

json::value resolve_plain_scalar(std::string_view text) {
  if (auto word = resolve_word(text)) return *std::move(word);
  const char first = text[0];
  if (first == '.') {
    if (auto number = parse_float(text)) return *std::move(number);
  } else if (is_digit(first) || first == '-' || first == '+') {
    std::string plain(text);
    std::erase(plain, '_');
    if (auto number = parse_integer(plain)) return *std::move(number);
    if (auto number = parse_float(plain)) return *std::move(number);
  }
  return as_text(text);
}

}  // namespace ocicat
