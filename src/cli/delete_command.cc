#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>
#include <ranges>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/named.h"
#include "cli/output.h"
#include "cli/run.h"

namespace ocicat::cli {
namespace {

struct DeleteOptions {
  std::vector<std::string> words;
  FileOptions files;
  std::string server;
  std::string output;
  bool dry_run = false;
  bool ignore_not_found = false;
  std::string cascade = "background";
};

Result<std::vector<ResourceKey>> keys_to_delete(const DeleteOptions& options) {
  if (!options.files.paths.empty() && !options.words.empty()) {
    wrong_usage({ErrorCode::kInvalid, "name objects or give files, not both"});
  }
  if (options.files.paths.empty()) {
    std::vector<ResourceKey> keys = typed(keys_of_words(options.words, options.files.ns));
    if (keys.empty())
      wrong_usage({ErrorCode::kInvalid, "say what to delete: KIND NAME..., KIND/NAME... or -f FILE"});
    return keys;
  }
  const Inputs inputs = read_inputs(options.files);
  if (!inputs.ok()) {
    print_complaints(inputs);
    return fail(ErrorCode::kInvalid, "the files have mistakes; nothing was deleted");
  }
  std::vector<ResourceKey> keys;
  for (const Input& input : inputs.objects | std::views::reverse) keys.push_back(input.key);
  return keys;
}

Result<void> delete_one(api::Client& client, const ResourceKey& key, const DeleteOptions& options) {
  if (options.dry_run) {
    TRY_VOID(client.get(key));
  } else {
    TRY_VOID(client.remove(key, options.cascade == "orphan"));
  }
  return {};
}

Result<int> run_delete(const DeleteOptions& options) {
  TRY(const std::vector<ResourceKey> keys, keys_to_delete(options));
  TRY(api::Client client, connect(options.server));
  int exit_code = kDone;
  for (const ResourceKey& key : keys) {
    const auto removed = delete_one(client, key, options);
    if (!removed) {
      if (options.ignore_not_found && removed.error().code == ErrorCode::kNotFound) continue;
      print_error({removed.error().code, fmt::format("{}: {}", key.to_string(), removed.error().message)});
      exit_code = kFailed;
      continue;
    }
    if (options.output == "name") {
      say("{}\n", short_name(key));
    } else {
      say("{} deleted{}\n", short_name(key), options.dry_run ? " (dry run)" : "");
    }
  }
  return exit_code;
}

constexpr std::string_view kDeleteFooter =
    R"(Of files, the order of deletion is that of `apply` reversed: workloads first, then policies, then what they refer to.
One that fails does not stop the others; the exit code is then 1.

Examples:
  ocicat delete networkpolicy allow-dns -n shop
  ocicat delete gnp/quarantine tier/security
  ocicat delete ippool old-pool --cascade=orphan
  ocicat delete -f policies/)";

}  // namespace

void add_delete_command(CLI::App& app) {
  auto* command = app.add_subcommand("delete", "Delete objects");
  auto options = std::make_shared<DeleteOptions>();
  command->add_option("KIND NAME", options->words, "KIND NAME..., or KIND/NAME...");
  add_file_options(*command, options->files, false);
  command->add_option("-n,--namespace", options->files.ns, "Namespace (default: \"default\")")
      ->type_name("NS");
  command->add_flag("--ignore-not-found", options->ignore_not_found, "What is not there counts as deleted");
  command
      ->add_option("--cascade", options->cascade,
                   "orphan: also an IPPool with addresses in use, which stay whose they are")
      ->capture_default_str()
      ->check(CLI::IsMember({"background", "orphan"}));
  command->add_flag("--dry-run", options->dry_run, "Only look whether they are there");
  command->add_option("-o,--output", options->output, "Output: name")->check(CLI::IsMember({"name"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kDeleteFooter));
  command->callback([options] { finish(run_delete(*options)); });
}

}  // namespace ocicat::cli
