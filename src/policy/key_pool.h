// Keys of resources as dense numbers, in a tenth of the memory.
#pragma once

#include <cstdint>
#include <vector>

#include "policy/sequence_pool.h"
#include "resources/kinds.h"

namespace ocicat::policy {

class KeyPool {
 public:
  using Id = SequencePool::Id;  // from 1

  // One more user for the number of a key.
  SequencePool::Acquired acquire(const ResourceKey& key) { return pool_.acquire(pack(key)); }
  // One user fewer.
  void release(Id id) { pool_.release(id); }
  // 0 where there is none.
  Id find(const ResourceKey& key) const { return pool_.find(pack(key)); }
  ResourceKey operator[](Id id) const;
  // As those of SequencePool.
  void expect(const ResourceKey& key) const { pool_.expect(pack(key)); }
  Id guess(const ResourceKey& key) const { return pool_.guess(pack(key)); }
  void expect_entry(Id id) const { pool_.expect_entry(id); }
  void expect_items(Id id) const { pool_.expect_items(id); }
  std::size_t size() const { return pool_.size(); }

 private:
  const std::vector<std::uint32_t>& pack(const ResourceKey& key) const;

  SequencePool pool_;
  mutable std::vector<std::uint32_t> packed_;
};

}  // namespace ocicat::policy
