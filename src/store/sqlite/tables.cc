#include "store/sqlite/tables.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <random>

namespace ocicat::store {
namespace {

constexpr int kApplicationId = 0x6f636963;  // "ocic"
// Revisions that a loss of power may have taken back must not be given out twice, or a reader who saw them
// would miss the new ones: after a boot, numbering goes on behind them.
constexpr Revision kBootGap = 1'000'000;
// Readers that were away for more openings than these list anew.
constexpr int kMaxPast = 32;

constexpr const char* kSchema = R"(
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE objects(kind TEXT, namespace TEXT, name TEXT, revision INTEGER NOT NULL, document TEXT NOT NULL,
                     PRIMARY KEY(kind, namespace, name)) WITHOUT ROWID;
CREATE TABLE history(revision INTEGER PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                     type INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE floors(kind TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
)";

// "NetworkPolicy.projectcalico.org": what a kind is called in the file.
std::string kind_text(Kind kind) {
  return fmt::format("{}.{}", info(kind).name, info(kind).group);
}

const std::map<std::string, Kind>& kinds_by_text() {
  static const auto kinds = [] {
    std::map<std::string, Kind> result;
    for (const auto& known : all_kinds()) result.emplace(kind_text(known.kind), known.kind);
    return result;
  }();
  return kinds;
}

std::optional<Kind> kind_of(const std::string& text) {
  const auto found = kinds_by_text().find(text);
  return found == kinds_by_text().end() ? std::nullopt : std::optional(found->second);
}

std::string boot_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

std::string new_incarnation() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

Result<void> check_schema(Database& database) {
  TRY(const auto version, database.query_text("PRAGMA user_version"));
  TRY(const auto application, database.query_text("PRAGMA application_id"));
  TRY(const auto tables, database.query_text("SELECT count(*) FROM sqlite_master"));
  if (tables == "0") {
    return database.execute(fmt::format("BEGIN; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
                                        kSchema, kApplicationId, kSchemaVersion));
  }
  if (application != std::to_string(kApplicationId)) {
    return fail(ErrorCode::kInvalid, "this is another program's database; choose another path");
  }
  if (version != std::to_string(kSchemaVersion)) {
    return fail(ErrorCode::kUnsupported, "the schema is of version {}, this program knows {}", version,
                kSchemaVersion);
  }
  TRY(const auto sound, database.query_text("PRAGMA quick_check(1)"));
  if (sound != "ok") return fail(ErrorCode::kInternal, "the database is damaged: {}; {}", sound, kIfDamaged);
  return {};
}

std::int64_t signed_revision(Revision revision) {
  return static_cast<std::int64_t>(revision);
}

// A file that SQLite finds sound may still say what this program never wrote.
Result<Revision> read_revision(const Statement& row, int column) {
  const auto number = row.integer(column);
  if (number < 0)
    return fail(ErrorCode::kInternal, "the database is damaged: revision {}; {}", number, kIfDamaged);
  return static_cast<Revision>(number);
}

Result<Revision> parse_revision(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0)
    return fail(ErrorCode::kInternal, "the database is damaged: revision '{}'; {}", text, kIfDamaged);
  return static_cast<Revision>(number);
}

Result<EventType> read_event_type(const Statement& row, int column) {
  const auto number = row.integer(column);
  if (number < static_cast<int>(EventType::kCreated) || number > static_cast<int>(EventType::kDeleted))
    return fail(ErrorCode::kInternal, "the database is damaged: an event of type {}; {}", number, kIfDamaged);
  return static_cast<EventType>(number);
}

}  // namespace

Result<Tables> Tables::open(const std::string& path) {
  Tables tables;
  TRY(tables.database_, Database::open(path));
  if (auto ready = tables.prepare(); !ready) return within(path, std::move(ready).error());
  return tables;
}

Result<void> Tables::prepare() {
  TRY_VOID(database_.query_text("PRAGMA journal_mode=WAL"));
  TRY_VOID(set_flush(true));
  TRY_VOID(check_schema(database_));
  TRY(begin_, database_.prepare("BEGIN IMMEDIATE"));
  TRY(commit_, database_.prepare("COMMIT"));
  TRY(rollback_, database_.prepare("ROLLBACK"));
  TRY(put_, database_.prepare(
                "INSERT INTO objects(kind, namespace, name, revision, document) VALUES(?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET revision = excluded.revision, document = excluded.document"));
  TRY(erase_, database_.prepare("DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?"));
  TRY(log_,
      database_.prepare(
          "INSERT INTO history(revision, kind, namespace, name, type, document) VALUES(?, ?, ?, ?, ?, ?)"));
  TRY(floor_, database_.prepare("INSERT INTO floors(kind, revision) VALUES(?, ?) ON CONFLICT DO UPDATE SET "
                                "revision = excluded.revision"));
  TRY(trim_, database_.prepare("DELETE FROM history WHERE kind = ? AND revision <= ?"));
  return {};
}

Result<void> Tables::set_flush(bool flush) {
  if (flush_ == flush) return {};
  // In WAL mode FULL flushes the log at every commit, NORMAL only before it is folded into the file.
  TRY_VOID(database_.execute(flush ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  flush_ = flush;
  return {};
}

Result<Contents> Tables::load() {
  Contents contents;
  TRY(auto objects, database_.prepare("SELECT kind, namespace, name, revision, document FROM objects"));
  while (true) {
    TRY(const bool row, objects.step());
    if (!row) break;
    TRY(const auto revision, read_revision(objects, 3));
    contents.revision = std::max(contents.revision, revision);
    const auto kind = kind_of(objects.text(0));
    if (!kind) continue;
    contents.objects.push_back({{*kind, objects.text(1), objects.text(2)},
                                revision,
                                std::make_shared<const std::string>(objects.text(4))});
  }

  TRY_VOID(load_history(contents));

  TRY(auto floors, database_.prepare("SELECT kind, revision FROM floors"));
  while (true) {
    TRY(const bool row, floors.step());
    if (!row) break;
    TRY(const auto revision, read_revision(floors, 1));
    contents.revision = std::max(contents.revision, revision);
    if (const auto kind = kind_of(floors.text(0))) contents.floors[*kind] = revision;
  }

  TRY_VOID(load_past(contents));
  return contents;
}

Result<void> Tables::load_history(Contents& contents) {
  std::map<ResourceKey, Text> previous;
  TRY(auto history,
      database_.prepare(
          "SELECT kind, namespace, name, revision, document, type FROM history ORDER BY revision"));
  while (true) {
    TRY(const bool row, history.step());
    if (!row) break;
    TRY(const auto revision, read_revision(history, 3));
    TRY(const auto type, read_event_type(history, 5));
    contents.revision = std::max(contents.revision, revision);
    const auto kind = kind_of(history.text(0));
    if (!kind) continue;
    Event event{type,
                {{*kind, history.text(1), history.text(2)},
                 revision,
                 std::make_shared<const std::string>(history.text(4))},
                nullptr};
    event.previous = std::exchange(previous[event.entry.key], event.entry.document);
    contents.history.push_back(std::move(event));
  }
  return {};
}

// The incarnations that were, and where this one goes on. It is written down with its first change: one that
// changed nothing leaves no trace, and opening a store takes no space on a full disk.
Result<void> Tables::load_past(Contents& contents) {
  contents.incarnation = new_incarnation();
  Revision until = contents.revision;  // all that is here was written by the newest one that is written down
  TRY(auto past, database_.prepare("SELECT substr(name, 13), CAST(value AS INTEGER) FROM meta"
                                   " WHERE name LIKE 'incarnation %' ORDER BY 2 DESC"));
  while (true) {
    TRY(const bool row, past.step());
    if (!row) break;
    contents.past[past.text(0)] = until;
    TRY(until, read_revision(past, 1));
  }
  on_first_write_ = fmt::format(
      "INSERT INTO meta VALUES('incarnation {}',{});"
      "DELETE FROM meta WHERE name LIKE 'incarnation %' AND name NOT IN (SELECT name FROM meta"
      " WHERE name LIKE 'incarnation %' ORDER BY CAST(value AS INTEGER) DESC LIMIT {});",
      contents.incarnation, contents.revision, kMaxPast);

  TRY(const auto base, database_.query_text("SELECT value FROM meta WHERE name='base'"));
  if (!base.empty()) {
    TRY(const auto revision, parse_revision(base));
    contents.revision = std::max(contents.revision, revision);
  }
  TRY(const auto last_boot, database_.query_text("SELECT value FROM meta WHERE name='boot'"));
  if (const auto boot = boot_id(); last_boot != boot) {
    if (!last_boot.empty()) contents.revision += kBootGap;
    on_first_write_ +=
        fmt::format("REPLACE INTO meta VALUES('base','{}'),('boot','{}');", contents.revision, boot);
  }
  return {};
}

Result<void> Tables::write_event(const Event& event) {
  const auto& [key, revision, document] = event.entry;
  const auto kind = kind_text(key.kind);
  if (event.type == EventType::kDeleted) {
    TRY_VOID(erase_.start().bind(kind).bind(key.ns).bind(key.name).run());
  } else {
    TRY_VOID(put_.start()
                 .bind(kind)
                 .bind(key.ns)
                 .bind(key.name)
                 .bind(signed_revision(revision))
                 .bind(*document)
                 .run());
  }
  return log_.start()
      .bind(signed_revision(revision))
      .bind(kind)
      .bind(key.ns)
      .bind(key.name)
      .bind(static_cast<std::int64_t>(event.type))
      .bind(*document)
      .run();
}

Result<void> Tables::write(const std::vector<Event>& events, const std::map<Kind, Revision>& floors,
                           bool flush) {
  TRY_VOID(set_flush(flush));
  TRY_VOID(begin_.start().run());
  const auto all = [&]() -> Result<void> {
    if (!on_first_write_.empty()) TRY_VOID(database_.execute(on_first_write_));
    for (const auto& event : events) TRY_VOID(write_event(event));
    for (const auto& [kind, floor] : floors) {
      const auto text = kind_text(kind);
      TRY_VOID(trim_.start().bind(text).bind(signed_revision(floor)).run());
      TRY_VOID(floor_.start().bind(text).bind(signed_revision(floor)).run());
    }
    return commit_.start().run();
  };
  auto written = all();
  if (written) on_first_write_.clear();
  // SQLite has rolled back by itself after some errors, and then refuses to do it again.
  if (!written) std::ignore = rollback_.start().run();
  return written;
}

Result<void> Tables::limit_pages(std::size_t pages) {
  return database_.execute(fmt::format("PRAGMA max_page_count={}", pages));
}

}  // namespace ocicat::store
