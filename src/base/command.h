// Other programs, run to their end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ocicat {

// Gives what it printed, on both outputs; an error with that where it fails. command[0] is looked up in PATH.
Result<std::string> run(const std::vector<std::string>& command, std::string_view input = {});

// The words as exec(2) and posix_spawn(3) want them, nullptr last. Borrows them.
std::vector<char*> argv_of(const std::vector<std::string>& words);
// Until the end of the file, or until the other side has closed.
Result<std::string> read_all(int fd);

}  // namespace ocicat
