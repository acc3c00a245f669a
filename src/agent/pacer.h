// When to write the status: at once, but not too often, and now and then without a reason.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace ocicat::agent {

// Pure; the clock is the caller's.
class Pacer {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  // Between two writes: a tenth of a second, and longer in a large cluster, as one change may be every host's, and all
  // of them write to one server: five thousand hosts once a second.
  static constexpr Duration kGap = std::chrono::milliseconds(100);
  static constexpr Duration kGapByHost = std::chrono::microseconds(200);
  static constexpr Duration kHeartbeat = std::chrono::seconds(10);  // at most without any
  static constexpr Duration kFirstRetry = std::chrono::milliseconds(100);
  static constexpr Duration kLastRetry = std::chrono::seconds(2);

  // A write is due at `now`: a first one shows that the agent is there.
  explicit Pacer(Time now) : due_(now) {}

  void changed(Time now) {
    if (retry_ == Duration::zero()) due_ = std::min(due_, std::max(now, earliest_));
  }
  // How many hosts there are, from the next write on.
  void share_with(std::size_t hosts) { gap_ = std::max<Duration>(kGap, hosts * kGapByHost); }
  void wrote(Time now) {
    retry_ = Duration::zero();
    earliest_ = now + gap_;
    due_ = now + kHeartbeat;
  }
  // The pauses grow, whatever changes meanwhile.
  void failed(Time now) {
    retry_ = std::clamp(2 * retry_, kFirstRetry, kLastRetry);
    due_ = now + retry_;
  }

  Time due() const { return due_; }

 private:
  Time due_;
  Time earliest_{};
  Duration gap_ = kGap;
  Duration retry_{};
};

}  // namespace ocicat::agent
