// Short lists of numbers, each kept once.
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
class SequencePool {
 public:
  using Id = std::uint32_t;

  SequencePool();
  SequencePool(const SequencePool&) = delete;
  SequencePool& operator=(const SequencePool&) = delete;

  struct Acquired {
    Id id;
    bool is_new;
  };
  // One more user for the list. O(length).
  Acquired acquire(std::span<const std::uint32_t> items);
  void retain(Id id);
  // One user fewer; true where that was the last.
  bool release(Id id);

  std::span<const std::uint32_t> operator[](Id id) const {
    const auto& entry = entries_[id];
    return {entry.items, entry.length};
  }
  // The id of a list that is in use, or 0.
  Id find(std::span<const std::uint32_t> items) const;
  std::uint32_t users(Id id) const { return entries_[id].users; }
  // Whether the id is in use.
  bool contains(Id id) const { return id < entries_.size() && entries_[id].users > 0; }
  // Ids in use are below this.
  std::size_t bound() const { return entries_.size(); }
  std::size_t size() const { return index_.size(); }

 private:
  struct Entry {
    std::uint32_t* items = nullptr;
    std::uint32_t length = 0;
    std::uint32_t users = 0;
  };
  struct Hash {
    using is_transparent = void;
    const SequencePool* pool;
    std::size_t operator()(Id id) const { return (*this)((*pool)[id]); }
    std::size_t operator()(std::span<const std::uint32_t> items) const;
  };
  struct Equal {
    using is_transparent = void;
    const SequencePool* pool;
    bool operator()(Id a, Id b) const { return a == b; }
    bool operator()(std::span<const std::uint32_t> items, Id id) const;
    bool operator()(Id id, std::span<const std::uint32_t> items) const { return (*this)(items, id); }
  };

  std::uint32_t* allocate(std::size_t length);
  void deallocate(std::uint32_t* items, std::size_t length);

  static constexpr std::size_t kChunk = 4096;   // words
  static constexpr std::size_t kLongest = 128;  // words; longer lists have memory of their own

  std::deque<Entry> entries_;  // grows without a copy
  std::vector<Id> free_ids_;
  boost::unordered_flat_set<Id, Hash, Equal> index_;
  std::vector<std::unique_ptr<std::uint32_t[]>> chunks_;
  std::size_t chunk_used_ = kChunk;
  std::vector<std::vector<std::uint32_t*>> free_items_;  // by length
  boost::unordered_flat_map<const std::uint32_t*, std::unique_ptr<std::uint32_t[]>> long_lists_;
};

}  // namespace ocicat::policy
