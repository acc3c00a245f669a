// Programs and what they see of classes: vocabularies, projections, tables.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "policy/address_index.h"
#include "policy/compiler.h"
#include "policy/id_index.h"
#include "policy/table_store.h"

namespace ocicat::policy {

// Endpoints with the same policy share a program; programs that ask about the same sets share a vocabulary.
//
//   in       plans and own addresses; classes that come and go
//   out      programs, their tables, projections; chains of host endpoints
//   cost     a new program: its rules, once for each projection; a new class: one projection a vocabulary,
//            and tables for projections that are new
class ProgramStore {
 public:
  ProgramStore(const RuleBook& book, const MemberIndex& members, SetSpace& sets, IdRegistry& ids)
      : book_(book), members_(members), sets_(sets), ids_(ids), tables_(ids) {}

  // Index of the program of `plan` for an own address with that signature; one more user. Call when sets are
  // settled; in a batch first all acquire(), then all release(), then update().
  using Index = std::uint32_t;  // from 1
  Index acquire(const std::shared_ptr<const Plan>& plan, Family family, SignatureId own);
  void release(Index index);
  ProgramId id(Index index) const { return ProgramId{programs_[index].id}; }

  // Index of the chain of a host endpoint's plan in one family: programs for all kinds of own addresses,
  // whatever they come to be. Otherwise as above.
  using ChainIndex = std::uint32_t;  // from 1
  ChainIndex acquire_chain(const std::shared_ptr<const Plan>& plan, Family family);
  void release_chain(ChainIndex index);
  ChainId chain_id(ChainIndex index) const { return ChainId{chains_[index].id}; }

  // False where that takes more than `most` entries: then some of it is not done. Release programs and call
  // again, with no classes, until it is true; nothing may be shown before. A program that is complete stays
  // so.
  [[nodiscard]] bool update(const AddressIndex& addresses, const AddressIndex::Update& classes,
                            std::size_t most, TablesChanges& changes);

  // What a datapath holds of programs: projections of classes, tables by projection, intervals of tables.
  std::size_t entry_count() const { return entries_ + tables_.interval_count(); }
  std::size_t program_count() const { return program_by_digest_.size(); }
  std::size_t chain_count() const { return chain_by_digest_.size(); }
  std::size_t vocabulary_count() const { return vocabulary_by_sets_.size(); }

 private:
  struct Program {
    std::uint32_t id = 0;
    std::uint32_t users = 0;
    std::uint32_t vocabulary = 0;  // index
    TableId base{};
    std::vector<TableId> tables;  // by row of the vocabulary; 0 or beyond the end: the base
    std::shared_ptr<const Plan> plan;
    Family family = Family::kIpv4;
    SignatureId own = 0;  // own sets that rules ask for
    Digest digest;
    // To the end of the batch that it is new in; a small one for good.
    std::unique_ptr<Compiler> compiler;
    TableStore::Known outcomes;  // of its thoughts
  };
  struct Projection {
    std::uint32_t id = 0;
    std::uint32_t users = 0;  // rows
  };
  // A projection that a vocabulary sees. One that no class has any more stays to the end of the batch, for
  // programs to drop its tables.
  using RowId = std::uint32_t;  // dense in the vocabulary, used again
  struct Row {
    SignatureId projection = 0;  // 0: free
    ProjectionId id{};
    std::uint32_t classes = 0;
  };
  struct Vocabulary {
    std::uint32_t id = 0;
    SignatureId sets = 0;
    std::vector<Index> programs;     // that ask it of the peer
    std::vector<ChainIndex> chains;  // that ask it of the own side
    std::vector<Row> rows;
    IdIndex row_by_projection;  // shifted by one
    std::vector<RowId> free_rows;
    bool is_new = true;
    std::vector<RowId> changed;  // got their first class or lost their last

