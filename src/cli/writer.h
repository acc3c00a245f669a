// Sends objects to the server one by one, in order, and says what became of each.
#pragma once

#include <boost/json/object.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/client/client.h"
#include "cli/inputs.h"

namespace ocicat::cli {

enum class WriteMode {
  kApply,    // create, or replace what is there if it differs
  kCreate,   // it must not be there
  kReplace,  // it must be there; with a resourceVersion in the file, it must be that one
};

struct Written {
  std::string_view what;       // "created", "configured", "unchanged", "replaced"
  boost::json::object object;  // as it stands at the server; in a dry run, as it would be sent
};

// With `dry_run` the server checks, and nothing is stored. A conflict with somebody who writes at the same
// time is tried again a few times.
Result<Written> write_object(api::Client& client, const boost::json::object& object, WriteMode mode,
                             bool dry_run);

// Whether the server would store the same: everything but what the server itself sets in metadata, and
// `status` where the new one has none.
bool same_meaning(const boost::json::object& stored, const boost::json::object& wanted);

// Reads the object, lets `change` edit it and writes it back, again after a conflict. `change` returns an
// error to give up.
Result<boost::json::object> edit_object(api::Client& client, const ResourceKey& key,
                                        const std::function<Result<void>(boost::json::object&)>& change);

}  // namespace ocicat::cli
