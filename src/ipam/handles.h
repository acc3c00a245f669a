// The documents that say where the addresses of a handle are.
//
// What a handle says of a block is never less than what is there: it is raised before addresses are given, once
// more after a conflict (Assignment says why), and lowered after they are released or turned out not to be
// needed. Who lowers it does so against a revision of which is known what it counts; where another has written
// it since, or an answer is lost, it stays too high until Allocator::correct().
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
  bool read_anew = false;  // afterwards: that was seen no more, and `blocks` were added to what was found
  Result<void> outcome;
};
// All at once. One handle stands in the list once.
void add_to_handles(Documents& documents, std::vector<HandleAddition*> additions);

// The write by which the document says this and no more, if it is still the one that was seen; where nothing is
// left it goes.
Write rewrite_of(Stored<IpamHandle> handle, std::map<Prefix, int> blocks);

// Nothing: there is none, or it is on its way out, and is removed.
Result<std::optional<Stored<IpamHandle>>> handle_of(Documents& documents, Result<boost::json::object> answer);

// Whether the document must be read again before it can be written.
bool is_stale(const Error& error);

}  // namespace ocicat::ipam
