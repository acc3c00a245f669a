// Texts, each kept once and named by a number.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "policy/sequence_pool.h"

namespace ocicat::policy {

// A text among words: its length, then its bytes, filled up with zeros.
void append_text(std::string_view text, std::vector<std::uint32_t>& words);
// The text that begins there; `at` is moved behind it.
std::string_view read_text(std::span<const std::uint32_t> words, std::size_t& at);

// Ids are dense, from 1, and used again after their last user has gone. Neither copied nor moved.
class StringPool {
 public:
  using Id = SequencePool::Id;

  // One more user for the text.
  Id acquire(std::string_view text) { return pool_.acquire(pack(text)).id; }
  void retain(Id id) { pool_.retain(id); }
  // One user fewer; true where that was the last.
  bool release(Id id) { return pool_.release(id); }
  // The id of a text that is in use, or 0.
  Id find(std::string_view text) const { return pool_.find(pack(text)); }
  // Stays where it is while in use.
  std::string_view operator[](Id id) const {
    std::size_t at = 0;
    return read_text(pool_[id], at);
  }
  // As those of SequencePool.
  std::uint32_t hash_of(std::string_view text) const { return SequencePool::hash_of(pack(text)); }
  void expect_hash(std::uint32_t hash) const { pool_.expect_hash(hash); }
  Id guess_hash(std::uint32_t hash) const { return pool_.guess_hash(hash); }
  void expect_entry(Id id) const { pool_.expect_entry(id); }
  void expect_items(Id id) const { pool_.expect_items(id); }
  // Ids in use are below this.
  std::size_t bound() const { return pool_.bound(); }
  std::size_t size() const { return pool_.size(); }

 private:
  std::span<const std::uint32_t> pack(std::string_view text) const;

  SequencePool pool_;
  mutable std::vector<std::uint32_t> packed_;
};

}  // namespace ocicat::policy
