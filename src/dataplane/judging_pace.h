// When open connections are judged (nftables/revocation.h). Pure; the clock is the caller's.
//
// What is denied ends within a second of being in force, so a round has to end by then that begins after it. One begins
// kGather after the first change that waits for it, together with what else changes meanwhile; and after a rest, so
// that rounds take a fourth of a processor at most. The longer rounds take, the less of the second is left for
// resting: the next one may take twice as long as the last, and still ends in time.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace ocicat::dataplane {

class JudgingPace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  static constexpr Duration kGather = std::chrono::milliseconds(100);
  static constexpr int kRest = 3;  // times what a round has taken
  // From being in force to the end of the round; what is left of the second is for a machine that is busy.
  static constexpr Duration kEndsWithin = std::chrono::milliseconds(600);

  // Something waits to be judged, if nothing has before.
  void wait(Time now) {
    if (!due_) due_ = std::max(now + kGather, rests_until_);
  }
  // A round has come to its end, well or not. `processor`: how much of a processor's time it took, without what others
  // have taken meanwhile.
  void judged(Time began, Time ended, Duration processor) {
    const auto left = std::max(kEndsWithin - 2 * (ended - began), Duration::zero());
    rests_until_ = ended + std::min(kRest * processor, left);
    due_.reset();
  }

  // When the next round begins; nothing: none is waited for.
  std::optional<Time> due() const { return due_; }

 private:
  std::optional<Time> due_;
  Time rests_until_{};
};

}  // namespace ocicat::dataplane
