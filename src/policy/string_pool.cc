#include "policy/string_pool.h"

#include "base/result.h"

namespace ocicat::policy {

StringPool::StringPool() : index_(0, Hash{this}, Equal{this}) {
  entries_.emplace_back();
}

StringPool::Id StringPool::acquire(std::string_view text) {
  if (const auto it = index_.find(text); it != index_.end()) {
    ++entries_[*it].users;
    return *it;
  }
  Id id = 0;
  if (free_ids_.empty()) {
    id = static_cast<Id>(entries_.size());
    entries_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  entries_[id] = {.text = std::string{text}, .users = 1};
  index_.insert(id);
  return id;
}

bool StringPool::release(Id id) {
  auto& entry = entries_[id];
  CHECK(entry.users > 0);
  if (--entry.users > 0) return false;
  index_.erase(id);
  entry.text = std::string{};
  free_ids_.push_back(id);
  return true;
}

StringPool::Id StringPool::find(std::string_view text) const {
  const auto it = index_.find(text);
  return it == index_.end() ? 0 : *it;
}

}  // namespace ocicat::policy
