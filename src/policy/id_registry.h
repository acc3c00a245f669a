// Hands out the ids that a kernel sees, the same ones again after a restart.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "policy/tables.h"

namespace ocicat::policy {

// One id for each meaning in use, counted. Callers know which meanings have one; they are not looked up here.
// An id whose last user goes has another meaning only after kRest others of its space became free behind it:
// batches that are absorbed into one then rarely change what an id means. Ids stay dense: there are at most
// kRest that nobody uses beyond the most that were in use at once.
class IdRegistry {
 public:
  static constexpr std::size_t kRest = 512;

  // `adopted` are ids in use by a kernel. Those that nobody asks for in the first batch go with its end.
  explicit IdRegistry(const Dictionary& adopted);

  // An id with one user, for a meaning that has none.
  std::uint32_t take(IdSpace space, const Digest& meaning);
  void retain(IdSpace space, std::uint32_t id);
  // True where that was the last user.
  bool release(IdSpace space, std::uint32_t id);
  // Gives an id in use another meaning, one that no id has; its users stay.
  void rename(IdSpace space, std::uint32_t id, const Digest& meaning);
  // Of an id in use, or whose last user has just gone.
  const Digest& meaning(IdSpace space, std::uint32_t id) const;
  // Whether the id is in use, and means that.
  bool means(IdSpace space, std::uint32_t id, const Digest& meaning) const {
    const auto& entry = of(space).entries[id];
    return entry.users > 0 && entry.meaning == meaning;
  }
  std::size_t size(IdSpace space) const;

  // Ends the batch and says what became of the dictionary since the last time.
  Changes<DictionaryKey, std::uint32_t> end_batch();

 private:
  struct Entry {
    Digest meaning;
    std::uint32_t users = 0;
  };
  struct Space {
    std::vector<Entry> entries;                                  // by id
    boost::unordered_flat_map<Digest, std::uint32_t> unclaimed;  // adopted
    std::deque<std::uint32_t> free_ids;                          // the first to be free is the first in use
    std::vector<std::uint32_t> resting;                          // free after this batch
    std::vector<bool> reserved;                                  // adopted ids, by id
    std::size_t in_use = 0;
  };
  Space& of(IdSpace space) { return spaces_[static_cast<std::size_t>(space)]; }
  const Space& of(IdSpace space) const { return spaces_[static_cast<std::size_t>(space)]; }
  static std::uint32_t take_free_id(Space& space);

  std::array<Space, kIdSpaceCount> spaces_;
  Changes<DictionaryKey, std::uint32_t> changes_;
};

}  // namespace ocicat::policy
