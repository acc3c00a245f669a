#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cctype>
#include <cstdlib>
#include <memory>

#include "agent/agent.h"
#include "base/large_pages.h"
#include "base/mailbox.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/logging.h"
#include "cli/run.h"
#include "cli/signals.h"
#include "cni/places.h"
#include "resources/schema_text.h"

namespace ocicat::cli {
namespace {

struct AgentOptions {
  std::string node;
  std::string server;
  std::string run_dir = "/run/ocicat/agent";
  std::string health = "127.0.0.1:9099";
  std::string dataplane = "auto";
  std::string bpf_folder = "/sys/fs/bpf/ocicat";
  std::string bgp = "none";
  std::string bgp_secrets;
  std::string cni_folder = std::string(cni::kFolder);
  std::string log_level = "info";
  std::size_t most_entries = Engine::kMostEntries;
  bool leaves_counting = false;
  bool cleanup = false;
};

// As Calico names a node where nobody says: the host's name in lower case.
std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  std::string text(name.data());
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Until a signal comes. Agents that are to choose another datapath are started again with it.
Result<int> keep_running(agent::Options wanted, bool chooses, StopSignals& signals) {
  const UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  CHECK(wake);
  Mailbox<dataplane::Circumstances> others;
  others.on_put([&] { CHECK(::eventfd_write(wake.get(), 1) == 0); });
  if (chooses) wanted.on_other_choice = [&](const auto& circumstances) { others.put(circumstances); };
  while (true) {
    TRY(const std::unique_ptr<agent::Agent> agent, agent::Agent::start(wanted));
    if (const auto signal = signals.wait_or(wake.get())) {
      spdlog::info("stopping after signal {}; the kernel keeps what it has", *signal);
      return kDone;
    }
    eventfd_t count = 0;
    CHECK(::eventfd_read(wake.get(), &count) == 0);
    spdlog::info("another datapath from now on: starting again");
    wanted.dataplane.chosen_by = others.take();
  }
}

Result<int> run_agent(const AgentOptions& options) {
  dataplane::Options dataplane;
  dataplane.pin_folder = options.bpf_folder;
  // For tests: as on a kernel without programs at netfilter hooks.
  dataplane.usable.netfilter = std::getenv("OCICAT_WITHOUT_NETFILTER") == nullptr;
  if (options.dataplane == "ebpf") dataplane.datapath = dataplane::Datapath::kEbpf;
  if (options.dataplane == "none") dataplane.datapath = dataplane::Datapath::kNone;
  if (options.cleanup) {
    TRY_VOID(agent::clean_up(dataplane, options.run_dir));
    say("Removed what carries our mark from the kernel: nothing is enforced on this host now.\n");
    return kDone;
  }
  agent::Options wanted;
  wanted.node = options.node.empty() ? host_name() : options.node;
  wanted.run_dir = options.run_dir;
  wanted.dataplane = std::move(dataplane);
  wanted.most_entries = options.most_entries;
  wanted.has_connections_counted = !options.leaves_counting;
  wanted.keeps_bird = options.bgp == "bird";
  wanted.bgp_secrets = options.bgp_secrets;
  if (options.cni_folder != "none") wanted.cni_folder = options.cni_folder;
  if (const std::string rule = schema::check_dns_subdomain(wanted.node); !rule.empty()) {
    wrong_usage({ErrorCode::kInvalid,
                 fmt::format("\"{}\" is no name of a node: {}; say --node NAME", wanted.node, rule)});
  }
  wanted.server = address_of(options.server);
  if (options.health != "none") wanted.health = typed(http::Endpoint::parse(options.health));
  use_large_pages();
  StopSignals signals;
  start_logging(options.log_level, fmt::format("agent {}", wanted.node));
  return keep_running(std::move(wanted), options.dataplane == "auto", signals);
}

constexpr std::string_view kAgentFooter =
    R"(Runs until SIGTERM. The kernel keeps what it has when the agent stops, dies or loses the server; a new agent takes it
over without a gap. --cleanup removes everything that carries our mark: nftables tables `ocicat` and `ocicat_nat`, routes and next hop objects of protocol 80,
what is pinned in the folder of --bpf-folder, and the BIRD that an agent kept in --run-dir, with its routes. It refuses while an agent runs in the same network
namespace, where a second agent is refused as well.

What enforces policy is eBPF where the kernel can run it and nothing on the host speaks against it, else nftables; `ocicat
status` says which and why. What speaks against it counts at once where the kernel tells of it, as of rules of nftables, else within 10 s.
--dataplane nftables or ebpf is that one in any case; with ebpf the log and `ocicat status` warn of it.

With --dataplane none nothing enforces policy: the agent keeps routes, tunnels, limits and natOutgoing alone, and says so in its log,
in `ocicat status` and for each workload. Only you choose that, auto never does; it refuses to start where an agent before has left
policy in the kernel.

With --bgp bird the agent configures and keeps BIRD 2 (Debian: bird2), by BGPConfiguration, BGPPeer and BGPFilter, and
leaves routes to other hosts to it; BIRD stays when the agent goes. `ocicat node status` tells of its sessions.

An agent that finds no Node of its name makes one, with the addresses of its host's default routes; one that is there it leaves as it
is, but for the addresses of its tunnels' ends, which it takes from pools.

Container runtimes start ocicat-cni for each container; it asks the agent, by the socket agent.sock in the folder of
--cni-dir. There the agent also keeps what it has given to whom.

Health: GET /liveness, /readiness and /metrics (Prometheus) at the address of --health.

Examples:
  ocicat agent --node host1
  ocicat agent --node host1 --server http://127.0.0.1:8321 --health unix:///run/ocicat/agent/health.sock
  ocicat agent --node host1 --bgp bird
  ocicat agent --cleanup)";

}  // namespace

