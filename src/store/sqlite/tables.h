// The file: its schema, and what is read from and written to it. No threads, no locks.
//
//   meta      the machine's boot it was last opened in, base of revisions, and for each incarnation that
//             wrote, as `incarnation ID`, the revision from which it went on
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
  std::string incarnation;               // of this opening
  std::map<std::string, Revision> past;  // of former incarnations, up to where what they wrote is still here
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

  // Writes all events and floors in one transaction, or nothing; with the first one, that there is a new
  // incarnation. With `flush` it is on disk when this
  // returns.
  Result<void> write(const std::vector<Event>& events, const std::map<Kind, Revision>& floors, bool flush);

  // Bounds the file, for tests: a write beyond is kExhausted, as on a full disk.
  Result<void> limit_pages(std::size_t pages);

 private:
  Result<void> prepare();
  Result<void> load_history(Contents& contents);
  Result<void> load_past(Contents& contents);
  Result<void> write_event(const Event& event);
  Result<void> set_flush(bool flush);

  Database database_;
  Statement begin_, commit_, rollback_, put_, erase_, log_, floor_, trim_;
  std::optional<bool> flush_;
  std::string on_first_write_;  // statements
};

}  // namespace ocicat::store
