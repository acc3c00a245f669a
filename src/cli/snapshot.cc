#include "cli/snapshot.h"

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "cli/run.h"
#include "resources/decode.h"

namespace ocicat::cli {
namespace {

bool is_watched(Kind kind) {
  return std::ranges::count(watched_kinds(), kind) > 0;
}

void take(LoadedSnapshot& loaded, const ResourceKey& key, const boost::json::object& object) {
  auto resource = decode(key.kind, object);
  if (!resource) {
    loaded.warnings.push_back(
        fmt::format("{} cannot be read and counts as absent: {}", key.to_string(), resource.error().message));
    return;
  }
  loaded.resources.emplace(key, *std::move(resource));
}

// A pod's profile is its namespace: without it the pod has no policy that allows, which is rarely what was
// meant.
void warn_of_missing_namespaces(LoadedSnapshot& loaded) {
  std::set<std::string> missing;
  for (const auto& [key, resource] : loaded.resources) {
    if (key.kind == Kind::kPod && !loaded.resources.contains({Kind::kNamespace, "", key.ns}))
      missing.insert(key.ns);
  }
  for (const std::string& ns : missing) {
    loaded.warnings.push_back(fmt::format(
        "there is no Namespace {}: its pods have no labels from it, and what no policy allows them is denied",
        ns));
  }
}

}  // namespace

LoadedSnapshot snapshot_of(const std::vector<Input>& objects) {
  LoadedSnapshot loaded;
  for (const Input& input : objects) {
    if (is_watched(input.key.kind)) take(loaded, input.key, input.json);
  }
  warn_of_missing_namespaces(loaded);
  return loaded;
}

Result<LoadedSnapshot> snapshot_of(api::Client& client) {
  LoadedSnapshot loaded;
  for (const Kind kind : watched_kinds()) {
    if (!info(kind).served) continue;
    TRY(const api::Listed listed, client.list(kind, {}));
    for (const boost::json::object& object : listed.items) {
      const auto key = key_of(object);
      if (!key) {
        loaded.warnings.push_back(
            fmt::format("the server sent an object without a name: {}", key.error().message));
        continue;
      }
      take(loaded, *key, object);
    }
  }
  warn_of_missing_namespaces(loaded);
  return loaded;
}

Result<policy::Snapshot> load_snapshot(const FileOptions& files, const std::string& server) {
  LoadedSnapshot loaded;
  if (!files.paths.empty()) {
    const Inputs inputs = read_inputs(files);
    if (!inputs.ok()) {
      print_complaints(inputs);
      const std::size_t mistakes = inputs.complaints.size() + inputs.errors.size();
      return fail(ErrorCode::kInvalid, "the files have {} mistake{}", mistakes, mistakes == 1 ? "" : "s");
    }
    loaded = snapshot_of(inputs.objects);
  } else {
    TRY(api::Client client, connect(server));
    TRY(loaded, snapshot_of(client));
  }
  for (const std::string& warning : loaded.warnings) print_warning(warning);
  const policy::Evaluator evaluator(loaded.resources);
  for (const auto& problem : evaluator.problems()) {
    print_warning(fmt::format("{}: {}", problem.key.to_string(), problem.message));
  }
  return std::move(loaded.resources);
}

}  // namespace ocicat::cli
