// A lab: hosts, a server, agents and pods, on one machine, in network namespaces.
//
// Every operation is complete when it returns: the processes answer, the agents have what was written in
// their kernels. State lives in files and in the kernel, never in this object, so that commands and crashes
// may come in any order; `down` needs nothing but the lab's name.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "base/result.h"
#include "lab/layout.h"
#include "lab/process.h"
#include "lab/state.h"

namespace ocicat::lab {

inline constexpr std::chrono::milliseconds kPatience{60000};

struct PodRequest {
  PodRecord pod;  // addresses as far as given
  Labels labels;
  bool wait = true;  // for the agents
};

class Lab {
 public:
  explicit Lab(Layout layout) : layout_(std::move(layout)) {}

  // kAlreadyExists where the lab, or what is left of it, is there. Takes everything back where it fails.
  Result<void> up(const LabRecord& lab);
  // Ends the processes it started and those inside its namespaces, removes the namespaces and the folder.
  // Whatever is missing is no error; false where nothing was there.
  Result<bool> down();

  // Creates the namespace and service account documents where they are missing.
  Result<PodRecord> add_pod(PodRequest request);
  // `wait`: for the agents, as in PodRequest.
  Result<void> delete_pod(std::string_view ns, std::string_view name, bool wait);
  // The pod keeps its namespace, processes and addresses, and is wired to another host. The host that it was on
  // may be dead: what that has not given back is taken from it at the server.
  Result<void> move_pod(std::string_view ns, std::string_view name, const std::string& host, bool wait);
  // Sets labels, and removes those named.
  Result<void> label_pod(std::string_view ns, std::string_view name, const Labels& set,
                         const std::vector<std::string>& remove);
  // Creates the namespace or replaces its labels.
  Result<void> label_namespace(std::string_view ns, const Labels& labels);

  Result<void> start_server();
  // `dataplane`: what enforces policy this time; empty: what the lab was made with.
  Result<void> start_agent(const std::string& host, const std::string& dataplane = {});
  // Until each running agent has everything in its kernel, and with BGP its host knows the ways to all pods.
  Result<void> wait_until_applied();

  const Layout& layout() const { return layout_; }
  api::Address server_address() const { return {"unix://" + layout_.server_socket().string()}; }
  // "server", "agent-host1"
  std::optional<Process> running(std::string_view process) const;
  Result<void> end(std::string_view process, int signal) const;

 private:
  Result<void> begin(const LabRecord& lab);
  Result<void> create_if_missing(api::Client& client, const boost::json::object& object);
  Result<void> start_listener(const PodRecord& pod, const std::string& program);
  Result<PodRecord> record_pod(PodRecord pod);
  Result<void> realize_pod(PodRequest& request, const LabRecord& lab);
  Result<void> wire_pod(PodRecord& pod, const Labels& labels, const LabRecord& lab);
  Result<void> dismantle_pod(const PodRecord& pod);  // its processes, wires, namespace and record
  Result<void> take_from_dead_host(api::Client& client, const PodRecord& pod);
  Result<void> wait_until_routed();
  Result<void> end_processes();
  std::map<std::string, int> running_agents() const;

  Layout layout_;
};

}  // namespace ocicat::lab
