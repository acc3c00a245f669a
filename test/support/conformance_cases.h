// The cases of test/conformance/kubernetes-networkpolicy.json: what Kubernetes NetworkPolicy means, as
// resources and the verdicts expected of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/evaluator.h"

namespace ocicat::test {

// A new connection from one pod to another, and whether it must be allowed: by egress of `from` and ingress
// of `to` both.
struct ConformanceProbe {
  ResourceKey from;
  ResourceKey to;
  policy::Packet packet;
  bool allowed = false;

  std::string to_string() const;  // "x/a -> y/b TCP/80: allowed"
};

// The whole state at one moment. Every pod serves all ports, under the names the cases refer to.
struct ConformanceStep {
  policy::Snapshot snapshot;
  std::vector<ConformanceProbe>
      probes;  // without those of a pod to itself, which Kubernetes leaves undefined
};

struct ConformanceCase {
  std::int64_t id = 0;
  std::string description;
  std::vector<ConformanceStep> steps;
};

// Fails where the file cannot be read, or a document in it does not decode.
Result<std::vector<ConformanceCase>> read_conformance_cases(const std::string& path);

}  // namespace ocicat::test
