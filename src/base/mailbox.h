// The only way between threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace ocicat {

// Holds at most one message. A newer one is absorbed into the one still waiting (`Message::absorb`), so a
// slow reader costs memory by keys, not by events, and nobody waits for a reply. Where even that would be too
// much, the sender can wait for its turn. Safe for any number of threads.
template <class Message>
class Mailbox {
 public:
  // Called after each put, outside the lock: wakes a reader that waits elsewhere, such as on an eventfd.
  void on_put(std::function<void()> wake) {
    const std::scoped_lock lock(mutex_);
    wake_ = std::move(wake);
  }

  void put(Message message) {
    std::function<void()> wake;
    {
      const std::scoped_lock lock(mutex_);
      keep(std::move(message));
      wake = wake_;
    }
    arrived_.notify_one();
    if (wake) wake();
  }

  // The same for a reader who looks from time to time: it is not woken.
  void leave(Message message) {
    const std::scoped_lock lock(mutex_);
    keep(std::move(message));
  }

  // As put(), once nothing is waiting, or the mailbox is closed: there is no more than this message and the one that
  // its reader has in hand.
  void put_in_turn(Message message) {
    {
      std::unique_lock lock(mutex_);
      taken_.wait(lock, [this] { return !waiting_ || closed_; });
    }
    put(std::move(message));
  }

  // What is waiting, if anything.
  std::optional<Message> take() {
    const std::scoped_lock lock(mutex_);
    taken_.notify_all();
    return std::exchange(waiting_, std::nullopt);
  }

  // Waits until there is a message, the mailbox is closed, or the time is up.
  std::optional<Message> take_within(std::chrono::nanoseconds patience) {
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, patience, [this] { return waiting_.has_value() || closed_; });
    taken_.notify_all();
    return std::exchange(waiting_, std::nullopt);
  }

  // Ends the waiting of readers; what is waiting can still be taken.
  void close() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    arrived_.notify_all();
    taken_.notify_all();
  }

  bool closed() const {
    const std::scoped_lock lock(mutex_);
    return closed_;
  }

 private:
  void keep(Message message) {
    if (waiting_) {
      waiting_->absorb(std::move(message));
    } else {
      waiting_ = std::move(message);
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable arrived_, taken_;
  std::optional<Message> waiting_;
  std::function<void()> wake_;
  bool closed_ = false;
};

}  // namespace ocicat
