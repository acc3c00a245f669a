#include "policy/table_store.h"

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "base/short_hash.h"
#include "base/varint.h"

namespace ocicat::policy {

namespace {

// Behind what is there; one with it, and true, where it goes on with the same answer.
bool append(std::vector<Interval>& intervals, const Interval& interval) {
  if (!intervals.empty() && intervals.back().last + 1 == interval.first &&
      intervals.back().same_answer(interval)) {
    intervals.back().last = interval.last;
    return true;
  }
  intervals.push_back(interval);
  return false;
}

}  // namespace

TableStore::Session::Session(TableStore& store, Compiler& compiler, Known& known)
    : store_(store), compiler_(compiler), known_(known), outcomes_(std::move(store.outcomes_)) {
  outcomes_.clear();
}

TableStore::Session::~Session() {
  for (const auto id : new_ones_) store_.release_outcome(OutcomeId{id});
  store_.outcomes_ = std::move(outcomes_);
}

OutcomeId TableStore::Session::outcome(ThoughtId thought) {
  if (outcomes_.size() <= thought) outcomes_.resize(thought + 1);
  auto& id = outcomes_[thought];
  if (id == 0) {
    if (known_.size() <= thought) known_.resize(thought + 1);
    const auto& digest = compiler_.digest(thought);
    if (known_[thought] != 0 && store_.ids_.means(IdSpace::kOutcome, known_[thought], digest)) {
      return OutcomeId{id = known_[thought]};
    }
    const auto [it, is_new] = store_.outcome_by_digest_.emplace(digest, 0);
    if (is_new) {
      it->second = store_.ids_.take(IdSpace::kOutcome, digest);
      store_.outcome_changes_.update(OutcomeId{it->second}, compiler_.outcome(thought));
      new_ones_.push_back(it->second);
    }
    id = known_[thought] = it->second;
  }
  return OutcomeId{id};
}

void TableStore::release_outcome(OutcomeId id) {
  const auto number = static_cast<std::uint32_t>(id);
  if (!ids_.release(IdSpace::kOutcome, number)) return;
  outcome_by_digest_.erase(ids_.meaning(IdSpace::kOutcome, number));
  outcome_changes_.remove(id);
}

// A table uses every outcome and table that it mentions, once a mention.
void TableStore::retain_parts(std::span<const Interval> intervals) {
  for (const auto& interval : intervals) {
    if (interval.source_ports != TableId{}) {
      ids_.retain(IdSpace::kTable, static_cast<std::uint32_t>(interval.source_ports));
    } else {
      ids_.retain(IdSpace::kOutcome, static_cast<std::uint32_t>(interval.outcome));
    }
  }
}

std::uint32_t TableStore::hash_of(const Content& content) {
  return short_hash(std::as_bytes(content.table.bytes())) + static_cast<std::uint32_t>(content.keys);
}

// How far each interval is from the one before and how long it is, and what answers there.
Digest TableStore::meaning_of(std::span<const Interval> intervals, Keys keys) const {
  meaning_.assign(1, static_cast<std::uint8_t>(keys));
  std::uint32_t next = 0;
  for (const auto& [first, last, outcome, sources] : intervals) {
    const bool leads_on = sources != TableId{};
    append_varint((first - next) << 1 | (leads_on ? 1 : 0), meaning_);
    append_varint(last - first, meaning_);
    next = last + 1;
    const auto& part = leads_on ? ids_.meaning(IdSpace::kTable, static_cast<std::uint32_t>(sources))
                                : ids_.meaning(IdSpace::kOutcome, static_cast<std::uint32_t>(outcome));
    meaning_.insert(meaning_.end(), part.bytes.begin(), part.bytes.end());
  }
  return Digest::of({reinterpret_cast<const char*>(meaning_.data()), meaning_.size()});
}

TableId TableStore::intern(std::span<const Interval> intervals, Keys keys) {
  Table table(intervals);
  const auto hash = hash_of({table, keys});
  const auto known = known_.find(
      hash, [&](std::uint32_t id) { return tables_[id].keys == keys && tables_[id].table == table; });
  if (known != 0) {
    ids_.retain(IdSpace::kTable, known);
    return TableId{known};
  }
  const auto id = ids_.take(IdSpace::kTable, meaning_of(intervals, keys));
  retain_parts(intervals);
  if (tables_.size() <= id) tables_.resize(id + 1);
  table_changes_.update(TableId{id}, table);
  tables_[id] = {std::move(table), keys};
  known_.insert(hash, id);
  interval_count_ += intervals.size();
  return TableId{id};
}

void TableStore::release(TableId id) {
  const auto number = static_cast<std::uint32_t>(id);
  if (!ids_.release(IdSpace::kTable, number)) return;
  known_.erase(hash_of(content(number)), number);
  const auto table = std::exchange(tables_[number], {}).table;
  interval_count_ -= table.size();
  table_changes_.remove(id);
  for (const auto& interval : table) {
    if (interval.source_ports != TableId{}) {
      release(interval.source_ports);
    } else {
      release_outcome(interval.outcome);
    }
  }
}

// What a base table says of source ports.
void TableStore::unpack_sources(const Interval* base) {
  base_sources_.clear();
  if (base == nullptr) return;
  if (base->source_ports == TableId{}) {
    base_sources_.push_back({0, kLastSourcePort, base->outcome, {}});
    return;
  }
  for (const auto& interval : (*this)[base->source_ports]) base_sources_.push_back(interval);
}

std::optional<Interval> TableStore::to_interval(const Cell& cell, const Interval* base, Session& session) {
  Interval interval{cell.first, cell.last, {}, {}};
  // Where the base table goes by source port, so does the difference from it, whether the cell says so or
  // not: that depends on what else was looked at together with it.
  const bool by_source = base != nullptr && base->source_ports != TableId{};
  if (cell.by_source.empty() && !by_source) {
    interval.outcome = session.outcome(cell.thought);
    if (base != nullptr && interval.same_answer(*base)) return std::nullopt;
    return interval;
  }
  unpack_sources(base);
  sources_.clear();
  auto other = base_sources_.begin();
  const SourceCell all{0, kLastSourcePort, cell.thought};
  const auto parts = cell.by_source.empty() ? std::span(&all, 1) : std::span(cell.by_source);
  for (const auto& part : parts) {
    const auto outcome = session.outcome(part.thought);
    for (auto at = part.first; at <= part.last;) {
      while (other != base_sources_.end() && other->last < at) ++other;
      const bool known = other != base_sources_.end();
      const auto last = known ? std::min(part.last, other->last) : part.last;
      if (!known || other->outcome != outcome) append(sources_, {at, last, outcome, {}});
      at = last + 1;
    }
  }
  if (sources_.empty()) return std::nullopt;
  if (sources_.size() == 1 && sources_.front().first == 0 && sources_.front().last == kLastSourcePort) {
    interval.outcome = sources_.front().outcome;
    return interval;
  }
  interval.source_ports = intern(sources_, Keys::kSourcePorts);
  return interval;
}

// The table of `intervals_`. It holds second tables of its own now, where it is new.
TableId TableStore::intern_and_release() {
  const auto id = intervals_.empty() ? TableId{} : intern(intervals_, Keys::kTable);
  for (const auto& interval : intervals_) {
    if (interval.source_ports != TableId{}) release(interval.source_ports);
  }
  return id;
}

TableId TableStore::acquire(const std::vector<Cell>& cells, Session& session) {
  intervals_.clear();
  for (const auto& cell : cells) intervals_.push_back(*to_interval(cell, nullptr, session));
  return intern_and_release();
}

TableId TableStore::acquire_difference(std::span<const Cell* const> cells, const Table& base,
                                       Session& session) {
  if (cells.empty()) return {};
  intervals_.clear();
  auto other = base.from(cells.front()->first);
  // What the last cell with source ports says beside a base interval that has one answer, and none of its
  // own; some interval of the table uses it.
  const Cell* told = nullptr;
  TableId all_of_it{};
  for (const auto* const one : cells) {
    const auto& cell = *one;
    const bool known = told != nullptr && !cell.by_source.empty() && cell.by_source == told->by_source;
    if (!known) told = nullptr;
    for (auto at = cell.first; at <= cell.last;) {
      while (other->last < at) ++other;
      const auto last = std::min(cell.last, other->last);
      const bool plain = !cell.by_source.empty() && other->source_ports == TableId{} &&
                         std::ranges::none_of(cell.by_source, [&](const SourceCell& part) {
                           return session.outcome(part.thought) == other->outcome;
                         });
      if (plain && told != nullptr) {
        if (!append(intervals_, {at, last, {}, all_of_it}))
          ids_.retain(IdSpace::kTable, static_cast<std::uint32_t>(all_of_it));
      } else if (auto interval = to_interval(cell, &*other, session)) {
        interval->first = at;
        interval->last = last;
        // One use for each interval.
        if (append(intervals_, *interval) && interval->source_ports != TableId{})
          release(interval->source_ports);
        if (plain) {
          told = &cell;
          all_of_it = interval->source_ports;
        }
      }
      at = last + 1;
    }
  }
  return intern_and_release();
}

void TableStore::take_changes(TablesChanges& changes) {
  changes.outcomes.absorb(std::exchange(outcome_changes_, {}));
  changes.tables.absorb(std::exchange(table_changes_, {}));
}

}  // namespace ocicat::policy
