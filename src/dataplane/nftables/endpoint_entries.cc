#include "dataplane/nftables/endpoint_entries.h"

#include <algorithm>
#include <set>

namespace ocicat::dataplane {

void EndpointEntries::add_place(const Place& place, Entries& entries) const {
  const auto found = claims_by_place_.find(place);
  if (found == claims_by_place_.end()) return;
  const auto& programs = found->second.begin()->second;
  for (const auto direction : policy::kDirections) {
    const auto program = direction == policy::Direction::kIngress ? programs.ingress : programs.egress;
    if (auto entry = endpoint_entry(direction, place.first, place.second, program)) entries.push_back(*entry);
  }
}

void EndpointEntries::add_interface(const std::string& name, const HostSettings& settings,
                                    Entries& entries) const {
  if (!endpoints_by_interface_.contains(name)) return;
  const bool by_prefix = std::ranges::any_of(settings.workload_prefixes, [&](const std::string& prefix) {
    return !prefix.empty() && name.starts_with(prefix);
  });
  if (!by_prefix && endpoint_entry(policy::Direction::kEgress, name, {}, {}))
    entries.push_back(interface_entry(name));
}

void EndpointEntries::update(const Changes<ResourceKey, EndpointState>& changes,
                             const HostSettings& settings_before, const HostSettings& settings,
                             Entries& removed, Entries& added) {
  std::set<Place> places;
  std::set<std::string> interfaces;
  if (settings_before.workload_prefixes != settings.workload_prefixes) {
    for (const auto& [name, unused] : endpoints_by_interface_) interfaces.insert(name);
  }
  const auto touch = [&](const EndpointState& endpoint) {
    interfaces.insert(endpoint.interface_name);
    for (const auto& programs : endpoint.addresses) places.emplace(endpoint.interface_name, programs.address);
  };
  for (const auto& [key, after] : changes.entries()) {
    if (const auto before = endpoints_.find(key); before != endpoints_.end()) touch(before->second);
    if (after) touch(*after);
  }
  Entries before_entries, after_entries;
  for (const auto& place : places) add_place(place, before_entries);
  for (const auto& name : interfaces) add_interface(name, settings_before, before_entries);

  for (const auto& [key, after] : changes.entries()) {
    if (const auto before = endpoints_.find(key); before != endpoints_.end()) {
      for (const auto& programs : before->second.addresses) {
        const auto place = claims_by_place_.find({before->second.interface_name, programs.address});
        if (place == claims_by_place_.end()) continue;
        place->second.erase(key);
        if (place->second.empty()) claims_by_place_.erase(place);
      }
      const auto count = endpoints_by_interface_.find(before->second.interface_name);
      if (--count->second == 0) endpoints_by_interface_.erase(count);
      endpoints_.erase(before);
    }
    if (!after) continue;
    for (const auto& programs : after->addresses) {
      claims_by_place_[{after->interface_name, programs.address}].insert_or_assign(key, programs);
    }
    ++endpoints_by_interface_[after->interface_name];
    endpoints_.emplace(key, *after);
  }

  for (const auto& place : places) add_place(place, after_entries);
  for (const auto& name : interfaces) add_interface(name, settings, after_entries);
  std::ranges::sort(before_entries);
  std::ranges::sort(after_entries);
  std::ranges::set_difference(before_entries, after_entries, std::back_inserter(removed));
  std::ranges::set_difference(after_entries, before_entries, std::back_inserter(added));
}

void EndpointEntries::add_all(const HostSettings& settings, Entries& entries) const {
  for (const auto& [place, unused] : claims_by_place_) add_place(place, entries);
  for (const auto& [name, unused] : endpoints_by_interface_) add_interface(name, settings, entries);
}

}  // namespace ocicat::dataplane
