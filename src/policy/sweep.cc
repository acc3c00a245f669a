#include "policy/sweep.h"

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

// Stretches that lie over each other with different source ports, cut so that each key is in one stretch.
std::vector<Cell> flattened(std::vector<Cell> cells) {
  const auto stretch = [](const Cell& cell) { return std::pair{cell.first, cell.last}; };
  if (!std::ranges::is_sorted(cells, {}, stretch)) std::ranges::sort(cells, {}, stretch);
  const auto meets_next = [](const Cell& cell, const Cell& next) { return cell.last >= next.first; };
  if (std::ranges::adjacent_find(cells, meets_next) == cells.end()) return cells;
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

// Neighbours with one thought made one.
void tidy_sources(std::vector<SourceCell>& parts) {
  std::ranges::sort(parts, {}, &SourceCell::first);
  std::size_t kept = 0;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[kept].thought == parts[i].thought && parts[kept].last + 1 == parts[i].first) {
      parts[kept].last = parts[i].last;
    } else {
      parts[++kept] = parts[i];
    }
  }
  parts.resize(kept + 1);
}

}  // namespace

Sweep::Sweep(ThoughtId start, const std::vector<KeyRange>& where, const KeyRange& window) : window_(window) {
  open_.reserve(where.size());
  for (const auto& [first, last] : where) open_.push_back({first, last, start, {}});
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
  const bool all = window_.first == 0 && window_.last == kLastSourcePort;
  std::vector<Cell> cells;
  for (auto& cell : flattened(std::exchange(decided_, {}))) {
    if (!cell.by_source.empty()) {
      tidy_sources(cell.by_source);
      const auto part = cell.by_source.front();
      if (is_window(part.first, part.last)) {
        cell.thought = part.thought;
        cell.by_source.clear();
      }
    }
    if (!cells.empty() && cells.back().last + 1 == cell.first && cells.back().same_answer(cell)) {
      cells.back().last = cell.last;
    } else {
      cells.push_back(std::move(cell));
    }
  }
  if (all) return cells;
  for (auto& cell : cells) {
    if (cell.by_source.empty()) {
      cell.by_source.push_back({window_.first, window_.last, std::exchange(cell.thought, 0)});
    }
  }
  return cells;
}

}  // namespace ocicat::policy
