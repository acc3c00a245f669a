#include "dataplane/overlay/vxlan.h"

#include <algorithm>
#include <utility>

#include "dataplane/overlay/link_address.h"

namespace ocicat::dataplane {

const std::string& vxlan_name(Family family) {
  static const std::string four = "vxlan.calico", six = "vxlan-v6.calico";
  return family == Family::kIpv4 ? four : six;
}

void Vxlan::want(const std::optional<VxlanDevice>& device) {
  if (device == device_) return;
  // What was turned off because somebody asked for it is turned on when nobody asks any more.
  if (device_ && device_->checksum_offload_broken && device && !device->checksum_offload_broken)
    restores_ = true;
  if (device_.has_value() != device.has_value()) note_all();
  device_ = device;
  device_known_ = false;
}

void Vxlan::want(const Changes<IpAddress, network::Peer>& peers) {
  for (const auto& [host, peer] : peers.entries()) {
    if (host.family() != family_) continue;
    if (const auto had = vteps_.find(host); had != vteps_.end()) {
      if (peer && peer->vtep == had->second) continue;
      neighbours_.leave(had->second.address, host);
      forwarding_.leave(had->second.mac, host);
      vteps_.erase(had);
    }
    without_end_.erase(host);
    if (peer && peer->vtep) {
      vteps_.emplace(host, *peer->vtep);
      neighbours_.want(peer->vtep->address, host, peer->vtep->mac);
      forwarding_.want(peer->vtep->mac, host, host);
    } else if (peer) {
      without_end_.insert(host);
    }
  }
}

// Where the interface is another than before, nothing is known of its ends.
Result<void> Vxlan::settle_device() {
  const auto& name = vxlan_name(family_);
  TRY(auto link, kernel_.vxlan(name));
  TRY(const auto parent, kernel_.parent(device_->host));
  const kernel::VxlanConfig wanted{.mac = device_->end.mac,
                                   .local = device_->host,
                                   .parent = parent.index,
                                   .vni = device_->vni,
                                   .port = device_->port};
  config_ = wanted;
  TRY(source_ports_, kernel_.source_ports());
  const bool leaves = link && link->config != wanted;
  if (std::exchange(leaves_, leaves) != leaves) note_all();
  if (leaves) return {};
  if (!link) {
    TRY_VOID(write_link(kernel_.create(name, wanted)));
    TRY(link, kernel_.vxlan(name));
    if (!link) return fail(ErrorCode::kUnavailable, "the VXLAN interface {} went away", name);
    ends_read_ = true;
  }
  if (std::exchange(link_, link->index) != link->index) forget_ends();
  const auto mtu =
      device_->mtu != 0 ? device_->mtu : parent.mtu - std::min(parent.mtu, vxlan_overhead(family_));
  if (!link->up || link->mtu != mtu) TRY_VOID(write_link(kernel_.raise(link_, mtu)));
  TRY_VOID(settle_offload());
  return settle_address(kernel_, link_, device_->end.address, link_writes_);
}

// Where neither the kernel nor anybody says that it must be one way, whatever is there stays.
Result<void> Vxlan::settle_offload() {
  const auto& name = vxlan_name(family_);
  TRY(offloads_, kernel_.offloads_checksums(name));
  const bool broken = device_->checksum_offload_broken.value_or(kernel_.breaks_checksums());
  const bool asked = device_->checksum_offload_broken || restores_;
  if (offloads_ == broken && (broken || asked)) {
    TRY_VOID(write_link(kernel_.offload_checksums(name, !broken)));
    offloads_ = !broken;
  }
  restores_ = false;
  return {};
}

std::string Vxlan::note() const {
  if (link_ == 0 || !device_known_ || !device_ || offloads_) return {};
  const auto* why = device_->checksum_offload_broken.value_or(false) ? "featureDetectOverride asks for it"
                    : kernel_.breaks_checksums()                     ? "this kernel makes wrong ones"
                                                                     : "somebody has turned it off";
  return fmt::format("{} does not offload checksums: {}", vxlan_name(family_), why);
}

Result<void> Vxlan::learn_ends() {
  TRY(const auto neighbours, kernel_.neighbours(link_));
  TRY(const auto forwarding, kernel_.forwarding(link_));
  decltype(neighbours_)::Table macs;
  for (const auto& [address, mac] : neighbours) macs.emplace(address, mac);
  decltype(forwarding_)::Table hosts;
  for (const auto& [mac, host] : forwarding) hosts.emplace(mac, host);
  neighbours_.learn(std::move(macs));
  forwarding_.learn(std::move(hosts));
  ends_read_ = true;
  return {};
}

void Vxlan::forget_ends() {
  neighbours_.learn({});
  forwarding_.learn({});
  note_differing();
  ends_known_ = false;
}

void Vxlan::note_differing() {
  news_.insert(neighbours_.differing().begin(), neighbours_.differing().end());
  for (const auto& mac : forwarding_.differing()) {
    for (const auto& host : forwarding_.hosts_of(mac)) news_.insert(vteps_.at(host).address);
  }
}

void Vxlan::note_all() {
  for (const auto& [host, vtep] : vteps_) news_.insert(vtep.address);
}

Result<void> Vxlan::bring_ends() {
  note_differing();
  const auto forwarding = forwarding_.bring([&](const MacAddress& mac, const IpAddress& host) {
    return write_end(kernel_.add(link_, kernel::ForwardingEntry{mac, host}));
  });
  const auto neighbours = neighbours_.bring([&](const IpAddress& vtep, const MacAddress& mac) {
    return write_end(kernel_.add(link_, kernel::Neighbour{vtep, mac}));
  });
  return forwarding ? neighbours : forwarding;
}

Result<void> Vxlan::take_ends_away() {
  const auto neighbours = neighbours_.take_away([&](const IpAddress& vtep, const MacAddress& mac) {
    return write_end(kernel_.remove(link_, kernel::Neighbour{vtep, mac}));
  });
  const auto forwarding = forwarding_.take_away([&](const MacAddress& mac, const IpAddress& host) {
    return write_end(kernel_.remove(link_, kernel::ForwardingEntry{mac, host}));
  });
  return neighbours ? forwarding : neighbours;
}

std::optional<TunnelEnd> Vxlan::end_of(const IpAddress& vtep) const {
  if (!device_ || leaves_ || !neighbours_.is_as_wanted(vtep)) return std::nullopt;
  const auto& mac = *neighbours_.there(vtep);
  if (!forwarding_.is_as_wanted(mac)) return std::nullopt;
  return TunnelEnd{mac, *forwarding_.there(mac)};
}

std::optional<TunnelChanges> Vxlan::news() {
  if (device_ && !leaves_ && !ends_read_) return std::nullopt;
  TunnelChanges changes;
  TunnelInterface interface;
  if (device_ && device_known_ && offloads_) interface = {link_, config_, source_ports_};
  if (interface != std::exchange(told_, interface)) changes.interface = interface;
  for (const auto& vtep : std::exchange(news_, {})) {
    if (const auto end = end_of(vtep)) {
      changes.ends.update(vtep, *end);
    } else {
      changes.ends.remove(vtep);
    }
  }
  return changes;
}

bool Vxlan::misses(const kernel::EndMonitor::Gone& gone) const {
  if (!device_) return false;
  const auto wants = [](const auto& table) {
    return [&](const auto& key) { return table.wanted(key) != nullptr; };
  };
  return std::ranges::any_of(gone.neighbours, wants(neighbours_)) ||
         std::ranges::any_of(gone.forwarding, wants(forwarding_));
}

Result<void> Vxlan::retire() {
  if (device_ && !leaves_) {
    const auto done = brought_ ? take_ends_away() : Result<void>();
    ends_known_ &= done.has_value();
    return done;
  }
  if (device_known_) return {};
  TRY(const auto link, kernel_.vxlan(vxlan_name(family_)));
  if (link) TRY_VOID(write_link(kernel_.remove(link->index)));
  link_ = 0;
  device_known_ = !device_;
  leaves_ = false;
  ends_read_ = true;
  forget_ends();
  return {};
}

Result<void> Vxlan::sync() {
  brought_ = false;
  if (!device_) return {};
  if (!device_known_) {
    TRY_VOID(settle_device());
    if (leaves_) return {};
    device_known_ = true;
  }
  if (!ends_known_) TRY_VOID(learn_ends());
  const auto done = bring_ends();
  brought_ = true;
  ends_known_ = done.has_value();
  return done;
}

}  // namespace ocicat::dataplane
