// The thread that sees to the Node of the agent's own host: looks when pools or that Node change, soon again
// after a failure, and every five minutes without news.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/client/informer.h"

namespace ocicat::agent {

class OwnNodeLoop {
 public:
  // In the network namespace of the caller, whose addresses a new Node gets. `tell`: what is wrong, in words;
  // empty: nothing. Called where that is other than before.
  OwnNodeLoop(std::string node, const api::Address& server, std::function<void(std::string)> tell);
  ~OwnNodeLoop();  // stops and joins, after a look that is under way
  OwnNodeLoop(const OwnNodeLoop&) = delete;
  OwnNodeLoop& operator=(const OwnNodeLoop&) = delete;

  // From any thread: what informers saw. O(changes).
  void learn(const api::Update& update);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
