// The command line of the lab: `ocicat lab …`.
#pragma once

namespace CLI {
class App;
}

namespace ocicat::lab {

// Commands end as all commands do: with exit code 0, or by CLI::RuntimeError with 1 after "error: …" on
// stderr.
void add_lab_commands(CLI::App& app);

}  // namespace ocicat::lab
