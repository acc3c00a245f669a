// Outcomes and tables, each kept once by what it says.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "policy/compiler.h"
#include "policy/id_index.h"
#include "policy/id_registry.h"
#include "policy/tables.h"

namespace ocicat::policy {

class TableStore {
 public:
  explicit TableStore(IdRegistry& ids) : ids_(ids) {}
  TableStore(const TableStore&) = delete;
  TableStore& operator=(const TableStore&) = delete;

  // What the thoughts of a compiler were last found to be; by thought, 0: not asked for yet. They may have
  // gone since.
  using Known = std::vector<std::uint32_t>;

  // The outcomes of one compiler's thoughts, looked up once each. Holds a use of every outcome that is new,
  // so nothing else may be released before it has ended.
  class Session {
   public:
    Session(TableStore& store, Compiler& compiler, Known& known);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    OutcomeId outcome(ThoughtId thought);

   private:
    TableStore& store_;
    Compiler& compiler_;
    Known& known_;
    std::vector<std::uint32_t> outcomes_;  // by thought; 0: not asked for yet
    std::vector<std::uint32_t> new_ones_;
  };

  // Cells as a table, one use for the caller.
  TableId acquire(const std::vector<Cell>& cells, Session& session);
  // Only where they differ from a base table, source ports included. 0 where nothing differs.
  TableId acquire_difference(std::span<const Cell* const> cells, const Table& base, Session& session);
  void release(TableId id);
  // Stays while in use.
  const Table& operator[](TableId id) const { return tables_[static_cast<std::uint32_t>(id)].table; }

  // Asks for the memory that release() of a table will look at, beside the table itself.
  void expect_slot(TableId id) const { known_.expect(hash_of(content(static_cast<std::uint32_t>(id)))); }

  std::size_t interval_count() const { return interval_count_; }

  // What became of outcomes and tables since the last call.
  void take_changes(TablesChanges& changes);

 private:
  // What the keys of a table are: table keys, or source ports.
  enum class Keys : char { kTable = 'k', kSourcePorts = 's' };
  struct Stored {
    Table table;
    Keys keys = Keys::kTable;
  };
  struct Content {
    const Table& table;
    Keys keys;
  };
  Content content(std::uint32_t id) const { return {tables_[id].table, tables_[id].keys}; }
  static std::uint32_t hash_of(const Content& content);
  // A use of its second table for the caller; absent where nothing differs from `base`, if there is one.
  std::optional<Interval> to_interval(const Cell& cell, const Interval* base, Session& session);
  void unpack_sources(const Interval* base);
  TableId intern_and_release();
  TableId intern(std::span<const Interval> intervals, Keys keys);
  Digest meaning_of(std::span<const Interval> intervals, Keys keys) const;
  void release_outcome(OutcomeId id);
  void retain_parts(std::span<const Interval> intervals);

  IdRegistry& ids_;
  std::deque<Stored> tables_;  // by id
  std::size_t interval_count_ = 0;
  // By what they say, in ids: these mean one thing each while they are in use.
  IdIndex known_;
  // While a table is looked up, and its second tables.
  std::vector<Interval> intervals_;
  std::vector<Interval> sources_;
  std::vector<Interval> base_sources_;
  std::vector<std::uint32_t> outcomes_;  // a session's, when there is none; its memory serves the next
  mutable std::vector<std::uint8_t> meaning_;
  boost::unordered_flat_map<Digest, std::uint32_t> outcome_by_digest_;
  Changes<OutcomeId, Outcome> outcome_changes_;
  Changes<TableId, Table> table_changes_;
};

}  // namespace ocicat::policy
