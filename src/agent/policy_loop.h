// The engine's thread: what informers saw becomes what the host should look like.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "agent/news.h"
#include "api/client/informer.h"
#include "base/mailbox.h"
#include "engine/engine.h"

namespace ocicat::agent {

// Nothing leaves before the first update that is in sync: then the whole state, as one message.
class PolicyLoop {
 public:
  struct Outlets {
    Mailbox<HostChanges>* to_dataplane;  // borrowed
    std::function<void(News)> tell;
    std::function<void(const HostChanges&)> on_sent;  // just before a message is put into `to_dataplane`
    std::function<void(api::Update)> pass_on;         // what was taken in, before anything follows from it
  };

  PolicyLoop(Engine engine, Outlets outlets);
  ~PolicyLoop();  // stops and joins
  PolicyLoop(const PolicyLoop&) = delete;
  PolicyLoop& operator=(const PolicyLoop&) = delete;

  // From any thread. What is not in sync yet is taken in as it comes: one that finds another waiting waits for its
  // turn, so that of a cluster's first lists no more is held than that.
  void put(api::Update update);
  void leave_to_router();  // as PolicyKeeper's
  bool in_sync() const;
  // Since the loop last went round; it does so at least once a second unless it computes.
  std::chrono::steady_clock::duration since_last_round() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
