#include "lab/patience.h"

#include <algorithm>

namespace ocicat::lab {
namespace {

// How often to look again; far below what anybody notices, far above what looking costs.
constexpr std::chrono::milliseconds kPause{3};

// The most that counts from one look to the next: longer than a look takes where much else is going on, and
// little of anybody's patience.
constexpr std::chrono::seconds kMostAtOnce{10};

}  // namespace

Result<void> wait_until_complete(std::chrono::milliseconds patience,
                                 const std::function<Result<std::string>()>& what_is_missing,
                                 const Time& time) {
  Time::Clock::duration waited{0};
  auto before = time.now();
  while (true) {
    const auto looked = what_is_missing();
    if (!looked && looked.error().code != ErrorCode::kUnavailable) return std::unexpected(looked.error());
    const auto& missing = looked ? *looked : looked.error().message;
    if (missing.empty()) return {};
    const auto now = time.now();
    waited += std::min<Time::Clock::duration>(now - before, kMostAtOnce);
    before = now;
    if (waited >= patience)
      return fail(ErrorCode::kUnavailable, "after {} ms: {}", patience.count(), missing);
    time.pause(kPause);
  }
}

}  // namespace ocicat::lab
