#include "agent/policy_loop.h"

#include <spdlog/spdlog.h>

#include <thread>
#include <utility>

namespace ocicat::agent {
namespace {

constexpr std::chrono::seconds kRound{1};
using Clock = std::chrono::steady_clock;

}  // namespace

struct PolicyLoop::State {
  State(Engine&& policy, Outlets&& to) : engine(std::move(policy)), outlets(std::move(to)) {}

  void run() {
    while (!mailbox.closed()) {
      last_round = Clock::now();
      auto update = mailbox.take_within(kRound);
      if (!update) continue;
      tell_unreadable(*update);
      waiting.absorb(*std::move(update));
      if (!waiting.in_sync) continue;
      compute();
    }
  }

  void tell_unreadable(api::Update& update) {
    if (update.unreadable.empty()) return;
    News news;
    news.unreadable = std::exchange(update.unreadable, {});
    outlets.tell(std::move(news));
  }

  void compute() {
    const api::Update update = std::exchange(waiting, {});
    waiting.in_sync = true;
    HostChanges changes = engine.update(update.resources);
    changes.revisions = update.revisions;

    News news;
    news.refused = changes.refused;
    news.counters = engine.counters();
    if (!in_sync) {
      spdlog::info("in sync with the server: {} resources, {} local endpoints, {} active policies",
                   update.resources.size(), news.counters->local_endpoints, news.counters->active_policies);
    }
    outlets.tell(std::move(news));
    if (in_sync && changes.empty() && changes.revisions.empty()) return;
    in_sync = true;
    outlets.on_sent(changes.revisions);
    outlets.to_dataplane->put(std::move(changes));
  }

  Engine engine;
  Outlets outlets;
  Mailbox<api::Update> mailbox;
  api::Update waiting;  // before the first snapshot is whole
  std::atomic<bool> in_sync = false;
  std::atomic<Clock::time_point> last_round = Clock::now();
  std::thread thread;
};

PolicyLoop::PolicyLoop(Engine engine, Outlets outlets)
    : state_(std::make_unique<State>(std::move(engine), std::move(outlets))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

PolicyLoop::~PolicyLoop() {
  state_->mailbox.close();
  state_->thread.join();
}

void PolicyLoop::put(api::Update update) {
  state_->mailbox.put(std::move(update));
}
bool PolicyLoop::in_sync() const {
  return state_->in_sync;
}
Clock::duration PolicyLoop::since_last_round() const {
  return Clock::now() - state_->last_round.load();
}

}  // namespace ocicat::agent
