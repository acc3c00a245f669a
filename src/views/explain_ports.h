// A question about a protocol that has ports, without a port: the answer for every destination port.
#pragma once

#include <boost/json/fwd.hpp>

#include <span>
#include <string>
#include <vector>

#include "views/explain.h"

namespace ocicat::views {

// Ports that are decided alike: the same verdicts, by the same policies and rules, on both sides.
struct ExplainedPorts {
  std::vector<PortRange> ports;  // ascending, with gaps between them
  Explained explained;           // of the first of them
};

// Of the ports 1 to 65535, each in one of the groups; by their first port. The question's traffic has no port
// (Traffic::every_port). O(ports that the snapshot mentions × resources).
std::vector<ExplainedPorts> explain_every_port(const policy::Evaluator& evaluator,
                                               const policy::Snapshot& snapshot, const Question& question);

// Group by group, as to_text() of one port.
std::string to_text(std::span<const ExplainedPorts> groups);
// As to_json() of one port, without "port": "verdict" and "pending" allow only where every port is allowed,
// and "egress" and "ingress" are those of the first group that is denied, else of the first. All groups stand
// in "ports": [{"ports":["1-79","81-65535"],"verdict","pending","egress","ingress"}].
boost::json::object to_json(std::span<const ExplainedPorts> groups);

}  // namespace ocicat::views
