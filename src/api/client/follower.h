// Follows one kind: list, watch, and again. Runs on one loop's thread; all callbacks come from there.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "api/client/informer.h"
#include "api/client/wire.h"
#include "http/client.h"
#include "http/loop.h"

namespace ocicat::api {

// Growing, jittered pauses: 10 ms, 20 ms … 5 s, each shortened by up to half at random.
class Backoff {
 public:
  std::chrono::milliseconds next();
  void reset() { failures_ = 0; }

 private:
  int failures_ = 0;
  std::minstd_rand random_{std::random_device{}()};
};

class Follower {
 public:
  struct Callbacks {
    std::function<void(Update)> on_update;  // without in_sync, which is about all kinds
    std::function<void(std::optional<std::string>)>
        on_state;  // what fails and what is tried next, or nothing
  };

  Follower(http::Loop& loop, http::Endpoint endpoint, Kind kind, Callbacks callbacks);

  void start();
  bool listed() const { return listed_; }

 private:
  struct Known {
    bool readable_once = false;  // a value was reported and stands
    bool unreadable = false;     // the newest version cannot be read
  };

  void list();
  void on_list_end(Result<void> result);
  void take_list(std::string_view body);
  void watch();
  void on_watch_end(Result<void> result);
  void drop_watch();  // which may be quiet for ever, as what it said is of no use
  // False: the watch is over.
  bool take_line(std::string_view line);

  void put(Update& update, boost::json::object object);
  void forget(Update& update, const ResourceKey& key);
  void progress(Update& update, std::string_view resource_version);
  void deliver(Update update);
  void try_again(const Error& error);

  http::Loop& loop_;
  const http::Endpoint endpoint_;
  const Kind kind_;
  const Callbacks callbacks_;
  std::unique_ptr<http::Connection> connection_;
  std::unique_ptr<http::Loop::Timer> timer_;
  Backoff backoff_;

  bool listed_ = false;           // once at all
  std::string resource_version_;  // to watch from; empty: list first
  std::string store_;             // which data this is, where the server tells
  std::map<ResourceKey, Known> known_;

  // Of the request under way.
  int status_ = 0;
  std::string answering_store_;
  std::string body_;  // of a list or a refusal
  Lines lines_;
  Update pending_;
  std::optional<Error> broken_;  // what a watch said before it ended
  std::chrono::steady_clock::time_point began_;
};

}  // namespace ocicat::api
