// Source translation of what leaves the pools that ask for it (natOutgoing), in a table of its own beside
// whatever enforces policy. Policy has judged such a packet before, by the workload's own address.
//
//   rules    to an address inside: as it is; from a pool that asks for it: translated. Asked once a
//   connection errors   as SmallTableKeeper source   semantics.md 4.3
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "engine/host_state.h"
#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {

class NatTable {
 public:
  // Borrows the kernel.
  explicit NatTable(kernel::nft::Kernel& kernel) : table_(kernel) {}

  void want(const HostSettings::NatOutgoing& nat);
  void want(const Changes<IpAddress, network::Peer>& peers);
  // Somebody else may have changed the table.
  void distrust() { table_.distrust(); }

  // Makes it so. There is a table only where a pool asks for translation.
  Result<void> sync();

  std::uint64_t writes() const { return table_.writes(); }

 private:
  std::optional<kernel::nft::SmallTable> wanted() const;

  kernel::nft::SmallTableKeeper table_;
  HostSettings::NatOutgoing nat_;
  std::set<IpAddress> hosts_;  // the others of the cluster
  bool changed_ = true;
};

}  // namespace ocicat::dataplane
