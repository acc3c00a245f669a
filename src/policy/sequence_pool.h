// Short lists of numbers or bytes, each kept once.
//
// The engine's memory is mostly lists that many things share: the labels of an endpoint, the sets of an
// address, the owners of a place. Equal lists have one id, so comparing them costs one comparison, and what
// follows from a list is computed once.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

namespace ocicat::policy {

// Ids are dense and used again after their last user has gone. Id 0 is the empty list; it is never counted.
// Spans stay valid until their list goes. Neither copied nor moved: the index refers to the pool.
template <class Item>
class ListPool {
 public:
  using Id = std::uint32_t;

  ListPool();
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
    return {entry.items, entry.length};
  }
  // The id of a list that is in use, or 0.
  Id find(std::span<const Item> items) const;
  std::uint32_t users(Id id) const { return entries_[id].users; }
  // Whether the id is in use.
  bool contains(Id id) const { return id < entries_.size() && entries_[id].users > 0; }
  // Ids in use are below this.
  std::size_t bound() const { return entries_.size(); }
  std::size_t size() const { return index_.size(); }

 private:
  struct Entry {
    Item* items = nullptr;
    std::uint32_t length = 0;
    std::uint32_t users = 0;
  };
  struct Hash {
    using is_transparent = void;
    const ListPool* pool;
    std::size_t operator()(Id id) const { return (*this)((*pool)[id]); }
    std::size_t operator()(std::span<const Item> items) const;
  };
  struct Equal {
    using is_transparent = void;
    const ListPool* pool;
    bool operator()(Id a, Id b) const { return a == b; }
    bool operator()(std::span<const Item> items, Id id) const;
    bool operator()(Id id, std::span<const Item> items) const { return (*this)(items, id); }
  };

  Item* allocate(std::size_t length);
  void deallocate(Item* items, std::size_t length);

  static constexpr std::size_t kChunk = 16'384 / sizeof(Item);
  static constexpr std::size_t kLongest = 512 / sizeof(Item);  // longer lists have memory of their own

  std::deque<Entry> entries_;  // grows without a copy
  std::vector<Id> free_ids_;
  boost::unordered_flat_set<Id, Hash, Equal> index_;
  std::vector<std::unique_ptr<Item[]>> chunks_;
  std::size_t chunk_used_ = kChunk;
  std::vector<std::vector<Item*>> free_items_;  // by length
  boost::unordered_flat_map<const Item*, std::unique_ptr<Item[]>> long_lists_;
};

using SequencePool = ListPool<std::uint32_t>;
using BytesPool = ListPool<std::uint8_t>;
extern template class ListPool<std::uint32_t>;
extern template class ListPool<std::uint8_t>;

}  // namespace ocicat::policy
