#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>

#include "api/server/server.h"
#include "cli/commands.h"
#include "cli/logging.h"
#include "cli/run.h"

namespace ocicat::cli {
namespace {

struct ServerOptions {
  api::ServerOptions server;
  std::string listen;
  std::string log_level = "info";
};

Result<int> run_server(const ServerOptions& options) {
  api::ServerOptions wanted = options.server;
  if (!options.listen.empty()) wanted.tcp = typed(api::loopback_endpoint(options.listen)).to_string();
  std::signal(SIGPIPE, SIG_IGN);
  start_logging(options.log_level, "server");
  TRY_VOID(api::run(wanted));
  return kDone;
}

constexpr std::string_view kServerFooter =
    R"(Serves the Kubernetes-style REST API on a Unix socket, and over TCP on loopback where --listen says so. What was
acknowledged is on disk. Runs until SIGTERM; agents go on enforcing what they have while the server is away.

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
  add_log_option(*command, options->log_level);
  command->footer(std::string(kServerFooter));
  command->callback([options] { finish(run_server(*options)); });
}

}  // namespace ocicat::cli
