// The documents that say where the addresses of a handle are.
//
// What a handle says of a block is never less than what is there: it is raised before addresses are given and
// lowered after they are released, and where the answer to a write is lost it stays too high.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ipam/documents.h"
#include "resources/ipam.h"

namespace ocicat::ipam {

// Writes against each other are tried again so often.
inline constexpr int kMostTries = 100;
// And those to a server that is away.
inline constexpr int kMostLostAnswers = 5;

struct HandleAddition {
  std::string id;
  std::map<Prefix, int> blocks;              // how many more in each
  std::optional<Stored<IpamHandle>> stored;  // as last seen, where it was; afterwards as it stands
  Result<void> outcome;
};
// All at once. One handle stands in the list once.
void add_to_handles(Documents& documents, std::vector<HandleAddition*> additions);

// Takes so many off, and the document away where nothing is left.
Result<void> take_from_handle(Documents& documents, const std::string& id,
                              const std::map<Prefix, int>& blocks);

// Nothing: there is none, or it is on its way out, and is removed.
Result<std::optional<Stored<IpamHandle>>> handle_of(Documents& documents, Result<boost::json::object> answer);

// Whether the document must be read again before it can be written.
bool is_stale(const Error& error);

}  // namespace ocicat::ipam
