// What the host translates, in a table of its own beside whatever enforces policy; the kernel asks it once a
// connection.
//
//   natOutgoing   the source of what leaves the pools that ask for it. Policy has judged such a packet before,
//                 by the workload's own address. To an address inside: as it is
//   floating      the destination of what comes for a floating address: before policy, which judges the
//                 workload's own. What a workload sends to itself so has the floating address as its source
//   errors        as SmallTableKeeper
//   source        semantics.md 2.4, 4.1, 4.3
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "dataplane/edges/edges.h"
#include "engine/host_state.h"
#include "kernel/connections.h"
#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {

class NatTable {
 public:
  // Borrows both.
  NatTable(kernel::nft::Kernel& kernel, kernel::ConnectionKernel& connections)
      : kernel_(kernel), connections_(connections), table_(kernel) {}

  void want(const HostSettings::NatOutgoing& nat);
  void want(const Changes<IpAddress, network::Peer>& peers);
  void want(const Changes<IpAddress, IpAddress>& floating);
  // Somebody else may have changed the table.
  void distrust() { table_.distrust(); }

  // Whether what is sent from there to there, and forwarded, leaves with another source whichever interface it leaves by.
  bool translates(const IpAddress& source, const IpAddress& destination) const;
  // The floating addresses under which a workload with that own one is to be reached.
  const std::set<IpAddress>& floating_of(const IpAddress& own) const;

  // Makes it so. There is a table only where a pool or a floating address asks for translation. Connections
  // that the kernel translates as an address was before begin anew: O(connections), where one has changed.
  Result<void> sync();

  std::uint64_t writes() const { return table_.writes(); }

 private:
  std::optional<kernel::nft::SmallTable> wanted() const;
  Result<void> find_moved();
  Result<void> forget_moved();

  kernel::nft::Kernel& kernel_;
  kernel::ConnectionKernel& connections_;
  kernel::nft::SmallTableKeeper table_;
  HostSettings::NatOutgoing nat_;
  HostAddresses hosts_;                      // the others of the cluster
  std::map<IpAddress, IpAddress> floating_;  // as HostState has it
  std::map<IpAddress, std::set<IpAddress>> floating_by_own_;
  std::set<IpAddress> moved_;  // floating addresses that have led elsewhere while connections began
  bool changed_ = true;
};

}  // namespace ocicat::dataplane
