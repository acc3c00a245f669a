// One thread's event loop: sockets, timers and messages from elsewhere.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace ocicat::http {

// Callbacks run inside run() or run_one(), one at a time. Only post() and stop() may be called from other
// threads.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();      // until stop()
  void run_one();  // waits for one event and handles it
  void stop();     // for good
  void post(std::function<void()> callback);

  // Destroying it cancels.
  class Timer {
   public:
    virtual ~Timer() = default;
  };
  [[nodiscard]] std::unique_ptr<Timer> after(std::chrono::nanoseconds pause, std::function<void()> callback);

  struct State;  // loop_state.h, for the files that know Asio
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace ocicat::http
