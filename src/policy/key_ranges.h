// Sets of table keys as disjoint ranges.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ocicat::policy {

// Both ends included.
struct KeyRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
};

// Ascending, disjoint, no two adjacent.
inline std::vector<KeyRange> united(std::vector<KeyRange> ranges) {
  std::ranges::sort(ranges, {}, &KeyRange::first);
  std::vector<KeyRange> whole;
  for (const auto& range : ranges) {
    if (!whole.empty() && range.first <= whole.back().last + 1) {
      whole.back().last = std::max(whole.back().last, range.last);
    } else {
      whole.push_back(range);
    }
  }
  return whole;
}

// Whether a range has a key in common with ranges that are ascending and disjoint.
inline bool meets(const std::vector<KeyRange>& ranges, std::uint32_t first, std::uint32_t last) {
  if (ranges.empty() || last < ranges.front().first || first > ranges.back().last) return false;
  const auto at = std::ranges::lower_bound(ranges, first, {}, &KeyRange::last);
  return at != ranges.end() && at->first <= last;
}

// Keys that are spoken for.
class KeyCover {
 public:
  // Whether any of the range is.
  bool meets(std::uint32_t first, std::uint32_t last) const { return policy::meets(ranges_, first, last); }
  bool covers(std::uint32_t first, std::uint32_t last) const {
    const auto at = std::ranges::lower_bound(ranges_, first, {}, &KeyRange::last);
    return at != ranges_.end() && at->first <= first && last <= at->last;
  }
  // Calls with each stretch of the range that is not, in order.
  template <class Visit>
  void for_each_gap(std::uint32_t first, std::uint32_t last, Visit visit) const {
    for (auto at = std::ranges::lower_bound(ranges_, first, {}, &KeyRange::last);
         at != ranges_.end() && at->first <= last; ++at) {
      if (first < at->first) visit(first, at->first - 1);
      if (at->last >= last) return;
      first = at->last + 1;
    }
    visit(first, last);
  }
  void add(std::uint32_t first, std::uint32_t last) {
    if (covers(first, last)) return;
    auto begin = std::ranges::lower_bound(ranges_, first == 0 ? 0 : first - 1, {}, &KeyRange::last);
    auto end = begin;
    for (; end != ranges_.end() && end->first <= last + 1; ++end) {
      first = std::min(first, end->first);
      last = std::max(last, end->last);
    }
    begin = ranges_.erase(begin, end);
    ranges_.insert(begin, {first, last});
  }

 private:
  std::vector<KeyRange> ranges_;  // ascending, disjoint, no two adjacent
};

}  // namespace ocicat::policy
