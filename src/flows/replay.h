// What nftables logs of a packet says why, and not which policy: the decision tables are asked again, in the
// order in which the ruleset asks them (docs/design/dataplane.md#rules), for the end that decided.
//
//   truth   the tables are those of now. Where policy has changed since the packet passed, and they would say
//           otherwise than the kernel did, no outcome is named
//   memory  the host's tables a second time, but for what they share (policy/table.h)
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "flows/event.h"
#include "kernel/connections.h"
#include "kernel/packet_log.h"
#include "policy/simulator.h"

namespace ocicat::flows {

class Replay {
 public:
  // Of an interface by its index; empty where it has gone.
  using NameOf = std::function<std::string(std::uint32_t)>;
  // What the first packet of a connection asked for that policy before translation has let through. Nothing: it cannot be
  // told any more.
  using AskedFor = std::function<std::optional<kernel::Asked>(const policy::Packet&)>;
  explicit Replay(
      NameOf name_of = [](std::uint32_t) { return std::string(); },
      AskedFor asked_for = [](const policy::Packet&) { return std::optional<kernel::Asked>(); });

  // Tables, endpoints and host endpoints of what the host should look like.
  void update(const HostChanges& changes);
  // Which host endpoint has which.
  void update(dataplane::HostInterfaces interfaces) { interfaces_ = std::move(interfaces); }
  // Of a flow that begins one event for each end here, of a refused packet one.
  void events_of(const kernel::LoggedPacket& logged, const std::function<void(const Event&)>& visit) const;

 private:
  bool has(const IpAddress& address) const { return programs_.contains(address); }
  policy::OutcomeId answer(const policy::Packet& packet, policy::Direction end) const;
  // Of the host endpoint of the interface by which it comes or goes; 0 where it does not say this.
  policy::OutcomeId answer_at_host(const policy::Packet& packet, const kernel::LoggedPacket& logged,
                                   policy::Direction end, policy::Verdict verdict) const;
  bool says(policy::OutcomeId outcome, policy::Verdict verdict) const;

  std::unique_ptr<policy::Tables> tables_;  // stays where it is, for the simulator
  policy::Simulator simulator_;
  std::map<ResourceKey, EndpointState> endpoints_;
  std::map<ResourceKey, HostEndpointState> host_endpoints_;
  std::multimap<IpAddress, AddressPrograms> programs_;  // of workloads here
  dataplane::HostInterfaces interfaces_;
  std::uint32_t accept_mark_ = 0;  // of packets that untracked or pre-DNAT policy has allowed
  NameOf name_of_;
  AskedFor asked_for_;
};

}  // namespace ocicat::flows
