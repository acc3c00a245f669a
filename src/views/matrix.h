// Who may talk to whom: every pair, from the decision tables.
#pragma once

#include <boost/json/fwd.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policy/evaluator.h"
#include "views/traffic.h"

namespace ocicat::views {

// One answer. The lab's probe of real packets has the same form; it sees only the whole verdict.
struct Cell {
  std::string from;  // "shop/frontend"
  std::string to;
  Traffic traffic;
  Family family = Family::kIpv4;
  std::optional<policy::Verdict> egress;   // at the source; none: not known
  std::optional<policy::Verdict> ingress;  // at the destination
  policy::Verdict verdict = policy::Verdict::kDeny;

  bool operator==(const Cell&) const = default;
};

// Compiles the snapshot as an agent does and looks up every pair of different workload endpoints, for each
// traffic and every family that both have (or only `family`). By from, to, traffic, family.
// O(resources) to compile, O(pairs × traffics) to look up.
std::vector<Cell> matrix(const policy::Snapshot& snapshot, std::span<const Traffic> traffics,
                         std::optional<Family> family = {});

// A list of {"from","to","protocol","port","family","egress","ingress","verdict"}; a direction that is
// not known is null.
boost::json::array to_json(std::span<const Cell> cells);
// One grid for each traffic; families that agree in every cell share one.
std::string to_text(std::span<const Cell> cells);

}  // namespace ocicat::views
