// How one host is connected with others: its BGP sessions, and why one is down.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "views/json_read.h"
#include "views/status.h"

namespace ocicat::views {

struct BgpSessionView {
  std::string peer;   // address
  std::string node;   // empty: no host of the cluster
  std::string type;   // "NodeMesh", "NodePeer", "GlobalPeer", "LocalWorkload"
  std::string state;  // "Established", …
  std::string since;
  std::string reason;
  std::uint64_t imported = 0;
  std::uint64_t exported = 0;

  bool operator==(const BgpSessionView&) const = default;
};

struct BgpView {
  bool running = false;
  bool recovering = false;
  std::uint64_t established = 0;
  std::uint64_t wanted = 0;
  std::vector<BgpSessionView> sessions;  // the first ones
  std::vector<Refusal> left_out;         // what the agent cannot read included
  std::string error;
};

// An interface of a tunnel.
struct TunnelView {
  std::string interface_name;
  std::uint64_t mtu = 0;
  std::string address{};  // of its end at this host
  // Of VXLAN: the other hosts, and of how many of them the kernel knows the end.
  struct Ends {
    std::uint64_t hosts = 0;
    std::uint64_t known = 0;

    bool operator==(const Ends&) const = default;
  };
  std::optional<Ends> ends{};

  bool operator==(const TunnelView&) const = default;
};

struct NodeStatus {
  AgentView agent;
  std::uint64_t mtu = 0;            // of workloads; 0: not known
  std::vector<TunnelView> tunnels;  // those in use
  std::uint64_t routes = 0;         // wanted
  std::uint64_t routes_ready = 0;   // in the kernel
  std::vector<std::string> notes;   // what the host's kernel is kept from doing, and why
  std::optional<BgpView> bgp;       // nothing: the agent keeps no BIRD

  // From an AgentStatus document.
  static NodeStatus read(const boost::json::object& json);
};

// What keeps BGP from being as it should, one line each; empty where it is.
std::vector<std::string> bgp_troubles(const NodeStatus& status);

std::string to_text(const NodeStatus& status, TimePoint now);
// {"node","alive","dataplane","error","endpoints":{"wanted","ready"},"routes":{"wanted","ready"},"mtu",
//  "tunnels":[{"interface","mtu","address","hosts","ends"}],"notes":[…],"bgp":…}; of a tunnel what there is;
// "bgp" as in AgentStatus, with what of it the agent refuses among what is left out
boost::json::object to_json(const NodeStatus& status, const boost::json::object& document, TimePoint now);

}  // namespace ocicat::views
