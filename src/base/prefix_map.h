// Values by prefix, and which prefixes hold an address.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "base/ip.h"

namespace ocicat {

// Both families. Prefixes are masked; what is asked by an unmasked one is not there.
//
//   cost   of an address, one hash look-up for each length that prefixes of its family have: few, as people
//   choose them
template <class Value>
class PrefixMap {
 public:
  using Entries = boost::unordered_flat_map<Prefix, Value>;

  // Valid until the next change. True where it was not there.
  std::pair<Value*, bool> try_emplace(const Prefix& prefix) {
    const auto [it, is_new] = entries_.try_emplace(prefix);
    if (is_new) ++lengths_of(prefix.family())[prefix.length];
    return {&it->second, is_new};
  }
  void erase(const Prefix& prefix) {
    if (entries_.erase(prefix) == 0) return;
    auto& lengths = lengths_of(prefix.family());
    if (const auto it = lengths.find(prefix.length); --it->second == 0) lengths.erase(it);
  }

  // Null where it is not there.
  const Value* find(const Prefix& prefix) const {
    const auto it = entries_.find(prefix);
    return it == entries_.end() ? nullptr : &it->second;
  }
  Value* find(const Prefix& prefix) { return const_cast<Value*>(std::as_const(*this).find(prefix)); }
  // Calls `visit(prefix, value)` for those that hold the address, the longest first, until it says true.
  template <class Visit>
  void visit_covering(const IpAddress& address, Visit visit) const {
    for (const auto& [length, count] : lengths_[index_of(address.family())]) {
      const auto it = entries_.find(Prefix{address, length}.masked());
      if (it != entries_.end() && visit(it->first, it->second)) return;
    }
  }
  // The value of the longest that holds the address; null: none does.
  const Value* longest(const IpAddress& address) const {
    const Value* found = nullptr;
    visit_covering(address, [&](const Prefix&, const Value& value) { return found = &value; });
    return found;
  }

  // In no order.
  const Entries& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }

 private:
  static std::size_t index_of(Family family) { return family == Family::kIpv4 ? 0 : 1; }
  auto& lengths_of(Family family) { return lengths_[index_of(family)]; }

  Entries entries_;
  // By family: how many prefixes have a length, the longest first.
  std::array<std::map<std::uint8_t, std::size_t, std::greater<>>, 2> lengths_;
};

}  // namespace ocicat
