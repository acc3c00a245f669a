// Other programs, run to their end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ocicat {

// Gives what it printed, on both outputs; an error with that where it fails. command[0] is looked up in PATH.
Result<std::string> run(const std::vector<std::string>& command, std::string_view input = {});

}  // namespace ocicat
