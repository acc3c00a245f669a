#include "agent/policy_loop.h"

#include <thread>
#include <utility>

#include "agent/policy_keeper.h"
#include "base/thread_name.h"

namespace ocicat::agent {
namespace {

constexpr std::chrono::seconds kRound{1};
using Clock = std::chrono::steady_clock;

}  // namespace

struct PolicyLoop::State {
  State(Engine&& policy, Outlets&& to) : keeper(std::move(policy)), outlets(std::move(to)) {}

  void run() {
    name_thread("engine");
    while (!mailbox.closed()) {
      last_round = Clock::now();
      auto update = mailbox.take_within(kRound);
      if (left_to_router.exchange(false)) send(keeper.leave_to_router());
      if (!update) continue;
      auto step = keeper.take(*update);
      if (!update->resources.empty()) outlets.pass_on(*std::move(update));
      // What is refused is known before what it came with is in force. The rest can wait until the dataplane
      // has been woken: whoever else is woken may take the processor.
      const bool refuses = step.news && !(step.news->unreadable.empty() && step.news->refused.empty());
      if (refuses) outlets.tell(*std::exchange(step.news, {}));
      if (step.changes) in_sync = true;
      send(std::move(step.changes));
      if (step.news) outlets.tell(*std::move(step.news));
    }
  }

  void send(std::optional<HostChanges> changes) {
    if (!changes) return;
    outlets.on_sent(*changes);
    outlets.to_dataplane->put(*std::move(changes));
  }

  PolicyKeeper keeper;
  Outlets outlets;
  Mailbox<api::Update> mailbox;
  std::atomic<bool> in_sync = false;
  std::atomic<bool> left_to_router = false;  // since the last round
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
  update.in_sync ? state_->mailbox.put(std::move(update)) : state_->mailbox.put_in_turn(std::move(update));
}
void PolicyLoop::leave_to_router() {
  state_->left_to_router = true;
  state_->mailbox.put({});
}
bool PolicyLoop::in_sync() const {
  return state_->in_sync;
}
Clock::duration PolicyLoop::since_last_round() const {
  return Clock::now() - state_->last_round.load();
}

}  // namespace ocicat::agent
