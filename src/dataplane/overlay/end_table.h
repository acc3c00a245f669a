// One of the two tables that the kernel has of the other ends of a tunnel: what is wanted of it, what is there,
// and what has to be written. Of several hosts that want one key the first has it. Pure but for what it is
// given to write by.
//
//   cost     of a change: what it changes
//   errors   what failed counts as not there and is tried again; the others are written all the same
#pragma once

#include <boost/container/flat_map.hpp>
#include <boost/unordered/unordered_flat_map.hpp>

#include <set>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace ocicat::dataplane {

template <class Key, class Value>
class EndTable {
 public:
  using Table = boost::unordered_flat_map<Key, Value>;

  void want(const Key& key, const IpAddress& host, const Value& value) {
    wanted_[key].insert_or_assign(host, value);
    differing_.insert(key);
  }
  void leave(const Key& key, const IpAddress& host) {
    differing_.insert(key);
    const auto found = wanted_.find(key);
    if (found == wanted_.end()) return;
    found->second.erase(host);
    if (found->second.empty()) wanted_.erase(found);
  }

  // The kernel holds this and nothing else.
  void learn(Table there) {
    for (const auto& [key, value] : there) {
      const auto* known = this->there(key);
      if (known == nullptr || *known != value) differing_.insert(key);
    }
    for (const auto& [key, value] : there_) {
      if (!there.contains(key)) differing_.insert(key);
    }
    there_ = std::move(there);
  }

  // nullptr: nothing.
  const Value* there(const Key& key) const {
    const auto found = there_.find(key);
    return found == there_.end() ? nullptr : &found->second;
  }
  const Value* wanted(const Key& key) const {
    const auto found = wanted_.find(key);
    return found == wanted_.end() ? nullptr : &found->second.begin()->second;
  }
  std::vector<IpAddress> hosts_of(const Key& key) const {
    std::vector<IpAddress> hosts;
    if (const auto found = wanted_.find(key); found != wanted_.end()) {
      for (const auto& [host, value] : found->second) hosts.push_back(host);
    }
    return hosts;
  }
  bool is_as_wanted(const Key& key) const {
    const auto *is = there(key), *goal = wanted(key);
    return is != nullptr && goal != nullptr && *is == *goal;
  }

  // Where the kernel may hold what is not wanted, or lack what is.
  const std::set<Key>& differing() const { return differing_; }
  // How many entries are there as wanted.
  std::size_t size() const {
    std::size_t size = there_.size();
    for (const auto& key : differing_) size -= there_.contains(key) && !is_as_wanted(key);
    return size;
  }

  // What is to come. It replaces what is there under the same key.
  template <class Add>
  Result<void> bring(Add add) {
    return settle([&](const Key& key) -> Result<void> {
      const auto* goal = wanted(key);
      if (goal == nullptr || is_as_wanted(key)) return {};
      there_.erase(key);
      TRY_VOID(add(key, *goal));
      there_.insert_or_assign(key, *goal);
      return {};
    });
  }
  // What is to go.
  template <class Remove>
  Result<void> take_away(Remove remove) {
    return settle([&](const Key& key) -> Result<void> {
      const auto* is = there(key);
      if (is == nullptr || wanted(key) != nullptr) return {};
      TRY_VOID(remove(key, *is));
      there_.erase(key);
      return {};
    });
  }

 private:
  // The first error.
  template <class Act>
  Result<void> settle(Act act) {
    Result<void> first;
    for (auto it = differing_.begin(); it != differing_.end();) {
      const auto done = act(*it);
      if (!done && first) first = done;
      const bool settled = wanted(*it) == nullptr ? there(*it) == nullptr : is_as_wanted(*it);
      it = settled ? differing_.erase(it) : std::next(it);
    }
    return first;
  }

  // By the hosts that want it, ascending: mostly one.
  boost::unordered_flat_map<Key, boost::container::flat_map<IpAddress, Value>> wanted_;
  Table there_;
  std::set<Key> differing_;
};

}  // namespace ocicat::dataplane
