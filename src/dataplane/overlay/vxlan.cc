#include "dataplane/overlay/vxlan.h"

#include <algorithm>
#include <utility>

#include "dataplane/overlay/link_address.h"

namespace ocicat::dataplane {
namespace {

// The first of those that the kernel would take for one.
template <class Entry, class Key>
void keep_first(std::vector<Entry>& entries, Key key) {
  std::ranges::stable_sort(entries, {}, key);
  entries.erase(std::ranges::unique(entries, {}, key).begin(), entries.end());
}

// What is to go, and what is to come. What comes replaces what is there under the same key.
template <class Entry, class Key, class Remove, class Add>
Result<void> settle(std::vector<Entry>& there, const std::vector<Entry>& wanted, Key key, Remove remove,
                    Add add) {
  std::vector<Entry> gone, come;
  std::ranges::set_difference(there, wanted, std::back_inserter(gone), {}, key, key);
  std::ranges::set_difference(wanted, there, std::back_inserter(come));
  for (const auto& entry : gone) TRY_VOID(remove(entry));
  for (const auto& entry : come) TRY_VOID(add(entry));
  there = wanted;
  return {};
}

}  // namespace

const std::string& vxlan_name(Family family) {
  static const std::string four = "vxlan.calico", six = "vxlan-v6.calico";
  return family == Family::kIpv4 ? four : six;
}

void Vxlan::want(const std::optional<VxlanDevice>& device) {
  if (device == device_) return;
  // What was turned off because somebody asked for it is turned on when nobody asks any more.
  if (device_ && device_->checksum_offload_broken && device && !device->checksum_offload_broken)
    restores_ = true;
  device_ = device;
  device_known_ = false;
}

void Vxlan::want(const Changes<IpAddress, network::Peer>& peers) {
  for (const auto& [host, peer] : peers.entries()) {
    if (host.family() != family_) continue;
    vteps_.erase(host);
    without_end_.erase(host);
    if (peer && peer->vtep) {
      vteps_.emplace(host, *peer->vtep);
    } else if (peer) {
      without_end_.insert(host);
    }
  }
}

Result<void> Vxlan::write(Result<void> done) {
  told_ = false;
  return Overlay::write(std::move(done));
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
  if (link && link->config != wanted) {
    TRY_VOID(write(kernel_.remove(link->index)));
    link.reset();
  }
  if (!link) {
    TRY_VOID(write(kernel_.create(name, wanted)));
    TRY(link, kernel_.vxlan(name));
    if (!link) return fail(ErrorCode::kUnavailable, "the VXLAN interface {} went away", name);
  }
  ends_known_ &= link->index == std::exchange(link_, link->index);
  const auto mtu =
      device_->mtu != 0 ? device_->mtu : parent.mtu - std::min(parent.mtu, vxlan_overhead(family_));
  if (!link->up || link->mtu != mtu) TRY_VOID(write(kernel_.raise(link_, mtu)));
  TRY_VOID(settle_offload());
  return settle_address(kernel_, link_, device_->end.address, writes_);
}

// Where neither the kernel nor anybody says that it must be one way, whatever is there stays.
Result<void> Vxlan::settle_offload() {
  const auto& name = vxlan_name(family_);
  TRY(offloads_, kernel_.offloads_checksums(name));
  const bool broken = device_->checksum_offload_broken.value_or(kernel_.breaks_checksums());
  const bool asked = device_->checksum_offload_broken || restores_;
  if (offloads_ == broken && (broken || asked)) {
    TRY_VOID(write(kernel_.offload_checksums(name, !broken)));
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

Vxlan::Ends Vxlan::wanted_ends() const {
  Ends ends;
  for (const auto& [host, vtep] : vteps_) {
    ends.neighbours.push_back({vtep.address, vtep.mac});
    ends.forwarding.push_back({vtep.mac, host});
  }
  keep_first(ends.neighbours, &kernel::Neighbour::address);
  keep_first(ends.forwarding, &kernel::ForwardingEntry::mac);
  return ends;
}

Result<void> Vxlan::settle_ends() {
  const auto wanted = wanted_ends();
  TRY_VOID(settle(
      there_.forwarding, wanted.forwarding, &kernel::ForwardingEntry::mac,
      [&](const auto& entry) { return write(kernel_.remove(link_, entry)); },
      [&](const auto& entry) { return write(kernel_.add(link_, entry)); }));
  return settle(
      there_.neighbours, wanted.neighbours, &kernel::Neighbour::address,
      [&](const auto& entry) { return write(kernel_.remove(link_, entry)); },
      [&](const auto& entry) { return write(kernel_.add(link_, entry)); });
}

std::optional<OpenTunnels> Vxlan::newly_open() {
  if (std::exchange(told_, true)) return std::nullopt;
  OpenTunnels open;
  if (link_ == 0 || !device_known_ || !ends_known_ || !offloads_) return open;
  open.link = link_;
  open.config = config_;
  open.source_ports = source_ports_;
  std::map<MacAddress, IpAddress> hosts;
  for (const auto& [mac, host] : there_.forwarding) hosts.emplace(mac, host);
  for (const auto& [vtep, mac] : there_.neighbours) {
    if (const auto host = hosts.find(mac); host != hosts.end())
      open.ends.emplace(vtep, OpenTunnels::End{mac, host->second});
  }
  return open;
}

Result<void> Vxlan::retire() {
  if (device_ || device_known_) return {};
  TRY(const auto link, kernel_.vxlan(vxlan_name(family_)));
  if (link) TRY_VOID(write(kernel_.remove(link->index)));
  link_ = 0;
  device_known_ = true;
  return {};
}

Result<void> Vxlan::sync() {
  told_ &= device_known_ && ends_known_;
  if (!device_) return {};
  if (!device_known_) {
    TRY_VOID(settle_device());
    device_known_ = true;
  }
  if (!ends_known_) {
    TRY(const auto neighbours, kernel_.neighbours(link_));
    TRY(const auto forwarding, kernel_.forwarding(link_));
    there_ = {{neighbours.begin(), neighbours.end()}, {forwarding.begin(), forwarding.end()}};
  }
  ends_known_ = false;
  TRY_VOID(settle_ends());
  ends_known_ = true;
  return {};
}

}  // namespace ocicat::dataplane
