#include "store/sqlite/sqlite_keep.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <utility>

namespace ocicat::store {
namespace {

constexpr std::size_t kTrimEvents = 1024;  // history on disk is shortened in steps of so many events

Result<UniqueFd> lock_file(const std::string& path) {
  if (path == ":memory:") return UniqueFd();
  const std::string lock_path = path + ".lock";
  UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0660));
  if (!lock) return fail_errno(lock_path, errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::kUnavailable, "{}: another server has this database open ({} is locked)", path,
                lock_path);
  }
  return lock;
}

// Not for everybody to read, as the socket is not: SQLite would make it so. What it puts beside a file has
// the file's mode. One that is there keeps its own, and why one cannot be made SQLite will say.
void make_file(const std::string& path) {
  if (path != ":memory:") UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660));
}

// What is kept plus the changes of the batch that is being put together.
class Pending final : public View {
 public:
  explicit Pending(const View& base) : base_(base) {}

  const Entry* get(const ResourceKey& key) const override {
    const auto changed = changes_.find(key);
    if (changed == changes_.end()) return base_.get(key);
    return changed->second ? &*changed->second : nullptr;
  }

  void each(Kind kind, const std::optional<std::string>& ns,
            const std::function<bool(const Entry&)>& visit) const override {
    auto it = changes_.lower_bound(ResourceKey{kind, ns.value_or(""), ""});
    const auto mine = [&] {
      return it != changes_.end() && it->first.kind == kind && (!ns || it->first.ns == *ns);
    };
    bool go_on = true;
    base_.each(kind, ns, [&](const Entry& entry) {
      for (; go_on && mine() && it->first < entry.key; ++it) go_on = !it->second || visit(*it->second);
      if (!go_on) return false;
      if (!mine() || it->first != entry.key) return go_on = visit(entry);
      go_on = !it->second || visit(*it->second);
      ++it;
      return go_on;
    });
    for (; go_on && mine(); ++it) go_on = !it->second || visit(*it->second);
  }

  // Makes the change visible and says what happened.
  Event apply(Change change, Revision revision) {
    const Entry* stored = get(change.key);
    CHECK(stored || change.document);
    Event event;
    event.entry = {change.key, revision,
                   change.document ? std::make_shared<const std::string>(*std::move(change.document))
                                   : stored->document};
    event.type = !change.document ? EventType::kDeleted : stored ? EventType::kUpdated : EventType::kCreated;
    event.previous = stored ? stored->document : nullptr;
    auto now = event.type == EventType::kDeleted ? std::nullopt : std::optional(event.entry);
    changes_.insert_or_assign(std::move(change.key), std::move(now));
    return event;
  }

 private:
  const View& base_;
  std::map<ResourceKey, std::optional<Entry>> changes_;
};

}  // namespace

Result<std::unique_ptr<SqliteKeep>> SqliteKeep::open(const SqliteOptions& options) {
  TRY(auto lock, lock_file(options.path));
  make_file(options.path);
  TRY(auto tables, Tables::open(options.path));
  auto contents = tables.load();
  if (!contents) return within(options.path, std::move(contents).error());
  if (options.max_pages) TRY_VOID(tables.limit_pages(*options.max_pages));
  return std::unique_ptr<SqliteKeep>(
      new SqliteKeep(options, std::move(lock), std::move(tables), *std::move(contents)));
}

SqliteKeep::SqliteKeep(const SqliteOptions& options, UniqueFd lock, Tables tables, Contents contents)
    : path_(options.path),
      incarnation_(std::move(contents.incarnation)),
      past_(std::move(contents.past)),
      lock_(std::move(lock)),
      tables_(std::move(tables)),
      replica_(options.history),
      revision_(contents.revision) {
  replica_.load(std::move(contents.objects), std::move(contents.history), contents.floors, contents.revision);
}

StoreStatus SqliteKeep::status() const {
  auto status = replica_.status();
  status.location = path_;
  status.incarnation = incarnation_;
  return status;
}

Result<void> SqliteKeep::check_past(const std::string& incarnation, Revision revision) const {
  if (incarnation == incarnation_) return {};  // what it has not given out yet, watch() refuses
  const auto known = past_.find(incarnation);
  if (known != past_.end() && revision <= known->second) return {};
  return fail(ErrorCode::kExpired, "revision {} of the store's incarnation {} is not part of this one's past",
              revision, incarnation);
}

void SqliteKeep::write(std::vector<Job>& batch) {
  Pending pending(replica_.writer_view());
  std::vector<Event> events;
  bool flush = false;
  Revision next = revision_;
  for (auto& job : batch) {
    auto change = job.edit(pending);
    if (!change) {
      job.outcome = std::unexpected(std::move(change).error());
    } else if (!*change) {
      job.outcome = Committed{{{}, next, nullptr}, false};
    } else {
      events.push_back(pending.apply(**std::move(change), ++next));
      job.outcome = Committed{events.back().entry, true};
      flush = flush || job.durability == Durability::kDisk;
    }
  }
  if (events.empty()) return;
  const bool trim = dropped_ >= kTrimEvents;
  if (auto written = tables_.write(events, trim ? floors_ : std::map<Kind, Revision>{}, flush); !written) {
    // Also for those that decided on nothing, or were refused: they may have seen what now never was.
    for (auto& job : batch) job.outcome = within(path_, written.error());
    return;
  }
  if (trim) {
    floors_.clear();
    dropped_ = 0;
  }
  revision_ = next;
  const auto count = events.size();
  const auto floors = replica_.apply(std::move(events));
  for (const auto& [kind, floor] : floors) floors_[kind] = floor;
  if (!floors.empty()) dropped_ += count;
}

}  // namespace ocicat::store
