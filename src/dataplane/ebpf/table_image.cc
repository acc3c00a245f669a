#include "dataplane/ebpf/table_image.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace ocicat::dataplane::ebpf {
namespace {

using namespace policy;

template <class Id>
std::uint32_t number(Id id) {
  return static_cast<std::uint32_t>(id);
}

std::uint32_t answer_of(const std::map<OutcomeId, Outcome>& outcomes, OutcomeId id) {
  const auto found = outcomes.find(id);
  if (found == outcomes.end()) return ANSWER_DENY;
  const auto& outcome = found->second;
  const bool log =
      std::ranges::any_of(outcome.trace, [](const auto& step) { return step.action == Action::kLog; });
  std::uint32_t kind = log ? ANSWER_LOG_DENY : ANSWER_DENY;
  if (outcome.verdict == Verdict::kAllow) kind = log ? ANSWER_LOG_ALLOW : ANSWER_ALLOW;
  if (outcome.verdict == Verdict::kNone) kind = log ? ANSWER_LOG_NONE : ANSWER_NONE;
  return kind | (number(id) & ANSWER_VALUE);
}

bool speaks_of_one_key(const Table& table) {
  return table.size() == 1 && (*table.begin()).first == (*table.begin()).last;
}

Error full(std::string_view what, std::size_t size) {
  return {ErrorCode::kExhausted, fmt::format("no room for more {}: there are {}", what, size)};
}

}  // namespace

TableImage::TableImage(TableMemory memory)
    : memory_(memory),
      entries_(static_cast<std::uint32_t>(memory.entries.size())),
      cells_(static_cast<std::uint32_t>(memory.cells.size())) {}

void TableImage::want(const TablesChanges& changes) {
  // Without classes, of which there may be hundreds of thousands, and the dictionary.
  changes_.outcomes = changes.outcomes;
  changes_.tables = changes.tables;
  changes_.programs = changes.programs;
  changes_.chains = changes.chains;
  changes_.chain_programs = changes.chain_programs;
  changes_.tables_by_projection = changes.tables_by_projection;
  changes_.projections = changes.projections;
  projections_before_.clear();
  reworded_.clear();
  rechained_.clear();
  in_place_ = false;
  for (const auto& [key, unused] : changes.projections.entries()) {
    const auto found = wanted_.projections.find(key);
    if (found != wanted_.projections.end()) projections_before_.insert(*found);
  }
  for (const auto& [id, after] : changes.programs.entries()) {
    const auto before = wanted_.programs.find(id);
    if (before != wanted_.programs.end() && !(after && *after == before->second)) reworded_.insert(id);
  }
  for (const auto& [id, after] : changes.chains.entries()) {
    const auto before = wanted_.chains.find(id);
    if (before != wanted_.chains.end() && !(after && *after == before->second)) rechained_.insert(id);
  }
  for (const auto& [id, after] : changes.tables.entries()) {
    const auto before = wanted_.tables.find(id);
    in_place_ = in_place_ || (after && before != wanted_.tables.end() && !(*after == before->second));
  }
  for (const auto& [id, after] : changes.outcomes.entries()) {
    const auto before = wanted_.outcomes.find(id);
    in_place_ = in_place_ || (after && before != wanted_.outcomes.end() && !(*after == before->second));
  }
  changes.outcomes.apply_to(wanted_.outcomes);
  changes.tables.apply_to(wanted_.tables);
  changes.programs.apply_to(wanted_.programs);
  changes.chains.apply_to(wanted_.chains);
  changes.chain_programs.apply_to(wanted_.chain_programs);
  changes.tables_by_projection.apply_to(wanted_.tables_by_projection);
  changes.projections.apply_to(wanted_.projections);
}

ProjectionId TableImage::projection_before(const ProjectionKey& key) const {
  if (changes_.projections.entries().contains(key)) {
    const auto found = projections_before_.find(key);
    return found == projections_before_.end() ? ProjectionId{} : found->second;
  }
  const auto found = wanted_.projections.find(key);
  return found == wanted_.projections.end() ? ProjectionId{} : found->second;
}

