#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <set>

#include "cli/commands.h"
#include "cli/named.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/writer.h"

namespace ocicat::cli {
namespace {

struct LabelOptions {
  std::vector<std::string> words;
  std::string ns;
  std::string server;
  bool overwrite = false;
};

struct LabelChange {
  std::string name;
  std::optional<std::string> value;  // none: remove it
};

bool is_change(const std::string& word) {
  return word.find('=') != std::string::npos || word.ends_with('-');
}

LabelChange change_of(const std::string& word) {
  const auto equals = word.find('=');
  if (equals == std::string::npos) return {word.substr(0, word.size() - 1), {}};
  return {word.substr(0, equals), word.substr(equals + 1)};
}

Result<void> apply_changes(boost::json::object& object, const std::vector<LabelChange>& changes,
                           bool overwrite) {
  auto& metadata = object["metadata"];
  if (!metadata.is_object()) metadata.emplace_object();
  auto& labels = metadata.get_object()["labels"];
  if (!labels.is_object()) labels.emplace_object();
  auto& fields = labels.get_object();
  for (const LabelChange& change : changes) {
    if (!change.value) {
      fields.erase(change.name);
      continue;
    }
    const auto* present = fields.if_contains(change.name);
    if (present && *present != boost::json::value(*change.value) && !overwrite) {
      return fail(ErrorCode::kAlreadyExists, "label {} is {} already: --overwrite changes it", change.name,
                  boost::json::serialize(*present));
    }
    fields[change.name] = *change.value;
  }
  if (fields.empty()) metadata.get_object().erase("labels");
  return {};
}

// Which label is changed twice, if any is.
std::optional<std::string> changed_twice(const std::vector<LabelChange>& changes) {
  std::set<std::string_view> seen;
  for (const LabelChange& change : changes) {
    if (!seen.insert(change.name).second) return change.name;
  }
  return {};
}

Result<int> run_label(const LabelOptions& options) {
  std::vector<std::string> named;
  std::vector<LabelChange> changes;
  for (const std::string& word : options.words) {
    if (is_change(word)) {
      changes.push_back(change_of(word));
    } else {
      named.push_back(word);
    }
  }
  const std::vector<ResourceKey> keys = typed(keys_of_words(named, options.ns));
  if (keys.empty() || changes.empty()) {
    wrong_usage({ErrorCode::kInvalid, "write KIND NAME LABEL=VALUE... or KIND NAME LABEL-..."});
  }
  if (const auto twice = changed_twice(changes)) {
    wrong_usage({ErrorCode::kInvalid, fmt::format("label {} is changed twice: say it once", *twice)});
  }
  TRY(api::Client client, connect(options.server));
  for (const ResourceKey& key : keys) {
    auto edited = edit_object(client, key, [&](boost::json::object& object) {
      return apply_changes(object, changes, options.overwrite);
    });
    if (!edited) return within(key.to_string(), edited.error());
    say("{} labeled\n", short_name(key));
  }
  return kDone;
}

constexpr std::string_view kLabelFooter = R"(Examples:
  ocicat label workloadendpoint host1-k8s-frontend-eth0 -n shop pci=true
  ocicat label namespace shop team=web --overwrite
  ocicat label namespace shop team-          # removes it)";

}  // namespace

void add_label_command(CLI::App& app) {
  auto* command = app.add_subcommand("label", "Set or remove labels");
  auto options = std::make_shared<LabelOptions>();
  command
      ->add_option("KIND NAME LABEL=VALUE", options->words,
                   "KIND NAME or KIND/NAME, then LABEL=VALUE or LABEL-")
      ->required();
  command->add_option("-n,--namespace", options->ns, "Namespace (default: \"default\")")->type_name("NS");
  command->add_flag("--overwrite", options->overwrite, "Change labels that have another value");
  add_server_option(*command, options->server);
  command->footer(std::string(kLabelFooter));
  command->callback([options] { finish(run_label(*options)); });
}

}  // namespace ocicat::cli
