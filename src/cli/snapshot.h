// Everything policy is computed from: out of files, or from the server.
#pragma once

#include <string>
#include <vector>

#include "api/client/client.h"
#include "cli/inputs.h"
#include "policy/evaluator.h"

namespace ocicat::cli {

struct LoadedSnapshot {
  policy::Snapshot resources;
  std::vector<std::string> warnings;  // what could not be read
};

// The objects laid over `before`.
LoadedSnapshot snapshot_of(const std::vector<Input>& objects, const policy::Snapshot& before = {});
Result<LoadedSnapshot> snapshot_of(api::Client& client);

// From the files where there are any, else from the server; prints warnings, those about policies that cannot
// be used included. Complaints about files are printed, and the result is an error that says how many there
// are.
Result<policy::Snapshot> load_snapshot(const FileOptions& files, const std::string& server);

// `before` with what is in the files laid over it; warnings about what is new, and the same errors.
Result<policy::Snapshot> load_changed(const policy::Snapshot& before, const FileOptions& files);

}  // namespace ocicat::cli
