#include "policy/table_store.h"

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

bool same_answer(const Interval& a, const Interval& b) {
  return a.outcome == b.outcome && a.source_ports == b.source_ports;
}

// Where a table differs from one that covers everything.
Table difference(const Table& table, const Table& base) {
  Table rest;
  if (table.intervals.empty()) return rest;
  auto other = std::ranges::lower_bound(base.intervals, table.intervals.front().first, {}, &Interval::last);
  for (const auto& interval : table.intervals) {
    std::uint32_t at = interval.first;
    while (at <= interval.last) {
      while (other->last < at) ++other;
      const auto last = std::min(interval.last, other->last);
      if (!same_answer(interval, *other)) {
        auto& kept = rest.intervals;
        if (!kept.empty() && kept.back().last + 1 == at && same_answer(kept.back(), interval)) {
          kept.back().last = last;
        } else {
          kept.push_back({at, last, interval.outcome, interval.source_ports});
        }
      }
      at = last + 1;
    }
  }
  return rest;
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

TableId TableStore::acquire_sources(const std::vector<SourceCell>& cells, Session& session) {
  auto& table = sources_;
  table.intervals.clear();
  for (const auto& cell : cells)
    table.intervals.push_back({cell.first, cell.last, session.outcome(cell.thought), {}});
  return intern(table, Keys::kSourcePorts);
}

// Holds one use of each second table that it mentions.
Table TableStore::to_table(const std::vector<Cell>& cells, Session& session) {
  Table table;
  for (const auto& cell : cells) {
    Interval interval{cell.first, cell.last, {}, {}};
    if (cell.by_source.empty()) {
      interval.outcome = session.outcome(cell.thought);
    } else {
      interval.source_ports = acquire_sources(cell.by_source, session);
    }
    table.intervals.push_back(interval);
  }
  return table;
}

TableId TableStore::acquire(const std::vector<Cell>& cells, Session& session) {
  return acquire_difference(cells, {}, session);
}

TableId TableStore::acquire_difference(const std::vector<Cell>& cells, const Table& base, Session& session) {
  const auto whole = to_table(cells, session);
  auto table = base.intervals.empty() ? whole : difference(whole, base);
  const auto id = table.intervals.empty() ? TableId{} : intern(table, Keys::kTable);
  for (const auto& interval : whole.intervals) {
    if (interval.source_ports != TableId{}) release(interval.source_ports);
  }
  return id;
}

void TableStore::take_changes(TablesChanges& changes) {
  changes.outcomes.absorb(std::exchange(outcome_changes_, {}));
  changes.tables.absorb(std::exchange(table_changes_, {}));
}

}  // namespace ocicat::policy
