// From an ordered list of rules to disjoint intervals: what is still undecided gets smaller with every rule.
//
// The space is table keys × a window of source ports. Only where a rule divides the window is a stretch of
// keys divided over source ports; all else is one dimension.
//
//   cost     each rule: the undecided stretches that it touches
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "policy/key_ranges.h"
#include "policy/tables.h"

namespace ocicat::policy {

// How far the thinking about a packet has got: Log and Pass rules so far, and in the end the last word. A
// number whose meaning is the caller's.
using ThoughtId = std::uint32_t;

inline constexpr std::uint32_t kLastSourcePort = 0xffff;

// What a rule matches: keys and source ports, both ends included.
struct Rectangle {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t first_source = 0;
  std::uint32_t last_source = kLastSourcePort;

  bool all_sources() const { return first_source == 0 && last_source == kLastSourcePort; }
};

// Part of a stretch of keys, by source port.
struct SourceCell {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  ThoughtId thought = 0;

  bool operator==(const SourceCell&) const = default;
};

// A stretch of keys with one answer, or with one for each stretch of source ports.
struct Cell {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  ThoughtId thought = 0;
  std::vector<SourceCell> by_source;  // empty: `thought` is for all source ports

  bool same_answer(const Cell& other) const {
    return thought == other.thought && by_source == other.by_source;
  }
};

// Two answers for each key, of cells that both cover the same keys; `join(ThoughtId, ThoughtId)` makes them
// one.
template <class Join>
std::vector<Cell> overlaid(const std::vector<Cell>& left, const std::vector<Cell>& right, Join join);

class Sweep {
 public:
  // Within `where`, which is ascending and disjoint, and from these source ports, all is undecided, with one
  // thought. What lies outside is no part of it.
  explicit Sweep(ThoughtId start, const std::vector<KeyRange>& where = {{0, kLastTableKey}},
                 const KeyRange& window = {0, kLastSourcePort});

  bool done() const { return open_.empty(); }

  // `think(ThoughtId)` gives what a thought becomes where the rectangles hold.
  // It is asked once for neighbours with one thought.
  // What they cover is decided. No two of them have anything in common.
  template <class Think>
  void decide(std::span<const Rectangle> areas, Think think);
  template <class Think>
  void decide(const Rectangle& area, Think think);
  // What they cover goes on with another thought.
  template <class Think>
  void note(std::span<const Rectangle> areas, Think think);
  // What they cover waits for reopen().
  template <class Think>
  void set_aside(std::span<const Rectangle> areas, Think think);
  // Everything that is still open: decided, or only noted.
  template <class Think>
  void decide_rest(Think think);
  template <class Think>
  void note_rest(Think think);
  // What was set aside is open again.
  void reopen();

  // All of it in order, neighbours with one answer made one. Only when done().
  std::vector<Cell> take_cells();

 private:
  enum class Fate : std::uint8_t { kDecided, kOpen, kAside };
  // In place of the thought of an open stretch that is open no longer.
  static constexpr ThoughtId kGone = 0xffffffff;

  template <class Think>
  void apply(std::span<const Rectangle> areas, Fate fate, Think think);
  // True where some stretch is gone.
  template <class Think>
  bool apply(const Rectangle& area, Fate fate, Think& think);
  static bool is_gone(const Cell& cell) { return cell.thought == kGone; }
  // The stretches within [first, last] after cutting at both ends: a half-open range of indices.
  std::pair<std::size_t, std::size_t> cut(std::uint32_t first, std::uint32_t last);
  bool is_window(std::uint32_t first_source, std::uint32_t last_source) const {
    return first_source <= window_.first && last_source >= window_.last;
  }

