// Resources of shapes as the server keeps them.
#pragma once

#include <string>

#include "test/support/shapes/shape.h"

namespace ocicat::bench {

// What shapes use of endpoints, policies, network sets, profiles, pools, hosts and their blocks; of other kinds an
// empty spec. A block says of kGivenOfBlock addresses besides those that are elsewhere which pods of its host have
// them.
inline constexpr unsigned kGivenOfBlock = 16;
std::string document_of(const test::Item& item);

}  // namespace ocicat::bench