Concerned TableImage::concerned(const Moves& moves, const std::function<bool(ClassId)>& is_kept) const {
  Concerned concerned{.all = in_place_, .programs = reworded_, .chains = rechained_};
  if (in_place_) return concerned;
  auto& programs = concerned.programs;
  for (const auto& [key, unused] : changes_.tables_by_projection.entries()) programs.insert(key.program);
  const auto after = [&](const ProjectionKey& key) {
    const auto found = wanted_.projections.find(key);
    return found == wanted_.projections.end() ? ProjectionId{} : found->second;
  };
  std::set<VocabularyId> vocabularies;
  for (const auto& [key, unused] : changes_.projections.entries()) {
    if (is_kept(key.address_class) && projection_before(key) != after(key))
      vocabularies.insert(key.vocabulary);
  }
  const auto is_reworded = [&](VocabularyId vocabulary) {
    return vocabularies.contains(vocabulary) || std::ranges::any_of(moves, [&](const auto& move) {
             return projection_before({vocabulary, move.first}) != after({vocabulary, move.second});
           });
  };
  for (const auto& [id, program] : wanted_.programs) {
    if (is_reworded(program.vocabulary)) programs.insert(id);
  }
  add_chains(concerned, is_reworded);
  return concerned;
}

// By their own words, by what classes of own addresses mean to them, or by their programs.
void TableImage::add_chains(Concerned& concerned,
                            const std::function<bool(VocabularyId)>& is_reworded) const {
  for (const auto& [key, unused] : changes_.chain_programs.entries()) concerned.chains.insert(key.chain);
  for (const auto& [id, chain] : wanted_.chains) {
    if (concerned.programs.contains(chain.base) || is_reworded(chain.vocabulary)) concerned.chains.insert(id);
  }
  for (const auto& [key, program] : wanted_.chain_programs) {
    if (concerned.programs.contains(program)) concerned.chains.insert(key.chain);
  }
}

std::vector<bpf::cell> TableImage::cells_of(const Table& table) const {
  const auto answer_at = [&](const Interval& interval) -> std::uint32_t {
    if (interval.source_ports == TableId{}) return answer_of(wanted_.outcomes, interval.outcome);
    return tables_.contains(interval.source_ports) ? ANSWER_SOURCE_PORTS | name_of(interval.source_ports)
                                                   : ANSWER_DENY;
  };
  if (speaks_of_one_key(table)) {
    const auto only = *table.begin();
    return {{only.first, answer_at(only)}};
  }
  std::vector<bpf::cell> cells(1);
  std::uint64_t next = 0;  // the first key that no cell answers for yet
  for (const auto& interval : table) {
    if (interval.first > next) cells.push_back({static_cast<std::uint32_t>(next), ANSWER_BASE});
    cells.push_back({interval.first, answer_at(interval)});
    next = std::uint64_t{interval.last} + 1;
  }
  if (next <= kLastTableKey) cells.push_back({static_cast<std::uint32_t>(next), ANSWER_BASE});
  cells.front().first = static_cast<std::uint32_t>(cells.size() - 1);
  return cells;
}

std::uint32_t TableImage::name_of(TableId id) const {
  const auto& extent = tables_.at(id);
  return extent.first | (extent.size == 1 ? TABLE_ONE_KEY : 0);
}

std::optional<Extent> TableImage::extent_of(std::uint32_t name) const {
  const auto first = name & TABLE_PLACE;
  if ((name & ANSWER_KIND) != 0 || first == 0 || first >= memory_.cells.size()) return std::nullopt;
  if ((name & TABLE_ONE_KEY) != 0) return Extent{first, 1};
  const std::uint64_t count = memory_.cells[first].first;
  if (count >= memory_.cells.size() - first) return std::nullopt;
  return Extent{first, static_cast<std::uint32_t>(count + 1)};
}

