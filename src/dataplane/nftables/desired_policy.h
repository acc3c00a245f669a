// What table `inet ocicat` should hold, and what must be written when that changes. Pure.
//
//   cost     of an update: what changes, not what there is
//   design   docs/design/dataplane.md
#pragma once

#include "dataplane/edges/edges.h"
#include "dataplane/nftables/chain_entries.h"
#include "dataplane/nftables/endpoint_entries.h"
#include "dataplane/nftables/net_ranges.h"
#include "dataplane/nftables/policy_delta.h"
#include "dataplane/nftables/ruleset.h"
#include "engine/host_state.h"

namespace ocicat::dataplane {

class DesiredPolicy {
 public:
  // Takes over the changes. Routes are not its concern. From here on host endpoints have these interfaces.
  PolicyDelta update(const HostChanges& changes, const HostInterfaces& interfaces);

  // Everything, in any order.
  Entries entries() const;
  // Chains included that answers lead to.
  Ruleset ruleset() const;
  const HostSettings& settings() const { return settings_; }
  const policy::Tables& tables() const { return tables_; }
  // The number of the last step, where the kernel has one.
  void continue_from(std::uint32_t step) { step_ = step == 0 ? step_ : step; }
  void next_step() { step_ = step_ + 1 == 0 ? 1 : step_ + 1; }

 private:
  void update_logs(const Changes<policy::OutcomeId, policy::Outcome>& changes, PolicyDelta& delta);
  void update_cells(const policy::TablesChanges& changes, PolicyDelta& delta);
  void update_classes(const Changes<Prefix, policy::ClassId>& changes, PolicyDelta& delta);
  void update_hosts(const Changes<IpAddress, network::Peer>& changes, Transaction& step);
  // `by` more exact addresses have this class.
  using ExactClass = std::pair<Family, policy::ClassId>;
  void count_exact(const std::map<ExactClass, int>& by, Transaction& step);

  struct KnownLog {
    LogChain chain;
    int outcomes = 0;
  };
  HostSettings settings_;
  std::uint32_t step_ = 1;
  policy::Tables tables_;
  std::map<LogId, KnownLog> logs_;
  EndpointEntries endpoints_;
  ChainEntries chains_;
  std::map<ExactClass, int> exact_;  // classes of exact addresses, of how many
  HostAddresses hosts_;
  NetRanges ranges4_{Family::kIpv4};
  NetRanges ranges6_{Family::kIpv6};
};

}  // namespace ocicat::dataplane
