// The classes of addresses: exact ones in a hash of blocks (bpf/maps/classes.h), nets in a tree (net_image.h).
//
//   cost   of an update: the blocks in which addresses change; of nets see there
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/changes.h"
#include "base/ip.h"
#include "dataplane/ebpf/net_image.h"
#include "dataplane/ebpf/step.h"
#include "kernel/bpf.h"
#include "maps/classes.h"
#include "policy/tables.h"

namespace ocicat::dataplane::ebpf {

class AddressImage {
 public:
  using Classes = std::map<Prefix, policy::ClassId>;

  // Borrows both maps.
  AddressImage(kernel::bpf::ElementMap& classes, bpf::nets& nets) : classes_(classes), nets_(nets) {}

  void want(const Changes<Prefix, policy::ClassId>& changes);
  // Writes what the last want() changed.
  Result<void> update(Step& step);
  // Writes what differs, whatever the maps hold.
  Result<void> resync(Step& step);

  // Of the last want(): the classes that addresses moved between, and whether one had an address before and
  // has one now.
  std::set<std::pair<policy::ClassId, policy::ClassId>> moves() const;
  bool is_kept(policy::ClassId id) const;

 private:
  using Ids = std::array<std::uint32_t, bpf::CLASS_BLOCK>;

  // The class of the longest net around a prefix: as wanted, or before the last want().
  policy::ClassId class_around(const Prefix& prefix, bool before) const;
  // Of the block that begins there: as wanted, and before the last want().
  Ids ids_of(const IpAddress& first) const;
  Ids ids_before(const IpAddress& first) const;
  Result<void> put_block(const IpAddress& first, const Ids& before, const Ids& after, Step& step);
  Result<void> resync_blocks(Step& step);

  kernel::bpf::ElementMap& classes_;
  NetImage nets_;
  Classes wanted_;
  std::map<Family, Classes> wanted_nets_;  // of those, what is no single address
  std::map<policy::ClassId, int> users_;   // addresses and nets

  // Of the last want():
  std::map<Prefix, std::optional<policy::ClassId>> before_;
  std::map<policy::ClassId, int> users_before_;  // of classes whose number of users changed
};

bpf::address address_of(const IpAddress& address);
IpAddress address_of(const bpf::address& address);
// The first one of the block, and which one of it this is.
IpAddress block_of(const IpAddress& address);
std::size_t place_in_block(const IpAddress& address);
// The one at that place.
IpAddress address_in_block(const IpAddress& first, std::size_t place);

}  // namespace ocicat::dataplane::ebpf
