// How the system is: the server, and what each host has brought to its kernel.
#pragma once

#include <boost/json/fwd.hpp>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "resources/kinds.h"
#include "views/idle_settings.h"
#include "views/json_read.h"

namespace ocicat::views {

// "NetworkPolicy.projectcalico.org"; for the core group just "Pod". How revisions are keyed in JSON.
std::string revision_key(Kind kind);
using RevisionsByKey = std::map<std::string, std::uint64_t>;

struct ServerStatus {
  std::string version;
  std::uint64_t revision = 0;
  RevisionsByKey revisions;  // the last change of each kind
  std::string incarnation;   // of its store: revisions of other ones say nothing

  // From the server's answer at /ocicat/status.
  static ServerStatus read(const boost::json::object& json);
};

struct Refusal {
  std::string object;
  std::string reason;

  bool operator==(const Refusal&) const = default;
};

struct HostEndpointView {
  std::string name;
  std::string status;  // "up", "down", "error"

  bool operator==(const HostEndpointView&) const = default;
};

struct AgentView {
  std::string node;
  std::string version;
  std::uint64_t pid = 0;
  std::string dataplane;
  std::string dataplane_reason;                     // why it is this one
  RevisionsByKey applied;                           // what is in the kernel
  std::map<std::string, std::string> incarnations;  // of the store, of each revision in `applied`
  std::uint64_t endpoints_wanted = 0;
  std::uint64_t endpoints_ready = 0;
  std::vector<HostEndpointView> host_endpoints;
  std::vector<Refusal> refused;     // the first ones
  std::uint64_t refused_count = 0;  // all of them
  std::vector<Refusal> bounded;     // what is in force, but as the bound that it is beyond; the first ones
  std::string error;
  std::string bgp_error;  // why BIRD does not do what it is to do; of an agent that keeps one
  std::string heartbeat;

  // From an AgentStatus document.
  static AgentView read(const boost::json::object& json);
};

// Whether the agent has reported lately. One that has not may be down; its kernel keeps what it had.
inline constexpr std::chrono::seconds kSilence{30};
bool is_alive(const AgentView& agent, TimePoint now);

// A kind of which a host has not yet all.
struct Lag {
  std::string kind;
  std::uint64_t applied = 0;
  std::uint64_t wanted = 0;
  bool foreign = false;  // `applied` is of another incarnation: it says nothing
};

// Of the kinds that agents watch, those where the agent has not reached the server's `revisions`.
std::vector<Lag> lags(const AgentView& agent, const ServerStatus& server);
// Why the agent cannot be said to enforce what stood at the server; empty where it does.
std::string what_is_missing(const AgentView& agent, const ServerStatus& server);

struct SystemStatus {
  ServerStatus server;
  std::vector<AgentView> agents;          // by node
  std::vector<std::string> silent_nodes;  // Nodes of which no agent has reported
  std::vector<IdleSetting> idle;          // settings without effect, or with less than they say
};

// Why not every host enforces what stands at the server, one line a host; empty where all do.
std::vector<std::string> who_is_behind(const SystemStatus& status);

std::string to_text(const SystemStatus& status, TimePoint now);
// {"server":{"version","revision"},"agents":[{"node","version","pid","dataplane","dataplaneReason","revision","upToDate",
//  "behind":[{"kind","applied","server","foreign"}],"endpoints":{"wanted","ready"},
//  "hostEndpoints":[{"name","status"}],"refused":[{"object","reason"}],
//  "refusedCount","bounded":[{"object","reason"}],"error","bgpError","alive","heartbeat","heartbeatAgeSeconds"}],
//  "silentNodes":[…],
//  "withoutEffect":[{"object","field","dataplane","only"}]}, the last where something comes of it all the same
boost::json::object to_json(const SystemStatus& status, TimePoint now);

}  // namespace ocicat::views
