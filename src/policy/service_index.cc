#include "policy/service_index.h"

#include <utility>

#include "base/result.h"

namespace ocicat::policy {

void ServiceIndex::touch(const Name& service) {
  for (auto& [id, active] : active_) {
    if (active.service == service) stale_ = active.stale = true;
  }
}

void ServiceIndex::set(const ResourceKey& key, const EndpointSlice& slice) {
  const Name service{slice.metadata.ns, slice.service};
  const auto known = service_by_slice_.find(key);
  if (known != service_by_slice_.end() && known->second != service) remove(key);
  if (slice.service.empty()) return;
  service_by_slice_[key] = service;
  slices_by_service_[service].insert_or_assign(key, slice);
  touch(service);
}

void ServiceIndex::remove(const ResourceKey& key) {
  const auto it = service_by_slice_.find(key);
  if (it == service_by_slice_.end()) return;
  const auto service = it->second;
  service_by_slice_.erase(it);
  auto& slices = slices_by_service_.at(service);
  slices.erase(key);
  if (slices.empty()) slices_by_service_.erase(service);
  touch(service);
}

void ServiceIndex::activate(AtomId id, const Atom& atom) {
  auto& active = active_[id];
  active.service = {atom.service.ns, atom.service.name};
  active.digest = atom.digest;
  active.with_ports = atom.type == Atom::Type::kServicePorts;
  if (!active.with_ports) active.groups[Port{}].set = sets_.create(atom.digest);
  stale_ = true;
}

void ServiceIndex::deactivate(AtomId id) {
  const auto it = active_.find(id);
  CHECK(it != active_.end());
  for (auto& [port, group] : it->second.groups) {
    replace(group, {});
    sets_.destroy(group.set);
  }
  active_.erase(it);
}

void ServiceIndex::replace(Group& group, Addresses addresses) {
  for (const auto& address : group.addresses) {
    if (!addresses.contains(address)) addresses_.detach_nets(Prefix::host(address), group.set);
  }
  for (const auto& address : addresses) {
    if (!group.addresses.contains(address)) addresses_.attach_nets(Prefix::host(address), group.set);
  }
  group.addresses = std::move(addresses);
}

std::map<ServiceIndex::Port, ServiceIndex::Addresses> ServiceIndex::wanted(const Active& active) const {
  std::map<Port, Addresses> groups;
  if (!active.with_ports) groups[Port{}];
  const auto it = slices_by_service_.find(active.service);
  if (it == slices_by_service_.end()) return groups;
  for (const auto& [key, slice] : it->second) {
    if (!active.with_ports) {
      groups[Port{}].insert(slice.addresses.begin(), slice.addresses.end());
      continue;
    }
    if (slice.addresses.empty()) continue;
    for (const auto& port : slice.ports) groups[port].insert(slice.addresses.begin(), slice.addresses.end());
  }
  return groups;
}

// True where a set of a port came or went.
bool ServiceIndex::settle(Active& active) {
  auto groups = wanted(active);
  bool changed = false;
  for (auto it = active.groups.begin(); it != active.groups.end();) {
    if (groups.contains(it->first)) {
      ++it;
      continue;
    }
    replace(it->second, {});
    sets_.destroy(it->second.set);
    it = active.groups.erase(it);
    changed = true;
  }
  for (auto& [port, addresses] : groups) {
    auto& group = active.groups[port];
    if (group.set == 0) {
      group.set = sets_.create(
          Digest::of(fmt::format("{}|{}|{}", active.digest.to_hex(), port.protocol, port.number)));
      changed = true;
    }
    replace(group, std::move(addresses));
  }
  if (!active.with_ports || !changed) return false;
  active.ports.clear();
  for (const auto& [port, group] : active.groups)
    active.ports.push_back({port.protocol, port.number, group.set});
  return true;
}

std::vector<AtomId> ServiceIndex::update() {
  std::vector<AtomId> changed;
  if (!std::exchange(stale_, false)) return changed;
  for (auto& [id, active] : active_) {
    if (std::exchange(active.stale, false) && settle(active)) changed.push_back(id);
  }
  return changed;
}

SetId ServiceIndex::set_of(AtomId atom) const {
  const auto it = active_.find(atom);
  return it == active_.end() || it->second.with_ports ? 0 : it->second.groups.at(Port{}).set;
}

std::span<const ServiceIndex::PortSet> ServiceIndex::ports_of(AtomId atom) const {
  const auto it = active_.find(atom);
  if (it == active_.end()) return {};
  return it->second.ports;
}

}  // namespace ocicat::policy
