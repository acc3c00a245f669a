// What nftables logs of a packet says why, and not which policy: the decision tables are asked again, in the
// order in which the ruleset asks them (docs/design/dataplane.md#rules), for the end that decided.
//
//   truth   the tables are those of now. Where policy has changed since the packet passed, and they would say
//           otherwise than the kernel did, no outcome is named
//   memory  the host's tables a second time, but for what they share (policy/table.h)
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
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

// By which interfaces a host reaches others.
struct Ways {
  static constexpr std::uint32_t kLoopback = 1;

  std::function<bool(const IpAddress&)> is_own = [](const IpAddress&) { return false; };
  // Its index; 0: by none.
  std::function<std::uint32_t(const IpAddress&)> leads_to = [](const IpAddress&) { return 0U; };
};

// Who tells of a connection, and which outcomes let it begin, by policy of now.
struct Ends {
  std::array<bool, 2> tells{};                  // of policy::Direction
  std::array<policy::OutcomeId, 2> outcomes{};  // 0: nobody was asked, or policy says otherwise by now
  bool from_host = false;
  std::uint32_t interface = 0;  // where the host has sent it, by which it leaves

  bool tells_at(policy::Direction end) const { return tells[static_cast<std::size_t>(end)]; }
  bool any() const { return tells[0] || tells[1]; }
};

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
  void update(dataplane::HostInterfaces interfaces) {
    interfaces_ = std::move(interfaces);
    changed();
  }
  // Of a flow that begins one event for each end here, of a refused packet one.
  void events_of(const kernel::LoggedPacket& logged, const std::function<void(const Event&)>& visit) const;
  // Those who have told of its begin, where it has been told (the connection's as conntrack has it).
  Ends ends_of(const kernel::Connection& connection, const Ways& ways) const;
  // Another one whenever ends may be others; never 0.
  std::uint32_t version() const { return version_; }

 private:
  bool has(const IpAddress& address) const { return programs_.contains(address); }
  policy::OutcomeId answer(const policy::Packet& packet, policy::Direction end) const;
  // Of the host endpoint of the interface by which it comes or goes; 0 where it does not say this.
  policy::OutcomeId answer_at_host(const policy::Packet& packet, const kernel::LoggedPacket& logged,
                                   policy::Direction end, policy::Verdict verdict) const;
  bool says(policy::OutcomeId outcome, policy::Verdict verdict) const;
  void changed() { version_ += version_ + 1 == 0 ? 2 : 1; }
  const HostEndpointState* host_endpoint_at(std::uint32_t interface) const;
  void add_ends_at_hosts(const kernel::Connection& connection, const policy::Packet& packet, const Ways& ways,
                         Ends& ends) const;
  // The first that lets it pass, of those who are asked in this order; `asked` before translation.
  policy::OutcomeId first_allowing(const HostEndpointState& endpoint, policy::Direction end,
                                   std::initializer_list<policy::ChainKind> chains,
                                   const policy::Packet& packet, const policy::Packet& asked) const;

  std::unique_ptr<policy::Tables> tables_;  // stays where it is, for the simulator
  policy::Simulator simulator_;
  std::map<ResourceKey, EndpointState> endpoints_;
  std::map<ResourceKey, HostEndpointState> host_endpoints_;
  std::multimap<IpAddress, AddressPrograms> programs_;  // of workloads here
  dataplane::HostInterfaces interfaces_;
  std::uint32_t version_ = 1;
  std::uint32_t accept_mark_ = 0;  // of packets that untracked or pre-DNAT policy has allowed
  NameOf name_of_;
  AskedFor asked_for_;
};

}  // namespace ocicat::flows
