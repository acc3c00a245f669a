// Ascending lists of numbers, each kept once, and packed.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/varint.h"
#include "policy/sequence_pool.h"

namespace ocicat::policy {

// As SequencePool, for lists that are short or dense: a random half of a thousand numbers takes 250 bytes,
// two numbers take four.
//
// Packed, a list tells of each eight numbers, 8n to 8n + 7, of which some are in it: how many eights were
// left out since the one before, as a varint, and which numbers, a bit each.
class PackedPool {
 public:
  using Id = BytesPool::Id;
  using Acquired = BytesPool::Acquired;

  // One more user for the list. O(length).
  Acquired acquire(std::span<const std::uint32_t> numbers);
  // What two lists have in common goes, packed, behind other bytes: lists that are worked out first can all
  // be waited for at once.
  void append_common(Id one, Id other, std::vector<std::uint8_t>& bytes) const;
  void expect_packed(std::span<const std::uint8_t> list) const { pool_.expect(list); }
  Acquired acquire_packed(std::span<const std::uint8_t> list) { return pool_.acquire(list); }
  void retain(Id id) { pool_.retain(id); }
  // One user fewer; true where that was the last.
  bool release(Id id) { return pool_.release(id); }

  // In ascending order.
  template <class Visit>
  void for_each(Id id, Visit visit) const {
    const auto bytes = pool_[id];
    std::uint32_t eight = 0;
    for (const auto *at = bytes.data(), *end = at + bytes.size(); at != end; ++eight) {
      eight += read_varint(at);
      for (unsigned left = *at++; left != 0; left &= left - 1) {
        visit(eight * 8 + static_cast<std::uint32_t>(std::countr_zero(left)));
      }
    }
  }
  std::vector<std::uint32_t> operator[](Id id) const;
  // The id of a list that is in use, or 0.
  Id find(std::span<const std::uint32_t> numbers) const;
  // Bytes that its numbers take.
  std::size_t packed_size(Id id) const { return pool_[id].size(); }
  // As those of SequencePool.
  void expect_entry(Id id) const { pool_.expect_entry(id); }
  void expect_items(Id id) const { pool_.expect_items(id); }
  void expect_slot(Id id) const { pool_.expect_slot(id); }
  // Ids in use are below this.
  std::size_t bound() const { return pool_.bound(); }
  std::size_t size() const { return pool_.size(); }

 private:
  const std::vector<std::uint8_t>& pack(std::span<const std::uint32_t> numbers) const;

  BytesPool pool_;
  mutable std::vector<std::uint8_t> packed_;
};

}  // namespace ocicat::policy
