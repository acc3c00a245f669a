// The file: its schema, and what is read from and written to it. No threads, no locks.
//
//   meta      identity of the data, the machine's boot it was last opened in, base of revisions
//   objects   what is kept now
//   history   the last changes, each with the document as it was after it (before it, for a deletion)
//   floors    for each kind: changes up to this revision may be missing from history
#pragma once

#include <map>
#include <string>
#include <vector>

#include "store/sqlite/database.h"
#include "store/store.h"

namespace ocicat::store {

inline constexpr int kSchemaVersion = 1;

struct Contents {
  std::string identity;
  Revision revision = 0;
  std::vector<Entry> objects;
  std::vector<Event> history;  // ascending
  std::map<Kind, Revision> floors;
};

class Tables {
 public:
  // Makes or checks the schema. kUnsupported: a newer version wrote the file. kInvalid: it is something
  // else's file. kInternal: it is damaged.
  static Result<Tables> open(const std::string& path);

  // Everything. Rows of kinds that this version does not know stay in the file and count for the revision.
  Result<Contents> load();

  // Writes all events and floors in one transaction, or nothing. With `flush` it is on disk when this
  // returns.
  Result<void> write(const std::vector<Event>& events, const std::map<Kind, Revision>& floors, bool flush);

  // Bounds the file, for tests: a write beyond is kExhausted, as on a full disk.
  Result<void> limit_pages(std::size_t pages);

 private:
  Result<void> prepare();
  Result<void> write_event(const Event& event);
  Result<void> set_flush(bool flush);

  Database database_;
  Statement begin_, commit_, rollback_, put_, erase_, log_, floor_, trim_;
  std::optional<bool> flush_;
};

}  // namespace ocicat::store
