// Files that are there whole or not at all.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ocicat {

// Empty where it cannot be read.
std::string read_whole(const std::string& path);

// Writes beside it (PATH.new) and renames. `durable`: it outlives the loss of power as well.
Result<void> write_whole(const std::string& path, std::string_view text, bool durable);

}  // namespace ocicat
