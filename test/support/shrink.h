// Makes a failing input small enough to read: delta debugging (Zeller and Hildebrandt, 2002).
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace ocicat::test {

// The items that are left when no run of them, of any length tried, can be taken out any more and `fails`
// still hold. `fails` holds for all of them. At most `budget` calls; then what has been reached by then.
template <class Item, class Fails>
std::vector<Item> shrink(std::vector<Item> items, Fails fails, std::size_t budget = 2'000) {
  for (std::size_t chunk = std::max<std::size_t>(items.size() / 2, 1); !items.empty();
       chunk = (chunk + 1) / 2) {
    bool shorter = false;
    // From the end, where what is taken out most rarely matters to what comes before.
    for (auto end = items.size(); end > 0 && budget > 0;) {
      const auto begin = end > chunk ? end - chunk : 0;
      std::vector<Item> rest(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(begin));
      rest.insert(rest.end(), items.begin() + static_cast<std::ptrdiff_t>(end), items.end());
      --budget;
      if (fails(rest)) {
        items = std::move(rest);
        shorter = true;
      }
      end = begin;
    }
    if (budget == 0 || (chunk == 1 && !shorter)) break;
  }
  return items;
}

}  // namespace ocicat::test
