// Finds things that have ids by what they are: a hash table of ids alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"

namespace ocicat::policy {

// Ids are never 0. Beside each stands the hash of its thing, so growing looks at no thing, and things that
// come and go for years leave nothing behind that would have to be cleared away: slots are ordered by their
// hashes (linear probing, Robin Hood), and close up when one is left.
//
//   memory   8 bytes a slot, of which at most six in seven are taken
//   cost     one cache line as a rule; growing, eight bytes an id
class IdIndex {
 public:
  using Id = std::uint32_t;

  // The id with this hash of which `is_it(id)` says that it is the one; 0 where there is none.
  template <class IsIt>
  Id find(std::uint32_t hash, IsIt is_it) const {
    if (slots_.empty()) return 0;
    std::size_t at = home(hash);
    for (std::size_t far = 0; far <= distance(at); ++far, at = next(at)) {
      const auto& slot = slots_[at];
      if (slot.id == 0) return 0;
      if (slot.hash == hash && is_it(slot.id)) return slot.id;
    }
    return 0;
  }
  // Of a thing that is not in it.
  void insert(std::uint32_t hash, Id id) {
    if ((size_ + 1) * 7 > slots_.size() * 6) grow();
    ++size_;
    put({hash, id});
  }
  // Of one that is.
  void erase(std::uint32_t hash, Id id) {
    CHECK(!slots_.empty());
    auto at = home(hash);
    while (slots_[at].id != id) {
      CHECK(slots_[at].id != 0);
      at = next(at);
    }
    for (auto after = next(at); slots_[after].id != 0 && distance(after) > 0; after = next(after)) {
      slots_[at] = slots_[after];
      at = after;
    }
    slots_[at] = {};
    --size_;
  }
  // The first id with this hash, nearly always the one that find() would find; 0 where there is none.
  Id guess(std::uint32_t hash) const {
    return find(hash, [](Id) { return true; });
  }
  // Asks for the memory that find() will look at.
  void expect(std::uint32_t hash) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[home(hash)]);
  }
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    Id id = 0;  // 0: nobody's
  };

  std::size_t home(std::uint32_t hash) const { return std::uint64_t{hash} * slots_.size() >> 32; }
  std::size_t next(std::size_t at) const { return at + 1 == slots_.size() ? 0 : at + 1; }
  // How far the one there is from its home.
  std::size_t distance(std::size_t at) const {
    const auto from = home(slots_[at].hash);
    return at >= from ? at - from : at + slots_.size() - from;
  }
  void put(Slot slot) {
    std::size_t at = home(slot.hash);
    for (std::size_t far = 0; slots_[at].id != 0; ++far, at = next(at)) {
      if (const auto other = distance(at); other < far) {
        std::swap(slot, slots_[at]);
        far = other;
      }
    }
    slots_[at] = slot;
  }
  void grow() {
    auto before = std::exchange(slots_, std::vector<Slot>(slots_.size() + slots_.size() / 2 + 8));
    for (const auto& slot : before) {
      if (slot.id != 0) put(slot);
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace ocicat::policy
