#include "agent/apply_clock.h"

#include <algorithm>

namespace ocicat::agent {
namespace {

bool reaches(const Revisions& applied, const Revisions& wanted) {
  return std::ranges::all_of(wanted, [&](const auto& entry) {
    const auto it = applied.find(entry.first);
    return it != applied.end() && it->second.incarnation == entry.second.incarnation &&
           it->second.revision >= entry.second.revision;
  });
}

// Whether some kind's revisions of the two cannot be compared.
bool apart(const Revisions& a, const Revisions& b) {
  return std::ranges::any_of(a, [&](const auto& entry) {
    const auto it = b.find(entry.first);
    return it != b.end() && it->second.incarnation != entry.second.incarnation;
  });
}

}  // namespace

void ApplyClock::sent(const Revisions& revisions, Time now) {
  if (revisions.empty()) return;
  std::erase_if(batches_, [&](const Batch& batch) { return apart(batch.revisions, revisions); });
  batches_.push_back({revisions, now});
  if (batches_.size() > kMaxBatches) batches_.pop_front();
}

std::vector<std::chrono::duration<double>> ApplyClock::applied(const Revisions& revisions, Time now) {
  std::vector<std::chrono::duration<double>> times;
  while (!batches_.empty() && reaches(revisions, batches_.front().revisions)) {
    times.emplace_back(now - batches_.front().sent);
    batches_.pop_front();
  }
  return times;
}

}  // namespace ocicat::agent
