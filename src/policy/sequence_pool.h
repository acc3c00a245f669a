// Short lists of numbers or bytes, each kept once.
//
// The engine's memory is mostly lists that many things share: the labels of an endpoint, the sets of an
// address, the owners of a place. Equal lists have one id, so comparing them costs one comparison, and what
// follows from a list is computed once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "policy/id_index.h"

namespace ocicat::policy {

// Ids are dense and used again after their last user has gone. Id 0 is the empty list; it is never counted.
// Spans stay valid until their list goes.
//
//   memory   a list takes 12 bytes and about 11 of the index; beyond eight bytes its items lie elsewhere
template <class Item>
class ListPool {
 public:
  using Id = std::uint32_t;

  ListPool();
  ~ListPool() = default;
  ListPool(const ListPool&) = delete;
  ListPool& operator=(const ListPool&) = delete;

  struct Acquired {
    Id id;
    bool is_new;
  };
  // One more user for the list. O(length).
  Acquired acquire(std::span<const Item> items);
  void retain(Id id);
  // One user fewer; true where that was the last.
  bool release(Id id);

  std::span<const Item> operator[](Id id) const {
    const auto& entry = entries_[id];
    if (entry.kind != kFar) return {reinterpret_cast<const Item*>(entry.words.data()), entry.kind};
    return {at(entry.words[0], entry.words[1]), entry.words[1]};
  }
  // The id of a list that is in use, or 0.
  Id find(std::span<const Item> items) const;
  std::uint32_t users(Id id) const { return entries_[id].users; }
  // Asks for the memory that acquire() will look at first; and what it will find, nearly always.
  void expect(std::span<const Item> items) const { index_.expect(hash_of(items)); }
  Id guess(std::span<const Item> items) const { return index_.guess(hash_of(items)); }
  // The same by the hash of a list.
  static std::uint32_t hash_of(std::span<const Item> items);
  void expect_hash(std::uint32_t hash) const { index_.expect(hash); }
  Id guess_hash(std::uint32_t hash) const { return index_.guess(hash); }
  // Asks for the memory that acquire() and release() of a list will look at: in three steps, each of which
  // looks at what the one before asked for, so that many lists can be waited for at once.
  void expect_entry(Id id) const { __builtin_prefetch(&entries_[id]); }
  void expect_items(Id id) const { __builtin_prefetch((*this)[id].data()); }
  void expect_slot(Id id) const { index_.expect(hash_of((*this)[id])); }
  // Whether the id is in use.
  bool contains(Id id) const { return id < entries_.size() && entries_[id].users > 0; }
  // Ids in use are below this.
  std::size_t bound() const { return entries_.size(); }
  std::size_t size() const { return index_.size(); }

 private:
  static constexpr std::uint32_t kNear = 8 / sizeof(Item);  // so many items lie in the entry
  static constexpr std::uint32_t kFar = kNear + 1;
  struct Entry {
    std::array<std::uint32_t, 2> words{};  // the items; where they are far, their place and how many they are
    std::uint32_t users : 28 = 0;
    std::uint32_t kind : 4 = 0;  // kFar, or how many items are near
  };
  static constexpr std::uint32_t kMostUsers = (1U << 28) - 1;
  static constexpr std::uint32_t kChunk = 16'384 / sizeof(Item);
  static constexpr std::size_t kLongest = 512 / sizeof(Item);  // longer lists have memory of their own

  Id find(std::span<const Item> items, std::uint32_t hash) const;
  Entry entry_of(std::span<const Item> items);
  std::uint32_t allocate(std::size_t length);
  void deallocate(std::uint32_t place, std::size_t length);
  const Item* at(std::uint32_t place, std::size_t length) const {
    return length > kLongest ? long_lists_[place].get() : chunks_[place / kChunk].get() + place % kChunk;
  }

  std::deque<Entry> entries_;  // grows without a copy
  std::vector<Id> free_ids_;
  IdIndex index_;
  // A place of items is one of all chunks' items, or of long lists.
  std::vector<std::unique_ptr<Item[]>> chunks_;
  std::uint32_t chunk_used_ = kChunk;
  std::vector<std::vector<std::uint32_t>> free_places_;  // by length
  std::vector<std::unique_ptr<Item[]>> long_lists_;
  std::vector<std::uint32_t> free_long_;
};

using SequencePool = ListPool<std::uint32_t>;
using BytesPool = ListPool<std::uint8_t>;
extern template class ListPool<std::uint32_t>;
extern template class ListPool<std::uint8_t>;

}  // namespace ocicat::policy
