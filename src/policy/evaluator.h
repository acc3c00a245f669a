// The slow, obvious twin: may this packet pass, and why, straight from the resources.
//
// Written in the words of the specification, one linear walk a question, no index. Property tests hold the
// compiler and every datapath to it; `ocicat explain` and `ocicat verify` run it.
//
//   source   Calico's semantics: labels and inheritance, order, verdicts, matching of rules; model.h
//   cost     O(resources) a question
#pragma once

#include <map>
#include <memory>
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
  ResourceKey policy;  // or profile
  int rule = 0;        // index in its direction's list, from 0
  Action action = Action::kAllow;
  std::string why;  // "destination port 5432 is not one of 8080, 9090"

  bool operator==(const NearMiss&) const = default;
};

struct Explanation {
  Judgement enforced;
  Judgement pending;  // as if staged policy were enforced
  // For a denial: the allow rules on the packet's way that lacked one criterion only, best first; at most
  // three. Best is a port, then ICMP type, protocol, address; then the order of the rules.
  std::vector<NearMiss> near_misses;
};

class Evaluator {
 public:
  // Keeps a copy of what it needs.
  explicit Evaluator(const Snapshot& snapshot);

  // The verdict of one direction at one endpoint. `endpoint` names a WorkloadEndpoint, Pod or HostEndpoint;
  // of a host endpoint one of its chains is asked. One that does not exist, and a workload that has no
  // address, is denied, without a trace. A chain without policy of its own, other than the normal one, has
  // none either.
  Explanation explain(const ResourceKey& endpoint, Direction direction, const Packet& packet,
                      ChainKind chain = ChainKind::kNormal) const;
  Outcome evaluate(const ResourceKey& endpoint, Direction direction, const Packet& packet,
                   ChainKind chain = ChainKind::kNormal) const;

  // Why what a workload sends from the address is dropped before policy is asked; empty: it is judged.
  std::string refuses_source(const ResourceKey& endpoint, const IpAddress& address) const;

  // Resources that cannot be used as they are: a policy whose selector cannot be read is as if absent, one
  // whose rules cannot be read denies, as does a profile. And tiers and profiles that are named and not
  // there.
  struct Problem {
    ResourceKey key;
    std::string message;
    bool operator==(const Problem&) const = default;
  };
  const std::vector<Problem>& problems() const;

  // What people have written beside a rule (`metadata.annotations`; of a ClusterNetworkPolicy its `name`),
  // which traces and near misses name by policy and index. Empty where it has none. Valid as long as this is.
  const Labels& annotations(const ResourceKey& policy, Direction direction, int rule) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace ocicat::policy
