// An allocator for any number of threads: what waits together is done together, so that a burst of workloads
// costs a host one write of its block and not one each.
#pragma once

#include <functional>
#include <memory>

#include "ipam/allocator.h"

namespace ocicat::ipam {

class GroupAllocator {
 public:
  // At most so many requests wait; more are kExhausted at once.
  static constexpr std::size_t kMostWaiting = 4096;

  // Runs one thread, which alone uses `documents`.
  explicit GroupAllocator(std::unique_ptr<Documents> documents, Allocator::Options options = {});
  ~GroupAllocator();  // answers what waits with kUnavailable, and joins
  GroupAllocator(const GroupAllocator&) = delete;
  GroupAllocator& operator=(const GroupAllocator&) = delete;

  // Queues. `done` is called once, from the allocator's own thread, and must be quick. Requests about one
  // handle are carried out in the order in which they came. Errors as Allocator's.
  void submit(AssignRequest request, std::function<void(Result<Assigned>)> done);
  void submit_release(std::string handle, std::function<void(Result<Released>)> done);

  // The same, waiting. Not from within a `done`.
  Result<Assigned> assign(AssignRequest request);
  Result<Released> release(std::string handle);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::ipam
