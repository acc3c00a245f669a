// The command line: every command of the binary `ocicat`.
#pragma once

namespace ocicat::cli {

// Parses and runs. Returns the exit code: 0 done, 1 it could not be done (or a check failed), 2 wrong usage.
int run(int argc, const char* const* argv);

}  // namespace ocicat::cli
