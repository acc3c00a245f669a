// What becomes of flows on this host: read from the kernel, named, summed up, and told to whoever follows.
//
//   threads   one, which looks at the kernel fifty times a second; nobody waits for it, and it for nobody
//   bounds    a follower who reads too slowly misses flows and is told how many; so does one for whom there
//             are more than can be written down
#pragma once

#include <boost/json/object.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/client/informer.h"
#include "base/mailbox.h"
#include "dataplane/dataplane.h"
#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "resources/types.h"

namespace ocicat::agent {

// Lines of JSON that wait for a follower.
struct FlowLines {
  static constexpr std::size_t kMost = 10'000;

  std::vector<std::shared_ptr<const std::string>> lines;
  std::uint64_t missed = 0;  // that there was no room for

  void absorb(FlowLines later);
};
using FlowMailbox = Mailbox<FlowLines>;

struct FlowFilter {
  bool refused_only = false;
  std::string ns;  // of either end; empty: any
};

class FlowWatch {
 public:
  struct Options {
    std::string node;
    dataplane::Options dataplane;
    std::filesystem::path losses;  // file: how far has been told what was lost (losses.h)
    std::filesystem::path
        ledger;  // file: what has been told of what connections carry (flows/tracked_ledger.h)
  };
  // In the network namespace of the caller.
  explicit FlowWatch(Options options);
  ~FlowWatch();  // stops and joins
  FlowWatch(const FlowWatch&) = delete;
  FlowWatch& operator=(const FlowWatch&) = delete;

  // From any thread; of what goes to the dataplane it keeps what it needs. It wakes nobody, but for what comes before
  // the first snapshot is whole: that is taken in turn, as PolicyLoop has it.
  void learn(api::Update update);
  void learn(const HostChanges& changes);
  void learn(const dataplane::HostInterfaces& interfaces);
  // From now on, for as long as somebody holds the mailbox.
  std::shared_ptr<FlowMailbox> follow(FlowFilter filter);
  // What has been summed up: {"host","began","flows":[…],"others":{…},"lost":N,"untold":N}, events and packets. Called
  // on the watch's thread.
  void ask(std::function<void(boost::json::object)> answer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
