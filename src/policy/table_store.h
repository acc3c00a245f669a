// Outcomes and tables, each kept once by what it says.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "policy/compiler.h"
#include "policy/id_registry.h"
#include "policy/tables.h"

namespace ocicat::policy {

class TableStore {
 public:
  explicit TableStore(IdRegistry& ids) : ids_(ids) {}

  // The outcomes of one compiler's thoughts, looked up once each. Holds a use of every outcome it was asked
  // for, until released.
  class Session {
   public:
    Session(TableStore& store, Compiler& compiler) : store_(store), compiler_(compiler) {}
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    OutcomeId outcome(ThoughtId thought);

   private:
    TableStore& store_;
    Compiler& compiler_;
    std::vector<std::uint32_t> outcomes_;  // by thought; 0: not asked for yet
  };

  // Cells as a table, one use each for the caller. `base`: only where the cells differ from it.
  TableId acquire(const std::vector<Cell>& cells, Session& session);
  // 0 where nothing differs.
  TableId acquire_difference(const std::vector<Cell>& cells, const Table& base, Session& session);
  void release(TableId id);
  // Stays while in use.
  const Table& operator[](TableId id) const { return tables_[static_cast<std::uint32_t>(id)]; }

  // What became of outcomes and tables since the last call.
  void take_changes(TablesChanges& changes);

 private:
  Table to_table(const std::vector<Cell>& cells, Session& session);
  TableId acquire_sources(const std::vector<SourceCell>& cells, Session& session);
  TableId intern(Table table, char kind);
  void release_outcome(OutcomeId id);
  void retain_parts(const Table& table);

  IdRegistry& ids_;
  std::deque<Table> tables_;  // by id
  Changes<OutcomeId, Outcome> outcome_changes_;
  Changes<TableId, Table> table_changes_;
};

}  // namespace ocicat::policy
