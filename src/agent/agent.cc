#include "agent/agent.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "agent/bgp_loop.h"
#include "agent/cni_door.h"
#include "agent/flow_door.h"
#include "agent/flow_watch.h"
#include "agent/metrics.h"
#include "agent/own_node_loop.h"
#include "agent/policy_keeper.h"
#include "agent/policy_loop.h"
#include "agent/status_reporter.h"
#include "api/client/informer.h"
#include "base/spare_memory.h"
#include "base/unique_fd.h"
#include "dataplane/datapath_choice.h"
#include "http/server.h"
#include "kernel/connections.h"
#include "kernel/namespace_claim.h"
#include "network/bgp/bird_configuration.h"

namespace ocicat::agent {
namespace {

// A round of the engine's loop that takes longer is a hang, not work.
constexpr std::chrono::seconds kStuck{60};

// The kernel's tables and routes of this network namespace are ours for as long as the claim lives.
Result<kernel::NamespaceClaim> claim_kernel(const dataplane::Options& options, std::string_view advice) {
  auto claim = kernel::NamespaceClaim::take(fmt::format("ocicat-agent/{}", options.nft_table));
  if (claim || claim.error().code != ErrorCode::kUnavailable) return claim;
  const std::string who =
      claim.error().message.empty() ? "" : fmt::format(", process {},", claim.error().message);
  return fail(ErrorCode::kUnavailable, "another agent{} works on this network namespace: {}", who, advice);
}

// Which datapath, and why.
std::string choose_datapath(Options& options) {
  if (options.dataplane.datapath == dataplane::Datapath::kNone) return std::string(dataplane::kNoPolicy);
  return options.on_other_choice ? dataplane::decide(options.dataplane).reason : "as --dataplane says";
}

std::filesystem::path bird_folder(const std::filesystem::path& run_dir) {
  return run_dir / "bird";
}

std::filesystem::path losses_file(const std::filesystem::path& run_dir) {
  return run_dir / "losses";
}

std::filesystem::path ledger_file(const std::filesystem::path& run_dir) {
  return run_dir / "connections";
}

// What is to be said of it behind why this datapath; empty: nothing.
std::string have_connections_counted(const Options& options) {
  if (options.dataplane.datapath != dataplane::Datapath::kNftables) return {};
  const auto counts = kernel::counts_connections(options.has_connections_counted);
  if (counts && *counts && kernel::tells_of_ended()) return {};
  if (counts && *counts)
    return "; flows do not say what connections carry last, nor what short ones do: nf_conntrack_events is "
           "off";
  return fmt::format("; flows do not say what connections carry: {}",
                     counts ? "nf_conntrack_acct is off" : counts.error().message);
}

// How far the server was heard of, for the informers of the next agent here.
std::filesystem::path heard_file(const std::filesystem::path& run_dir) {
  return run_dir / "heard.json";
}
std::filesystem::path bgp_heard_file(const std::filesystem::path& run_dir) {
  return run_dir / "heard-bgp.json";
}

// The folder is ours for as long as the descriptor lives.
Result<UniqueFd> lock_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail_errno(fmt::format("cannot make {}", folder.string()), error.value());
  const std::filesystem::path path = folder / "agent.lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail_errno(fmt::format("cannot open {}", path.string()), errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::kUnavailable, "another agent works with {}: stop it, or choose another --run-dir",
                folder.string());
  }
  return lock;
}

}  // namespace

Result<void> clean_up(const dataplane::Options& options, const std::filesystem::path& run_dir) {
  TRY(const auto claim,
      claim_kernel(options, "stop it first (SIGTERM will do), or it puts back at once what is removed"));
  TRY([[maybe_unused]] const bool had_bird, dataplane::Bird::remove(bird_folder(run_dir)));
  // The counters go, so nothing is owed; and nothing is left that an old list could take away.
  std::error_code ignored;
  for (const auto& file :
       {losses_file(run_dir), ledger_file(run_dir), heard_file(run_dir), bgp_heard_file(run_dir)})
    std::filesystem::remove(file, ignored);
  return dataplane::remove_all(options);
}

