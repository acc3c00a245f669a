// Keeps up with the server: list, then watch, for a set of kinds, for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "base/changes.h"
#include "resources/revisions.h"
#include "resources/types.h"

namespace ocicat::api {

// What informers have seen since the last message. Absorbs, so it can wait in a Mailbox.
struct Update {
  Changes<ResourceKey, Resource> resources;
  // Objects that could not be decoded, and why; a key leaves when a readable version or a deletion comes. Of
  // an object that turns unreadable the last readable version stays in force.
  Changes<ResourceKey, std::string> unreadable;
  // For each kind that has been listed: everything up to this revision is in here or was before.
  Revisions revisions;
  bool in_sync = false;  // every kind has been listed once; stays true

  bool empty() const { return resources.empty() && unreadable.empty() && revisions.empty(); }
  void absorb(Update later);
};

struct InformerStatus {
  bool connected = false;
  std::string last_error;  // of the kind that fails, with what is tried next
};

// Runs one thread with one event loop. What is there comes bit by bit before the first update that is in sync; after
// that, whatever is told is true of one moment of its kind. Where `on_update` waits, so does the server. After a lost connection it tries again with growing pauses (10 ms to
// 5 s, jittered), and after kExpired it lists anew; what vanished meanwhile is reported as removed.
class Informers {
 public:
  // `heard_file`: where it is kept how far the server was heard of, so that no older list counts after a restart
  // either; read now, written at the end and some seconds after news. Empty: only within this life.
  Informers(const Address& address, const std::vector<Kind>& kinds, std::function<void(Update)> on_update,
            std::string heard_file = {});
  ~Informers();  // stops and joins
  Informers(const Informers&) = delete;
  Informers& operator=(const Informers&) = delete;

  InformerStatus status() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::api
