// One host's agent: keeps up with the server, computes policy and routes, and keeps the kernel so.
//
//   threads   informers → engine → dataplane, and one that reports; between them only mailboxes that absorb
//   server    once lost, it goes on with what it has; before the first full snapshot nothing is written
//   end       leaves the kernel as it is
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/client/client.h"
#include "base/result.h"
#include "dataplane/dataplane.h"
#include "engine/engine.h"
#include "http/endpoint.h"

namespace ocicat::agent {

struct Options {
  std::string node;
  api::Address server;
  std::filesystem::path run_dir = "/run/ocicat/agent";  // made where it is missing; one agent a folder
  std::optional<http::Endpoint> health;                 // /liveness, /readiness, /metrics; none: not served
  std::size_t most_entries = Engine::kMostEntries;      // as in Engine::Options
  dataplane::Options dataplane;
  // Chooses the datapath by circumstances, those that `dataplane` brings or, without any, those that are
  // found. Once they speak for the other one this is called, on a thread of the agent's: it writes nothing
  // from then on, and an agent that is started with them takes over as after any restart. Nothing:
  // `dataplane` says which.
  std::function<void(const dataplane::Circumstances&)> on_other_choice;
  bool keeps_bird = false;  // BIRD tells other hosts where workloads are, and writes what it hears
  // Where container runtimes find the agent (cni/places.h); none: they do not.
  std::optional<std::filesystem::path> cni_folder;
  // With nftables: the kernel is made to count what connections carry, where it does not (nf_conntrack_acct).
  bool has_connections_counted = true;
  std::string bgp_secrets;  // folder of passwords, NAME/KEY; empty: there are none
};

// Removes everything that carries our mark from the kernel, in the network namespace of the caller; ends the
// BIRD that an agent kept in its folder, and removes its routes.
// kUnavailable: an agent works there, and would put everything back.
Result<void> clean_up(const dataplane::Options& options, const std::filesystem::path& run_dir);

class Agent {
 public:
  // In the network namespace of the caller, which it works on. Fails where another agent works there or with
  // the folder, the health address is taken or the kernel cannot be read.
  static Result<std::unique_ptr<Agent>> start(Options options);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Where health is served, with the port that was chosen.
  std::optional<http::Endpoint> health() const;

 private:
  struct State;
  explicit Agent(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
