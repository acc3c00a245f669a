#include "base/time_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

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

}  // namespace ocicat
