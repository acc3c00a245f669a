#include "agent/bgp_loop.h"

#include <spdlog/spdlog.h>

#include <thread>
#include <utility>

#include "base/thread_name.h"
#include "network/bgp/bird_configuration.h"

namespace ocicat::agent {
namespace {

// How often BIRD is asked, and at most so long is one that died away.
constexpr std::chrono::seconds kRound{1};

}  // namespace

struct BgpLoop::State {
  State(Options&& options, std::function<void(BgpReport)>&& on_change, std::function<void()>&& on_heard)
      : keeper(std::move(options.node), secrets_in(std::move(options.secrets))),
        bird(std::move(options.bird)),
        tell(std::move(on_change)),
        has_heard(std::move(on_heard)) {}

  void run() {
    name_thread("bgp");
    while (!mailbox.closed()) {
      auto update = mailbox.take_within(kRound);
      if (mailbox.closed()) return;
      if (update) {
        if (auto wanted = keeper.take(*std::move(update))) intent = std::move(wanted);
      }
      if (intent) keep();
    }
  }

  void keep() {
    const auto configuration = network::bgp::bird_configuration(*intent, bird.log_file().string());
    // One that could not be applied is tried again: BIRD may have been away.
    if (!applied || configuration != last_configuration) {
      applied = bird.apply(configuration);
      last_configuration = configuration;
    }
    const auto status = bird.look();
    auto report = report_of(*intent, *applied, status);
    if (report.error != last_report.error && !report.error.empty()) spdlog::error("BGP: {}", report.error);
    if (!*applied) applied.reset();
    if (told && report == last_report) {
      if (has_heard && all_up(report)) std::exchange(has_heard, nullptr)();
      return;
    }
    told = true;
    last_report = report;
    tell(std::move(report));
  }

  BgpKeeper keeper;
  dataplane::Bird bird;
  std::function<void(BgpReport)> tell;
  std::function<void()> has_heard;  // nothing: it has been called
  Mailbox<BgpUpdate> mailbox;
  std::optional<network::bgp::BgpIntent> intent;
  std::string last_configuration;
  std::optional<Result<void>> applied;  // what became of it; nothing: it is to be applied
  BgpReport last_report;
  bool told = false;
  std::thread thread;
};

BgpLoop::BgpLoop(Options options, std::function<void(BgpReport)> tell, std::function<void()> has_heard)
    : state_(std::make_unique<State>(std::move(options), std::move(tell), std::move(has_heard))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

BgpLoop::~BgpLoop() {
  state_->mailbox.close();
  state_->thread.join();
}

void BgpLoop::put(BgpUpdate update) {
  state_->mailbox.put(std::move(update));
}

}  // namespace ocicat::agent
