// Moments (RFC 3339) and durations as documents write them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace ocicat {

using TimePoint = std::chrono::system_clock::time_point;

// "2026-11-23T16:34:58Z", fractions of a second allowed; nothing for other text.
std::optional<TimePoint> parse_time(std::string_view text);
std::string time_text(TimePoint time);  // to the millisecond
// In whole seconds, as Kubernetes and Calico write theirs; the next one where the moment is between two.
std::string seconds_text(TimePoint time);

// Seconds of a duration as Go writes it: "1m30s", "0.5h", "0"; nothing for other text.
std::optional<double> seconds_of(std::string_view text);

}  // namespace ocicat
