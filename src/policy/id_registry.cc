#include "policy/id_registry.h"

#include <algorithm>

#include "base/result.h"

namespace ocicat::policy {

IdRegistry::IdRegistry(const Dictionary& adopted) {
  for (auto& space : spaces_) space.entries.resize(1);
  for (const auto& [key, id] : adopted) {
    auto& space = of(key.space);
    if (id == 0 || !space.unclaimed.emplace(key.meaning, id).second) continue;
    if (space.reserved.size() <= id) space.reserved.resize(id + 1);
    space.reserved[id] = true;
  }
}

std::uint32_t IdRegistry::take_free_id(Space& space) {
  if (space.free_ids.size() > kRest) {
    const auto id = space.free_ids.front();
    space.free_ids.pop_front();
    return id;
  }
  // Adopted ids lie among the others and are passed over.
  while (space.entries.size() < space.reserved.size() && space.reserved[space.entries.size()]) {
    space.entries.emplace_back();
  }
  space.entries.emplace_back();
  return static_cast<std::uint32_t>(space.entries.size() - 1);
}

std::uint32_t IdRegistry::take(IdSpace name, const Digest& meaning) {
  auto& space = of(name);
  std::uint32_t id = 0;
  if (const auto it = space.unclaimed.find(meaning); it != space.unclaimed.end()) {
    id = it->second;
    space.unclaimed.erase(it);
    if (space.entries.size() <= id) {
      // Ids passed over on the way are free unless adopted too.
      for (auto passed = space.entries.size(); passed < id; ++passed) {
        if (!space.reserved[passed]) space.free_ids.push_back(static_cast<std::uint32_t>(passed));
      }
      space.entries.resize(id + 1);
    }
  } else {
    id = take_free_id(space);
  }
  space.entries[id] = {.meaning = meaning, .users = 1};
  ++space.in_use;
  changes_.update({name, meaning}, id);
  return id;
}

void IdRegistry::retain(IdSpace name, std::uint32_t id) {
  auto& entry = of(name).entries[id];
  CHECK(entry.users > 0);
  ++entry.users;
}

bool IdRegistry::release(IdSpace name, std::uint32_t id) {
  auto& space = of(name);
  auto& entry = space.entries[id];
  CHECK(entry.users > 0);
  if (--entry.users > 0) return false;
  changes_.remove({name, entry.meaning});
  space.resting.push_back(id);
  --space.in_use;
  return true;
}

void IdRegistry::rename(IdSpace name, std::uint32_t id, const Digest& meaning) {
  auto& entry = of(name).entries[id];
  CHECK(entry.users > 0);
  changes_.remove({name, entry.meaning});
  entry.meaning = meaning;
  changes_.update({name, meaning}, id);
}

const Digest& IdRegistry::meaning(IdSpace space, std::uint32_t id) const {
  return of(space).entries[id].meaning;
}

std::size_t IdRegistry::size(IdSpace space) const {
  return of(space).in_use;
}

Changes<DictionaryKey, std::uint32_t> IdRegistry::end_batch() {
  for (std::size_t i = 0; i < spaces_.size(); ++i) {
    auto& space = spaces_[i];
    for (const auto& [meaning, id] : space.unclaimed) {
      changes_.remove({static_cast<IdSpace>(i), meaning});
      // One beyond all entries is found free when counting gets there.
      if (id < space.entries.size()) space.resting.push_back(id);
    }
    std::ranges::sort(space.resting);  // whatever order they came in
    space.free_ids.insert(space.free_ids.end(), space.resting.begin(), space.resting.end());
    space.resting.clear();
    space.unclaimed.clear();
    space.reserved.clear();
  }
  return std::exchange(changes_, {});
}

}  // namespace ocicat::policy
