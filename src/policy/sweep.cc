#include "policy/sweep.h"

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

// Stretches that lie over each other with different source ports, cut so that each key is in one stretch.
std::vector<Cell> flattened(std::vector<Cell> cells) {
  std::ranges::sort(cells, {}, [](const Cell& cell) { return std::pair{cell.first, cell.last}; });
  std::vector<Cell> flat;
  flat.reserve(cells.size());
  std::vector<Cell> over;  // stretches that reach over the current key
  std::size_t next = 0;
  std::uint32_t at = 0;
  while (next < cells.size() || !over.empty()) {
    if (over.empty()) at = cells[next].first;
    for (; next < cells.size() && cells[next].first == at; ++next) over.push_back(std::move(cells[next]));
    std::uint32_t last = next < cells.size() ? cells[next].first - 1 : kLastTableKey;
    for (const auto& cell : over) last = std::min(last, cell.last);
    Cell merged{at, last, 0, {}};
    for (const auto& cell : over) {
      if (cell.by_source.empty()) {
        merged.thought = cell.thought;
      } else {
        merged.by_source.insert(merged.by_source.end(), cell.by_source.begin(), cell.by_source.end());
      }
    }
    flat.push_back(std::move(merged));
    std::erase_if(over, [&](const Cell& cell) { return cell.last == last; });
    at = last + 1;
  }
  return flat;
}

// Neighbours with one thought made one; a stretch with one answer for all source ports says it plainly.
void tidy_sources(Cell& cell) {
  if (cell.by_source.empty()) return;
  std::ranges::sort(cell.by_source, {}, &SourceCell::first);
  std::vector<SourceCell> tidy;
  for (const auto& part : cell.by_source) {
    if (!tidy.empty() && tidy.back().thought == part.thought && tidy.back().last + 1 == part.first) {
      tidy.back().last = part.last;
    } else {
      tidy.push_back(part);
    }
  }
  cell.by_source = std::move(tidy);
  const auto& part = cell.by_source.front();
  const bool all = cell.by_source.size() == 1 && part.first == 0 && part.last == kLastSourcePort;
  if (!all) return;
  cell.thought = part.thought;
  cell.by_source.clear();
}

}  // namespace

Sweep::Sweep(ThoughtId start, const std::vector<KeyRange>& where, const KeyRange& sources) {
  const bool all = sources.first == 0 && sources.last == kLastSourcePort;
  for (const auto& [first, last] : where) {
    auto& cell = open_.emplace_back(Cell{first, last, all ? start : 0, {}});
    if (!all) cell.by_source.push_back({sources.first, sources.last, start});
  }
}

std::pair<std::size_t, std::size_t> Sweep::cut(std::uint32_t first, std::uint32_t last) {
  auto begin = std::ranges::lower_bound(open_, first, {}, &Cell::last);
  if (begin != open_.end() && begin->first < first) {
    auto left = *begin;
    left.last = first - 1;
    begin->first = first;
    begin = open_.insert(begin, std::move(left)) + 1;
  }
  auto end = std::ranges::upper_bound(begin, open_.end(), last, {}, &Cell::first);
  if (end != begin && (end - 1)->last > last) {
    auto left = *(end - 1);
    left.last = last;
    (end - 1)->first = last + 1;
    const auto begin_at = begin - open_.begin();  // the insertion moves it
    end = open_.insert(end - 1, std::move(left)) + 1;
    begin = open_.begin() + begin_at;
  }
  return {static_cast<std::size_t>(begin - open_.begin()), static_cast<std::size_t>(end - open_.begin())};
}

void Sweep::reopen() {
  if (aside_.empty()) return;
  aside_.insert(aside_.end(), std::make_move_iterator(open_.begin()), std::make_move_iterator(open_.end()));
  open_.clear();
  for (auto& cell : flattened(std::exchange(aside_, {}))) {
    std::ranges::sort(cell.by_source, {}, &SourceCell::first);
    if (!open_.empty() && open_.back().same_answer(cell) && open_.back().last + 1 == cell.first) {
      open_.back().last = cell.last;
    } else {
      open_.push_back(std::move(cell));
    }
  }
}

std::vector<Cell> Sweep::take_cells() {
  CHECK(done() && aside_.empty());
  std::vector<Cell> cells;
  for (auto& cell : flattened(std::exchange(decided_, {}))) {
    tidy_sources(cell);
    if (!cells.empty() && cells.back().last + 1 == cell.first && cells.back().same_answer(cell)) {
      cells.back().last = cell.last;
    } else {
      cells.push_back(std::move(cell));
    }
  }
  return cells;
}

}  // namespace ocicat::policy
