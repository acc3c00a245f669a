// What table `inet ocicat` should hold, and what must be written when that changes. Pure.
//
//   cost     of an update: what changes, not what there is
//   design   docs/design/dataplane.md
#pragma once

#include "dataplane/nftables/endpoint_entries.h"
#include "dataplane/nftables/entries.h"
#include "dataplane/nftables/net_ranges.h"
#include "engine/host_state.h"

namespace ocicat::dataplane {

// A step from one content of the kernel's maps to the next, in three transactions.
//
//   prepared        cells of tables that nothing leads to yet. The kernel shows what is new in an interval
//   map a
//                   moment after the rest of its transaction, and a table without cells leaves packets to the
//                   base table, which may allow what it denies
//   removed, added  the step itself
//   garbage         what nothing leads to any more: a packet that is being judged meanwhile finds its way to
//   the end
struct PolicyDelta {
  Entries prepared;
  Entries removed;
  Entries added;
  Entries garbage;
  bool rules_changed = false;

  bool empty() const {
    return prepared.empty() && removed.empty() && added.empty() && garbage.empty() && !rules_changed;
  }
};

class DesiredPolicy {
 public:
  // Takes over the changes. Routes are not its concern.
  PolicyDelta update(const HostChanges& changes);

  // Everything, in the order of Entry.
  Entries entries() const;
  const HostSettings& settings() const { return settings_; }

 private:
  void update_cells(const policy::TablesChanges& changes, PolicyDelta& delta);
  void update_classes(const Changes<Prefix, policy::ClassId>& changes, PolicyDelta& delta);

  HostSettings settings_;
  policy::Tables tables_;
  EndpointEntries endpoints_;
  NetRanges ranges4_{Family::kIpv4};
  NetRanges ranges6_{Family::kIpv6};
};

// The difference between what the kernel holds and what it should; both in order. No garbage.
PolicyDelta difference(const Entries& actual, const Entries& wanted);

// As one transaction: of each map, what goes before what comes. Cells come last, so that in a new table
// nothing is found before everything is.
kernel::nft::Batch to_batch(const Entries& removed, const Entries& added);

}  // namespace ocicat::dataplane
