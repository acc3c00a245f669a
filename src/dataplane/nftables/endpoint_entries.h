// Who sends from and receives at which interface with which address.
//
// Where two endpoints claim one interface and address, the one whose name is smaller has it and the other
// waits.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "dataplane/nftables/entries.h"
#include "engine/host_state.h"

namespace ocicat::dataplane {

class EndpointEntries {
 public:
  // Takes over the changes, and adds the entries that come and go with them, and with the settings: of
  // these only the workload prefixes count here.
  void update(const Changes<ResourceKey, EndpointState>& changes, const HostSettings& settings_before,
              const HostSettings& settings, Entries& removed, Entries& added);
  void add_all(const HostSettings& settings, Entries& entries) const;

 private:
  using Place = std::pair<std::string, IpAddress>;  // interface, own address
  using Claims = std::map<ResourceKey, AddressPrograms>;

  void add_place(const Place& place, Entries& entries) const;
  void add_interface(const std::string& name, const HostSettings& settings, Entries& entries) const;

  std::map<ResourceKey, EndpointState> endpoints_;
  std::map<Place, Claims> claims_by_place_;
  std::map<std::string, int> endpoints_by_interface_;
};

}  // namespace ocicat::dataplane
