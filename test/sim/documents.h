// Random documents over a small world of names, so that they often concern each other: pods that move and
// share addresses, sets with nested nets, tiers that move, policies that change whom they mean, services
// whose slices move, host endpoints that take each other's interfaces.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <string>
#include <vector>

#include "resources/kinds.h"
#include "test/support/random.h"

namespace ocicat::test {

struct Write {
  ResourceKey key;
  std::optional<boost::json::object> document;  // nothing: removed
};

// One wish of a user, mostly one write; in some, several that belong together, such as a label and the policy
// that speaks of it, or a name that comes back as something else.
std::vector<Write> random_writes(Random& random);

// Where they put workloads, and all interfaces that these may have; and interfaces at which host endpoints
// may be, one of which no host has.
const std::vector<std::string>& simulated_nodes();
std::vector<std::string> workload_interfaces();
const std::vector<std::string>& host_interfaces();

}  // namespace ocicat::test
