#include "api/client/follower.h"

#include <spdlog/spdlog.h>

#include <random>
#include <utility>

namespace ocicat::api {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// Nothing at all for a while longer than a watch lasts means that the other side is gone without a word.
constexpr http::Timeouts kTimeouts{.connect = milliseconds(5'000),
                                   .head = milliseconds(60'000),
                                   .data = ListWatch::kWatchTime + std::chrono::seconds(60)};

http::Request get(std::string target) {
  return {"GET", std::move(target), {{"Accept", "application/json"}}, {}};
}

}  // namespace

Follower::Follower(http::Loop& loop, http::Endpoint endpoint, Kind kind, Progress heard, Callbacks callbacks)
    : kind_(kind),
      loop_(loop),
      endpoint_(std::move(endpoint)),
      callbacks_(std::move(callbacks)),
      reading_(kind, std::random_device{}(), ListWatch::kItemsAtOnce, std::move(heard)),
      connection_(std::make_unique<http::Connection>(loop, endpoint_, kTimeouts)) {}

void Follower::start() {
  http::Callbacks callbacks;
  callbacks.on_head = [this](int status, const http::Headers& headers) {
    take(reading_.head(status, http::find(headers, "ocicat-store")));
  };
  callbacks.on_data = [this](std::string_view data) { take(reading_.data(data)); };
  callbacks.on_end = [this](Result<void> result) {
    take(reading_.end(std::move(result), steady_clock::now()));
  };
  connection_->send(get(reading_.ask(steady_clock::now())), std::move(callbacks));
}

void Follower::take(ListWatch::Step step) {
  using Next = ListWatch::Step::Next;
  tell_whether_behind(step);
  if (!step.update.empty()) callbacks_.on_update(std::move(step.update));
  if (step.answered) callbacks_.on_state(std::nullopt);
  if (!step.failure.empty()) callbacks_.on_state(std::move(step.failure));
  if (step.next == Next::kListen) return;
  if (step.next == Next::kHangUp)
    connection_ = std::make_unique<http::Connection>(loop_, endpoint_, kTimeouts);
  if (step.pause == milliseconds(0)) return start();
  timer_ = loop_.after(step.pause, [this] { start(); });
}

// Once, however often it is asked again.
void Follower::tell_whether_behind(const ListWatch::Step& step) {
  if (step.behind && !std::exchange(behind_, true)) spdlog::warn("{}", step.failure);
  if (!step.update.revisions.empty() && std::exchange(behind_, false))
    spdlog::info("{}: the list is as new as what has been heard", info(kind_).plural);
}

}  // namespace ocicat::api
