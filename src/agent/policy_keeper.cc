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

PolicyKeeper::Step PolicyKeeper::take(api::Update update) {
  Step step;
  if (!update.unreadable.empty()) step.news.emplace().unreadable = std::exchange(update.unreadable, {});
  waiting_.absorb(std::move(update));
  if (!waiting_.in_sync) return step;

  const api::Update now = std::exchange(waiting_, {});
  waiting_.in_sync = true;
  HostChanges changes = engine_.update(now.resources);
  changes.revisions = now.revisions;

  News news;
  news.refused = changes.refused;
  news.counters = engine_.counters();
  if (!sent_) {
    spdlog::info("in sync with the server: {} resources, {} local endpoints, {} active policies",
                 now.resources.size(), news.counters->local_endpoints, news.counters->active_policies);
  }
  if (!step.news) step.news.emplace();
  step.news->absorb(std::move(news));
  if (!sent_ || !changes.empty()) step.changes = std::move(changes);
  sent_ = true;
  return step;
}

std::optional<HostChanges> PolicyKeeper::leave_to_router() {
  auto changes = engine_.leave_to_router();
  if (!sent_ || changes.empty()) return std::nullopt;
  return changes;
}

}  // namespace ocicat::agent
