#include "http/loop.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http/loop_state.h"

namespace ocicat::http {
namespace {

class LoopTimer final : public Loop::Timer {
 public:
  LoopTimer(boost::asio::io_context& context, std::chrono::nanoseconds pause, std::function<void()> callback)
      : timer_(context, pause), callback_(std::make_shared<std::function<void()>>(std::move(callback))) {
    // The weak pointer covers a timer that had expired, but whose handler had not run, when it was destroyed.
    timer_.async_wait([weak = std::weak_ptr(callback_)](boost::system::error_code error) {
      if (error) return;
      if (const auto alive = weak.lock()) (*alive)();
    });
  }

 private:
  boost::asio::steady_timer timer_;
  std::shared_ptr<std::function<void()>> callback_;
};

}  // namespace

Loop::Loop() : state_(std::make_shared<State>()) {}
Loop::~Loop() = default;

void Loop::run() {
  state_->context.run();
}
void Loop::run_one() {
  state_->context.run_one();
}
void Loop::stop() {
  state_->context.stop();
}
void Loop::post(std::function<void()> callback) {
  boost::asio::post(state_->context, std::move(callback));
}

std::unique_ptr<Loop::Timer> Loop::after(std::chrono::nanoseconds pause, std::function<void()> callback) {
  return std::make_unique<LoopTimer>(state_->context, pause, std::move(callback));
}

}  // namespace ocicat::http
