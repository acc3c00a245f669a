#include "ipam/group_allocator.h"

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <set>
#include <thread>

namespace ocicat::ipam {
namespace {

constexpr std::size_t kMostAtOnce = 256;

// One of the two is asked for.
struct Item {
  std::string handle;
  AssignRequest assign;
  std::function<void(Result<Assigned>)> assigned;
  std::function<void(Result<Released>)> released;

  void refuse(const Error& error) const {
    if (assigned) assigned(std::unexpected(error));
    if (released) released(std::unexpected(error));
  }
};

}  // namespace

struct GroupAllocator::State {
  std::unique_ptr<Documents> documents;
  Allocator allocator;
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<Item> waiting;
  bool closing = false;
  std::thread thread;

  State(std::unique_ptr<Documents> owned, Allocator::Options options)
      : documents(std::move(owned)), allocator(*documents, std::move(options)) {}

  void put(Item item) {
    {
      const std::scoped_lock lock(mutex);
      if (!closing && waiting.size() < kMostWaiting) {
        waiting.push_back(std::move(item));
        arrived.notify_one();
        return;
      }
    }
    item.refuse({ErrorCode::kExhausted, "too many requests for addresses wait"});
  }

  // The first ones, of each handle one.
  std::vector<Item> take() {
    std::unique_lock lock(mutex);
    arrived.wait(lock, [&] { return closing || !waiting.empty(); });
    std::vector<Item> batch;
    if (closing) return batch;
    std::set<std::string> handles;
    std::deque<Item> later;
    for (auto& item : waiting) {
      const bool now = batch.size() < kMostAtOnce && handles.insert(item.handle).second;
      if (now) {
        batch.push_back(std::move(item));
      } else {
        later.push_back(std::move(item));
      }
    }
    waiting = std::move(later);
    return batch;
  }

  // Releases first: what they free may be what the others need.
  void carry_out(const std::vector<Item>& batch) {
    std::vector<std::string> handles;
    std::vector<AssignRequest> requests;
    for (const auto& item : batch) {
      if (item.released) handles.push_back(item.handle);
      if (item.assigned) requests.push_back(item.assign);
    }
    auto released = allocator.release(handles);
    auto assigned = allocator.assign(requests);
    auto next_released = released.begin();
    auto next_assigned = assigned.begin();
    for (const auto& item : batch) {
      if (item.released) item.released(std::move(*next_released++));
      if (item.assigned) item.assigned(std::move(*next_assigned++));
    }
  }

  void run() {
    for (auto batch = take(); !batch.empty(); batch = take()) carry_out(batch);
    for (const auto& item : waiting) item.refuse({ErrorCode::kUnavailable, "the allocator is closing"});
  }
};

GroupAllocator::GroupAllocator(std::unique_ptr<Documents> documents, Allocator::Options options)
    : state_(std::make_unique<State>(std::move(documents), std::move(options))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

GroupAllocator::~GroupAllocator() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->closing = true;
  }
  state_->arrived.notify_all();
  state_->thread.join();
}

void GroupAllocator::submit(AssignRequest request, std::function<void(Result<Assigned>)> done) {
  auto handle = request.handle;
  state_->put({std::move(handle), std::move(request), std::move(done), {}});
}

void GroupAllocator::submit_release(std::string handle, std::function<void(Result<Released>)> done) {
  state_->put({std::move(handle), {}, {}, std::move(done)});
}

Result<Assigned> GroupAllocator::assign(AssignRequest request) {
  std::promise<Result<Assigned>> promise;
  submit(std::move(request), [&](Result<Assigned> answer) { promise.set_value(std::move(answer)); });
  return promise.get_future().get();
}

Result<Released> GroupAllocator::release(std::string handle) {
  std::promise<Result<Released>> promise;
  submit_release(std::move(handle), [&](Result<Released> answer) { promise.set_value(std::move(answer)); });
  return promise.get_future().get();
}

}  // namespace ocicat::ipam
