// What a host should look like: one value, computed by pure code, made true by dataplane/.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/changes.h"
#include "base/ip.h"
#include "policy/host_settings.h"
#include "policy/tables.h"
#include "resources/kinds.h"
#include "resources/revisions.h"

namespace ocicat {

// The programs of an endpoint for one of its own addresses. Rules about the endpoint's own side are already
// decided by the sets that this address is in.
struct AddressPrograms {
  IpAddress address;
  policy::ProgramId ingress{};
  policy::ProgramId egress{};

  bool operator==(const AddressPrograms&) const = default;
};

// One workload on this host. Packets from its interface that do not come from one of its addresses are
// dropped, packets to its interface for another address as well.
struct EndpointState {
  std::string interface_name;
  std::vector<AddressPrograms> addresses;  // by address, ascending

  bool operator==(const EndpointState&) const = default;
};

// Where packets for a prefix go.
struct Route {
  enum class Kind : std::uint8_t { kWorkload, kHost };
  Kind kind = Kind::kWorkload;
  std::string interface_name;         // kWorkload: link scope to this interface
  std::optional<IpAddress> next_hop;  // kHost: the node that has it; the interface is whatever leads there

  bool operator==(const Route&) const = default;
};

struct HostState {
  HostSettings settings;
  policy::Tables tables;
  std::map<ResourceKey, EndpointState> endpoints;  // by WorkloadEndpoint or Pod
  std::map<Prefix, Route> routes;
};

// A step from one HostState to the next.
struct HostChanges {
  std::optional<HostSettings> settings;
  policy::TablesChanges tables;
  Changes<ResourceKey, EndpointState> endpoints;
  Changes<Prefix, Route> routes;
  // What could not be used and why: shown in status, never silently dropped.
  Changes<ResourceKey, std::string> refused;
  Revisions revisions;  // how far the engine has seen each kind; reported once it is in the kernel

  void apply_to(HostState& state) const;  // all but refused and revisions
  void absorb(HostChanges later);
  bool empty() const;
};

}  // namespace ocicat
