#include "policy/set_space.h"

#include <algorithm>

namespace ocicat::policy {

SetId SetSpace::create(const Digest& meaning) {
  if (const auto it = resting_by_meaning_.find(meaning); it != resting_by_meaning_.end()) {
    const auto at = it->second;
    const auto id = resting_[at];
    resting_by_meaning_.erase(it);
    if (at + 1 < resting_.size()) {
      resting_[at] = resting_.back();
      resting_by_meaning_.insert_or_assign(sets_[resting_[at]], at);
    }
    resting_.pop_back();
    return id;
  }
  SetId id = 0;
  if (free_.empty()) {
    id = static_cast<SetId>(sets_.size());
    sets_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  sets_[id] = meaning;
  created_.push_back(id);
  return id;
}

void SetSpace::destroy(SetId id) {
  resting_by_meaning_.insert_or_assign(sets_[id], resting_.size());
  resting_.push_back(id);
}

void SetSpace::end_batch() {
  free_.insert(free_.end(), resting_.begin(), resting_.end());
  resting_.clear();
  resting_by_meaning_.clear();
  created_.clear();
}

Digest SetSpace::digest(std::span<const SetId> signature) const {
  std::vector<Digest> digests;
  digests.reserve(signature.size());
  for (const auto set : signature) digests.push_back(sets_[set]);
  std::ranges::sort(digests);
  return Digest::of({reinterpret_cast<const char*>(digests.data()), digests.size() * sizeof(Digest)});
}

}  // namespace ocicat::policy
