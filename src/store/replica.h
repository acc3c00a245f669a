// All that is kept, in memory: objects, recent history, and those who follow it. Every kind of store feeds
// one and answers its readers from it, so that reads need no disk and go on when the disk does not.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "store/store.h"

namespace ocicat::store {

struct HistoryLimits {
  std::size_t events = 8192;             // of each kind, so that a busy kind does not push out a quiet one
  std::size_t bytes = 32 * 1024 * 1024;  // of documents, of each kind
};

// Readers may come from any thread; load() and apply() only from one, the writer's.
class Replica {
 public:
  explicit Replica(HistoryLimits limits) : limits_(limits) {}
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // What was on disk, before the first reader: `history` ascending; `floors` says for each kind up to which
  // revision history is gone.
  void load(std::vector<Entry> objects, std::vector<Event> history, const std::map<Kind, Revision>& floors,
            Revision revision);

  // Makes the changes readable and wakes those who wait. Returns the kinds whose history got shorter at its
  // old end, and up to which revision.
  std::map<Kind, Revision> apply(std::vector<Event> events);

  std::optional<Entry> get(const ResourceKey& key) const;
  Listing list(Kind kind, const std::optional<std::string>& ns) const;
  Revision revision() const;
  Result<std::unique_ptr<Watch>> watch(Kind kind, const std::optional<std::string>& ns, Revision after);
  // Fills everything but location and incarnations.
  StoreStatus status() const;

  // For edits. The unlocked view is for the writer's thread, which alone makes changes.
  const View& writer_view() const { return view_; }
  Result<std::optional<Change>> rehearse(const Edit& edit) const;

 private:
  class Follower;
  struct Track {                                       // of one kind
    std::deque<std::shared_ptr<const Event>> history;  // ascending
    std::uint64_t first = 0;                           // the running number of history.front()
    std::size_t bytes = 0;
    Revision floor = 0;  // events up to here may be gone
    Revision last = 0;   // of the newest change, deletions included
    std::unordered_set<Follower*> followers;

    std::uint64_t end() const { return first + history.size(); }
  };
  class Objects final : public View {
   public:
    const Entry* get(const ResourceKey& key) const override;
    void each(Kind kind, const std::optional<std::string>& ns,
              const std::function<bool(const Entry&)>& visit) const override;
    std::map<ResourceKey, Entry> by_key;
  };

  bool remember(std::shared_ptr<const Event> event);  // whether something old went

  const HistoryLimits limits_;
  mutable std::mutex mutex_;  // not a shared one: overlapping readers could keep the writer out
  Objects view_;
  std::map<Kind, Track> tracks_;
  Revision revision_ = 0;
};

}  // namespace ocicat::store
