// Gives events their names: who speaks with whom, and which policies said what.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/changes.h"
#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "flows/event.h"
#include "flows/party.h"
#include "policy/tables.h"
#include "policy/verdict.h"

namespace ocicat::flows {

using KnownOutcome = std::shared_ptr<const policy::Outcome>;

// An event with its names, valid until the recorder learns anything.
struct Sighting {
  const Event& event;
  const Party& source;
  const Party& destination;
  std::array<const KnownOutcome*, 2> outcomes;  // of policy::Direction; never null, may hold nothing

  // Of the end that tells, or, where it is the other end that refuses, of that one.
  policy::Direction decider() const;
};

class Recorder {
 public:
  // Of an interface by its index; empty where it has gone.
  using NameOf = std::function<std::string(std::uint32_t)>;
  explicit Recorder(NameOf name_of = [](std::uint32_t) { return std::string(); })
      : name_of_(std::move(name_of)) {}

  void update(const Changes<ResourceKey, Resource>& resources) { directory_.update(resources); }
  // Outcomes that go are still known to events of before, until forget_gone().
  void update(const Changes<policy::OutcomeId, policy::Outcome>& outcomes);
  void forget_gone();
  // Workloads of this host.
  void update(const Changes<ResourceKey, EndpointState>& endpoints);
  // Of host endpoints.
  void update(dataplane::HostInterfaces interfaces) { host_interfaces_ = std::move(interfaces); }

  // Where the packet does not say who sent it (forged, not IP, cut short), the interface that it came from does; of what
  // the host itself sends, the one by which it leaves, if that has a host endpoint.
  Sighting sighting_of(const Event& event);

 private:
  // nullptr: the address is all that is known of it.
  const Party* sender_by_interface(const Event& event);

  NameOf name_of_;
  Directory directory_;
  boost::unordered_flat_map<policy::OutcomeId, KnownOutcome> outcomes_;
  boost::unordered_flat_set<policy::OutcomeId> gone_;
  boost::unordered_flat_map<std::string, ResourceKey> by_interface_;  // workloads of this host
  std::map<ResourceKey, std::string> interfaces_;                     // the other way round
  dataplane::HostInterfaces host_interfaces_;
};

}  // namespace ocicat::flows