// Only what something leads to has a place.
Result<void> TableImage::place_table(TableId id, Step& step) {
  const auto table = wanted_.tables.find(id);
  if (table == wanted_.tables.end() || tables_.contains(id)) return {};
  for (const auto& interval : table->second) {
    // A second table leads nowhere; one that led on would lead to itself in the end.
    if (interval.source_ports != TableId{} && interval.source_ports != id)
      TRY_VOID(place_table(interval.source_ports, step));
  }
  const auto cells = cells_of(table->second);
  const auto extent = cells_.allocate(static_cast<std::uint32_t>(cells.size()));
  if (!extent) return std::unexpected(full("cells of tables", memory_.cells.size()));
  for (std::size_t i = 0; i < cells.size(); ++i) step.write(memory_.cells[extent->first + i], cells[i]);
  tables_.emplace(id, *extent);
  return {};
}

std::uint32_t TableImage::only_answer(TableId id) const {
  const auto table = wanted_.tables.find(id);
  if (table == wanted_.tables.end() || table->second.size() != 1) return 0;
  const auto all = *table->second.begin();
  if (all.first != 0 || all.last != kLastTableKey || all.source_ports != TableId{}) return 0;
  return answer_of(wanted_.outcomes, all.outcome);
}

Result<void> TableImage::place_named(TableId id, Step& step) {
  return only_answer(id) != 0 ? Result<void>() : place_table(id, step);
}

std::uint32_t TableImage::named(TableId id) const {
  if (const auto answer = only_answer(id)) return answer;
  return tables_.contains(id) ? name_of(id) : 0;
}

template <class Id>
void TableImage::release(Places<Id>& places, Id id, Extents& extents, Step& step) {
  const auto place = places.find(id);
  if (place == places.end()) return;
  step.afterwards([&extents, extent = place->second]() -> Result<void> {
    extents.release(extent);
    return {};
  });
  places.erase(place);
}

std::uint32_t TableImage::row_size(ProgramId id) const {
  const auto end = wanted_.tables_by_projection.upper_bound({id, ProjectionId{0xffffffff}});
  if (end == wanted_.tables_by_projection.begin() || std::prev(end)->first.program != id) return 0;
  return number(std::prev(end)->first.projection) + 1;
}

std::uint32_t TableImage::row_size(ChainId id) const {
  const auto end = wanted_.chain_programs.upper_bound({id, ProjectionId{0xffffffff}});
  if (end == wanted_.chain_programs.begin() || std::prev(end)->first.chain != id) return 0;
  return number(std::prev(end)->first.projection) + 1;
}

std::uint32_t TableImage::row_size(VocabularyId id) const {
  const auto end = wanted_.projections.upper_bound({id, ClassId{0xffffffff}});
  if (end == wanted_.projections.begin() || std::prev(end)->first.vocabulary != id) return 0;
  return number(std::prev(end)->first.address_class) + 1;
}

std::uint32_t TableImage::entry_of(ProgramId id, std::uint32_t projection) const {
  const auto found = wanted_.tables_by_projection.find({id, ProjectionId{projection}});
  return found == wanted_.tables_by_projection.end() ? 0 : named(found->second);
}

std::uint32_t TableImage::entry_of(ChainId id, std::uint32_t projection) const {
  const auto found = wanted_.chain_programs.find({id, ProjectionId{projection}});
  return found == wanted_.chain_programs.end() ? 0 : number(found->second);
}

std::uint32_t TableImage::entry_of(VocabularyId id, std::uint32_t address_class) const {
  const auto found = wanted_.projections.find({id, ClassId{address_class}});
  return found == wanted_.projections.end() ? 0 : number(found->second);
}

