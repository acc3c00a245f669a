// Lengths of time as people write them.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace ocicat::cli {

// "500ms", "10s", "2m", "1h"; a bare number is seconds. At most a day.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace ocicat::cli
