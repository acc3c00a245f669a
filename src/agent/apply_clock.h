// How long it takes from a computed change to its being in the kernel.
#pragma once

#include <chrono>
#include <deque>
#include <vector>

#include "engine/host_state.h"

namespace ocicat::agent {

// Pure; the clock is the caller's. Batches that are under way when the server's store begins a new
// incarnation are not timed. Bounded: of more batches under way than kMaxBatches the oldest is not timed.
class ApplyClock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMaxBatches = 1024;

  void sent(const Revisions& revisions, Time now);
  // The time each batch took that is in the kernel now and was not before.
  std::vector<std::chrono::duration<double>> applied(const Revisions& revisions, Time now);

 private:
  struct Batch {
    Revisions revisions;
    Time sent;
  };
  std::deque<Batch> batches_;
};

}  // namespace ocicat::agent