template <class Id, class ValueAt>
Result<void> TableImage::make_room(Places<Id>& rows, Id id, std::uint32_t size, ValueAt value_at,
                                   Step& step) {
  const auto row = rows.find(id);
  if (row != rows.end() && row->second.size >= size && size != 0) return {};
  release(rows, id, entries_, step);
  if (size == 0) return {};
  constexpr std::uint32_t kSmallest = 8;
  if (size > memory_.entries.size()) return std::unexpected(full("entries of rows", memory_.entries.size()));
  const auto extent = entries_.allocate(std::max(kSmallest, std::bit_ceil(size)));
  if (!extent) return std::unexpected(full("entries of rows", memory_.entries.size()));
  for (std::uint32_t i = 0; i < extent->size; ++i) {
    const auto value = i < size ? value_at(i) : 0;
    step.write(memory_.entries[extent->first + i], bpf::entry{{value, value}});
  }
  rows.emplace(id, *extent);
  return {};
}

Result<void> TableImage::write_program(ProgramId id, Step& step) {
  if (number(id) >= memory_.programs.size())
    return std::unexpected(full("programs", memory_.programs.size()));
  bpf::program_version version{};
  const auto program = wanted_.programs.find(id);
  const bool known = program != wanted_.programs.end();
  if (known) {
    TRY_VOID(place_named(program->second.base, step));
    for (auto key = wanted_.tables_by_projection.lower_bound({id, {}});
         key != wanted_.tables_by_projection.end() && key->first.program == id; ++key) {
      TRY_VOID(place_named(key->second, step));
    }
  }
  TRY_VOID(make_room(
      program_rows_, id, known ? row_size(id) : 0, [&](std::uint32_t i) { return entry_of(id, i); }, step));
  if (known) {
    const auto row = program_rows_.find(id);
    version.base = named(program->second.base);
    version.vocabulary = number(program->second.vocabulary);
    if (row != program_rows_.end()) version.tables = {row->second.first, row->second.size};
  }
  step.set(memory_.programs[number(id)].version, version);
  return {};
}

Result<void> TableImage::write_chain(ChainId id, Step& step) {
  if (number(id) >= memory_.chains.size()) return std::unexpected(full("chains", memory_.chains.size()));
  bpf::chain_version version{};
  const auto chain = wanted_.chains.find(id);
  const bool known = chain != wanted_.chains.end();
  TRY_VOID(make_room(
      chain_rows_, id, known ? row_size(id) : 0, [&](std::uint32_t i) { return entry_of(id, i); }, step));
  if (known) {
    version.base = number(chain->second.base);
    version.vocabulary = number(chain->second.vocabulary);
    if (const auto row = chain_rows_.find(id); row != chain_rows_.end())
      version.programs = {row->second.first, row->second.size};
  }
  step.set(memory_.chains[number(id)].version, version);
  return {};
}

template <class Id>
void TableImage::write_entry(const Places<Id>& rows, Id id, std::uint32_t index, Step& step) {
  const auto row = rows.find(id);
  if (row == rows.end() || index >= row->second.size) return;
  step.set(memory_.entries[row->second.first + index].value, entry_of(id, index));
}

template <class Id>
void TableImage::write_rows(const Places<Id>& rows, Step& step) {
  for (const auto& [id, row] : rows) {
    for (std::uint32_t i = 0; i < row.size; ++i) write_entry(rows, id, i, step);
  }
}

Result<void> TableImage::write_vocabulary(VocabularyId id, Step& step) {
  if (number(id) >= memory_.vocabularies.size())
    return std::unexpected(full("vocabularies", memory_.vocabularies.size()));
  TRY_VOID(
      make_room(vocabulary_rows_, id, row_size(id), [&](std::uint32_t i) { return entry_of(id, i); }, step));
  const auto row = vocabulary_rows_.find(id);
  step.set(memory_.vocabularies[number(id)].projections,
           row == vocabulary_rows_.end() ? bpf::row{} : bpf::row{row->second.first, row->second.size});
  return {};
}

