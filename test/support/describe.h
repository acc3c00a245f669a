// Resources and steps of a history in words, for messages of failed tests.
#pragma once

#include <string>

#include "base/changes.h"
#include "resources/types.h"

namespace ocicat::test {

// One line, or one and a line for each rule.
std::string describe(const Resource& resource);
// "Pod shop/pod1: …", "Pod shop/pod1: gone", a line for each entry and rule, indented.
std::string describe(const Changes<ResourceKey, Resource>& step);

}  // namespace ocicat::test
