// One kind, followed: what to ask the server next, and what its answers amount to. The part of Follower that
// has no sockets, no thread and no clock.
//
//   list, watch from there, and again: after an error with a growing, jittered pause; from a new list where
//   the server says that where we stand is not part of its data's past, or further back than its history
#pragma once

#include <absl/container/btree_map.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "api/client/informer.h"
#include "api/client/list_reader.h"
#include "api/client/wire.h"

namespace ocicat::api {

// Growing, jittered pauses: 10 ms, 20 ms … 5 s, each shortened by up to half at random.
class Backoff {
 public:
  explicit Backoff(std::uint32_t seed) : random_(seed) {}
  std::chrono::milliseconds next();
  void reset() { failures_ = 0; }

 private:
  int failures_ = 0;
  std::minstd_rand random_;
};

class ListWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // The server ends a watch after this time, and it begins anew.
  static constexpr std::chrono::seconds kWatchTime{300};
  // Of the first list, about so many are told of together.
  static constexpr std::size_t kItemsAtOnce = 1'000;

  // `heard`: how far this kind was heard of before, so that the first list counts only where it is as new.
  ListWatch(Kind kind, std::uint32_t seed, std::size_t items_at_once = kItemsAtOnce, Progress heard = {})
      : kind_(kind), items_at_once_(items_at_once), backoff_(seed), newest_(std::move(heard)) {}

  // What follows from an answer, or from a piece of one.
  struct Step {
    // What was learned. Of the first list it comes bit by bit, without a revision until the list is whole; what a
    // later one says, only then. Without in_sync, which is about all kinds.
    Update update;
    bool answered = false;  // the server is there, and nothing fails any more
    std::string failure;    // what fails and what is tried next
    bool behind = false;    // it fails as the list is older than what has been heard
    enum class Next : std::uint8_t {
      kListen,  // to the rest of the answer
      kAsk,     // ask() and send it, after the pause
      kHangUp,  // the same, but the rest of this answer, which may be quiet for ever, is of no use
    };
    Next next = Next::kListen;
    std::chrono::milliseconds pause{0};
  };

  // Begins a request: the target to GET. Then its answer: head() once, data() any number of times, end()
  // last, or end() alone where there is none, until a step says something else than kListen.
  std::string ask(Time now);
  // `store`: which incarnation of the server's store answers, where the server tells.
  Step head(int status, std::string_view store);
  Step data(std::string_view data);
  Step end(Result<void> result, Time now);

  bool listed() const { return listed_; }  // once at all

 private:
  struct Known {
    std::uint64_t revision = 0;  // of the newest version, in the past of known_of_; 0: not known
    std::uint32_t list = 0;      // the last that had it
    bool readable_once = false;  // a value was reported and stands
    bool unreadable = false;     // the newest version cannot be read
  };
  using Objects = absl::btree_map<ResourceKey, Known>;
  using Place = Objects::value_type;

  void begin_list();
  Step take_items(std::string_view data);
  void take_item(const boost::json::object& object);
  std::size_t take_plain_item(std::string_view text);
  // Of an item of a list; null where this version of it is known already.
  Place* place_of(ResourceKey key, std::uint64_t revision);
  Step take_list();
  Step end_watch(Result<void> result, std::chrono::nanoseconds took);
  Step try_again(const Error& error);
  // False: the watch is over.
  bool take_line(Update& update, std::string_view line);
  void put(Update& update, const boost::json::object& object);
  void put(Update& update, Place& place, std::uint64_t revision, Result<Resource> resource);
  void put(Update& update, Place& place, std::uint64_t revision, Resource&& resource);
  void forget(Update& update, const ResourceKey& key);
  static void tell_gone(Update& update, const ResourceKey& key, const Known& known);
  void progress(Update& update, std::string_view resource_version);

  const Kind kind_;
  const std::size_t items_at_once_;
  Backoff backoff_;
  bool listed_ = false;
  std::string resource_version_;  // to watch from; empty: list first
  std::string store_;             // of which incarnation of the store that is
  Progress newest_;               // the furthest of an incarnation that has been heard of
  Objects known_;
  std::string known_of_;  // of which incarnation their revisions are; empty: of none that could be told apart
  std::uint32_t lists_ = 0;  // begun
  // What lists have said and was not told yet. What one said that broke off stays: it was so, and the next one
  // will say it again or otherwise.
  Update held_;

  // Of the request under way.
  bool listing_ = true;
  Time began_;
  int status_ = 0;  // 0: no answer yet
  std::string answering_store_;
  std::unique_ptr<ListReader> list_;
  std::string body_;  // of a refusal, as far as it is of interest
  Lines lines_;
  std::optional<Error> broken_;  // what a watch said before it ended
};

}  // namespace ocicat::api
