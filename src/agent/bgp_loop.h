// The thread that keeps BIRD: what informers saw goes in, BIRD does it, and how it goes comes out.
//
// A pipe of its own beside policy's: neither can hold up the other.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "agent/bgp_keeper.h"
#include "agent/bgp_report.h"
#include "base/mailbox.h"

namespace ocicat::agent {

class BgpLoop {
 public:
  struct Options {
    std::string node;
    std::string secrets;  // folder
    dataplane::Bird bird;
  };

  // `tell` is called where something is other than before; `has_heard` once, when every session is up and
  // BIRD says the same twice, a round apart: then it has heard what there is to hear.
  BgpLoop(Options options, std::function<void(BgpReport)> tell, std::function<void()> has_heard);
  ~BgpLoop();  // stops and joins; BIRD goes on
  BgpLoop(const BgpLoop&) = delete;
  BgpLoop& operator=(const BgpLoop&) = delete;

  // From any thread.
  void put(BgpUpdate update);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
