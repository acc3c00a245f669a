#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <memory>

#include "cli/commands.h"
#include "cli/duration.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/system_status.h"

namespace ocicat::cli {
namespace {

struct StatusOptions {
  std::string server;
  std::string output;
  bool wait = false;
  std::string timeout = "30s";
};

void print(const views::SystemStatus& status, const StatusOptions& options) {
  const auto now = std::chrono::system_clock::now();
  if (options.output.empty()) {
    say("{}", views::to_text(status, now));
  } else {
    say("{}", document_text(views::to_json(status, now), *parse_format(options.output)));
  }
}

// Whether there is anything.
bool say_what_is_refused(const views::SystemStatus& status) {
  if (std::ranges::all_of(status.agents, [](const auto& agent) { return agent.refused_count == 0; }))
    return false;
  print_error(
      {ErrorCode::kInvalid,
       "every host is up to date, but not all is in force, as agents refuse some of it: see REFUSED"});
  return true;
}

Result<int> run_status(const StatusOptions& options) {
  const std::chrono::milliseconds patience = typed(parse_duration(options.timeout));
  TRY(api::Client client, connect(options.server));
  if (!options.wait) {
    TRY(const views::SystemStatus status, read_system_status(client));
    print(status, options);
    return kDone;
  }
  TRY(const views::SystemStatus status, wait_until_applied(client, patience));
  print(status, options);
  const std::vector<std::string> behind = views::who_is_behind(status);
  if (behind.empty()) return say_what_is_refused(status) ? kFailed : kDone;
  print_error({ErrorCode::kUnavailable, fmt::format("after {} these are still behind:", options.timeout)});
  for (const std::string& line : behind) fmt::print(stderr, "  {}\n", line);
  return kFailed;
}

constexpr std::string_view kStatusFooter =
    R"(Of each host: the revision it has brought to its kernel, endpoints ready and wanted, what it refuses and why, its last
error, and how long ago it last reported. --wait returns as soon as every host enforces what stood at the server when
it was called, and all its endpoints are ready; after the timeout it says who is behind, and the exit code is 1. What is
refused holds nobody up, but then the exit code is 1 as well: look at REFUSED. Last come settings that change
nothing, with the datapaths in use.

Examples:
  ocicat status
  ocicat apply -f policies/ && ocicat status --wait
  ocicat status --wait --timeout 5s -o json)";

}  // namespace

void add_status_command(CLI::App& app) {
  auto* command =
      app.add_subcommand("status", "Show the server, and what each host has brought to its kernel");
  auto options = std::make_shared<StatusOptions>();
  command->add_flag("--wait", options->wait, "Wait until every host enforces what stands at the server now");
  command->add_option("--timeout", options->timeout, "With --wait: how long, such as 500ms, 10s or 2m")
      ->capture_default_str()
      ->type_name("TIME");
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kStatusFooter));
  command->callback([options] { finish(run_status(*options)); });
}

}  // namespace ocicat::cli
