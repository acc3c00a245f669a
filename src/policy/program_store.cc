#include "policy/program_store.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

std::vector<SetId> intersection(std::span<const SetId> a, std::span<const SetId> b) {
  std::vector<SetId> both;
  std::ranges::set_intersection(a, b, std::back_inserter(both));
  return both;
}

}  // namespace

Compiler ProgramStore::compiler(const Program& program) {
  return {*program.plan, program.family, sets_.signatures[program.own], book_, members_,
          sets_.bound(), areas_};
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
  auto vocabulary = compiler(program).vocabulary();
  std::string meaning =
      fmt::format("{}|{}|{}|{}", plan->digest.to_hex(), static_cast<int>(family),
                  sets_.digest(sets_.signatures[own_signature]).to_hex(), sets_.digest(vocabulary).to_hex());
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
  program.id = ids_.acquire(IdSpace::kProgram, program.digest).id;
  program.users = 1;
  program.vocabulary = acquire_vocabulary(std::move(vocabulary), index);
  programs_[index] = std::move(program);
  new_programs_.push_back(index);
  return index;
}

void ProgramStore::release(Index index) {
  auto& program = programs_[index];
  CHECK(program.users > 0);
  if (--program.users > 0) return;
  for (const auto& [projection, table] : program.tables) {
    changes_.tables_by_projection.remove(
        {ProgramId{program.id}, ProjectionId{projections_.at(projection).id}});
    tables_.release(table);
    release_projection(projection);
  }
  if (program.base != TableId{}) tables_.release(program.base);
  if (ids_.release(IdSpace::kProgram, program.id)) changes_.programs.remove(ProgramId{program.id});
  release_vocabulary(program.vocabulary, index);
  sets_.signatures.release(program.own);
  program_by_digest_.erase(program.digest);
  std::erase(new_programs_, index);
  program = {};
  free_programs_.push_back(index);
}

// --- vocabularies ---

std::uint32_t ProgramStore::acquire_vocabulary(std::vector<SetId> sets, Index program) {
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
    vocabulary.id = ids_.acquire(IdSpace::kVocabulary, sets_.digest(sets)).id;
  } else {
    sets_.signatures.release(signature);
  }
  vocabularies_[it->second].programs.push_back(program);
  return it->second;
}

void ProgramStore::release_vocabulary(std::uint32_t index, Index program) {
  auto& vocabulary = vocabularies_[index];
  std::erase(vocabulary.programs, program);
  if (!vocabulary.programs.empty()) return;
  for (const auto& [class_id, projection] : vocabulary.projection_by_class) {
    changes_.projections.remove({VocabularyId{vocabulary.id}, ClassId{class_id}});
    release_projection(projection);
  }
  ids_.release(IdSpace::kVocabulary, vocabulary.id);
  vocabulary_by_sets_.erase(vocabulary.sets);
  sets_.signatures.release(vocabulary.sets);
  vocabulary = {};
  free_vocabularies_.push_back(index);
}

void ProgramStore::retain_projection(SignatureId projection) {
  auto& entry = projections_[projection];
  if (++entry.users > 1) return;
  sets_.signatures.retain(projection);
  entry.id = ids_.acquire(IdSpace::kProjection, sets_.digest(sets_.signatures[projection])).id;
}

void ProgramStore::release_projection(SignatureId projection) {
  const auto it = projections_.find(projection);
  CHECK(it != projections_.end());
  if (--it->second.users > 0) return;
  ids_.release(IdSpace::kProjection, it->second.id);
  sets_.signatures.release(projection);
  projections_.erase(it);
}

void ProgramStore::add_projection(Vocabulary& vocabulary, ClassId class_id, SignatureId signature) {
  const auto seen = intersection(sets_.signatures[signature], sets_.signatures[vocabulary.sets]);
  if (seen.empty()) return;
  const auto projection = sets_.signatures.acquire(seen).id;
  retain_projection(projection);
  sets_.signatures.release(projection);
  vocabulary.projection_by_class.emplace(static_cast<std::uint32_t>(class_id), projection);
  if (++vocabulary.users[projection] == 1) vocabulary.changed.push_back(projection);
  changes_.projections.update({VocabularyId{vocabulary.id}, class_id},
                              ProjectionId{projections_.at(projection).id});
}

