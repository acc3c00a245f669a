// Documents in one SQLite file, in WAL mode: a file a person can open.
//
//   writes   one thread; all edits that wait share one transaction and one flush, so many writers cost one
//   disk reads    from memory (store/replica.h); they go on when the disk is full, read-only or broken after
//   kill -9: every acknowledged write is there. After a loss of power: every one made with
//            Durability::kDisk; revisions lost with the others are not given out again
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "store/replica.h"
#include "store/store.h"

namespace ocicat::store {

struct SqliteOptions {
  std::string path;  // ":memory:" keeps nothing
  HistoryLimits history;
  std::optional<std::size_t> max_pages;  // bounds the file, for tests of a full disk
};

// Opens or makes the file. kUnavailable: another server has it open (PATH.lock is locked); else as
// Tables::open.
Result<std::unique_ptr<Store>> open_sqlite_store(const SqliteOptions& options);

}  // namespace ocicat::store
