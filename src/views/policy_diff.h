// What a change of policy would do to who may talk to whom, before it is made.
#pragma once

#include <boost/json/fwd.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "policy/evaluator.h"
#include "views/traffic.h"

namespace ocicat::views {

// Something to ask about; `others` stands for all that no policy tells apart from it.
struct Probe {
  Traffic traffic;
  bool others = false;

  std::string to_string() const;  // "tcp/8080", "tcp/1 and others"
};

// One probe for each answer that policy of either snapshot may give: the ends of every range of ports, the
// numbers of named ports and the ports behind services, other protocols; and of TCP, UDP and ICMP one that
// stands for what nobody mentions. By protocol and port.
std::vector<Probe> probes_of(const policy::Snapshot& before, const policy::Snapshot& after);

struct VerdictChange {
  std::string from;
  std::string to;
  Probe probe;
  Family family = Family::kIpv4;
  policy::Verdict before = policy::Verdict::kDeny;
  policy::Verdict after = policy::Verdict::kDeny;
  policy::Verdict pending_before = policy::Verdict::kDeny;  // as if staged policy were enforced
  policy::Verdict pending_after = policy::Verdict::kDeny;
  std::string reason;  // what decides afterwards, at the end whose answer changes
};

struct PolicyDiff {
  std::vector<VerdictChange> changes;  // by from, to, probe, family
  std::size_t compared = 0;            // answers
  std::size_t one_sided = 0;           // endpoints that only one snapshot has: nothing to compare
};

// Every pair of different endpoints that both snapshots have. O(resources) to compile each, O(pairs ×
// probes).
PolicyDiff diff(const policy::Snapshot& before, const policy::Snapshot& after,
                const std::vector<Probe>& probes, std::optional<Family> family = {});

std::string to_text(const PolicyDiff& diff);
// {"changes":[{"from","to","protocol","port","others","family","before","after","pendingBefore",
// "pendingAfter","reason"}],"compared","endpointsOnOneSide"}
boost::json::object to_json(const PolicyDiff& diff);

}  // namespace ocicat::views
