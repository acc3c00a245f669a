// `ocicat agent` without sockets, threads and time of its own: real informers, engine and HostKeeper, over a
// kernel in memory that outlives it. Every write to that kernel is judged.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/policy_keeper.h"
#include "base/mailbox.h"
#include "dataplane/host_keeper.h"
#include "kernel/simulated_connections.h"
#include "kernel/simulated_nft.h"
#include "kernel/simulated_queues.h"
#include "kernel/simulated_routes.h"
#include "kernel/simulated_tunnels.h"
#include "sim/connection.h"
#include "sim/opening_judge.h"

namespace ocicat::test {

class SimulatedAgent {
 public:
  // `routes`: what there is before the agent: links, next hops, settings.
  SimulatedAgent(std::string node, const kernel::SimulatedRoutes& routes, std::uint32_t seed);
  SimulatedAgent(const SimulatedAgent&) = delete;
  SimulatedAgent& operator=(const SimulatedAgent&) = delete;

  // Each is one step of one of the agent's loops; the text says what happened, empty where nothing did.
  std::string hear(std::size_t connection, SimulatedServer& server, Time now, Random& random,
                   const Weather& weather);
  std::string think();
  // Of a hundred calls of the kernel `trouble` fail, some after they were done.
  std::string keep(Random& random, unsigned trouble);

  // Dies, and begins anew with what the kernel holds.
  void restart(std::uint32_t seed);
  void lose_server(Time now);
  // Somebody else's hands.
  void lose_table();
  std::string turn_link(std::size_t number);  // one of all but the first, which leads to the others

  std::size_t connections() const { return process_->connections.size(); }
  // Whether a connection waits for a time to come before it asks again.
  bool waits(Time now) const;
  bool in_step() const { return process_->keeper.report().error.empty() && !process_->behind; }

  const std::string& node() const { return node_; }
  // As the engine wants it, step by step since the agent began.
  const HostState& wanted() const { return process_->wanted; }
  const std::map<ResourceKey, std::string>& refused() const { return process_->refused; }
  const dataplane::Report& report() const { return process_->keeper.report(); }
  const kernel::nft::SimulatedKernel& nft() const { return nft_; }
  const kernel::SimulatedRoutes& routes() const { return routes_; }
  // The first packet that passed and should not have; empty, as it should be.
  const std::string& opening() const { return opening_; }
  const Judged& judged() const { return judged_; }

 private:
  struct Process {
    Process(Engine engine, kernel::nft::Kernel& nft, kernel::RouteKernel& routes, std::uint32_t seed);

    std::vector<Connection> connections;
    Mailbox<api::Update> from_informers;
    agent::PolicyKeeper thinker;
    Mailbox<HostChanges> to_dataplane;
    kernel::nft::SimulatedKernel nat;
    kernel::SimulatedTunnels tunnels;
    kernel::SimulatedConnections tracked;
    kernel::SimulatedQueues queues;
    dataplane::HostKeeper keeper;
    bool whole = false;   // the engine has been told of every kind: only then may anything be written
    bool behind = false;  // something was taken and is not known to be in the kernel

    // What the engine has been told, and what it made of it.
    policy::Snapshot known;
    HostState wanted;
    std::map<ResourceKey, std::string> refused;
  };

  dataplane::Links links() const;

  const std::string node_;
  kernel::nft::SimulatedKernel nft_;
  kernel::SimulatedRoutes routes_;
  std::unique_ptr<Process> process_;
  std::list<KnownState> in_force_;  // any of them may be
  std::uint64_t moments_ = 0;       // that were judged
  std::string opening_;
  Judged judged_;
};

}  // namespace ocicat::test
