// Completion scripts for shells, made from the tree of commands itself.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace ocicat::cli {

std::string bash_completion(const CLI::App& app);
std::string zsh_completion(const CLI::App& app);
std::string fish_completion(const CLI::App& app);

}  // namespace ocicat::cli
