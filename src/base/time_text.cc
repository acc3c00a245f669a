#include "base/time_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <utility>

namespace ocicat {

std::optional<TimePoint> parse_time(std::string_view text) {
  std::tm parts{};
  const std::string copy(text);
  const char* rest = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (!rest) return {};
  std::chrono::microseconds fraction{0};
  if (*rest == '.') {
    ++rest;
    for (int place = 100'000; *rest >= '0' && *rest <= '9'; ++rest, place /= 10) {
      fraction += std::chrono::microseconds((*rest - '0') * place);
    }
  }
  if (std::string_view(rest) != "Z") return {};
  return std::chrono::system_clock::from_time_t(::timegm(&parts)) + fraction;
}

std::string time_text(TimePoint time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)),
                     milliseconds);
}

std::string seconds_text(TimePoint time) {
  const auto whole = std::chrono::ceil<std::chrono::seconds>(time);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)));
}

std::optional<double> seconds_of(std::string_view text) {
  constexpr std::array kUnits{
      std::pair<std::string_view, double>{"ns", 1e-9}, std::pair<std::string_view, double>{"us", 1e-6},
      std::pair<std::string_view, double>{"ms", 1e-3}, std::pair<std::string_view, double>{"s", 1},
      std::pair<std::string_view, double>{"m", 60},    std::pair<std::string_view, double>{"h", 3600},
  };
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc() || !(number >= 0)) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const auto* const unit = std::ranges::find_if(
        kUnits, [&](const auto& candidate) { return text.starts_with(candidate.first); });
    if (unit == kUnits.end()) return std::nullopt;
    seconds += number * unit->second;
    text.remove_prefix(unit->first.size());
  }
  return seconds;
}

}  // namespace ocicat
