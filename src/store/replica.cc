#include "store/replica.h"

#include <algorithm>

namespace ocicat::store {
namespace {

std::size_t weight(const Event& event) {
  return event.entry.document ? event.entry.document->size() : 0;
}

bool in_namespace(const ResourceKey& key, const std::optional<std::string>& ns) {
  return !ns || key.ns == *ns;
}

}  // namespace

class Replica::Follower final : public Watch {
 public:
  Follower(Replica& replica, Track& track, std::optional<std::string> ns, std::uint64_t next)
      : replica_(replica), track_(track), ns_(std::move(ns)), next_(next) {
    track_.followers.insert(this);  // under the replica's lock
  }

  ~Follower() override {
    const std::scoped_lock lock(replica_.mutex_);
    track_.followers.erase(this);
  }

  Result<Batch> next(std::size_t max_events) override {
    const std::scoped_lock lock(replica_.mutex_);
    if (next_ < track_.first) {
      return fail(ErrorCode::kExpired, "this watch was too slow: history now begins after revision {}",
                  track_.floor);
    }
    Batch batch;
    while (next_ < track_.end() && batch.events.size() < max_events) {
      const auto& event = track_.history[static_cast<std::size_t>(next_ - track_.first)];
      ++next_;
      if (in_namespace(event->entry.key, ns_)) batch.events.push_back(event);
    }
    const bool at_end = next_ == track_.end();
    batch.revision = at_end
                         ? replica_.revision_
                         : track_.history[static_cast<std::size_t>(next_ - 1 - track_.first)]->entry.revision;
    waiting_ = at_end && batch.events.empty();
    return batch;
  }

  void on_more(std::function<void()> wake) override {
    const std::scoped_lock lock(replica_.mutex_);
    wake_ = std::move(wake);
  }

  // Under the replica's lock.
  void notify() {
    if (std::exchange(waiting_, false) && wake_) wake_();
  }

 private:
  Replica& replica_;
  Track& track_;
  const std::optional<std::string> ns_;
  std::uint64_t next_;    // running number of the next event to give
  bool waiting_ = false;  // the last batch was empty, and nothing has come since
  std::function<void()> wake_;
};

const Entry* Replica::Objects::get(const ResourceKey& key) const {
  const auto found = by_key.find(key);
  return found == by_key.end() ? nullptr : &found->second;
}

void Replica::Objects::each(Kind kind, const std::optional<std::string>& ns,
                            const std::function<bool(const Entry&)>& visit) const {
  for (auto it = by_key.lower_bound(ResourceKey{kind, ns.value_or(""), ""}); it != by_key.end(); ++it) {
    if (it->first.kind != kind || !in_namespace(it->first, ns) || !visit(it->second)) return;
  }
}

void Replica::load(std::vector<Entry> objects, std::vector<Event> history,
                   const std::map<Kind, Revision>& floors, Revision revision) {
  const std::scoped_lock lock(mutex_);
  for (const auto& info : all_kinds()) tracks_[info.kind];  // references into tracks_ stay valid from here on
  for (auto& entry : objects) {
    auto& track = tracks_[entry.key.kind];
    track.last = std::max(track.last, entry.revision);
    view_.by_key.insert_or_assign(entry.key, std::move(entry));
  }
  for (const auto& [kind, floor] : floors) {
    tracks_[kind].floor = floor;
    tracks_[kind].last = std::max(tracks_[kind].last, floor);
  }
  for (auto& event : history) remember(std::make_shared<const Event>(std::move(event)));
  revision_ = revision;
}

bool Replica::remember(std::shared_ptr<const Event> event) {
  auto& track = tracks_[event->entry.key.kind];
  track.last = std::max(track.last, event->entry.revision);
  track.bytes += weight(*event);
  track.history.push_back(std::move(event));
  bool shorter = false;
  while (track.history.size() > limits_.events || (track.bytes > limits_.bytes && track.history.size() > 1)) {
    track.floor = track.history.front()->entry.revision;
    track.bytes -= weight(*track.history.front());
    track.history.pop_front();
    ++track.first;
    shorter = true;
  }
  return shorter;
}

std::map<Kind, Revision> Replica::apply(std::vector<Event> events) {
  const std::scoped_lock lock(mutex_);
  std::map<Kind, Revision> floors;
  std::vector<Kind> kinds;
  for (auto& event : events) {
    const Kind kind = event.entry.key.kind;
    revision_ = std::max(revision_, event.entry.revision);
    if (event.type == EventType::kDeleted) {
      view_.by_key.erase(event.entry.key);
    } else {
      view_.by_key.insert_or_assign(event.entry.key, event.entry);
    }
    if (remember(std::make_shared<const Event>(std::move(event)))) floors[kind] = tracks_[kind].floor;
    if (std::ranges::find(kinds, kind) == kinds.end()) kinds.push_back(kind);
  }
  for (const Kind kind : kinds) {
    for (auto* follower : tracks_[kind].followers) follower->notify();
  }
  return floors;
}

std::optional<Entry> Replica::get(const ResourceKey& key) const {
  const std::scoped_lock lock(mutex_);
  const Entry* entry = view_.get(key);
  return entry ? std::optional(*entry) : std::nullopt;
}

Listing Replica::list(Kind kind, const std::optional<std::string>& ns) const {
  const std::scoped_lock lock(mutex_);
  Listing listing;
  listing.revision = revision_;
  view_.each(kind, ns, [&](const Entry& entry) {
    listing.entries.push_back(entry);
    return true;
  });
  return listing;
}

Revision Replica::revision() const {
  const std::scoped_lock lock(mutex_);
  return revision_;
}

Result<std::unique_ptr<Watch>> Replica::watch(Kind kind, const std::optional<std::string>& ns,
                                              Revision after) {
  const std::scoped_lock lock(mutex_);
  auto& track = tracks_[kind];
  if (after > revision_) {
    return fail(ErrorCode::kExpired,
                "revision {} has not been yet (the last one is {}): it is of another store", after,
                revision_);
  }
  if (after < track.floor) {
    return fail(ErrorCode::kExpired, "too old resource version: {} (history begins after {})", after,
                track.floor);
  }
  const auto begin = std::ranges::upper_bound(track.history, after, {},
                                              [](const auto& event) { return event->entry.revision; });
  const auto skipped = static_cast<std::uint64_t>(begin - track.history.begin());
  return std::make_unique<Follower>(*this, track, ns, track.first + skipped);
}

StoreStatus Replica::status() const {
  const std::scoped_lock lock(mutex_);
  StoreStatus status;
  status.revision = revision_;
  status.objects = view_.by_key.size();
  for (const auto& [kind, track] : tracks_) {
    if (track.last != 0) status.last[kind] = track.last;
    status.watches += track.followers.size();
  }
  return status;
}

Result<std::optional<Change>> Replica::rehearse(const Edit& edit) const {
  const std::scoped_lock lock(mutex_);
  return edit(view_);
}

}  // namespace ocicat::store
