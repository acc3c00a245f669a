// The revisioned keep of documents: what `ocicat server` serves, whatever keeps it on disk.
//
// A document is a text under a key; its meaning is not known here. Every change gets the next number of one
// ascending revision, and stays in a bounded history, so that a reader who knows a revision can follow from
// there.
//
// Data can be lost, or come back from a backup: then the same numbers are given out anew. So each opening of
// a store begins an *incarnation* of it, and the store knows up to which revision each former one is part of
// its past. What a reader knows of an incarnation beyond that never was, as far as this store can tell.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat::store {

using Revision = std::uint64_t;
using Text = std::shared_ptr<const std::string>;  // shared by objects, history and readers

struct Entry {
  ResourceKey key;
  Revision revision = 0;  // of its last change; for a deleted one, of its deletion
  Text document;
};

struct Listing {
  std::vector<Entry> entries;  // ordered by key
  Revision revision = 0;       // the entries are what was kept at this moment: watch from here
};

enum class EventType : std::uint8_t { kCreated = 1, kUpdated = 2, kDeleted = 3 };  // the numbers are on disk

struct Event {
  EventType type = EventType::kCreated;
  Entry entry;    // of a deleted object: as it last was
  Text previous;  // what an update replaced; nothing where that is no longer known
};

// What is kept, at one moment.
class View {
 public:
  virtual ~View() = default;
  virtual const Entry* get(const ResourceKey& key) const = 0;  // nullptr: not there
  // Ordered by key, all namespaces without `ns`, until `visit` returns false.
  virtual void each(Kind kind, const std::optional<std::string>& ns,
                    const std::function<bool(const Entry&)>& visit) const = 0;
};

struct Change {
  ResourceKey key;
  std::optional<std::string> document;  // nothing: delete it, which must be there
};

// Decides on one change (or, with nothing, on none) from what is kept; an error refuses. It is atomic: what
// it reads stays as it is until the change is made. Pure: it may be called more than once.
using Edit = std::function<Result<std::optional<Change>>(const View&)>;

// The object after the change; before it, with the revision of the deletion, where it was deleted; empty key
// and current revision where the edit decided on no change.
struct Committed {
  Entry entry;
  bool changed = false;
};
using Done = std::function<void(Result<Committed>)>;

enum class Durability {
  kDisk,     // Done is called when the change survives a loss of power
  kProcess,  // when it survives the death of this process; a loss of power may take the last ones
};

// A reader who follows one kind. It is a place in the shared history and no more, so a slow one costs no
// memory; one that history has overtaken gets kExpired and must list again.
class Watch {
 public:
  virtual ~Watch() = default;  // after it no more wakes

  struct Batch {
    std::vector<std::shared_ptr<const Event>> events;
    Revision revision = 0;  // everything of this kind up to here is in this batch or was in one before
  };
  // At most `max_events`, oldest first, without waiting; an empty batch asks for a wake.
  virtual Result<Batch> next(std::size_t max_events) = 0;
  // `wake` is called, from any thread, when there is more after an empty batch. It must not call back in
  // here.
  virtual void on_more(std::function<void()> wake) = 0;
};

struct StoreStatus {
  std::string location;           // where it is kept: a path
  std::string incarnation;        // of this opening: sixteen hexadecimal digits
  Revision revision = 0;          // the last one given out
  std::map<Kind, Revision> last;  // of each kind that ever changed, deletions included
  std::size_t objects = 0;
  std::size_t watches = 0;
};

// Safe for any number of threads.
class Store {
 public:
  virtual ~Store() = default;

  virtual Result<Entry> get(const ResourceKey& key) const = 0;  // kNotFound
  virtual Listing list(Kind kind, const std::optional<std::string>& ns) const = 0;

  // Queues; `done` is called from the store's own thread and must be quick. Edits that wait at the same
  // moment share one transaction and one flush; each succeeds or is refused alone. Errors, besides those of
  // the edit: kExhausted (disk full), kPermission (read-only), kUnavailable (busy, I/O error, closing),
  // kInternal (damaged).
  virtual void submit(Edit edit, Durability durability, Done done) = 0;
  // What the edit would decide now; changes nothing.
  virtual Result<std::optional<Change>> rehearse(const Edit& edit) const = 0;

  // Every event of the kind after `after`. kExpired where history no longer reaches back that far, or where
  // `after` has not been given out yet: then the reader's revision is of another store.
  virtual Result<std::unique_ptr<Watch>> watch(Kind kind, const std::optional<std::string>& ns,
                                               Revision after) = 0;

  // Whether `revision` as given out by `incarnation` is part of what this store holds; kExpired where it is
  // not.
  virtual Result<void> check_past(const std::string& incarnation, Revision revision) const = 0;

  virtual StoreStatus status() const = 0;

  // submit() and wait. Not from within a Done.
  Result<Committed> commit(Edit edit, Durability durability = Durability::kDisk);
};

// The plain edits. `expected` 0 means whatever is there.
Edit create_edit(ResourceKey key, std::string document);                         // kAlreadyExists
Edit update_edit(ResourceKey key, std::string document, Revision expected = 0);  // kNotFound, kConflict
Edit delete_edit(ResourceKey key, Revision expected = 0);                        // kNotFound, kConflict

}  // namespace ocicat::store