void add_agent_command(CLI::App& app) {
  auto* command = app.add_subcommand("agent", "Enforce policy and routes on this host");
  auto options = std::make_shared<AgentOptions>();
  command->add_option("--node", options->node, "Name of this host's Node (default: the host's name)")
      ->type_name("NAME")
      ->envname("OCICAT_NODE");
  add_server_option(*command, options->server);
  command->add_option("--run-dir", options->run_dir, "Folder of this agent")
      ->capture_default_str()
      ->type_name("DIR");
  command
      ->add_option("--health", options->health, "Where to serve health: ADDRESS:PORT, unix:///PATH or none")
      ->capture_default_str()
      ->type_name("ADDR");
  command->add_option("--dataplane", options->dataplane, "What enforces policy")
      ->capture_default_str()
      ->check(CLI::IsMember({"nftables", "ebpf", "auto", "none"}));
  command->add_option("--bpf-folder", options->bpf_folder, "Where this host's eBPF objects are pinned")
      ->capture_default_str()
      ->type_name("DIR");
  command
      ->add_option("--bgp", options->bgp,
                   "Who tells other hosts where workloads are: BIRD, or nobody, as each agent works it out")
      ->capture_default_str()
      ->check(CLI::IsMember({"none", "bird"}));
  command->add_option("--bgp-secrets", options->bgp_secrets, "Folder of BGP passwords, as files SECRET/KEY")
      ->type_name("DIR");
  command
      ->add_option("--cni-dir", options->cni_folder,
                   "Folder where container runtimes find this agent, by ocicat-cni; or none")
      ->capture_default_str()
      ->type_name("DIR");
  command
      ->add_option(
          "--most-entries", options->most_entries,
          "Most entries of decision tables, addresses apart; beyond, the endpoint that came last is denied")
      ->capture_default_str()
      ->check(CLI::Range(std::size_t{1'000}, std::size_t{1} << 32))
      ->type_name("N");
  command->add_flag("--leave-conntrack-acct", options->leaves_counting,
                    "With nftables: leave it to others whether the kernel counts what connections carry");
  command->add_flag("--cleanup", options->cleanup, "Remove everything of ours from the kernel, and leave");
  add_log_option(*command, options->log_level);
  command->footer(std::string(kAgentFooter));
  command->callback([options] { finish(run_agent(*options)); });
}

}  // namespace ocicat::cli
