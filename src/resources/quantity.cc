#include "resources/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace ocicat {
namespace {

using Wide = __int128;

constexpr int kMostDigits = 18;
constexpr int kMostExponent = 18;

struct Suffix {
  std::string_view text;
  int binary = 0;   // times 2 to the power of it
  int decimal = 0;  // or times 10
};
constexpr std::array kSuffixes{
    Suffix{"", 0, 0},    Suffix{"n", 0, -9},  Suffix{"u", 0, -6},  Suffix{"m", 0, -3},
    Suffix{"k", 0, 3},   Suffix{"M", 0, 6},   Suffix{"G", 0, 9},   Suffix{"T", 0, 12},
    Suffix{"P", 0, 15},  Suffix{"E", 0, 18},  Suffix{"Ki", 10, 0}, Suffix{"Mi", 20, 0},
    Suffix{"Gi", 30, 0}, Suffix{"Ti", 40, 0}, Suffix{"Pi", 50, 0}, Suffix{"Ei", 60, 0}};

std::optional<Suffix> suffix_of(std::string_view text) {
  const auto* known = std::ranges::find(kSuffixes, text, &Suffix::text);
  if (known != kSuffixes.end()) return *known;
  if (text.size() < 2 || (text.front() != 'e' && text.front() != 'E')) return std::nullopt;
  text.remove_prefix(text[1] == '+' && !text.substr(2).starts_with('-') ? 2 : 1);
  Suffix suffix;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), suffix.decimal);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  suffix.decimal = std::clamp(suffix.decimal, -kMostExponent, kMostExponent);
  return suffix;
}

Wide power_of_ten(int exponent) {
  Wide power = 1;
  for (; exponent > 0; --exponent) power *= 10;
  return power;
}

}  // namespace

std::optional<std::int64_t> read_quantity(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  Wide number = 0;
  int digits = 0;  // all, and those behind the point
  int behind = 0;
  bool point = false;
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const char next = text[at];
    if (next == '.' && !point) {
      point = true;
      continue;
    }
    if (next < '0' || next > '9') break;
    number = number * 10 + (next - '0');
    if (++digits > kMostDigits) return std::nullopt;
    behind += point ? 1 : 0;
  }
  text.remove_prefix(at);
  const auto suffix = suffix_of(text);
  if (digits == 0 || !suffix) return std::nullopt;
  // At most 18 digits times 2 to the 60: it fits.
  number <<= suffix->binary;
  const int exponent = suffix->decimal - behind;
  if (exponent >= 0) {
    number *= power_of_ten(exponent);
  } else {
    const Wide divisor = power_of_ten(-exponent);
    number = negative ? number / divisor : (number + divisor - 1) / divisor;
  }
  if (negative) number = -number;
  constexpr Wide kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr Wide kMost = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::clamp(number, kLeast, kMost));
}

}  // namespace ocicat
