// Other programs, run to their end.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ocicat {

struct Finished {
  int exit_code = 0;    // -1: ended by a signal
  std::string printed;  // on both outputs
};
// command[0] is looked up in PATH. Variables "NAME=VALUE" are all that the program has; nothing: ours. Of our files it
// has none: a socket at which somebody waits closes when we close it.
Result<Finished> run_to_end(const std::vector<std::string>& command, std::string_view input = {},
                            const std::optional<std::vector<std::string>>& variables = {});
// Gives what it printed; an error with that where it fails.
Result<std::string> run(const std::vector<std::string>& command, std::string_view input = {});

// The words as exec(2) and posix_spawn(3) want them, nullptr last. Borrows them.
std::vector<char*> argv_of(const std::vector<std::string>& words);
// Until the end of the file, or until the other side has closed.
Result<std::string> read_all(int fd);

}  // namespace ocicat
