// Who may talk to whom: every pair, from the decision tables.
#pragma once

#include <boost/json/fwd.hpp>

#include <array>
#include <compare>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/host_state.h"
#include "policy/evaluator.h"
#include "policy/simulator.h"
#include "views/inventory.h"
#include "views/stops.h"
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
  std::optional<policy::Verdict> pending;  // as if staged policy were enforced; none: not known

  bool operator==(const Cell&) const = default;
};

// A snapshot compiled as an agent compiles it, to be asked about single pairs.
class Connectivity {
 public:
  // O(resources).
  explicit Connectivity(const policy::Snapshot& snapshot);

  const Inventory& inventory() const { return inventory_; }
  // Of one end, the host endpoints of its host included.
  struct End {
    policy::Verdict verdict = policy::Verdict::kAllow;
    policy::Verdict pending = policy::Verdict::kAllow;
  };
  struct Answer {
    End egress;   // at the source
    End ingress;  // at the destination

    policy::Verdict verdict() const;
    policy::Verdict pending() const;
  };
  // Both have an address of the family. O(log intervals).
  Answer ask(const Party& from, const Party& to, const Traffic& traffic, Family family) const;
  // What the answers about a pair follow from, whatever is sent: what is looked up at each end, by its
  // meaning. Pairs on equal grounds get equal answers for equal reasons, in different snapshots too. None
  // where hosts' policy is asked as well. O(log tables).
  struct Ground {
    Digest base;   // table of the endpoint's program; zeros: it has none
    Digest table;  // what differs from it for the peer; zeros: nothing
    auto operator<=>(const Ground&) const = default;
  };
  using Grounds = std::array<Ground, 2>;  // at the source, at the destination
  std::optional<Grounds> grounds(const Party& from, const Party& to, Family family) const;
  // What decides at one end, in words: the first chain that denies, else the last that is asked.
  // `with_staged`: as if staged policy were enforced.
  std::string reason(const Party& from, const Party& to, const Traffic& traffic, Family family,
                     policy::Direction direction, bool with_staged) const;

 private:
  policy::ProgramId program_of(const Stop& stop, const IpAddress& own) const;
  Ground ground(const Stop& stop, const IpAddress& own, const IpAddress& peer) const;
  const policy::Outcome& lookup(const Stop& stop, const policy::Packet& packet) const;
  End end(const Party& from, const Party& to, policy::Direction direction,
          const policy::Packet& packet) const;

  HostState state_;
  policy::Simulator simulator_;  // of state_
  std::map<policy::TableId, Digest> meanings_;
  Inventory inventory_;
};

// Compiles the snapshot as an agent does and looks up every pair of different workload endpoints, and of
// hosts that have a host endpoint, for each traffic and every family that both have (or only `family`). By
// from, to, traffic, family. O(resources) to compile, O(pairs × traffics) to look up.
std::vector<Cell> matrix(const policy::Snapshot& snapshot, std::span<const Traffic> traffics,
                         std::optional<Family> family = {});

// A list of {"from","to","protocol","port","family","egress","ingress","verdict","pending"}; what is not
// known is null.
boost::json::array to_json(std::span<const Cell> cells);
// One grid for each traffic; families that agree in every cell share one. Lower case marks what staged policy
// would change.
std::string to_text(std::span<const Cell> cells);

}  // namespace ocicat::views
