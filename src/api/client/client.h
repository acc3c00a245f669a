// The client of the API: Kubernetes list/watch conventions, to `ocicat server` or to a kube-apiserver.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat::api {

// Where a server listens: "unix:///run/ocicat/server.sock" or "http://127.0.0.1:8321".
struct Address {
  std::string text;
  static Result<Address> parse(std::string_view text);
  // $OCICAT_SERVER, else the default socket.
  static Address standard();
};

struct Listed {
  std::vector<boost::json::object> items;
  std::string resource_version;  // watch from here
};

// Blocking, one request at a time: for the command line and tests. Errors carry the code the server meant
// (kNotFound, kAlreadyExists, kConflict, kInvalid, kExpired, kUnavailable …) and its message.
class Client {
 public:
  explicit Client(Address address);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  Result<Listed> list(Kind kind, const std::optional<std::string>& ns, std::string_view label_selector = {});
  Result<boost::json::object> get(const ResourceKey& key);
  // With `dry_run` the server says what it would answer, and stores nothing; as in update().
  Result<boost::json::object> create(const boost::json::object& object, bool dry_run = false);
  // Conflict unless metadata.resourceVersion is the stored one; empty replaces whatever is there.
  Result<boost::json::object> update(const boost::json::object& object, bool dry_run = false);
  // The same for who has no use for the answer, which is not read.
  Result<void> replace(const boost::json::object& object);
  // The object as it was, with the revision of its deletion. `orphan`: also where something depends on it
  // that the server would keep it for, such as addresses on their pool.
  Result<boost::json::object> remove(const ResourceKey& key, bool orphan = false);

  enum class EventType { kAdded, kModified, kDeleted, kBookmark };
  struct Event {
    EventType type;
    boost::json::object object;
  };
  // Calls `on_event` for each event after `resource_version` until it returns false or the stream ends. With
  // `patience` it ends after that long, and at most a second later where events keep coming.
  Result<void> watch(Kind kind, const std::optional<std::string>& ns, std::string_view resource_version,
                     const std::function<bool(Event)>& on_event,
                     std::optional<std::chrono::milliseconds> patience = {});

  // GET of any path, as JSON: "/version", "/ocicat/status".
  Result<boost::json::value> get_raw(std::string_view path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::api
