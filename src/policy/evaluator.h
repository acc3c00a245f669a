// The slow, obvious twin: may this packet pass, and why, straight from the resources.
//
// Written in the words of the specification, one linear walk a question, no index. Property tests hold the
// compiler and every datapath to it; `ocicat explain` and `ocicat verify` run it.
//
//   source   docs/spec: semantics.md 1 to 3
//   cost     O(resources) a question
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "policy/model.h"
#include "policy/verdict.h"
#include "resources/types.h"

namespace ocicat::policy {

// Everything policy is computed from, at one moment.
using Snapshot = std::map<ResourceKey, Resource>;

// A rule that would have decided otherwise, had one more criterion held.
struct NearMiss {
  ResourceKey policy;
  int rule = 0;
  Action action = Action::kAllow;
  std::string why;  // "destination port 5432 is not in 8080" 

  bool operator==(const NearMiss&) const = default;
};

struct Explanation {
  Outcome enforced;
  Outcome pending;  // as if staged policy were enforced
  // For a denial: the allow rules that came closest, best first; at most three.
  std::vector<NearMiss> near_misses;
};

class Evaluator {
 public:
  // Keeps a copy of what it needs; resources that cannot be read are as if absent, and listed in problems().
  explicit Evaluator(const Snapshot& snapshot);

  // The verdict of one direction at one workload endpoint. `endpoint` names a WorkloadEndpoint or Pod.
  Explanation explain(const ResourceKey& endpoint, Direction direction, const Packet& packet) const;
  Outcome evaluate(const ResourceKey& endpoint, Direction direction, const Packet& packet) const;

  struct Problem {
    ResourceKey key;
    std::string message;
    bool operator==(const Problem&) const = default;
  };
  const std::vector<Problem>& problems() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace ocicat::policy
