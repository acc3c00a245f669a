// Texts, each kept once and named by a number.
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ocicat::policy {

// Ids are dense, from 1, and used again after their last user has gone. Neither copied nor moved.
class StringPool {
 public:
  using Id = std::uint32_t;

  StringPool();
  StringPool(const StringPool&) = delete;
  StringPool& operator=(const StringPool&) = delete;

  // One more user for the text.
  Id acquire(std::string_view text);
  void retain(Id id) { ++entries_[id].users; }
  // One user fewer; true where that was the last.
  bool release(Id id);
  // The id of a text that is in use, or 0.
  Id find(std::string_view text) const;
  // Stays where it is while in use.
  const std::string& operator[](Id id) const { return entries_[id].text; }
  // Ids in use are below this.
  std::size_t bound() const { return entries_.size(); }
  std::size_t size() const { return index_.size(); }

 private:
  struct Entry {
    std::string text;
    std::uint32_t users = 0;
  };
  struct Hash {
    using is_transparent = void;
    const StringPool* pool;
    std::size_t operator()(Id id) const { return (*this)((*pool)[id]); }
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct Equal {
    using is_transparent = void;
    const StringPool* pool;
    bool operator()(Id a, Id b) const { return a == b; }
    bool operator()(std::string_view text, Id id) const { return text == (*pool)[id]; }
    bool operator()(Id id, std::string_view text) const { return text == (*pool)[id]; }
  };

  std::deque<Entry> entries_;
  std::vector<Id> free_ids_;
  boost::unordered_flat_set<Id, Hash, Equal> index_;
};

}  // namespace ocicat::policy
