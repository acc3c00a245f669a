#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>
#include <memory>

#include "api/server/server.h"
#include "cli/commands.h"
#include "cli/duration.h"
#include "cli/logging.h"
#include "cli/run.h"
#include "ipam/api_documents.h"
#include "ipam/reconciler.h"

namespace ocicat::cli {
namespace {

struct ServerOptions {
  api::ServerOptions server;
  std::string listen;
  std::string log_level = "info";
  std::string reconcile_every = "5m";
  std::string leak_grace = "15m";
};

// What nobody needs any more is freed here: of all processes this is the one that there is one of.
std::unique_ptr<ipam::ReconcilerLoop> reconciler_of(const ServerOptions& options) {
  const auto period = typed(parse_duration(options.reconcile_every));
  const auto grace = std::chrono::ceil<std::chrono::seconds>(typed(parse_duration(options.leak_grace)));
  if (period == std::chrono::milliseconds(0)) return nullptr;
  const auto address = address_of("unix://" + std::filesystem::absolute(options.server.socket_path).string());
  return std::make_unique<ipam::ReconcilerLoop>(
      ipam::ReconcilerLoop::Options{.period = period, .grace = {.leak = grace}},
      [address] { return std::make_unique<ipam::ApiDocuments>(address); });
}

Result<int> run_server(const ServerOptions& options) {
  api::ServerOptions wanted = options.server;
  if (!options.listen.empty()) wanted.tcp = typed(api::loopback_endpoint(options.listen)).to_string();
  std::signal(SIGPIPE, SIG_IGN);
  start_logging(options.log_level, "server");
  const auto reconciler = reconciler_of(options);
  TRY_VOID(api::run(wanted));
  return kDone;
}

constexpr std::string_view kServerFooter =
    R"(Serves the Kubernetes-style REST API on a Unix socket, and over TCP on loopback where --listen says so. What was
acknowledged is on disk. Runs until SIGTERM; agents go on enforcing what they have while the server is away. Looks every
five minutes for addresses and blocks that nobody needs any more, and frees what has been so for long enough; what is in
doubt is logged, and shown by `ocicat ipam check`.

Examples:
  ocicat server
  ocicat server --socket /tmp/ocicat.sock --database /tmp/ocicat.db
  ocicat server --listen 127.0.0.1:8321
  kubectl --server http://127.0.0.1:8321 get tiers.projectcalico.org)";

}  // namespace

void add_server_command(CLI::App& app) {
  auto* command = app.add_subcommand("server", "Keep resources and serve them to agents and people");
  auto options = std::make_shared<ServerOptions>();
  command->add_option("--socket", options->server.socket_path, "Unix socket to serve on")
      ->capture_default_str()
      ->type_name("PATH");
  command->add_option("--listen", options->listen, "Loopback address to serve on as well")
      ->type_name("ADDRESS:PORT");
  command->add_option("--database", options->server.database_path, "SQLite file; :memory: keeps nothing")
      ->capture_default_str()
      ->type_name("PATH");
  command
      ->add_option("--reconcile-every", options->reconcile_every,
                   "How often to look for addresses that leaked; 0: never")
      ->capture_default_str()
      ->type_name("TIME");
  command->add_option("--leak-grace", options->leak_grace, "How long an address's owner must be gone")
      ->capture_default_str()
      ->type_name("TIME");
  add_log_option(*command, options->log_level);
  command->footer(std::string(kServerFooter));
  command->callback([options] { finish(run_server(*options)); });
}

}  // namespace ocicat::cli
