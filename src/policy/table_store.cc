#include "policy/table_store.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

bool same_answer(const Interval& a, const Interval& b) {
  return a.outcome == b.outcome && a.source_ports == b.source_ports;
}

// Behind what is there; one with it where it goes on with the same answer.
void append(std::vector<Interval>& intervals, const Interval& interval) {
  if (!intervals.empty() && intervals.back().last + 1 == interval.first &&
      same_answer(intervals.back(), interval)) {
    intervals.back().last = interval.last;
  } else {
    intervals.push_back(interval);
  }
}

}  // namespace

OutcomeId TableStore::Session::outcome(ThoughtId thought) {
  if (outcomes_.size() <= thought) outcomes_.resize(thought + 1);
  auto& id = outcomes_[thought];
  if (id == 0) {
    const auto acquired = store_.ids_.acquire(IdSpace::kOutcome, compiler_.digest(thought));
    id = acquired.id;
    if (acquired.is_new) store_.outcome_changes_.update(OutcomeId{id}, compiler_.outcome(thought));
  }
  return OutcomeId{id};
}

TableStore::Session::~Session() {
  for (const auto id : outcomes_) {
    if (id != 0) store_.release_outcome(OutcomeId{id});
  }
}

void TableStore::release_outcome(OutcomeId id) {
  if (ids_.release(IdSpace::kOutcome, static_cast<std::uint32_t>(id))) outcome_changes_.remove(id);
}

// A table uses every outcome and table that it mentions, once a mention.
void TableStore::retain_parts(const Table& table) {
  for (const auto& interval : table.intervals) {
    if (interval.source_ports != TableId{}) {
      ids_.retain(IdSpace::kTable, static_cast<std::uint32_t>(interval.source_ports));
    } else {
      ids_.retain(IdSpace::kOutcome, static_cast<std::uint32_t>(interval.outcome));
    }
  }
}

std::size_t TableStore::Hash::operator()(const Content& content) const {
  std::uint64_t state = static_cast<std::uint64_t>(content.keys);
  const auto mix = [&](std::uint32_t high, std::uint32_t low) {
    state = (state ^ (std::uint64_t{high} << 32 | low)) * 0x9e3779b97f4a7c15ULL;
    state ^= state >> 32;
  };
  for (const auto& [first, last, outcome, sources] : content.table.intervals) {
    mix(first, last);
    mix(static_cast<std::uint32_t>(outcome), static_cast<std::uint32_t>(sources));
  }
  return state;
}

Digest TableStore::meaning_of(const Content& content) const {
  std::string text(1, static_cast<char>(content.keys));
  for (const auto& [first, last, outcome, sources] : content.table.intervals) {
    const bool leads_on = sources != TableId{};
    const auto& part = leads_on ? ids_.meaning(IdSpace::kTable, static_cast<std::uint32_t>(sources))
                                : ids_.meaning(IdSpace::kOutcome, static_cast<std::uint32_t>(outcome));
    // In one byte order, whatever the machine.
    for (const auto word : {first, last}) {
      for (int shift = 0; shift < 32; shift += 8) text += static_cast<char>(word >> shift & 0xff);
    }
    text += leads_on ? 's' : 'o';
    text.append(reinterpret_cast<const char*>(part.bytes.data()), part.bytes.size());
  }
  return Digest::of(text);
}

TableId TableStore::intern(const Table& table, Keys keys) {
  if (const auto known = known_.find(Content{table, keys}); known != known_.end()) {
    ids_.retain(IdSpace::kTable, *known);
    return TableId{*known};
  }
  const auto [id, is_new] = ids_.acquire(IdSpace::kTable, meaning_of({table, keys}));
  CHECK(is_new);
  retain_parts(table);
  if (tables_.size() <= id) tables_.resize(id + 1);
  table_changes_.update(TableId{id}, table);
  tables_[id] = {table, keys};
  known_.insert(id);
  intervals_ += table.intervals.size();
  return TableId{id};
}

void TableStore::release(TableId id) {
  const auto number = static_cast<std::uint32_t>(id);
  if (!ids_.release(IdSpace::kTable, number)) return;
  known_.erase(number);
  const auto table = std::exchange(tables_[number], {}).table;
  intervals_ -= table.intervals.size();
  table_changes_.remove(id);
  for (const auto& interval : table.intervals) {
    if (interval.source_ports != TableId{}) {
      release(interval.source_ports);
    } else {
      release_outcome(interval.outcome);
    }
  }
}

std::optional<Interval> TableStore::to_interval(const Cell& cell, const Interval* base, Session& session) {
  Interval interval{cell.first, cell.last, {}, {}};
  if (cell.by_source.empty()) {
    interval.outcome = session.outcome(cell.thought);
    if (base != nullptr && same_answer(interval, *base)) return std::nullopt;
    return interval;
  }
  static const std::vector<Interval> kNowhere;
  const Interval plain{0, kLastSourcePort, base != nullptr ? base->outcome : OutcomeId{}, {}};
  const std::span<const Interval> there = base == nullptr ? std::span(kNowhere)
                                          : base->source_ports == TableId{}
                                              ? std::span(&plain, 1)
                                              : std::span((*this)[base->source_ports].intervals);
  auto& sources = sources_.intervals;
  sources.clear();
  auto other = there.begin();
  for (const auto& part : cell.by_source) {
    const auto outcome = session.outcome(part.thought);
    for (auto at = part.first; at <= part.last;) {
      while (other != there.end() && other->last < at) ++other;
      const auto last = other == there.end() ? part.last : std::min(part.last, other->last);
      if (other == there.end() || other->outcome != outcome) append(sources, {at, last, outcome, {}});
      at = last + 1;
    }
  }
  if (sources.empty()) return std::nullopt;
  interval.source_ports = intern(sources_, Keys::kSourcePorts);
  return interval;
}

// The table holds second tables of its own now, where it is new.
TableId TableStore::intern_and_release(const Table& table) {
  const auto id = table.intervals.empty() ? TableId{} : intern(table, Keys::kTable);
  for (const auto& interval : table.intervals) {
    if (interval.source_ports != TableId{}) release(interval.source_ports);
  }
  return id;
}

TableId TableStore::acquire(const std::vector<Cell>& cells, Session& session) {
  Table table;
  for (const auto& cell : cells) table.intervals.push_back(*to_interval(cell, nullptr, session));
  return intern_and_release(table);
}

TableId TableStore::acquire_difference(const std::vector<Cell>& cells, const Table& base, Session& session) {
  Table table;
  if (cells.empty()) return {};
  auto other = std::ranges::lower_bound(base.intervals, cells.front().first, {}, &Interval::last);
  for (const auto& cell : cells) {
    for (auto at = cell.first; at <= cell.last;) {
      while (other->last < at) ++other;
      const auto last = std::min(cell.last, other->last);
      if (auto interval = to_interval(cell, &*other, session)) {
        interval->first = at;
        interval->last = last;
        const auto before = table.intervals.size();
        append(table.intervals, *interval);
        // One use for each interval.
        if (table.intervals.size() == before && interval->source_ports != TableId{})
          release(interval->source_ports);
      }
      at = last + 1;
    }
  }
  return intern_and_release(table);
}

void TableStore::take_changes(TablesChanges& changes) {
  changes.outcomes.absorb(std::exchange(outcome_changes_, {}));
  changes.tables.absorb(std::exchange(table_changes_, {}));
}

}  // namespace ocicat::policy
