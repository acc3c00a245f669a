#include "policy/set_space.h"

#include <endian.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ocicat::policy {

namespace {

// Digests are as good as random: each is put about where it belongs, and little is left to do.
std::vector<Digest> sorted(std::span<const Digest> digests) {
  const auto place = [&](const Digest& digest) -> std::size_t {
    std::uint32_t high = 0;
    std::memcpy(&high, digest.bytes.data(), sizeof high);
    return std::uint64_t{be32toh(high)} * digests.size() >> 32;
  };
  std::vector<std::uint32_t> begin(digests.size() + 1);
  for (const auto& digest : digests) ++begin[place(digest) + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::vector<Digest> sorted(digests.size());
  auto next = begin;
  for (const auto& digest : digests) sorted[next[place(digest)]++] = digest;
  for (std::size_t at = 0; at < digests.size(); ++at) {
    if (begin[at + 1] - begin[at] > 1) std::sort(sorted.begin() + begin[at], sorted.begin() + begin[at + 1]);
  }
  return sorted;
}

Digest digest_of(std::span<const Digest> digests) {
  const auto in_order = sorted(digests);
  return Digest::of({reinterpret_cast<const char*>(in_order.data()), in_order.size() * sizeof(Digest)});
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
  std::vector<Digest> digests;
  digests.reserve(signature.size());
  for (const auto set : signature) digests.push_back(sets_[set]);
  return digest_of(digests);
}

Digest SetSpace::digest(SignatureId signature) const {
  std::vector<Digest> digests;
  signatures.for_each(signature, [&](SetId set) { digests.push_back(sets_[set]); });
  return digest_of(digests);
}

}  // namespace ocicat::policy
