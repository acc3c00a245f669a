#include "policy/set_space.h"

#include <algorithm>

namespace ocicat::policy {

SetId SetSpace::create(const Digest& meaning) {
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
  resting_.push_back(id);
}

void SetSpace::end_batch() {
  free_.insert(free_.end(), resting_.begin(), resting_.end());
  resting_.clear();
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
