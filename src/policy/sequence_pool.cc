#include "policy/sequence_pool.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/result.h"
#include "base/short_hash.h"

namespace ocicat::policy {

template <class Item>
std::uint32_t ListPool<Item>::hash_of(std::span<const Item> items) {
  return short_hash(std::as_bytes(items));
}

template <class Item>
ListPool<Item>::ListPool() {
  entries_.push_back({.words = {}, .users = 1, .kind = 0});
}

// Where the list is one that nobody has yet.
template <class Item>
ListPool<Item>::Entry ListPool<Item>::entry_of(std::span<const Item> items) {
  Entry entry{.words = {}, .users = 1, .kind = kFar};
  if (items.size() <= kNear) {
    entry.kind = static_cast<std::uint32_t>(items.size()) & 0xf;
    std::memcpy(entry.words.data(), items.data(), items.size_bytes());
    return entry;
  }
  entry.words = {allocate(items.size()), static_cast<std::uint32_t>(items.size())};
  std::ranges::copy(items, const_cast<Item*>(at(entry.words[0], entry.words[1])));
  return entry;
}

template <class Item>
ListPool<Item>::Acquired ListPool<Item>::acquire(std::span<const Item> items) {
  if (items.empty()) return {0, false};
  const auto hash = hash_of(items);
  if (const auto known = find(items, hash); known != 0) {
    retain(known);
    return {known, false};
  }
  Id id = 0;
  if (free_ids_.empty()) {
    id = static_cast<Id>(entries_.size());
    entries_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  entries_[id] = entry_of(items);
  index_.insert(hash, id);
  return {id, true};
}

template <class Item>
void ListPool<Item>::retain(Id id) {
  if (id == 0) return;
  auto& entry = entries_[id];
  CHECK(entry.users < kMostUsers);
  entry.users = (entry.users + 1) & kMostUsers;
}

template <class Item>
bool ListPool<Item>::release(Id id) {
  if (id == 0) return false;
  auto& entry = entries_[id];
  CHECK(entry.users > 0);
  if (--entry.users > 0) return false;
  index_.erase(hash_of((*this)[id]), id);
  if (entry.kind == kFar) deallocate(entry.words[0], entry.words[1]);
  entry = {};
  free_ids_.push_back(id);
  return true;
}

template <class Item>
ListPool<Item>::Id ListPool<Item>::find(std::span<const Item> items) const {
  return items.empty() ? 0 : find(items, hash_of(items));
}

template <class Item>
ListPool<Item>::Id ListPool<Item>::find(std::span<const Item> items, std::uint32_t hash) const {
  return index_.find(hash, [&](Id id) { return std::ranges::equal(items, (*this)[id]); });
}

template <class Item>
std::uint32_t ListPool<Item>::allocate(std::size_t length) {
  if (length > kLongest) {
    auto own = std::make_unique_for_overwrite<Item[]>(length);
    if (free_long_.empty()) {
      long_lists_.push_back(std::move(own));
      return static_cast<std::uint32_t>(long_lists_.size() - 1);
    }
    const auto place = free_long_.back();
    free_long_.pop_back();
    long_lists_[place] = std::move(own);
    return place;
  }
  if (length < free_places_.size() && !free_places_[length].empty()) {
    const auto place = free_places_[length].back();
    free_places_[length].pop_back();
    return place;
  }
  if (chunk_used_ + length > kChunk) {
    CHECK(chunks_.size() < std::numeric_limits<std::uint32_t>::max() / kChunk);
    chunks_.push_back(std::make_unique_for_overwrite<Item[]>(kChunk));
    chunk_used_ = 0;
  }
  const auto place = static_cast<std::uint32_t>(chunks_.size() - 1) * kChunk + chunk_used_;
  chunk_used_ += static_cast<std::uint32_t>(length);
  return place;
}

template <class Item>
void ListPool<Item>::deallocate(std::uint32_t place, std::size_t length) {
  if (length > kLongest) {
    long_lists_[place].reset();
    free_long_.push_back(place);
    return;
  }
  if (free_places_.size() <= length) free_places_.resize(length + 1);
  free_places_[length].push_back(place);
}

template class ListPool<std::uint32_t>;
template class ListPool<std::uint8_t>;

}  // namespace ocicat::policy
