#include "ipam/reconciler.h"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "ipam/inventory.h"

namespace ocicat::ipam {

using network::Verdict;

Result<Reconciler::Round> Reconciler::look(Documents& documents, TimePoint now) {
  TRY(const auto read, read_inventory(documents));
  auto findings = network::find_garbage(read.inventory, seen_, now, grace_);
  seen_.clear();
  for (const auto& finding : findings) seen_.emplace(finding.key(), finding.since);
  std::erase_if(told_, [&](const auto& key) { return !seen_.contains(key); });

  Round round;
  for (const auto& [finding, outcome] : free_garbage(documents, findings, now))
    round.freed.push_back({*finding, outcome});
  for (auto& finding : findings) {
    if (finding.verdict == Verdict::kWait) ++round.waiting;
    if (finding.verdict == Verdict::kReport && told_.insert(finding.key()).second)
      round.doubtful.push_back(std::move(finding));
  }
  return round;
}

struct ReconcilerLoop::State {
  State(Options given, std::function<std::unique_ptr<Documents>()> make)
      : options(given), documents(std::move(make)), reconciler(given.grace) {}

  const Options options;
  const std::function<std::unique_ptr<Documents>()> documents;
  Reconciler reconciler;
  std::mutex mutex;
  std::condition_variable woken;
  bool stopping = false;
  std::thread thread;

  void look() {
    const auto now = std::chrono::time_point_cast<TimePoint::duration>(std::chrono::system_clock::now());
    const auto round = reconciler.look(*documents(), now);
    if (!round) {
      spdlog::warn("addresses: nothing could be looked at: {}", round.error().message);
      return;
    }
    for (const auto& [finding, freed] : round->freed) {
      if (freed) {
        spdlog::info("addresses: {} {} freed: {}", to_string(finding.fault), finding.subject, finding.reason);
      } else {
        spdlog::warn("addresses: {} {} not freed: {}", to_string(finding.fault), finding.subject,
                     freed.error().message);
      }
    }
    for (const auto& finding : round->doubtful) {
      spdlog::warn("addresses: {} {} is for you to judge: {}; see: ocicat ipam check",
                   to_string(finding.fault), finding.subject, finding.reason);
    }
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!woken.wait_for(lock, options.period, [this] { return stopping; })) {
      lock.unlock();
      look();
      lock.lock();
    }
  }
};

ReconcilerLoop::ReconcilerLoop(Options options, std::function<std::unique_ptr<Documents>()> documents)
    : state_(std::make_unique<State>(options, std::move(documents))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

ReconcilerLoop::~ReconcilerLoop() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->stopping = true;
  }
  state_->woken.notify_all();
  state_->thread.join();
}

}  // namespace ocicat::ipam