// Those who are told before those who tell: destroyed in reverse, nobody calls what is gone.
struct Agent::State {
  std::optional<kernel::NamespaceClaim> claim;
  UniqueFd lock;
  Metrics metrics;
  Mailbox<HostChanges> to_dataplane;
  EnforcementWatch enforcement{to_dataplane};
  std::unique_ptr<StatusReporter> reporter;
  std::unique_ptr<FlowWatch> flows;
  std::unique_ptr<FlowDoor> flow_door;
  std::unique_ptr<dataplane::DataplaneLoop> dataplane;
  std::unique_ptr<PolicyLoop> policy;
  std::unique_ptr<BgpLoop> bgp;  // nothing: this agent keeps no BIRD
  std::unique_ptr<OwnNodeLoop> own_node;
  std::unique_ptr<api::Informers> informers;
  std::unique_ptr<api::Informers> bgp_informers;
  std::unique_ptr<http::Server> health;
  std::unique_ptr<CniDoor> cni;
  std::atomic<bool> whole = false;  // all of the above are there
  // Of the dataplane's thread.
  bool started = false;  // it is in force
  dataplane::HostInterfaces interfaces;

  void on_report(const dataplane::Report& report) {
    metrics.reported(report);
    // To start takes far more than to go on.
    if (metrics.applied_once() && !std::exchange(started, true)) give_back_spare_memory();
    if (report.interfaces != interfaces) flows->learn(interfaces = report.interfaces);
    News news;
    news.report = report;
    reporter->tell(std::move(news));
  }

  void on_sent(const HostChanges& changes) {
    metrics.sent(changes.revisions);
    flows->learn(changes);
  }

  void start_bgp(const Options& options, dataplane::Bird bird, Engine::Router router) {
    bgp = std::make_unique<BgpLoop>(
        BgpLoop::Options{options.node, options.bgp_secrets, std::move(bird)},
        [this](BgpReport report) {
          News news;
          news.bgp = std::move(report);
          reporter->tell(std::move(news));
        },
        [this, router] {
          if (router == Engine::Router::kStarting) policy->leave_to_router();
        });
    const auto kinds = bgp_kinds();
    bgp_informers = std::make_unique<api::Informers>(
        options.server, std::vector(kinds.begin(), kinds.end()),
        [this](api::Update update) {
          News news;
          news.unreadable = update.unreadable;
          if (!news.unreadable.empty()) reporter->tell(std::move(news));
          bgp->put({.resources = std::move(update), .workloads = {}});
        },
        bgp_heard_file(options.run_dir));
  }

  http::Response answer(const http::Request& request) {
    if (request.method != "GET" && request.method != "HEAD") return {405, "text/plain", {}, "only GET\n", {}};
    if (!whole) return {503, "text/plain", {}, "starting\n", {}};
    if (request.target == "/liveness") return liveness();
    if (request.target == "/readiness") return readiness();
    if (request.target == "/metrics") {
      metrics.server_connected(informers->status().connected);
      return {200, "text/plain; version=0.0.4; charset=utf-8", {}, metrics.text(), {}};
    }
    return {404, "text/plain", {}, "there are /liveness, /readiness and /metrics\n", {}};
  }

  http::Response liveness() const {
    if (policy->since_last_round() < kStuck) return {200, "text/plain", {}, "alive\n", {}};
    return {503, "text/plain", {}, "the policy engine does not answer\n", {}};
  }

  // Empty: policy and routes are in force, and changes of them will be.
  std::string why_not_ready() const {
    if (!policy->in_sync()) {
      const std::string why = informers->status().last_error;
      return fmt::format("not in sync with the server{}{}", why.empty() ? "" : ": ", why);
    }
    return metrics.applied_once() ? "" : "nothing is in the kernel yet";
  }

  http::Response readiness() const {
    const auto why = why_not_ready();
    if (why.empty()) return {200, "text/plain", {}, "ready\n", {}};
    return {503, "text/plain", {}, why + "\n", {}};
  }
};

Agent::Agent(std::unique_ptr<State> state) : state_(std::move(state)) {}

Agent::~Agent() = default;

