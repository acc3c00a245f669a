#include "policy/program_store.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/result.h"
#include "base/short_hash.h"

namespace ocicat::policy {

namespace {

std::vector<SetId> intersection(std::span<const SetId> a, std::span<const SetId> b) {
  std::vector<SetId> both;
  if (a.size() > b.size()) std::swap(a, b);
  if (a.size() < b.size() / 16) {
    std::ranges::copy_if(a, std::back_inserter(both),
                         [&](SetId set) { return std::ranges::binary_search(b, set); });
    return both;
  }
  std::ranges::set_intersection(a, b, std::back_inserter(both));
  return both;
}

}  // namespace

Compiler& ProgramStore::compiler(Program& program) {
  if (!program.compiler) {
    program.compiler = std::make_unique<Compiler>(
        *program.plan, program.family, sets_.signatures[program.own], book_, members_, sets_.bound(), bench_);
  }
  return *program.compiler;
}

// Making a small compiler costs more than to keep it; a large one takes too much memory.
void ProgramStore::tidy_up(Program& program) {
  constexpr std::size_t kMostRules = 256;
  if (!program.compiler || program.compiler->rule_count() <= kMostRules) return;
  program.compiler.reset();
  program.outcomes = {};
}

// --- programs ---

ProgramStore::Index ProgramStore::acquire(const std::shared_ptr<const Plan>& plan, Family family,
                                          SignatureId own) {
  auto [asked, first] = own_sets_.emplace(OwnKey{plan.get(), family, 0}, std::vector<SetId>{});
  if (first) asked->second = own_sets(*plan, family, book_, members_);
  const auto own_signature = sets_.signatures.acquire(intersection(sets_.signatures[own], asked->second)).id;
  const auto [known, is_new_key] = program_by_own_.emplace(OwnKey{plan.get(), family, own_signature}, 0);
  if (!is_new_key && programs_[known->second].users > 0) {
    sets_.signatures.release(own_signature);
    ++programs_[known->second].users;
    return known->second;
  }
  Program program{.plan = plan, .family = family, .own = own_signature};
  const auto vocabulary = compiler(program).vocabulary();
  std::string meaning = fmt::format("{}|{}|{}|{}", plan->digest.to_hex(), static_cast<int>(family),
                                    sets_.digest(own_signature).to_hex(), sets_.digest(vocabulary).to_hex());
  program.digest = Digest::of(meaning);
  const auto [it, is_new] = program_by_digest_.emplace(program.digest, 0);
  if (!is_new) {
    sets_.signatures.release(own_signature);
    ++programs_[it->second].users;
    known->second = it->second;
    return it->second;
  }
  Index index = 0;
  if (free_programs_.empty()) {
    index = static_cast<Index>(programs_.size());
    programs_.emplace_back();
  } else {
    index = free_programs_.back();
    free_programs_.pop_back();
  }
  it->second = known->second = index;
  program.id = ids_.take(IdSpace::kProgram, program.digest);
  program.users = 1;
  program.vocabulary = find_or_add_vocabulary(vocabulary);
  vocabularies_[program.vocabulary].programs.push_back(index);
  programs_[index] = std::move(program);
  new_programs_.insert(index);
  return index;
}

void ProgramStore::release(Index index) {
  auto& program = programs_[index];
  CHECK(program.users > 0);
  if (--program.users > 0) return;
  for (RowId row = 0; row < program.tables.size(); ++row) drop_table(program, row);
  if (program.base != TableId{}) tables_.release(program.base);
  if (ids_.release(IdSpace::kProgram, program.id)) changes_.programs.remove(ProgramId{program.id});
  std::erase(vocabularies_[program.vocabulary].programs, index);
  drop_vocabulary_if_unused(program.vocabulary);
  sets_.signatures.release(program.own);
  program_by_digest_.erase(program.digest);
  new_programs_.erase(index);
  program = {};
  free_programs_.push_back(index);
}

// --- chains ---

ProgramStore::ChainIndex ProgramStore::acquire_chain(const std::shared_ptr<const Plan>& plan, Family family) {
  const auto asked = own_sets(*plan, family, book_, members_);
  // Named ports of the peer are sets that may come and go without the plan's doing: then it is another chain.
  const auto of_peers = peer_sets(*plan, family, book_, members_);
  const auto digest = Digest::of(fmt::format("{}|{}|{}|{}", plan->digest.to_hex(), static_cast<int>(family),
                                             sets_.digest(asked).to_hex(), sets_.digest(of_peers).to_hex()));
  const auto [it, is_new] = chain_by_digest_.emplace(digest, 0);
  if (!is_new) {
    ++chains_[it->second].users;
    return it->second;
  }
  ChainIndex index = 0;
  if (free_chains_.empty()) {
    index = static_cast<ChainIndex>(chains_.size());
    chains_.emplace_back();
  } else {
    index = free_chains_.back();
    free_chains_.pop_back();
  }
  it->second = index;
  auto& chain = chains_[index];
  chain.id = ids_.take(IdSpace::kChain, digest);
  chain.users = 1;
  chain.plan = plan;
  chain.family = family;
  chain.digest = digest;
  chain.base = acquire(plan, family, 0);
  VocabularyId vocabulary{};
  if (!asked.empty()) {
    chain.vocabulary = find_or_add_vocabulary(asked);
    vocabularies_[chain.vocabulary].chains.push_back(index);
    vocabulary = VocabularyId{vocabularies_[chain.vocabulary].id};
  }
  changes_.chains.update(ChainId{chain.id}, {vocabulary, id(chain.base)});
  return index;
}

void ProgramStore::release_chain(ChainIndex index) {
  auto& chain = chains_[index];
  CHECK(chain.users > 0);
  if (--chain.users > 0) return;
  for (const auto& [row, program] : chain.programs) {
    changes_.chain_programs.remove({ChainId{chain.id}, vocabularies_[chain.vocabulary].rows[row].id});
    release(program);
  }
  release(chain.base);
  if (chain.vocabulary != 0) {
    std::erase(vocabularies_[chain.vocabulary].chains, index);
    drop_vocabulary_if_unused(chain.vocabulary);
  }
  if (ids_.release(IdSpace::kChain, chain.id)) changes_.chains.remove(ChainId{chain.id});
  chain_by_digest_.erase(chain.digest);
  chain = {};
  free_chains_.push_back(index);
}

// A program for each projection that its own side can have. Programs that nobody needs any more are put into
// `gone`.
void ProgramStore::settle_chain(ChainIndex index, std::vector<Index>& gone) {
  auto& chain = chains_[index];
  const auto own = chain.vocabulary;
  std::vector<RowId> touched = vocabularies_[own].changed;
  if (std::exchange(chain.is_new, false)) {
    for (RowId row = 0; row < vocabularies_[own].rows.size(); ++row) touched.push_back(row);
  }
  std::ranges::sort(touched);
  touched.erase(std::ranges::unique(touched).begin(), touched.end());
  for (const auto number : touched) {
    const auto known = chain.programs.find(number);
    const auto row = vocabularies_[own].rows[number];
    const bool wanted = row.classes > 0;
    if (wanted == (known != chain.programs.end())) continue;
    const ChainKey key{ChainId{chain.id}, row.id};
    if (wanted) {
      const auto program = acquire(chain.plan, chain.family, row.projection);
      chain.programs.emplace(number, program);
      changes_.chain_programs.update(key, id(program));
    } else {
      changes_.chain_programs.remove(key);
      gone.push_back(known->second);
      chain.programs.erase(known);
    }
  }
}

// --- vocabularies ---

std::uint32_t ProgramStore::find_or_add_vocabulary(const std::vector<SetId>& sets) {
  const auto signature = sets_.signatures.acquire(sets).id;
  const auto [it, is_new] = vocabulary_by_sets_.emplace(signature, 0);
  if (is_new) {
    if (free_vocabularies_.empty()) {
      it->second = static_cast<std::uint32_t>(vocabularies_.size());
      vocabularies_.emplace_back();
    } else {
      it->second = free_vocabularies_.back();
      free_vocabularies_.pop_back();
    }
    auto& vocabulary = vocabularies_[it->second];
    vocabulary.sets = signature;
    vocabulary.id = ids_.take(IdSpace::kVocabulary, sets_.digest(sets));
  } else {
    sets_.signatures.release(signature);
  }
  return it->second;
}

void ProgramStore::drop_vocabulary_if_unused(std::uint32_t index) {
  auto& vocabulary = vocabularies_[index];
  if (vocabulary.in_use()) return;
  for (std::uint32_t class_id = 0; class_id < seen_.size(); ++class_id) {
    const auto gone =
        std::erase_if(seen_[class_id], [&](const Seen& seen) { return seen.vocabulary == index; });
    if (gone > 0) changes_.projections.remove({VocabularyId{vocabulary.id}, ClassId{class_id}});
    entries_ -= gone;
  }
  for (const auto& row : vocabulary.rows) release_projection(row.projection);
  ids_.release(IdSpace::kVocabulary, vocabulary.id);
  vocabulary_by_sets_.erase(vocabulary.sets);
  sets_.signatures.release(vocabulary.sets);
  vocabulary = {};
  free_vocabularies_.push_back(index);
}

// One row more that has the projection.
ProjectionId ProgramStore::retain_projection(SignatureId projection) {
  if (projections_.size() <= projection) projections_.resize(sets_.signatures.bound());
  auto& entry = projections_[projection];
  sets_.signatures.retain(projection);
  if (entry.users++ == 0) entry.id = ids_.take(IdSpace::kProjection, sets_.digest(projection));
  return ProjectionId{entry.id};
}

void ProgramStore::release_projection(SignatureId projection) {
  if (projection == 0) return;
  auto& entry = projections_[projection];
  CHECK(entry.users > 0);
  if (--entry.users == 0) ids_.release(IdSpace::kProjection, entry.id);
  sets_.signatures.release(projection);
}

std::uint32_t ProgramStore::hash_of(SignatureId projection) {
  return short_hash(std::as_bytes(std::span(&projection, 1)));
}

// Shifted by one; 0 where there is none.
ProgramStore::RowId ProgramStore::find_row(const Vocabulary& vocabulary, SignatureId projection) {
  return vocabulary.row_by_projection.find(
      hash_of(projection), [&](RowId row) { return vocabulary.rows[row - 1].projection == projection; });
}

const ProgramStore::Row* ProgramStore::Vocabulary::row(SignatureId projection) const {
  const auto found = find_row(*this, projection);
  return found == 0 || rows[found - 1].classes == 0 ? nullptr : &rows[found - 1];
}

ProgramStore::RowId ProgramStore::add_row(Vocabulary& vocabulary, SignatureId projection) {
  RowId number = 0;
  if (vocabulary.free_rows.empty()) {
    number = static_cast<RowId>(vocabulary.rows.size());
    vocabulary.rows.emplace_back();
  } else {
    number = vocabulary.free_rows.back();
    vocabulary.free_rows.pop_back();
  }
  vocabulary.rows[number] = {.projection = projection, .id = retain_projection(projection), .classes = 0};
  vocabulary.row_by_projection.insert(hash_of(projection), number + 1);
  return number;
}

// Takes over the use of the projection.
void ProgramStore::see(std::uint32_t index, ClassId class_id, PackedPool::Acquired projection) {
  if (projection.id == 0) return;
  auto& vocabulary = vocabularies_[index];
  // Nobody has seen one that is new.
  const auto known = projection.is_new ? 0 : find_row(vocabulary, projection.id);
  const auto number = known != 0 ? known - 1 : add_row(vocabulary, projection.id);
  sets_.signatures.release(projection.id);
  auto& row = vocabulary.rows[number];
  if (++row.classes == 1) vocabulary.changed.push_back(number);
  const auto at = static_cast<std::uint32_t>(class_id);
  if (seen_.size() <= at) seen_.resize(at + 1);
  seen_[at].push_back({index, number});
  ++entries_;
  changes_.projections.update({VocabularyId{vocabulary.id}, class_id}, row.id);
}

// A class that is new, by all vocabularies that are not.
void ProgramStore::see_by_all(ClassId class_id, SignatureId signature) {
  projected_.clear();
  projected_by_.clear();
  const auto expect = [&](std::size_t from) {
    sets_.signatures.expect_packed(std::span(projected_).subspan(from));
  };
  for (std::uint32_t index = 0; index < vocabularies_.size(); ++index) {
    const auto& vocabulary = vocabularies_[index];
    if (!vocabulary.in_use() || vocabulary.is_new) continue;
    const auto from = projected_.size();
    sets_.signatures.append_common(signature, vocabulary.sets, projected_);
    projected_by_.emplace_back(index, projected_.size());
    expect(from);
  }
  std::size_t from = 0;
  for (const auto& [index, end] : projected_by_) {
    see(index, class_id, sets_.signatures.acquire_packed(std::span(projected_).subspan(from, end - from)));
    from = end;
  }
}

void ProgramStore::forget(ClassId class_id) {
  const auto at = static_cast<std::uint32_t>(class_id);
  if (at >= seen_.size()) return;
  for (const auto& [index, row] : seen_[at]) {
    auto& vocabulary = vocabularies_[index];
    changes_.projections.remove({VocabularyId{vocabulary.id}, class_id});
    if (--vocabulary.rows[row].classes == 0) vocabulary.changed.push_back(row);
  }
  entries_ -= seen_[at].size();
  seen_[at].clear();
}

// What a class leads to lies in no cache: in each vocabulary a chain of places, from the class to its tables.
// Asks for the first places of all chains, then for the second ones, and so on, so that all are waited for at
// once.
void ProgramStore::fetch(ClassId class_id) const {
  const auto at = static_cast<std::uint32_t>(class_id);
  if (at >= seen_.size()) return;
  const auto& signatures = sets_.signatures;
  const auto& seen = seen_[at];
  const auto row_of = [&](const Seen& one) -> const Row& {
    return vocabularies_[one.vocabulary].rows[one.row];
  };
  std::vector<const TableId*> cells;
  for (const auto& one : seen) {
    __builtin_prefetch(&row_of(one));
    for (const auto index : vocabularies_[one.vocabulary].programs) {
      if (one.row < programs_[index].tables.size()) cells.push_back(&programs_[index].tables[one.row]);
    }
  }
  for (const auto* cell : cells) __builtin_prefetch(cell);
  for (const auto& one : seen) {
    const auto& row = row_of(one);
    signatures.expect_entry(row.projection);
    vocabularies_[one.vocabulary].row_by_projection.expect(hash_of(row.projection));
    __builtin_prefetch(&ids_.meaning(IdSpace::kProjection, static_cast<std::uint32_t>(row.id)));
  }
  for (const auto* cell : cells) {
    __builtin_prefetch(&ids_.meaning(IdSpace::kTable, static_cast<std::uint32_t>(*cell)));
    __builtin_prefetch(&tables_[*cell]);
  }
  for (const auto& one : seen) signatures.expect_items(row_of(one).projection);
  for (const auto* cell : cells) __builtin_prefetch(tables_[*cell].bytes().data());
  for (const auto& one : seen) signatures.expect_slot(row_of(one).projection);
  for (const auto* cell : cells) {
    if (*cell != TableId{}) tables_.expect_slot(*cell);
  }
}

// Those that no class has any more, once no program has tables there.
void ProgramStore::drop_rows(Vocabulary& vocabulary) {
  for (const auto number : vocabulary.changed) {
    auto& row = vocabulary.rows[number];
    if (row.projection == 0 || row.classes > 0) continue;
    vocabulary.row_by_projection.erase(hash_of(row.projection), number + 1);
    release_projection(row.projection);
    row = {};
    vocabulary.free_rows.push_back(number);
  }
  vocabulary.changed.clear();
}

// --- tables ---

void ProgramStore::drop_table(Program& program, RowId row) {
  if (row >= program.tables.size() || program.tables[row] == TableId{}) return;
  changes_.tables_by_projection.remove(
      {ProgramId{program.id}, vocabularies_[program.vocabulary].rows[row].id});
  tables_.release(std::exchange(program.tables[row], {}));
  --entries_;
}

void ProgramStore::compile_new(Index index, std::size_t most) {
  auto& program = programs_[index];
  const auto& vocabulary = vocabularies_[program.vocabulary];
  wanted_.clear();
  program.tables.resize(vocabulary.rows.size());
  for (RowId row = 0; row < vocabulary.rows.size(); ++row) {
    if (vocabulary.rows[row].classes > 0 && program.tables[row] == TableId{}) wanted_.push_back(row);
  }
  TableStore::Session session(tables_, compiler(program), program.outcomes);
  if (program.base == TableId{}) {
    program.base = tables_.acquire(compiler(program).compile_base(), session);
    changes_.programs.update(ProgramId{program.id}, {VocabularyId{vocabulary.id}, program.base});
  }
  compile_wanted(program, session, most);
}

// What its vocabulary sees anew, and no more.
void ProgramStore::compile_changed(Index index, std::size_t most) {
  auto& program = programs_[index];
  const auto& vocabulary = vocabularies_[program.vocabulary];
  wanted_.clear();
  program.tables.resize(vocabulary.rows.size());
  for (const auto row : vocabulary.changed) {
    if (vocabulary.rows[row].classes == 0) {
      drop_table(program, row);
    } else if (program.tables[row] == TableId{}) {
      wanted_.push_back(row);
    }
  }
  if (wanted_.empty()) return;
  TableStore::Session session(tables_, compiler(program), program.outcomes);
  compile_wanted(program, session, most);
}

void ProgramStore::compile_wanted(Program& program, TableStore::Session& session, std::size_t most) {
  std::ranges::sort(wanted_);
  wanted_.erase(std::ranges::unique(wanted_).begin(), wanted_.end());
  const auto& rows = vocabularies_[program.vocabulary].rows;
  for (const auto row : wanted_) {
    if (entry_count() > most) return;
    peer_sets_.clear();
    sets_.signatures.for_each(rows[row].projection, [&](SetId set) { peer_sets_.push_back(set); });
    const auto cells = compiler(program).compile(peer_sets_);
    const auto table = tables_.acquire_difference(cells, tables_[program.base], session);
    if (table == TableId{}) continue;
    program.tables[row] = table;
    ++entries_;
    changes_.tables_by_projection.update({ProgramId{program.id}, rows[row].id}, table);
  }
}

// Vocabularies that are new look at all classes, the others at those that came and went.
void ProgramStore::see_classes(const AddressIndex& addresses, const AddressIndex::Update& classes,
                               std::size_t most) {
  constexpr std::size_t kFew = 16;  // what more of them lead to would push itself out again
  if (classes.gone_classes.size() <= kFew)
    std::ranges::for_each(classes.gone_classes, [&](ClassId id) { fetch(id); });
  for (const auto id : classes.gone_classes) forget(id);
  for (const auto signature : classes.new_classes) see_by_all(addresses.classes().of(signature), signature);
  for (std::uint32_t index = 0; index < vocabularies_.size(); ++index) {
    auto& vocabulary = vocabularies_[index];
    if (!vocabulary.in_use() || !vocabulary.is_new || entry_count() > most) continue;
    vocabulary.is_new = false;
    addresses.classes().for_each([&](SignatureId signature, ClassId id) {
      projected_.clear();
      sets_.signatures.append_common(signature, vocabulary.sets, projected_);
      see(index, id, sets_.signatures.acquire_packed(projected_));
    });
  }
}

// False where it would be more than `most` entries.
bool ProgramStore::compile_all(std::size_t most) {
  for (auto& vocabulary : vocabularies_) {
    if (vocabulary.changed.empty()) continue;
    for (const auto program : vocabulary.programs) {
      if (!new_programs_.contains(program)) compile_changed(program, most);
    }
  }
  for (const auto program : new_programs_) compile_new(program, most);
  if (entry_count() > most) return false;
  for (auto& vocabulary : vocabularies_) {
    if (vocabulary.changed.empty()) continue;
    for (const auto program : vocabulary.programs) tidy_up(programs_[program]);
    drop_rows(vocabulary);
  }
  for (const auto program : new_programs_) tidy_up(programs_[program]);
  new_programs_.clear();
  return true;
}

bool ProgramStore::update(const AddressIndex& addresses, const AddressIndex::Update& classes,
                          std::size_t most, TablesChanges& changes) {
  see_classes(addresses, classes, most);
  std::vector<Index> gone;
  for (ChainIndex chain = 1; chain < chains_.size(); ++chain) {
    if (chains_[chain].users > 0 && chains_[chain].vocabulary != 0) settle_chain(chain, gone);
  }
  for (const auto program : gone) release(program);
  see_classes(addresses, {}, most);  // for the vocabularies of programs that chains have just asked for
  const bool complete = compile_all(most);
  own_sets_.clear();
  program_by_own_.clear();
  tables_.take_changes(changes_);
  changes.absorb(std::exchange(changes_, {}));
  return complete;
}

}  // namespace ocicat::policy
