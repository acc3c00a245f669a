// Open connections follow policy: one that policy denies by now carries a bit in its mark, by which rules
// refuse its packets in both directions, and loses it when policy allows it again. It stays in the kernel's
// table meanwhile, so that no answer opens it anew.
//
// Judged are connections that policy of this host has a say in, as their first packet was: by the addresses
// and ports behind destination translation (pre-DNAT policy: before it), from its sender to its receiver, at
// workloads and at the host endpoints of the interfaces by which both are reached. What a host sends to its
// own workloads is nobody's to judge. One for which a helper of the kernel has opened the way (data of FTP, of TFTP) is let
// begin whatever policy says of it, for the sake of the one that asked for it; so it goes by what is said of that.
//
//   cost     of a round: the namespace's connections, the tables' prefixes where any of these has to do with
//            policy here; where host endpoints have interfaces of their own, a look at the kernel's routes
//            for each address outside
//   design   docs/design/dataplane.md#open-connections
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/prefix_map.h"
#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "kernel/connections.h"
#include "policy/simulator.h"

namespace ocicat::dataplane {

// What connections are judged by.
struct Judgement {
  const policy::Tables& tables;
  const std::map<ResourceKey, EndpointState>& endpoints;
  const HostEndpoints& host_endpoints;
  const HostInterfaces& interfaces;
  const std::set<IpAddress>& own;  // addresses of the host
  // In the marks of connections that a workload has begun from where it may send beside its own addresses.
  std::uint32_t elsewhere_mark = 0;
  // The name of the interface by which an address outside is reached; empty: by none.
  std::function<std::string(const IpAddress&)> way;
};

// Of workloads here, since open connections were judged: what has become another's, or nobody's.
struct Renewed {
  std::set<IpAddress> addresses;  // own ones
  bool sources = false;           // from where else they may send

  bool empty() const { return addresses.empty() && !sources; }
};

class ConnectionJudge {
 public:
  // Borrows all. Nothing may change meanwhile.
  explicit ConnectionJudge(const Judgement& by);

  bool denies(const kernel::Connection& tracked);
  // Whether it goes by what has been renewed.
  bool is_of(const Renewed& renewed, const kernel::Connection& tracked);

 private:
  struct Workload {
    AddressPrograms programs;
    const std::string* interface;
  };
  const policy::Simulator& simulator();
  // Whether a workload has sent it that does not have the address.
  bool is_from_elsewhere(const kernel::Connection& connection);
  // The interface by which an address outside is reached.
  const std::string& way(const IpAddress& address);
  bool denies_sender(const kernel::Connection& connection, const policy::Packet& packet);
  bool denies_receiver(const policy::Packet& packet);
  bool denies_at_hosts(const kernel::Connection& connection, const policy::Packet& packet);
  // Where its packets come in or go out.
  std::string interface_of(const IpAddress& address);
  const HostEndpointState* host_endpoint_at(const std::string& interface) const;
  policy::Verdict ask(const HostEndpointState* endpoint, policy::Hook hook, const policy::Packet& packet);

  Judgement by_;
  std::multimap<IpAddress, Workload> workloads_;
  PrefixMap<std::vector<const EndpointState*>> senders_;  // by from where else they may send
  std::map<IpAddress, std::string> ways_;
  std::optional<policy::Simulator> simulator_;  // once somebody asks
};

struct Revoked {
  std::size_t denied = 0;   // that were not before
  std::size_t allowed = 0;  // that were denied before
  std::size_t remain = 0;   // that are denied now
};
// One round over all connections. With `only`, what policy lets through no more goes on, but for what has been
// renewed; and what is denied may be allowed again.
Result<Revoked> revoke(kernel::ConnectionKernel& kernel, ConnectionJudge& judge, std::uint32_t bit,
                       const Renewed* only = nullptr);

}  // namespace ocicat::dataplane