Result<std::unique_ptr<Agent>> Agent::start(Options options) {
  auto state = std::make_unique<State>();
  State* const self = state.get();
  TRY(state->claim, claim_kernel(options.dataplane, "stop it first"));
  TRY(state->lock, lock_folder(options.run_dir));
  std::optional<dataplane::Bird> bird;
  auto router = Engine::Router::kNone;
  if (options.keeps_bird) {
    TRY(bird, dataplane::Bird::find({.folder = bird_folder(options.run_dir), .program = {}}));
    const auto found = bird->look();
    router = found && all_up(*found) ? Engine::Router::kRuns : Engine::Router::kStarting;
    options.dataplane.host_metric = network::bgp::kStandInMetric;
  }
  const std::string datapath_reason = choose_datapath(options);
  const auto reason = datapath_reason + have_connections_counted(options);
  TRY(policy::Dictionary dictionary, dataplane::adopt_dictionary(options.dataplane));
  const auto datapath = dataplane::to_string(options.dataplane.datapath);
  const bool enforces = options.dataplane.datapath != dataplane::Datapath::kNone;
  spdlog::log(enforces ? spdlog::level::info : spdlog::level::warn,
              "node {}, server {}, dataplane {} ({}), {} ids adopted from the kernel", options.node,
              options.server.text, datapath, reason, dictionary.size());

  // First: an address that cannot be had is said before anything is written anywhere.
  if (options.health) {
    http::ServerOptions serving;
    serving.endpoints = {*options.health};
    serving.workers = 1;
    serving.max_connections = 64;
    auto server = http::Server::start(std::move(serving),
                                      [self](const http::Request& request, const http::Respond& respond) {
                                        respond(self->answer(request));
                                      });
    if (!server) return within("health", server.error());
    state->health = *std::move(server);
  }

  state->reporter = std::make_unique<StatusReporter>(
      options.server, AgentStatus(options.node, std::string(datapath), reason, ::getpid()),
      StatusReporter::Observer{
          [self](const News& news, const AgentStatus& status) {
            self->metrics.observe(news, status);
            self->enforcement.told(status);
          },
          [self](const std::string& error) { self->metrics.status_written(error.empty()); }});
  state->flows = std::make_unique<FlowWatch>(FlowWatch::Options{
      options.node, options.dataplane, losses_file(options.run_dir), ledger_file(options.run_dir)});
  TRY(state->flow_door, FlowDoor::open(options.run_dir, *state->flows));
  state->dataplane = std::make_unique<dataplane::DataplaneLoop>(
      options.dataplane, state->to_dataplane,
      [self](const dataplane::Report& report) { self->on_report(report); },
      [self](const dataplane::HostKeeper& keeper) { self->enforcement.attempted(keeper); },
      options.on_other_choice);
  state->policy = std::make_unique<PolicyLoop>(
      Engine({options.node, std::move(dictionary), options.most_entries, router}),
      PolicyLoop::Outlets{&state->to_dataplane, [self](News news) { self->reporter->tell(std::move(news)); },
                          [self](const HostChanges& changes) { self->on_sent(changes); },
                          [self](api::Update update) { self->flows->learn(std::move(update)); }});
  if (bird) state->start_bgp(options, *std::move(bird), router);
  state->own_node = std::make_unique<OwnNodeLoop>(options.node, options.server, [self](std::string trouble) {
    News news;
    news.own_node = std::move(trouble);
    self->reporter->tell(std::move(news));
  });
  state->informers = std::make_unique<api::Informers>(
      options.server, followed_kinds(),
      [self, node = options.node](api::Update update) {
        if (self->bgp) self->bgp->put({.resources = {}, .workloads = local_workloads(update, node)});
        self->own_node->learn(update);
        self->policy->put(std::move(update));
      },
      heard_file(options.run_dir));
  if (options.cni_folder) {
    TRY(state->cni, CniDoor::open({.node = options.node,
                                   .folder = *options.cni_folder,
                                   .server = options.server,
                                   .enforcement = &state->enforcement,
                                   .why_not_ready = [self] { return self->why_not_ready(); }}));
  }
  state->whole = true;
  return std::unique_ptr<Agent>(new Agent(std::move(state)));
}

std::optional<http::Endpoint> Agent::health() const {
  if (!state_->health) return {};
  return state_->health->endpoints().front();
}

}  // namespace ocicat::agent
