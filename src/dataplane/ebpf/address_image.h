// The classes of addresses and nets that are wanted, and what of them has changed; net_image.h writes them.
#pragma once

#include <absl/container/btree_map.h>
#include <boost/unordered/unordered_flat_map.hpp>

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/changes.h"
#include "base/ip.h"
#include "dataplane/ebpf/net_image.h"
#include "dataplane/ebpf/step.h"
#include "maps/nets.h"
#include "policy/tables.h"

namespace ocicat::dataplane::ebpf {

class AddressImage {
 public:
  // Borrows the map.
  explicit AddressImage(const NetMemory& nets) : nets_(nets) {}

  void want(const Changes<Prefix, policy::ClassId>& changes);
  // Those and no others; for a resync(), as none of them counts as a change.
  void want_all(const std::map<Prefix, policy::ClassId>& classes);
  // Writes what the last want() changed.
  Result<void> update(Step& step);
  // Writes what differs, whatever the map holds.
  Result<void> resync(Step& step);

  // Of the last want(): the classes that addresses moved between, and whether one had an address before and
  // has one now.
  std::set<std::pair<policy::ClassId, policy::ClassId>> moves() const;
  bool is_kept(policy::ClassId id) const;

 private:
  std::optional<policy::ClassId> wanted(const Prefix& prefix) const;
  // The class of the longest net around a prefix: as wanted, or before the last want().
  policy::ClassId class_around(const Prefix& prefix, bool before) const;

  NetImage nets_;
  std::map<Family, NetImage::Nets> wanted_{{Family::kIpv4, {}}, {Family::kIpv6, {}}};
  boost::unordered_flat_map<policy::ClassId, int> users_;  // addresses and nets

  // Of the last want():
  absl::btree_map<Prefix, std::optional<policy::ClassId>> before_;
  absl::btree_map<policy::ClassId, int> users_before_;  // of classes whose number of users changed
};

bpf::address address_of(const IpAddress& address);
IpAddress address_of(const bpf::address& address);

}  // namespace ocicat::dataplane::ebpf