    // Null where no class has the projection.
    const Row* row(SignatureId projection) const;
    bool in_use() const { return !programs.empty() || !chains.empty(); }
  };
  // How a vocabulary sees a class; no more than one of each.
  struct Seen {
    std::uint32_t vocabulary;
    RowId row;
  };
  struct ChainEntry {
    std::uint32_t id = 0;
    std::uint32_t users = 0;
    std::uint32_t vocabulary = 0;  // index; 0: nothing is asked of the own side
    Index base = 0;
    boost::unordered_flat_map<RowId, Index> programs;  // by projection of the own address
    std::shared_ptr<const Plan> plan;
    Family family = Family::kIpv4;
    Digest digest;
    bool is_new = true;
  };
  struct OwnKey {
    const Plan* plan;
    Family family;
    SignatureId own;
    bool operator==(const OwnKey&) const = default;
    friend std::size_t hash_value(const OwnKey& key) {
      return (reinterpret_cast<std::uintptr_t>(key.plan) >> 4) * 0x9e3779b97f4a7c15ULL ^
             (std::uint64_t{key.own} << 8 | static_cast<std::uint64_t>(key.family));
    }
  };
  using OwnSets = boost::unordered_flat_map<OwnKey, std::vector<SetId>>;

  std::uint32_t find_or_add_vocabulary(const std::vector<SetId>& sets);
  void drop_vocabulary_if_unused(std::uint32_t index);
  void see_classes(const AddressIndex& addresses, const AddressIndex::Update& classes, std::size_t most);
  void settle_chain(ChainIndex index, std::vector<Index>& gone);
  static std::uint32_t hash_of(SignatureId projection);
  static RowId find_row(const Vocabulary& vocabulary, SignatureId projection);
  RowId add_row(Vocabulary& vocabulary, SignatureId projection);
  void see(std::uint32_t vocabulary, ClassId class_id, PackedPool::Acquired projection);
  void see_by_all(ClassId class_id, SignatureId signature);
  void forget(ClassId class_id);
  void fetch(ClassId class_id) const;
  ProjectionId retain_projection(SignatureId projection);
  void release_projection(SignatureId projection);
  void drop_rows(Vocabulary& vocabulary);
  bool compile_all(std::size_t most);
  void compile_new(Index index, std::size_t most);
  void compile_changed(Index index, std::size_t most);
  void compile_wanted(Program& program, TableStore::Session& session, std::size_t most);
  void drop_table(Program& program, RowId row);
  Compiler& compiler(Program& program);
  static void tidy_up(Program& program);

  const RuleBook& book_;
  const MemberIndex& members_;
  SetSpace& sets_;
  IdRegistry& ids_;
  TableStore tables_;
  std::vector<Program> programs_{1};
  std::vector<Index> free_programs_;
  boost::unordered_flat_map<Digest, Index> program_by_digest_;
  std::vector<Vocabulary> vocabularies_{1};
  std::vector<std::uint32_t> free_vocabularies_;
  std::vector<std::vector<Seen>> seen_;  // by class: where its projection is not the empty one
  boost::unordered_flat_map<SignatureId, std::uint32_t> vocabulary_by_sets_;
  std::vector<Projection> projections_;  // by signature
  std::vector<ChainEntry> chains_{1};
  std::vector<ChainIndex> free_chains_;
  boost::unordered_flat_map<Digest, ChainIndex> chain_by_digest_;
  std::size_t entries_ = 0;  // projections of classes, tables by projection

  // Of the batch.
  CompilerBench bench_;
  OwnSets own_sets_;
  boost::unordered_flat_map<OwnKey, Index> program_by_own_;
  std::set<Index> new_programs_;
  std::vector<RowId> wanted_;     // to be compiled, of one program
  std::vector<SetId> peer_sets_;  // of the projection that is compiled
  // Projections of a new class, packed one behind the other: by vocabulary, and where each ends.
  std::vector<std::uint8_t> projected_;
  std::vector<std::pair<std::uint32_t, std::size_t>> projected_by_;
  TablesChanges changes_;
};

}  // namespace ocicat::policy
