// Resources of shapes as the server keeps them.
#pragma once

#include <string>

#include "test/support/shapes/shape.h"

namespace ocicat::bench {

// What shapes use of endpoints, policies, network sets and profiles; of other kinds an empty spec.
std::string document_of(const test::Item& item);

}  // namespace ocicat::bench
