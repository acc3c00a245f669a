#include "cli/duration.h"

#include <charconv>
#include <cstdint>

namespace ocicat::cli {
namespace {

constexpr std::int64_t kDay = 24 * 3600 * 1000;

// Milliseconds; 0 for a word that is no unit.
std::int64_t length_of(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit == "s" || unit.empty()) return 1000;
  if (unit == "m") return 60 * 1000;
  if (unit == "h") return 3600 * 1000;
  return 0;
}

}  // namespace

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  std::int64_t count = 0;
  const char* const first = text.data();
  const char* const last = first + text.size();
  const auto [end, error] = std::from_chars(first, last, count);
  const std::int64_t unit = length_of(std::string_view(end, static_cast<std::size_t>(last - end)));
  if (error != std::errc{} || count < 0 || unit == 0 || count > kDay / unit) {
    return fail(ErrorCode::kInvalid, "\"{}\": a time is a number with ms, s, m or h, such as 500ms or 10s",
                text);
  }
  return std::chrono::milliseconds(count * unit);
}

}  // namespace ocicat::cli
