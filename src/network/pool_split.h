// A pool in parts.
#pragma once

#include <boost/json/object.hpp>

#include <vector>

#include "base/result.h"

namespace ocicat::network {

// The pool as `parts` pools of equal size, everything else as it was; named NAME-1, NAME-2, … Blocks that are
// there are blocks of the part that they lie in. kInvalid: not a power of two from 2 to 1,024, or a part
// would be smaller than a block.
Result<std::vector<boost::json::object>> split_pool(const boost::json::object& pool, int parts);

}  // namespace ocicat::network
