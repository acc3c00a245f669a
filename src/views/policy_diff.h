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

// Something to ask about.
struct Probe {
  Traffic traffic;
  std::optional<PortRange> ports{};  // that it stands for, where the protocol has some; traffic.port is one
  std::string others{};              // what else it stands for: "other types", "other codes", "others"
  std::optional<Family> family{};    // asked in this one alone; none: as the traffic says

  bool operator==(const Probe&) const = default;
};

// One for each answer that policy of either snapshot may give (views/mentions.h): by protocol, then ports or
// kinds of ICMP, in packets of the other family as well where a rule speaks of these.
std::vector<Probe> probes_of(const policy::Snapshot& before, const policy::Snapshot& after);

struct VerdictChange {
  std::string from;
  std::string to;
  Traffic traffic;                 // one that changes so
  std::vector<PortRange> ports{};  // and, where its protocol has some, all ports that do; ascending
  std::string others{};            // as in Probe
  Family family = Family::kIpv4;
  policy::Verdict before = policy::Verdict::kDeny;
  policy::Verdict after = policy::Verdict::kDeny;
  policy::Verdict pending_before = policy::Verdict::kDeny;  // as if staged policy were enforced
  policy::Verdict pending_after = policy::Verdict::kDeny;
  std::string reason;  // what decides afterwards, at the end whose answer changes

  std::string traffic_text() const;  // "tcp/80-90,443", "tcp", "icmp/8/0 and other types"
};

struct PolicyDiff {
  // By from, to, family, traffic; workloads first, then hosts, each by name.
  std::vector<VerdictChange> changes;
  std::size_t compared = 0;   // answers
  std::size_t one_sided = 0;  // ends that only one snapshot has: nothing to compare
};

// Every pair of different ends that both snapshots have: workload endpoints, and hosts that have a host
// endpoint in one of them. O(resources) to compile each; O(pairs), and the probes once for each kind of pair
// whose tables differ, or that hosts' policy concerns.
PolicyDiff diff(const policy::Snapshot& before, const policy::Snapshot& after,
                const std::vector<Probe>& probes, std::optional<Family> family = {});

std::string to_text(const PolicyDiff& diff);
// {"changes":[{"from","to","protocol","ports":["80-90"],"others","family","before","after","pendingBefore",
// "pendingAfter","reason"}],"compared","endpointsOnOneSide"}; ICMP has "icmpType" and "icmpCode", and like
// all that has no ports no "ports".
boost::json::object to_json(const PolicyDiff& diff);

}  // namespace ocicat::views
