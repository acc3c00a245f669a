#include "agent/policy_keeper.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace ocicat::agent {

std::vector<Kind> followed_kinds() {
  std::vector<Kind> kinds;
  for (const Kind kind : watched_kinds()) {
    if (info(kind).served) kinds.push_back(kind);
  }
  return kinds;
}

PolicyKeeper::Step PolicyKeeper::take(const api::Update& update) {
  Step step;
  if (!update.unreadable.empty()) step.news.emplace().unreadable = update.unreadable;
  engine_.take(update.resources);
  for (const auto& [kind, revision] : update.revisions) reached_.insert_or_assign(kind, revision);
  if (!update.in_sync && !in_sync_) return step;

  const bool first = !std::exchange(in_sync_, true);
  HostChanges changes = engine_.settle();
  changes.revisions = std::exchange(reached_, {});
  const auto counters = engine_.counters();
  const bool counts_differ = told_ != counters;
  if (first) {
    spdlog::info("in sync with the server: {} endpoints, {} of them local, {} policies, {} of them active",
                 counters.endpoints, counters.local_endpoints, counters.policies, counters.active_policies);
  }
  if (counts_differ || !changes.refused.empty() || !changes.bounded.empty()) {
    if (!step.news) step.news.emplace();
    step.news->refused = changes.refused;
    step.news->bounded = changes.bounded;
    if (counts_differ) step.news->counters = told_ = counters;
  }
  if (first || !changes.empty()) step.changes = std::move(changes);
  return step;
}

std::optional<HostChanges> PolicyKeeper::leave_to_router() {
  engine_.leave_to_router();
  if (!in_sync_) return std::nullopt;
  auto changes = engine_.settle();
  if (changes.empty()) return std::nullopt;
  return changes;
}

}  // namespace ocicat::agent
