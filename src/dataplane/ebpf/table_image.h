// The decision tables as arrays (bpf/maps/tables.h): what is wanted, where it stands, and what must be
// written. Pure: over any memory.
//
//   cost     of an update: what changes; where a table's content changes under its id, which interning
//            avoids, everything is compared
//   errors   kExhausted: an array is full. Nothing has been shown then; resync() next
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "dataplane/ebpf/extents.h"
#include "dataplane/ebpf/step.h"
#include "kernel/bpf.h"
#include "maps/chains.h"
#include "maps/tables.h"
#include "policy/tables.h"

namespace ocicat::dataplane::ebpf {

struct TableMemory {
  std::span<bpf::program> programs;
  std::span<bpf::chain> chains;
  std::span<bpf::vocabulary> vocabularies;
  kernel::bpf::Elements<bpf::entry> entries;  // both are filled from the beginning
  kernel::bpf::Elements<bpf::cell> cells;
};

// What may answer differently after a change.
struct Concerned {
  bool all = false;
  std::set<policy::ProgramId> programs;
  std::set<policy::ChainId> chains;
  bool stay = false;  // connections that are open do, whatever may answer differently,
  bool anew = false;  // but for this: some may have to be judged by other addresses than they were

  bool has(policy::ProgramId id) const { return all || programs.contains(id); }
  bool has(policy::ChainId id) const { return all || chains.contains(id); }
};

class TableImage {
 public:
  explicit TableImage(TableMemory memory);

  // Classes and dictionary are not its concern.
  void want(const policy::TablesChanges& changes);
  // Writes what the last want() changed; the memory is as the last step left it.
  Result<void> update(Step& step);
  // Writes what differs, whatever the memory holds.
  Result<void> resync(Step& step);
  // Which programs and chains the last want() makes answer differently, by what they say or by what classes
  // mean to them: about addresses that move from one class to another, or that keep a class.
  using Moves = std::set<std::pair<policy::ClassId, policy::ClassId>>;
  Concerned concerned(const Moves& moves, const std::function<bool(policy::ClassId)>& is_kept) const;

 private:
  template <class Id>
  using Places = std::map<Id, Extent>;

  // As they stand in memory.
  std::vector<bpf::cell> cells_of(const policy::Table& table) const;
  // Of a table that says the same of all keys, that; else 0.
  std::uint32_t only_answer(policy::TableId id) const;
  // What stands where a table is named: its name, or its only answer; 0: there is none.
  std::uint32_t named(policy::TableId id) const;
  Result<void> place_named(policy::TableId id, Step& step);
  void adopt_named(policy::TableId id, std::uint32_t there);
  Result<void> place_table(policy::TableId id, Step& step);
  template <class Id>
  void release(Places<Id>& places, Id id, Extents& extents, Step& step);
  // Room for `size` entries, with what they are to say there already.
  template <class Id, class ValueAt>
  Result<void> make_room(Places<Id>& rows, Id id, std::uint32_t size, ValueAt value_at, Step& step);
  std::uint32_t row_size(policy::ProgramId id) const;
  std::uint32_t row_size(policy::ChainId id) const;
  std::uint32_t row_size(policy::VocabularyId id) const;
  policy::ProjectionId projection_before(const policy::ProjectionKey& key) const;
  std::uint32_t entry_of(policy::ProgramId id, std::uint32_t projection) const;
  std::uint32_t entry_of(policy::ChainId id, std::uint32_t projection) const;
  std::uint32_t entry_of(policy::VocabularyId id, std::uint32_t address_class) const;
  Result<void> write_program(policy::ProgramId id, Step& step);
  Result<void> write_chain(policy::ChainId id, Step& step);
  Result<void> write_vocabulary(policy::VocabularyId id, Step& step);
  Result<void> write_all(Step& step);
  Result<void> write_all_chains(Step& step);
  template <class Id>
  void write_entry(const Places<Id>& rows, Id id, std::uint32_t index, Step& step);
  template <class Id>
  void write_rows(const Places<Id>& rows, Step& step);
  void add_chains(Concerned& concerned, const std::function<bool(policy::VocabularyId)>& is_reworded) const;

  void adopt(std::size_t side);
  bool adopt_table(policy::TableId id, std::uint32_t name);
  void set_aside(const bpf::row& row, bool leads_to_tables, std::size_t side, Step& step);
  void set_aside_table(std::uint32_t name, Step& step);
  // The cells of the table of that name, the one in front included; nothing: it runs out of them.
  std::optional<Extent> extent_of(std::uint32_t name) const;
  // Of one that has a place.
  std::uint32_t name_of(policy::TableId id) const;

  TableMemory memory_;
  policy::Tables wanted_;
  // Of the last want():
  policy::TablesChanges changes_;
  std::map<policy::ProjectionKey, policy::ProjectionId> projections_before_;  // of those in changes_
  std::set<policy::ProgramId> reworded_;  // programs, known before, that say something else now
  std::set<policy::ChainId> rechained_;   // likewise
  bool in_place_ = false;                 // a table changed and kept its id

  Extents entries_, cells_;
  Places<policy::TableId> tables_;
  Places<policy::ProgramId> program_rows_;
  Places<policy::ChainId> chain_rows_;
  Places<policy::VocabularyId> vocabulary_rows_;
};

}  // namespace ocicat::dataplane::ebpf
