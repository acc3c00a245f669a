#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/run.h"
#include "lab/commands.h"

namespace ocicat::cli {
namespace {

constexpr std::string_view kOcicatFooter =
    R"(Exit codes: 0 done, 1 it could not be done or a check failed, 2 wrong usage.

Examples:
  ocicat server                                     # keep resources; one for all hosts
  ocicat agent --node host1                         # enforce them; one on every host, as root
  ocicat apply -f policies/                         # send documents, all or none
  ocicat get networkpolicy -A -o wide
  ocicat explain shop/frontend shop/api tcp/8080    # may it, and why
  ocicat status --wait                              # until every host enforces what stands at the server

`ocicat COMMAND --help` says more about each.)";

// Asked by the scripts of `ocicat completion`; the words behind it are somebody else's command line.
constexpr std::string_view kComplete = "__complete";

}  // namespace

std::unique_ptr<CLI::App> make_app() {
  auto made = std::make_unique<CLI::App>(
      "Plain routed networking for workloads, and network policy that can be explained.", "ocicat");
  CLI::App& app = *made;
  app.require_subcommand(1);
  app.footer(std::string(kOcicatFooter));
  app.set_version_flag("--version", "ocicat " OCICAT_VERSION);

  app.get_formatter()->column_width(36);
  add_server_command(app);
  add_agent_command(app);
  add_write_commands(app);
  add_delete_command(app);
  add_get_command(app);
  add_label_command(app);
  add_status_command(app);
  add_node_command(app);
  add_routes_command(app);
  add_flows_commands(app);
  add_bpf_command(app);
  add_explain_command(app);
  add_matrix_command(app);
  add_verify_command(app);
  add_policy_command(app);
  add_ipam_command(app);
  lab::add_lab_commands(app);
  add_about_commands(app);
  add_completion_command(app);
  return made;
}

namespace {

int parse_and_run(CLI::App& app, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& ended) {
    return ended.get_exit_code();
  } catch (const CLI::RequiredError& missing) {
    // A word too many, such as a mistyped command or option, says more than what it made go missing.
    const auto unknown = app.remaining(true);
    app.exit(unknown.empty() ? static_cast<const CLI::ParseError&>(missing) : CLI::ExtrasError(unknown));
    return kUsage;
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? kDone : kUsage;
  }
  return kDone;
}

}  // namespace

int run(int argc, const char* const* argv) {
  const auto made = make_app();
  CLI::App& app = *made;
  if (argc > 1 && argv[1] == kComplete) {
    return run_complete(app, std::vector<std::string>(argv + 2, argv + argc));
  }
  const int code = parse_and_run(app, argc, argv);
  const bool written = all_is_written();
  if (!written) print_error({ErrorCode::kExhausted, "cannot write the output"});
  return code == kDone && !written ? kFailed : code;
}

}  // namespace ocicat::cli
