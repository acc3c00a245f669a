// Several blocks changed at once, each against the revision that it was read at, until each change is made.
#pragma once

#include <functional>
#include <map>

#include "base/result.h"
#include "ipam/documents.h"
#include "resources/ipam.h"

namespace ocicat::ipam {

using BlockCache = std::map<Prefix, Stored<IpamBlock>>;

// Changes a block; false: there is nothing to change. It is called again, with what has become of the block,
// where its change was not written; `unsure`: or was, and the answer was lost.
using BlockEdit = std::function<bool(IpamBlock& block, bool unsure)>;

// For each block: whether there is something to say of it. True: written, or nothing to change; false: there
// is no such block. Begins with what is in the cache, and leaves there what has become of blocks that were in
// it. A block that belongs to nobody and is empty afterwards is removed.
std::map<Prefix, Result<bool>> edit_blocks(Documents& documents, BlockCache& cache,
                                           const std::map<Prefix, BlockEdit>& edits);

// The block as the next write is to make it.
boost::json::object next_version(const Stored<IpamBlock>& block);
// After that write: what the server said of it.
void take_version(Stored<IpamBlock>& block, const boost::json::object& written);

}  // namespace ocicat::ipam