  // Of these cells one without by_source has one answer for the whole window.
  KeyRange window_;
  std::vector<Cell> open_;  // ascending, disjoint; by_source may have gaps: those are decided or aside
  std::vector<Cell> aside_;
  std::vector<Cell> decided_;
};

template <class Think>
void Sweep::apply(std::span<const Rectangle> areas, Fate fate, Think think) {
  ThoughtId before = kGone;
  ThoughtId after = 0;
  const auto think_once = [&](ThoughtId thought) {
    if (thought != before) {
      before = thought;
      after = think(thought);
    }
    return after;
  };
  bool gaps = false;
  for (const auto& area : areas) gaps |= apply(area, fate, think_once);
  if (gaps) std::erase_if(open_, is_gone);
}

template <class Think>
bool Sweep::apply(const Rectangle& area, Fate fate, Think& think) {
  const auto [begin, end] = cut(area.first, area.last);
  bool gaps = false;
  auto& elsewhere = fate == Fate::kAside ? aside_ : decided_;
  for (auto i = begin; i < end; ++i) {
    auto& cell = open_[i];
    if (is_gone(cell)) continue;
    if (cell.by_source.empty() && is_window(area.first_source, area.last_source)) {
      cell.thought = think(cell.thought);
      if (fate == Fate::kOpen) continue;
      elsewhere.push_back(cell);
      cell.thought = kGone;
      gaps = true;
      continue;
    }
    std::vector<SourceCell> before;
    before.swap(cell.by_source);
    if (before.empty()) before.push_back({window_.first, window_.last, cell.thought});
    Cell hit{cell.first, cell.last, 0, {}};
    for (const auto& part : before) {
      const auto first = std::max(part.first, area.first_source);
      const auto last = std::min(part.last, area.last_source);
      if (first > last) {
        cell.by_source.push_back(part);
        continue;
      }
      if (part.first < first) cell.by_source.push_back({part.first, first - 1, part.thought});
      const SourceCell middle{first, last, think(part.thought)};
      (fate == Fate::kOpen ? cell.by_source : hit.by_source).push_back(middle);
      if (last < part.last) cell.by_source.push_back({last + 1, part.last, part.thought});
    }
    cell.thought = 0;
    if (!hit.by_source.empty()) elsewhere.push_back(std::move(hit));
    if (!cell.by_source.empty()) continue;
    cell.thought = kGone;
    gaps = true;
  }
  return gaps;
}

// The stretches of source ports that a cell has, one where it does not tell them apart.
inline std::vector<SourceCell> source_cells(const Cell& cell) {
  if (!cell.by_source.empty()) return cell.by_source;
  return {{0, kLastSourcePort, cell.thought}};
}

template <class Join>
std::vector<Cell> overlaid(const std::vector<Cell>& left, const std::vector<Cell>& right, Join join) {
  std::vector<Cell> both;
  for (auto l = left.begin(), r = right.begin(); l != left.end() && r != right.end();) {
    Cell cell{std::max(l->first, r->first), std::min(l->last, r->last), 0, {}};
    if (l->by_source.empty() && r->by_source.empty()) {
      cell.thought = join(l->thought, r->thought);
    } else {
      const auto ls = source_cells(*l);
      const auto rs = source_cells(*r);
      for (std::size_t i = 0, j = 0; i < ls.size() && j < rs.size();) {
        const auto last = std::min(ls[i].last, rs[j].last);
        cell.by_source.push_back(
            {std::max(ls[i].first, rs[j].first), last, join(ls[i].thought, rs[j].thought)});
        if (ls[i].last == last) ++i;
        if (rs[j].last == last) ++j;
      }
    }
    const auto last = cell.last;
    if (!both.empty() && both.back().last + 1 == cell.first && both.back().same_answer(cell)) {
      both.back().last = last;
    } else {
      both.push_back(std::move(cell));
    }
    if (l->last == last) ++l;
    if (r->last == last) ++r;
  }
  return both;
}

template <class Think>
void Sweep::decide(std::span<const Rectangle> areas, Think think) {
  apply(areas, Fate::kDecided, think);
}

template <class Think>
void Sweep::decide(const Rectangle& area, Think think) {
  apply(std::span(&area, 1), Fate::kDecided, think);
}

template <class Think>
void Sweep::note(std::span<const Rectangle> areas, Think think) {
  apply(areas, Fate::kOpen, think);
}

template <class Think>
void Sweep::set_aside(std::span<const Rectangle> areas, Think think) {
  apply(areas, Fate::kAside, think);
}

template <class Think>
void Sweep::decide_rest(Think think) {
  const Rectangle all{0, kLastTableKey};
  apply(std::span(&all, 1), Fate::kDecided, think);
}

template <class Think>
void Sweep::note_rest(Think think) {
  const Rectangle all{0, kLastTableKey};
  apply(std::span(&all, 1), Fate::kOpen, think);
}

}  // namespace ocicat::policy
