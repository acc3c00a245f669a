#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "views/text_table.h"

namespace ocicat::cli {
namespace {

struct VersionOptions {
  std::string server;
  bool client_only = false;
  std::string output;
};

Result<int> run_version(const VersionOptions& options) {
  boost::json::object versions{{"client", OCICAT_VERSION}};
  std::string away;
  if (!options.client_only) {
    api::Client client(address_of(options.server));
    auto answer = client.get_raw("/version");
    if (answer) {
      versions["server"] = *std::move(answer);
    } else {
      away = answer.error().message;
    }
  }
  if (!options.output.empty()) {
    say("{}", document_text(versions, *parse_format(options.output)));
    return kDone;
  }
  say("Client: {}\n", OCICAT_VERSION);
  if (const auto* server = versions.if_contains("server"); server && server->is_object()) {
    const auto* version = server->get_object().if_contains("gitVersion");
    say("Server: {}\n", version && version->is_string() ? std::string_view(version->get_string())
                                                        : std::string_view("unknown"));
  } else if (!away.empty()) {
    say("Server: not reached ({})\n", away);
  }
  return kDone;
}

Result<int> run_kinds() {
  views::TextTable table;
  table.headers = {"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"};
  for (const KindInfo& kind : all_kinds()) {
    if (!kind.served) continue;
    table.rows.push_back({std::string(kind.plural), std::string(kind.short_names), kind.api_version(),
                          kind.namespaced ? "true" : "false", std::string(kind.name)});
  }
  say("{}", table.to_string());
  return kDone;
}

}  // namespace

void add_about_commands(CLI::App& app) {
  auto* version = app.add_subcommand("version", "Print the versions of this program and of the server");
  auto options = std::make_shared<VersionOptions>();
  version->add_flag("--client", options->client_only, "Only of this program");
  version->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*version, options->server);
  version->footer("Examples:\n  ocicat version\n  ocicat version --client -o json");
  version->callback([options] { finish(run_version(*options)); });

  auto* kinds = app.add_subcommand("api-kinds", "List the kinds of objects and their short names");
  kinds->footer("Examples:\n  ocicat api-kinds");
  kinds->callback([] { finish(run_kinds()); });
}

}  // namespace ocicat::cli
