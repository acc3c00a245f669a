// The file and the memory in front of it, kept in step. The part of the SQLite store that has no thread: all
// writes come from one caller, one batch after the other.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "store/replica.h"
#include "store/sqlite/sqlite_store.h"
#include "store/sqlite/tables.h"

namespace ocicat::store {

class SqliteKeep {
 public:
  // Errors as open_sqlite_store().
  static Result<std::unique_ptr<SqliteKeep>> open(const SqliteOptions& options);

  struct Job {
    Edit edit;
    Durability durability;
    Done done;  // for the caller to call with the outcome
    Result<Committed> outcome = Committed{};
  };
  // In one transaction; each edit succeeds or is refused alone, and sees those before it.
  void write(std::vector<Job>& batch);

  // For readers, on any thread.
  const Replica& replica() const { return replica_; }
  Replica& replica() { return replica_; }
  StoreStatus status() const;
  Result<void> check_past(const std::string& incarnation, Revision revision) const;

 private:
  SqliteKeep(const SqliteOptions& options, UniqueFd lock, Tables tables, Contents contents);

  const std::string path_;
  const std::string incarnation_;
  const std::map<std::string, Revision> past_;
  const UniqueFd lock_;
  Tables tables_;
  Replica replica_;
  Revision revision_;
  std::map<Kind, Revision> floors_;  // what memory has forgotten and the file has not
  std::size_t dropped_ = 0;          // at least as many events as `floors_` would take from the file
};

}  // namespace ocicat::store
