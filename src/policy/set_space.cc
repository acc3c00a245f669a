#include "policy/set_space.h"

#include <endian.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ocicat::policy {

namespace {

// The digest of digests, in whatever order they are. These are as good as random: each is put about where it
// belongs, and little is left to do.
class Sorter {
 public:
  std::vector<Digest> digests;

  Digest digest() {
    begin_.assign(digests.size() + 1, 0);
    for (const auto& digest : digests) ++begin_[place(digest) + 1];
    std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
    next_ = begin_;
    sorted_.resize(digests.size());
    for (const auto& digest : digests) sorted_[next_[place(digest)]++] = digest;
    for (std::size_t at = 0; at < digests.size(); ++at) {
      if (begin_[at + 1] - begin_[at] > 1)
        std::sort(sorted_.begin() + begin_[at], sorted_.begin() + begin_[at + 1]);
    }
    return Digest::of({reinterpret_cast<const char*>(sorted_.data()), sorted_.size() * sizeof(Digest)});
  }

 private:
  std::size_t place(const Digest& digest) const {
    std::uint32_t high = 0;
    std::memcpy(&high, digest.bytes.data(), sizeof high);
    return std::uint64_t{be32toh(high)} * digests.size() >> 32;
  }

  std::vector<Digest> sorted_;
  std::vector<std::uint32_t> begin_;  // by place
  std::vector<std::uint32_t> next_;
};

// Its memory serves the next.
Sorter& sorter() {
  thread_local Sorter one;
  one.digests.clear();
  return one;
}

}  // namespace

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
  auto& all = sorter();
  for (const auto set : signature) all.digests.push_back(sets_[set]);
  return all.digest();
}

Digest SetSpace::digest(SignatureId signature) const {
  auto& all = sorter();
  signatures.for_each(signature, [&](SetId set) { all.digests.push_back(sets_[set]); });
  return all.digest();
}

}  // namespace ocicat::policy