void ProgramStore::remove_projection(Vocabulary& vocabulary, ClassId class_id) {
  const auto it = vocabulary.projection_by_class.find(static_cast<std::uint32_t>(class_id));
  if (it == vocabulary.projection_by_class.end()) return;
  const auto projection = it->second;
  vocabulary.projection_by_class.erase(it);
  changes_.projections.remove({VocabularyId{vocabulary.id}, class_id});
  if (--vocabulary.users[projection] == 0) {
    vocabulary.users.erase(projection);
    vocabulary.changed.push_back(projection);
  }
  release_projection(projection);
}

// --- tables ---

void ProgramStore::set_table(Program& program, SignatureId projection, TableId table) {
  if (table == TableId{}) return;
  program.tables.emplace(projection, table);
  retain_projection(projection);
  changes_.tables_by_projection.update({ProgramId{program.id}, ProjectionId{projections_.at(projection).id}},
                                       table);
}

// Compiles what a program lacks: all of it where it is new, else what its vocabulary sees anew.
void ProgramStore::compile(Index index, bool everything) {
  auto& program = programs_[index];
  auto& vocabulary = vocabularies_[program.vocabulary];
  std::vector<SignatureId> wanted;
  if (everything) {
    for (const auto& [projection, users] : vocabulary.users) wanted.push_back(projection);
  } else {
    for (const auto projection : vocabulary.changed) {
      if (!vocabulary.users.contains(projection)) {
        const auto it = program.tables.find(projection);
        if (it == program.tables.end()) continue;
        changes_.tables_by_projection.remove(
            {ProgramId{program.id}, ProjectionId{projections_.at(projection).id}});
        tables_.release(it->second);
        program.tables.erase(it);
        release_projection(projection);
      } else if (!program.tables.contains(projection)) {
        wanted.push_back(projection);
      }
    }
    if (wanted.empty()) return;
  }
  auto compiler_of_program = compiler(program);
  TableStore::Session session(tables_, compiler_of_program);
  if (everything) {
    program.base = tables_.acquire(compiler_of_program.compile_base(), session);
    changes_.programs.update(ProgramId{program.id}, {VocabularyId{vocabulary.id}, program.base});
  }
  std::ranges::sort(wanted);
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());
  for (const auto projection : wanted) {
    const auto cells = compiler_of_program.compile(sets_.signatures[projection]);
    set_table(program, projection, tables_.acquire_difference(cells, tables_[program.base], session));
  }
}

void ProgramStore::update(const AddressIndex& addresses, const AddressIndex::Update& classes,
                          TablesChanges& changes) {
  for (auto& vocabulary : vocabularies_) {
    if (vocabulary.programs.empty()) continue;
    if (std::exchange(vocabulary.is_new, false)) {
      addresses.classes().for_each(
          [&](SignatureId signature, ClassId id) { add_projection(vocabulary, id, signature); });
      continue;
    }
    for (const auto id : classes.gone_classes) remove_projection(vocabulary, id);
    for (const auto signature : classes.new_classes) {
      add_projection(vocabulary, addresses.classes().of(signature), signature);
    }
  }
  for (auto& vocabulary : vocabularies_) {
    if (vocabulary.changed.empty()) continue;
    for (const auto program : vocabulary.programs) {
      if (std::ranges::find(new_programs_, program) == new_programs_.end()) compile(program, false);
    }
  }
  for (const auto program : new_programs_) compile(program, true);
  for (auto& vocabulary : vocabularies_) vocabulary.changed.clear();
  new_programs_.clear();
  own_sets_.clear();
  program_by_own_.clear();
  areas_.clear();
  tables_.take_changes(changes_);
  changes.absorb(std::exchange(changes_, {}));
}

}  // namespace ocicat::policy
