// Looks again and again at what address management holds, and frees what nobody needs any more.
//
//   frees    what find_garbage() says may be freed, having seen it before for as long as it says; what is in
//            doubt is told and stays
//   memory   when each finding was first seen; lost with the process, and then everything is seen for the
//            first time: nothing is freed sooner for it
//   once     one for all hosts, in the process that holds the store; a second one would free the same, as
//            each write is against the revision that was looked at
//   source   docs/spec: semantics.md 5 (GC)
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ipam/documents.h"
#include "network/garbage.h"

namespace ocicat::ipam {

class Reconciler {
 public:
  explicit Reconciler(network::GracePeriods grace) : grace_(grace) {}

  struct Outcome {
    network::Finding finding;
    Result<void> freed;
  };
  struct Round {
    std::vector<Outcome> freed;              // or not, as it says
    std::vector<network::Finding> doubtful;  // for a person to judge, and not told before
    std::size_t waiting = 0;                 // to be seen for longer
  };
  // One look. After an error what was seen before stays known.
  Result<Round> look(Documents& documents, TimePoint now);

 private:
  network::GracePeriods grace_;
  network::Sightings seen_;
  std::set<std::string> told_;
};

// A thread that looks every `period`, for the first time after one, and logs what it does and finds.
class ReconcilerLoop {
 public:
  struct Options {
    std::chrono::milliseconds period{std::chrono::minutes(5)};
    network::GracePeriods grace;
  };
  ReconcilerLoop(Options options, std::function<std::unique_ptr<Documents>()> documents);
  ~ReconcilerLoop();  // stops and joins
  ReconcilerLoop(const ReconcilerLoop&) = delete;
  ReconcilerLoop& operator=(const ReconcilerLoop&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::ipam
