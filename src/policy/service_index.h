// What stands behind services: sets of addresses, from EndpointSlices, for the services that active rules
// name.
//
//   in       slices; services that rules begin or cease to name
//   out      sets; to the address index, the addresses in them
//   cost     a slice of a service that no active rule names: it is kept; else all slices of the service
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "policy/address_index.h"
#include "policy/rule_book.h"
#include "policy/set_space.h"
#include "resources/types.h"

namespace ocicat::policy {

class ServiceIndex {
 public:
  ServiceIndex(SetSpace& sets, AddressIndex& addresses) : sets_(sets), addresses_(addresses) {}

  void set(const ResourceKey& key, const EndpointSlice& slice);
  void remove(const ResourceKey& key);

  // Atoms of type kService and kServicePorts.
  void activate(AtomId id, const Atom& atom);
  void deactivate(AtomId id);
  // Brings the sets of active atoms up to date. The atoms for which a set of a port came or went.
  std::vector<AtomId> update();

  // Of kService; 0 where it is not active.
  SetId set_of(AtomId atom) const;
  // Of kServicePorts, ascending.
  struct PortSet {
    Protocol protocol;
    std::uint16_t number;
    SetId set;
  };
  std::span<const PortSet> ports_of(AtomId atom) const;

 private:
  using Name = std::pair<std::string, std::string>;  // namespace, service
  using Port = EndpointSlice::Port;
  using Addresses = std::set<IpAddress>;
  struct Group {
    SetId set = 0;
    Addresses addresses;
  };
  struct Active {
    Name service;
    Digest digest;
    bool with_ports = false;
    std::map<Port, Group> groups;  // without ports: one, of the port {}
    std::vector<PortSet> ports;
    bool stale = true;
  };

  std::map<Port, Addresses> wanted(const Active& active) const;
  bool settle(Active& active);
  void replace(Group& group, Addresses addresses);
  void touch(const Name& service);

  SetSpace& sets_;
  AddressIndex& addresses_;
  std::map<Name, std::map<ResourceKey, EndpointSlice>> slices_by_service_;
  std::map<ResourceKey, Name> service_by_slice_;
  std::map<AtomId, Active> active_;
  bool stale_ = false;
};

}  // namespace ocicat::policy
