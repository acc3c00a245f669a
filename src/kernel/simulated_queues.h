// Limits in memory: for tests that need the kernel's failures.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "kernel/queues.h"

namespace ocicat::kernel {

class SimulatedQueues final : public QueueKernel {
 public:
  Result<std::map<Passing, Limit>> limits(const std::map<Passing, Bucket>& wanted) override;
  Result<void> limit(const Passing& passing, const Bucket& bucket) override;
  Result<void> remove(const Passing& passing) override;
  Result<int> detour(int link) override;
  Result<void> lead(int link) override;
  Result<void> release(int link) override;

  struct Held {
    int holder = 0;
    std::uint32_t waiting = 0;
    Bucket bucket;
  };
  std::map<Passing, Held> held;
  std::map<int, int> detours;  // relay by link
  // Asked before every call, with its number from 1 on: an error is what the call answers.
  std::function<std::optional<Error>(int call)> fail_when;

 private:
  std::optional<Error> fault() { return ++calls_, fail_when ? fail_when(calls_) : std::nullopt; }

  int calls_ = 0;
  int next_link_ = 1000;
};

}  // namespace ocicat::kernel