Result<void> TableImage::update(Step& step) {
  if (in_place_) {
    auto old = std::exchange(tables_, {});
    for (const auto& [id, unused] : std::map(old)) release(old, id, cells_, step);
    return write_all(step);
  }
  std::set<ProgramId> programs;
  for (const auto& [id, unused] : changes_.programs.entries()) programs.insert(id);
  for (const auto& [key, unused] : changes_.tables_by_projection.entries()) programs.insert(key.program);
  for (const auto id : programs) TRY_VOID(write_program(id, step));
  for (const auto& [key, unused] : changes_.tables_by_projection.entries())
    write_entry(program_rows_, key.program, number(key.projection), step);
  std::set<ChainId> chains;
  for (const auto& [id, unused] : changes_.chains.entries()) chains.insert(id);
  for (const auto& [key, unused] : changes_.chain_programs.entries()) chains.insert(key.chain);
  for (const auto id : chains) TRY_VOID(write_chain(id, step));
  for (const auto& [key, unused] : changes_.chain_programs.entries())
    write_entry(chain_rows_, key.chain, number(key.projection), step);
  std::set<VocabularyId> vocabularies;
  for (const auto& [key, unused] : changes_.projections.entries()) vocabularies.insert(key.vocabulary);
  for (const auto id : vocabularies) TRY_VOID(write_vocabulary(id, step));
  for (const auto& [key, unused] : changes_.projections.entries())
    write_entry(vocabulary_rows_, key.vocabulary, number(key.address_class), step);
  for (const auto& [id, after] : changes_.tables.entries()) {
    if (!after) release(tables_, id, cells_, step);
  }
  return {};
}

Result<void> TableImage::write_all(Step& step) {
  for (std::uint32_t id = 1; id < memory_.programs.size(); ++id) {
    const bool known = wanted_.programs.contains(ProgramId{id});
    const auto& there = memory_.programs[id].version;
    if (!known && there[0].base == 0 && there[1].base == 0) continue;
    TRY_VOID(write_program(ProgramId{id}, step));
  }
  if (!wanted_.programs.empty()) TRY_VOID(write_program(wanted_.programs.rbegin()->first, step));
  write_rows(program_rows_, step);
  TRY_VOID(write_all_chains(step));
  for (std::uint32_t id = 0; id < memory_.vocabularies.size(); ++id) {
    const auto& there = memory_.vocabularies[id].projections;
    if (row_size(VocabularyId{id}) == 0 && there[0].size == 0 && there[1].size == 0) continue;
    TRY_VOID(write_vocabulary(VocabularyId{id}, step));
  }
  if (!wanted_.projections.empty())
    TRY_VOID(write_vocabulary(wanted_.projections.rbegin()->first.vocabulary, step));
  write_rows(vocabulary_rows_, step);
  return {};
}

Result<void> TableImage::write_all_chains(Step& step) {
  for (std::uint32_t id = 1; id < memory_.chains.size(); ++id) {
    const auto& there = memory_.chains[id].version;
    if (!wanted_.chains.contains(ChainId{id}) && there[0].base == 0 && there[1].base == 0) continue;
    TRY_VOID(write_chain(ChainId{id}, step));
  }
  if (!wanted_.chains.empty()) TRY_VOID(write_chain(wanted_.chains.rbegin()->first, step));
  write_rows(chain_rows_, step);
  return {};
}

bool TableImage::adopt_table(TableId id, std::uint32_t name) {
  if (tables_.contains(id)) return name_of(id) == name;
  const auto table = wanted_.tables.find(id);
  const auto extent = extent_of(name);
  if (table == wanted_.tables.end() || !extent) return false;
  const auto there = memory_.cells.part(extent->first, extent->size);
  // Second tables first: where they are is part of what the cells say.
  for (const auto& interval : table->second) {
    if (interval.source_ports == TableId{} || interval.source_ports == id) continue;
    const auto own = there.subspan(there.size() == 1 ? 0 : 1);
    const auto cell = std::ranges::find(own, interval.first, &bpf::cell::first);
    if (cell == own.end() || (cell->answer & ANSWER_KIND) != ANSWER_SOURCE_PORTS) return false;
    adopt_table(interval.source_ports, cell->answer & ANSWER_VALUE);
  }
  const auto cells = cells_of(table->second);
  const auto same = [](const bpf::cell& a, const bpf::cell& b) {
    return a.first == b.first && a.answer == b.answer;
  };
  const bool one_key = (name & TABLE_ONE_KEY) != 0;
  if (one_key != speaks_of_one_key(table->second) || !std::ranges::equal(cells, there, same)) return false;
  if (!cells_.claim(*extent)) return false;
  tables_.emplace(id, *extent);
  return true;
}

