#include "cli/snapshot.h"

#include <algorithm>
#include <boost/json.hpp>

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
    loaded.warnings.push_back(fmt::format(
        "{} cannot be read and counts as absent here, while agents keep the last version that they "
        "could read: {}",
        key.to_string(), resource.error().message));
    return;
  }
  loaded.resources.insert_or_assign(key, *std::move(resource));
}

}  // namespace

LoadedSnapshot snapshot_of(const std::vector<Input>& objects, const policy::Snapshot& before) {
  LoadedSnapshot loaded{.resources = before, .warnings = {}};
  for (const Input& input : objects) {
    if (is_watched(input.key.kind)) take(loaded, input.key, input.json);
  }
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
  return loaded;
}

namespace {

Result<LoadedSnapshot> load_files(const FileOptions& files, const policy::Snapshot& before) {
  const Inputs inputs = read_inputs(files);
  if (inputs.ok()) {
    print_warnings(inputs);
    return snapshot_of(inputs.objects, before);
  }
  print_complaints(inputs);
  const std::size_t mistakes = inputs.complaints.size() + inputs.errors.size();
  return fail(ErrorCode::kInvalid, "the files have {} mistake{}", mistakes, mistakes == 1 ? "" : "s");
}

// About what was not so before.
void print_warnings(const LoadedSnapshot& loaded, const policy::Snapshot& before) {
  for (const std::string& warning : loaded.warnings) print_warning(warning);
  const policy::Evaluator then(before);
  const policy::Evaluator now(loaded.resources);
  for (const auto& problem : now.problems()) {
    if (std::ranges::count(then.problems(), problem) > 0) continue;
    print_warning(fmt::format("{}: {}", problem.key.to_string(), problem.message));
  }
}

}  // namespace

Result<policy::Snapshot> load_snapshot(const FileOptions& files, const std::string& server) {
  LoadedSnapshot loaded;
  if (!files.paths.empty()) {
    TRY(loaded, load_files(files, {}));
  } else {
    TRY(api::Client client, connect(server));
    TRY(loaded, snapshot_of(client));
  }
  print_warnings(loaded, {});
  return std::move(loaded.resources);
}

Result<policy::Snapshot> load_changed(const policy::Snapshot& before, const FileOptions& files) {
  TRY(LoadedSnapshot loaded, load_files(files, before));
  print_warnings(loaded, before);
  return std::move(loaded.resources);
}

}  // namespace ocicat::cli
