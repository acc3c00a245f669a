#include "policy/sequence_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

template <class Item>
std::size_t ListPool<Item>::Hash::operator()(std::span<const Item> items) const {
  __extension__ using Wide = unsigned __int128;
  std::uint64_t state = 0x9e3779b97f4a7c15ULL ^ items.size();
  const auto mix = [&](std::uint64_t word) {
    const Wide product = Wide{state ^ word} * Wide{0xe7037ed1a0b428dbULL};
    state = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  const auto bytes = std::as_bytes(items);
  std::uint64_t word = 0;
  std::size_t at = 0;
  for (; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, &bytes[at], sizeof word);
    mix(word);
  }
  if (at == bytes.size()) return state;
  word = 0;
  std::memcpy(&word, &bytes[at], bytes.size() - at);
  mix(word);
  return state;
}

template <class Item>
bool ListPool<Item>::Equal::operator()(std::span<const Item> items, Id id) const {
  return std::ranges::equal(items, (*pool)[id]);
}

template <class Item>
ListPool<Item>::ListPool() : index_(0, Hash{this}, Equal{this}) {
  entries_.push_back({.items = nullptr, .length = 0, .users = 1});
}

template <class Item>
ListPool<Item>::Acquired ListPool<Item>::acquire(std::span<const Item> items) {
  if (items.empty()) return {0, false};
  if (const auto it = index_.find(items); it != index_.end()) {
    ++entries_[*it].users;
    return {*it, false};
  }
  Id id = 0;
  if (free_ids_.empty()) {
    id = static_cast<Id>(entries_.size());
    entries_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  auto* memory = allocate(items.size());
  std::ranges::copy(items, memory);
  entries_[id] = {.items = memory, .length = static_cast<std::uint32_t>(items.size()), .users = 1};
  index_.insert(id);
  return {id, true};
}

template <class Item>
void ListPool<Item>::retain(Id id) {
  if (id != 0) ++entries_[id].users;
}

template <class Item>
bool ListPool<Item>::release(Id id) {
  if (id == 0) return false;
  auto& entry = entries_[id];
  CHECK(entry.users > 0);
  if (--entry.users > 0) return false;
  index_.erase(id);
  deallocate(entry.items, entry.length);
  entry = {};
  free_ids_.push_back(id);
  return true;
}

template <class Item>
ListPool<Item>::Id ListPool<Item>::find(std::span<const Item> items) const {
  const auto it = index_.find(items);
  return it == index_.end() ? 0 : *it;
}

template <class Item>
Item* ListPool<Item>::allocate(std::size_t length) {
  if (length > kLongest) {
    auto own = std::make_unique_for_overwrite<Item[]>(length);
    auto* items = own.get();
    long_lists_.emplace(items, std::move(own));
    return items;
  }
  if (length < free_items_.size() && !free_items_[length].empty()) {
    auto* items = free_items_[length].back();
    free_items_[length].pop_back();
    return items;
  }
  if (chunk_used_ + length > kChunk) {
    chunks_.push_back(std::make_unique_for_overwrite<Item[]>(kChunk));
    chunk_used_ = 0;
  }
  auto* items = chunks_.back().get() + chunk_used_;
  chunk_used_ += length;
  return items;
}

template <class Item>
void ListPool<Item>::deallocate(Item* items, std::size_t length) {
  if (length > kLongest) {
    long_lists_.erase(items);
    return;
  }
  if (free_items_.size() <= length) free_items_.resize(length + 1);
  free_items_[length].push_back(items);
}

template class ListPool<std::uint32_t>;
template class ListPool<std::uint8_t>;

}  // namespace ocicat::policy
