// When what failed is tried again. Pure; the clock is the caller's.
#pragma once

#include <algorithm>
#include <chrono>

namespace ocicat::dataplane {

// Pauses double from one failure to the next. What changes meanwhile may go well, and does not wait for as long as what
// fails over and over.
class Retry {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  static constexpr Duration kFirst = std::chrono::milliseconds(200);
  static constexpr Duration kLongest = std::chrono::seconds(10);
  static constexpr Duration kChanged = std::chrono::milliseconds(100);  // from a change, at most

  void failed(Time now) {
    pause_ = std::clamp(2 * pause_, kFirst, kLongest);
    not_before_ = now + pause_;
    failing_ = true;
  }
  void succeeded() {
    pause_ = {};
    failing_ = false;
  }
  void changed(Time now) { at_latest(now + kChanged); }
  void at_latest(Time time) { not_before_ = std::min(not_before_, time); }

  bool failing() const { return failing_; }
  Time not_before() const { return not_before_; }

 private:
  Duration pause_{};
  Time not_before_{};
  bool failing_ = false;
};

}  // namespace ocicat::dataplane
