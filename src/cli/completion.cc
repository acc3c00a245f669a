#include "cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <set>
#include <vector>

#include "cli/commands.h"
#include "cli/run.h"
#include "resources/kinds.h"

namespace ocicat::cli {
namespace {

struct Command {
  std::string path;  // "ocicat lab up"
  const CLI::App* app;
};

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& out) {
  out.push_back({path, &app});
  for (const CLI::App* child : app.get_subcommands({})) collect(*child, path + " " + child->get_name(), out);
}

std::vector<Command> commands_of(const CLI::App& app) {
  std::vector<Command> commands;
  collect(app, app.get_name(), commands);
  return commands;
}

bool takes_kind(const std::string& path) {
  return path == "ocicat get" || path == "ocicat delete" || path == "ocicat label";
}

std::vector<std::string> kind_words() {
  std::vector<std::string> words;
  for (const KindInfo& kind : all_kinds()) {
    if (kind.served) words.emplace_back(kind.kind == Kind::kKubernetesNetworkPolicy ? "knp" : kind.plural);
  }
  return words;
}

// What may follow a command: its own commands, its options, and kinds.
std::vector<std::string> words_after(const Command& command) {
  std::vector<std::string> words;
  for (const CLI::App* child : command.app->get_subcommands({})) words.push_back(child->get_name());
  if (takes_kind(command.path)) {
    for (std::string& word : kind_words()) words.push_back(std::move(word));
  }
  for (const CLI::Option* option : command.app->get_options({})) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  return words;
}

std::string bash_function(const CLI::App& app) {
  const std::vector<Command> commands = commands_of(app);
  std::string paths;
  std::string cases;
  for (const Command& command : commands) {
    if (command.app != &app) paths += fmt::format("{}\"{}\"", paths.empty() ? "" : "|", command.path);
    cases += fmt::format("    \"{}\") words=\"{}\" ;;\n", command.path, fmt::join(words_after(command), " "));
  }
  return fmt::format(R"(_ocicat() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path="{0}" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
    {1}) path="$path ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in
    -f|--filename|--cases|--junit|--database|--socket) COMPREPLY=(); return ;;
    -o|--output) COMPREPLY=($(compgen -W "json yaml wide name" -- "$current")); return ;;
  esac
  case "$path" in
{2}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
)",
                     app.get_name(), paths, cases);
}

std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  return fmt::format(
      "# bash completion for {0}: source <({0} completion bash)\n{1}complete -o default -F _ocicat {0}\n",
      app.get_name(), bash_function(app));
}

std::string zsh_completion(const CLI::App& app) {
  return fmt::format(
      "#compdef {0}\n# zsh completion for {0}: source <({0} completion zsh)\n"
      "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
      "{1}complete -o default -F _ocicat {0}\n",
      app.get_name(), bash_function(app));
}

std::string fish_completion(const CLI::App& app) {
  std::string out = fmt::format("# fish completion for {0}: {0} completion fish | source\n", app.get_name());
  for (const Command& command : commands_of(app)) {
    // The words of the path after the program's name must have been typed.
    std::string condition = "true";
    std::string words = command.path.substr(std::min(command.path.size(), app.get_name().size() + 1));
    while (!words.empty()) {
      const auto blank = words.find(' ');
      condition += fmt::format("; and __fish_seen_subcommand_from {}", words.substr(0, blank));
      words = blank == std::string::npos ? "" : words.substr(blank + 1);
    }
    if (command.app == &app) condition = "__fish_use_subcommand";
    const auto add = [&](const std::string& what, const std::string& about) {
      out += fmt::format("complete -c {} -n {} {} -d {}\n", app.get_name(), fish_quoted(condition), what,
                         fish_quoted(about));
    };
    for (const CLI::App* child : command.app->get_subcommands({})) {
      add("-f -a " + child->get_name(), child->get_description());
    }
    if (takes_kind(command.path)) {
      for (const std::string& kind : kind_words()) add("-f -a " + kind, "");
    }
    for (const CLI::Option* option : command.app->get_options({})) {
      for (const std::string& name : option->get_lnames()) add("-l " + name, option->get_description());
      for (const std::string& name : option->get_snames()) add("-s " + name, option->get_description());
    }
  }
  return out;
}

void add_completion_command(CLI::App& app) {
  auto* command = app.add_subcommand("completion", "Print a completion script for a shell");
  const auto shell = [&](const char* name, const char* about, std::string (*script)(const CLI::App&)) {
    command->add_subcommand(name, about)->callback([&app, script] { say("{}", script(app)); });
  };
  shell("bash", "For bash: source <(ocicat completion bash)", bash_completion);
  shell("zsh", "For zsh: source <(ocicat completion zsh)", zsh_completion);
  shell("fish", "For fish: ocicat completion fish | source", fish_completion);
  command->require_subcommand(1);
  command->footer("Examples:\n  ocicat completion bash > /etc/bash_completion.d/ocicat");
}

}  // namespace ocicat::cli
