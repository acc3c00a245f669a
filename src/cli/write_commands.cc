#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/writer.h"

namespace ocicat::cli {
namespace {

struct Options {
  FileOptions files;
  std::string server;
  std::string output;
  bool dry_run = false;
};

// Lists what a failure left undone, so that nobody has to guess.
void print_undone(const std::vector<Input>& objects, std::size_t failed) {
  for (std::size_t i = failed + 1; i < objects.size(); ++i) {
    fmt::print(stderr, "not sent: {}\n", objects[i].key.to_string());
  }
  if (failed > 0)
    fmt::print(stderr, "What stands above was done before; run the same again once the cause is mended.\n");
}

void print_written(const Input& input, const Written& written, const Options& options) {
  if (options.output == "name") {
    say("{}\n", short_name(input.key));
  } else if (options.output.empty()) {
    say("{} {}{}\n", short_name(input.key), written.what, options.dry_run ? " (dry run)" : "");
  }
}

void print_all(const std::vector<boost::json::object>& written, const std::string& output) {
  if (output != "json" && output != "yaml") return;
  const boost::json::object document = written.size() == 1 ? written.front() : list_of(written);
  say("{}", document_text(document, *parse_format(output)));
}

Result<int> run_write(const Options& options, WriteMode mode) {
  const Inputs inputs = read_inputs(options.files);
  if (!inputs.ok()) {
    print_complaints(inputs);
    fmt::print(stderr, "Nothing was sent.\n");
    return kFailed;
  }
  TRY(api::Client client, connect(options.server));
  std::vector<boost::json::object> objects;
  for (std::size_t i = 0; i < inputs.objects.size(); ++i) {
    const Input& input = inputs.objects[i];
    auto written = write_object(client, input.json, mode, options.dry_run);
    if (!written) {
      print_error({written.error().code, fmt::format("{}:{}: {}: {}", input.file, input.line,
                                                     input.key.to_string(), written.error().message)});
      print_undone(inputs.objects, i);
      return kFailed;
    }
    print_written(input, *written, options);
    objects.push_back(std::move(written->object));
  }
  print_all(objects, options.output);
  return kDone;
}

constexpr std::string_view kRules = R"(
Every document is checked before the first one is sent: with a mistake in any of them, all mistakes are printed as
FILE:LINE and nothing is sent. Tiers, namespaces, service accounts and sets go first, then policies, then workloads.
A document of a namespaced kind without a namespace gets that of -n, else "default".
)";

void add_write_command(CLI::App& app, const char* name, const char* about, WriteMode mode,
                       std::string_view examples) {
  auto* command = app.add_subcommand(name, about);
  auto options = std::make_shared<Options>();
  add_file_options(*command, options->files, true);
  command->add_option("-n,--namespace", options->files.ns, "Namespace of documents that name none")
      ->type_name("NS");
  command->add_flag("--dry-run", options->dry_run, "Check, ask the server what is there, and change nothing");
  command->add_option("-o,--output", options->output, "Output: json, yaml or name")
      ->check(CLI::IsMember({"json", "yaml", "name"}));
  add_server_option(*command, options->server);
  command->footer(fmt::format("{}\nExamples:\n{}", kRules, examples));
  command->callback([options, mode] { finish(run_write(*options, mode)); });
}

}  // namespace

void add_write_commands(CLI::App& app) {
  add_write_command(app, "apply", "Create objects, or replace those that are there and differ",
                    WriteMode::kApply,
                    "  ocicat apply -f policy.yaml\n  ocicat apply -f policies/ -R --dry-run\n"
                    "  generate-policies | ocicat apply -f -");
  add_write_command(app, "create", "Create objects that are not there yet", WriteMode::kCreate,
                    "  ocicat create -f tier.yaml -f policy.yaml");
  add_write_command(app, "replace", "Replace objects that are there", WriteMode::kReplace,
                    "  ocicat get tier security -o yaml > tier.yaml\n  $EDITOR tier.yaml\n"
                    "  ocicat replace -f tier.yaml      # refused if somebody changed it meanwhile");
}

}  // namespace ocicat::cli
