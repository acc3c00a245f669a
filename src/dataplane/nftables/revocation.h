// Open connections follow policy: one that policy denies by now carries a bit in its mark, by which rules
// refuse its packets in both directions, and loses it when policy allows it again. It stays in the kernel's
// table meanwhile, so that no answer opens it anew.
//
// Judged are connections from and to workloads of this host, as their first packet was: by the addresses and
// ports behind destination translation, from its sender to its receiver. What a host sends to its own
// workloads is nobody's to judge.
//
//   cost     of a round: the namespace's connections, and the tables' prefixes where any of these has to do
//   with a
//            workload here
//   design   docs/design/dataplane.md#open-connections
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "engine/host_state.h"
#include "kernel/connections.h"
#include "policy/simulator.h"

namespace ocicat::dataplane {

class ConnectionJudge {
 public:
  // Borrows all; `own` are addresses of the host. Nothing may change meanwhile.
  ConnectionJudge(const policy::Tables& tables, const std::map<ResourceKey, EndpointState>& endpoints,
                  const std::set<IpAddress>& own);

  bool denies(const kernel::Connection& connection);

 private:
  bool denies(policy::Direction direction, const IpAddress& side, const policy::Packet& packet);

  const policy::Tables& tables_;
  const std::set<IpAddress>& own_;
  std::multimap<IpAddress, AddressPrograms> programs_;  // of workloads here
  std::optional<policy::Simulator> simulator_;          // once somebody asks
};

struct Revoked {
  std::size_t denied = 0;   // that were not before
  std::size_t allowed = 0;  // that were denied before
};
// One round over all connections.
Result<Revoked> revoke(kernel::ConnectionKernel& kernel, ConnectionJudge& judge, std::uint32_t bit);

}  // namespace ocicat::dataplane
