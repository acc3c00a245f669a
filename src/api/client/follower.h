// Follows one kind over a connection of its own. Runs on one loop's thread; all callbacks come from there.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/client/list_watch.h"
#include "http/client.h"
#include "http/loop.h"

namespace ocicat::api {

class Follower {
 public:
  struct Callbacks {
    std::function<void(Update)> on_update;  // without in_sync, which is about all kinds
    std::function<void(std::optional<std::string>)>
        on_state;  // what fails and what is tried next, or nothing
  };

  // `heard`: how far this kind was heard of before.
  Follower(http::Loop& loop, http::Endpoint endpoint, Kind kind, Progress heard, Callbacks callbacks);

  void start();
  bool listed() const { return reading_.listed(); }

 private:
  void take(ListWatch::Step step);
  void tell_whether_behind(const ListWatch::Step& step);

  const Kind kind_;
  http::Loop& loop_;
  const http::Endpoint endpoint_;
  const Callbacks callbacks_;
  ListWatch reading_;
  bool behind_ = false;  // the server's list, as of the last one
  std::unique_ptr<http::Connection> connection_;
  std::unique_ptr<http::Loop::Timer> timer_;
};

}  // namespace ocicat::api