void TableImage::adopt_named(TableId id, std::uint32_t there) {
  if (only_answer(id) == 0) adopt_table(id, there);
}

void TableImage::adopt(std::size_t side) {
  const auto adopt_row = [&](auto& rows, auto id, const bpf::row& row, std::uint32_t size) {
    if (size != 0 && row.size >= size && entries_.claim({row.first, row.size}))
      rows.emplace(id, Extent{row.first, row.size});
  };
  for (const auto& [id, program] : wanted_.programs) {
    if (number(id) >= memory_.programs.size()) continue;
    const auto& there = memory_.programs[number(id)].version[side];
    adopt_named(program.base, there.base);
    adopt_row(program_rows_, id, there.tables, row_size(id));
  }
  for (const auto& [id, chain] : wanted_.chains) {
    if (number(id) < memory_.chains.size())
      adopt_row(chain_rows_, id, memory_.chains[number(id)].version[side].programs, row_size(id));
  }
  for (const auto& [key, table] : wanted_.tables_by_projection) {
    const auto row = program_rows_.find(key.program);
    if (row != program_rows_.end())
      adopt_named(table, memory_.entries[row->second.first + number(key.projection)].value[side]);
  }
  for (std::uint32_t id = 0; id < memory_.vocabularies.size(); ++id) {
    adopt_row(vocabulary_rows_, VocabularyId{id}, memory_.vocabularies[id].projections[side],
              row_size(VocabularyId{id}));
  }
}

void TableImage::set_aside_table(std::uint32_t name, Step& step) {
  const auto extent = extent_of(name);
  if (!extent || !cells_.claim(*extent)) return;  // known already
  step.afterwards([this, extent = *extent]() -> Result<void> {
    cells_.release(extent);
    return {};
  });
  for (const auto& cell : memory_.cells.part(extent->first, extent->size)) {
    if ((cell.answer & ANSWER_KIND) == ANSWER_SOURCE_PORTS) set_aside_table(cell.answer & ANSWER_VALUE, step);
  }
}

void TableImage::set_aside(const bpf::row& row, bool leads_to_tables, std::size_t side, Step& step) {
  if (row.size == 0 || row.first >= memory_.entries.size() || row.size > memory_.entries.size() - row.first)
    return;
  if (leads_to_tables) {
    for (const auto& entry : memory_.entries.part(row.first, row.size))
      set_aside_table(entry.value[side], step);
  }
  const Extent extent{row.first, row.size};
  if (!entries_.claim(extent)) return;
  step.afterwards([this, extent]() -> Result<void> {
    entries_.release(extent);
    return {};
  });
}

Result<void> TableImage::resync(Step& step) {
  entries_.clear();
  cells_.clear();
  tables_.clear();
  program_rows_.clear();
  chain_rows_.clear();
  vocabulary_rows_.clear();
  const auto side = step.now();
  adopt(side);
  // What packets may be looking at until the step shows, and is not kept.
  for (const auto& program : memory_.programs) {
    set_aside_table(program.version[side].base, step);
    set_aside(program.version[side].tables, true, side, step);
  }
  for (const auto& chain : memory_.chains) set_aside(chain.version[side].programs, false, side, step);
  for (const auto& vocabulary : memory_.vocabularies)
    set_aside(vocabulary.projections[side], false, side, step);
  return write_all(step);
}

}  // namespace ocicat::dataplane::ebpf
