#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/run.h"

namespace ocicat::cli {
namespace {

// Each asks the program what may stand where the cursor is; where there is nothing, the shell offers files.
constexpr std::string_view kBash = R"sh(# bash completion for ocicat: source <(ocicat completion bash)
_ocicat() {
  local IFS=$'\n'
  COMPREPLY=($(ocicat __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  COMPREPLY=("${COMPREPLY[@]%%$'\t'*}")
}
complete -o default -F _ocicat ocicat
)sh";

constexpr std::string_view kZsh = R"sh(#compdef ocicat
# zsh completion for ocicat: source <(ocicat completion zsh)
_ocicat() {
  local -a candidates
  candidates=(${(f)"$(ocicat __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( ${#candidates} == 0 )); then
    _files
    return
  fi
  candidates=("${(@)candidates//:/\\:}")
  candidates=("${(@)candidates/$'\t'/:}")
  _describe ocicat candidates
}
if [[ "${funcstack[1]}" = _ocicat ]]; then
  _ocicat
else
  (( ${+functions[compdef]} )) || { autoload -U compinit && compinit }
  compdef _ocicat ocicat
fi
)sh";

constexpr std::string_view kFish = R"sh(# fish completion for ocicat: ocicat completion fish | source
function __ocicat_complete
  set -l typed (commandline -opc)
  set -l current (commandline -ct)
  set -l found (ocicat __complete $typed[2..-1] "$current" 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\n' $found
  else
    __fish_complete_path "$current"
  end
end
complete -c ocicat -f -a '(__ocicat_complete)'
)sh";

}  // namespace

void add_completion_command(CLI::App& app) {
  auto* command = app.add_subcommand("completion", "Print a completion script for a shell");
  const auto shell = [&](const char* name, const char* about, const char* example, std::string_view script) {
    auto* one = command->add_subcommand(name, about);
    one->footer(fmt::format("Examples:\n  {}", example));
    one->callback([script] { say("{}", script); });
  };
  shell("bash", "For bash", "source <(ocicat completion bash)", kBash);
  shell("zsh", "For zsh", "source <(ocicat completion zsh)", kZsh);
  shell("fish", "For fish", "ocicat completion fish | source", kFish);
  command->require_subcommand(1);
  command->footer("Examples:\n  ocicat completion bash > /etc/bash_completion.d/ocicat");
}

}  // namespace ocicat::cli
