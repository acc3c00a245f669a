#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/snapshot.h"
#include "views/matrix.h"

namespace ocicat::cli {
namespace {

struct MatrixOptions {
  std::string ports;
  std::string family;
  FileOptions files;
  std::string server;
  std::string output;
};

Result<int> run_matrix(const MatrixOptions& options) {
  const std::vector<views::Traffic> traffics = typed(views::parse_traffic_list(options.ports));
  std::optional<Family> family;
  if (!options.family.empty()) family = typed(views::parse_family(options.family));
  TRY(const policy::Snapshot snapshot, load_snapshot(options.files, options.server));
  const std::vector<views::Cell> cells = views::matrix(snapshot, traffics, family);
  if (options.output.empty()) {
    say("{}", views::to_text(cells));
  } else {
    say("{}", document_text(views::to_json(cells), *parse_format(options.output)));
  }
  return kDone;
}

constexpr std::string_view kMatrixFooter =
    R"(Every pair of different workload endpoints is looked up in the decision tables that an agent would load into its
kernel, over every IP family that both have.

Examples:
  ocicat matrix --ports tcp/80,udp/53
  ocicat matrix --ports tcp/5432 -f policies/ -f workloads.yaml -o json     # no server needed)";

}  // namespace

void add_matrix_command(CLI::App& app) {
  auto* command = app.add_subcommand("matrix", "Show who may talk to whom, every pair");
  auto options = std::make_shared<MatrixOptions>();
  command
      ->add_option("--ports", options->ports,
                   "What is sent, as `ocicat explain` takes it but with a port, separated by commas")
      ->required()
      ->type_name("PROTO/PORT,...");
  command->add_option("--family", options->family, "Only this IP family: 4 or 6")
      ->check(CLI::IsMember({"4", "6"}));
  add_file_options(*command, options->files, false);
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kMatrixFooter));
  command->callback([options] { finish(run_matrix(*options)); });
}

}  // namespace ocicat::cli
