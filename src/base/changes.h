// What happened to a keyed collection: the only thing that travels between stations.
#pragma once

#include <absl/container/btree_map.h>

#include <concepts>
#include <map>
#include <optional>
#include <utility>

namespace ocicat {

// Each key holds its new value, or nothing where it was removed. The last word on a key wins, so the size is
// bounded by keys, not by events.
//
// Laws, held by base/changes_test.cc:
//   between(a, b) applied to a gives b
//   x.absorb(y) applied to m gives what x then y applied to m give
template <class Key, class Value>
class Changes {
 public:
  using Map = std::map<Key, Value>;                            // ordered: same input, same output
  using Entries = absl::btree_map<Key, std::optional<Value>>;  // many small values in a node

  // Keys that come in order cost one comparison each.
  template <std::convertible_to<Value> T = Value>
  void update(Key key, T&& value) {
    put(std::move(key), std::forward<T>(value));
  }
  void remove(Key key) { put(std::move(key), std::nullopt); }

  // O(|before| + |after|).
  static Changes between(const Map& before, const Map& after) {
    Changes changes;
    auto old_it = before.begin();
    auto new_it = after.begin();
    while (old_it != before.end() || new_it != after.end()) {
      if (new_it == after.end() || (old_it != before.end() && old_it->first < new_it->first)) {
        changes.remove(old_it->first);
        ++old_it;
      } else if (old_it == before.end() || new_it->first < old_it->first) {
        changes.update(new_it->first, new_it->second);
        ++new_it;
      } else {
        if (!(old_it->second == new_it->second)) changes.update(new_it->first, new_it->second);
        ++old_it;
        ++new_it;
      }
    }
    return changes;
  }

  // O(changes × log |map|).
  void apply_to(Map& map) const {
    for (const auto& [key, value] : entries_) {
      if (value) {
        map.insert_or_assign(key, *value);
      } else {
        map.erase(key);
      }
    }
  }

  // Afterwards this stands for both: first what it held, then `later`.
  void absorb(Changes later) {
    if (entries_.empty()) {
      entries_ = std::move(later.entries_);
      return;
    }
    for (auto& [key, value] : later.entries_) put(key, std::move(value));
  }

  const Entries& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  void clear() { entries_.clear(); }

  bool operator==(const Changes&) const = default;

 private:
  template <class T>
  void put(Key key, T&& value) {
    entries_.insert_or_assign(entries_.end(), std::move(key), std::forward<T>(value));
  }

  Entries entries_;
};

}  // namespace ocicat
