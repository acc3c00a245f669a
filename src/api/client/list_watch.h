// One kind, followed: what to ask the server next, and what its answers amount to. The part of Follower that
// has no sockets, no thread and no clock.
//
//   list, watch from there, and again: after an error with a growing, jittered pause; from a new list where
//   the server says that where we stand is not part of its data's past, or further back than its history
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "api/client/informer.h"
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

  ListWatch(Kind kind, std::uint32_t seed) : kind_(kind), backoff_(seed) {}

  // What follows from an answer, or from a piece of one.
  struct Step {
    Update update;  // what was learned; no revision: nothing. Without in_sync, which is about all kinds
    bool answered = false;  // the server is there, and nothing fails any more
    std::string failure;    // what fails and what is tried next
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
    bool readable_once = false;  // a value was reported and stands
    bool unreadable = false;     // the newest version cannot be read
  };

  Step take_list();
  Step end_watch(Result<void> result, std::chrono::nanoseconds took);
  Step try_again(const Error& error);
  // False: the watch is over.
  bool take_line(Update& update, std::string_view line);
  void put(Update& update, const boost::json::object& object);
  void forget(Update& update, const ResourceKey& key);
  void progress(Update& update, std::string_view resource_version);

  const Kind kind_;
  Backoff backoff_;
  bool listed_ = false;
  std::string resource_version_;  // to watch from; empty: list first
  std::string store_;             // of which incarnation of the store that is
  Progress newest_;               // the furthest of an incarnation that has been heard of
  std::map<ResourceKey, Known> known_;

  // Of the request under way.
  bool listing_ = true;
  Time began_;
  int status_ = 0;  // 0: no answer yet
  std::string answering_store_;
  std::string body_;  // of a list or a refusal
  Lines lines_;
  std::optional<Error> broken_;  // what a watch said before it ended
};

}  // namespace ocicat::api
