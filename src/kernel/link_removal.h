// Removes interfaces without waiting for the kernel to forget them.
//
// An interface that is removed is gone at once, for everybody: no name, no packets. The request is answered
// only when the last reader of it is known to be done, some 20 ms later (netdev_run_todo, rcu_barrier).
// Whoever takes down many containers cannot wait for that, and need not: the kernel announces the first
// (RTM_DELLINK).
#pragma once

#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"

namespace ocicat::kernel {

// In the network namespace of the calling thread; from any number of threads.
class LinkRemoval {
 public:
  LinkRemoval() = default;
  ~LinkRemoval();  // waits for what is under way
  LinkRemoval(const LinkRemoval&) = delete;
  LinkRemoval& operator=(const LinkRemoval&) = delete;

  // When it returns, the interface is gone. False: there was none.
  Result<bool> remove(const std::string& name);

 private:
  void keep(std::future<void> request);

  std::mutex mutex_;
  std::vector<std::future<void>> under_way_;
};

}  // namespace ocicat::kernel
