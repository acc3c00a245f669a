#include "cli/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "cli/run.h"

namespace ocicat::cli {
namespace {

using Ask = Blank::Ask;

// What the positional words of a command are; the last one goes for all that follow.
enum class Positional { kKind, kName, kPool, kWorkload, kLabHost, kLabPod, kFree };

struct Positionals {
  std::string_view path;
  std::array<Positional, 3> words;
};

constexpr Positionals kPositionals[] = {
    {"get", {Positional::kKind, Positional::kName, Positional::kName}},
    {"delete", {Positional::kKind, Positional::kName, Positional::kName}},
    {"label", {Positional::kKind, Positional::kName, Positional::kFree}},
    {"explain", {Positional::kWorkload, Positional::kWorkload, Positional::kFree}},
    {"ipam split", {Positional::kPool, Positional::kFree, Positional::kFree}},
    {"lab pod delete", {Positional::kLabPod, Positional::kFree, Positional::kFree}},
    {"lab pod move", {Positional::kLabPod, Positional::kFree, Positional::kFree}},
    {"lab pod label", {Positional::kLabPod, Positional::kFree, Positional::kFree}},
    {"lab exec", {Positional::kLabPod, Positional::kFree, Positional::kFree}},
    {"lab host exec", {Positional::kLabHost, Positional::kFree, Positional::kFree}},
    {"lab agent start", {Positional::kLabHost, Positional::kFree, Positional::kFree}},
    {"lab agent stop", {Positional::kLabHost, Positional::kFree, Positional::kFree}},
    {"lab agent kill", {Positional::kLabHost, Positional::kFree, Positional::kFree}},
};

// Whose values are asked for, by long name.
const std::map<std::string_view, Ask>& asks_by_option() {
  static const std::map<std::string_view, Ask> asks{
      {"namespace", Ask::kNamespaces}, {"host", Ask::kLabHosts}, {"pods", Ask::kLabPods}};
  return asks;
}

bool is_hidden(const CLI::App& app) {
  return app.get_group().empty();
}

std::vector<Candidate> commands_of(const CLI::App& app) {
  std::vector<Candidate> found;
  for (const CLI::App* child : app.get_subcommands({})) {
    if (!is_hidden(*child)) found.push_back({child->get_name(), child->get_description()});
  }
  return found;
}

std::vector<Candidate> options_of(const CLI::App& app) {
  std::vector<Candidate> found;
  for (const CLI::Option* option : app.get_options({})) {
    for (const std::string& name : option->get_lnames())
      found.push_back({"--" + name, option->get_description()});
  }
  return found;
}

std::vector<Candidate> kind_words() {
  std::vector<Candidate> words;
  for (const KindInfo& kind : all_kinds()) {
    if (!kind.served) continue;
    words.push_back({std::string(kind.kind == Kind::kKubernetesNetworkPolicy ? "knp" : kind.plural),
                     fmt::format("{} of {}", kind.name, kind.api_version())});
  }
  return words;
}

// The values that an option is restricted to: CLI11 writes them as "TEXT:{json,yaml}".
std::vector<Candidate> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const auto open = type.find('{');
  const auto close = type.find('}', open);
  std::vector<Candidate> found;
  if (close == std::string::npos) return found;
  for (const std::string& word : CLI::detail::split(type.substr(open + 1, close - open - 1), ','))
    found.push_back({word, ""});
  return found;
}

// Walks the words that are complete, down the tree of commands.
class Walk {
 public:
  explicit Walk(const CLI::App& app) : app_(&app) {}

  void take(const std::string& word) {
    if (word == "=" && awaiting_) return;  // bash splits --option=value in three
    if (awaiting_) {
      values_[long_name(*std::exchange(awaiting_, nullptr))] = word;
    } else if (!literal_ && word == "--") {
      literal_ = true;
    } else if (!literal_ && word.size() > 1 && word.front() == '-') {
      take_option(word);
    } else if (const CLI::App* child = positionals_.empty() ? find_command(word) : nullptr) {
      app_ = child;
      path_ += (path_.empty() ? "" : " ") + word;
    } else {
      positionals_.push_back(word);
    }
  }

  Blank end(std::string begun) const {
    Blank blank;
    blank.ns = value("namespace");
    blank.server = value("server");
    blank.lab = value("name");
    if (awaiting_ != nullptr) {
      blank.begun = begun == "=" ? "" : std::move(begun);
      want_value(blank, *awaiting_);
      return blank;
    }
    blank.begun = std::move(begun);
    if (!literal_ && blank.begun.starts_with('-')) {
      want_option(blank);
    } else if (!app_->get_subcommands({}).empty()) {
      blank.candidates = commands_of(*app_);
    } else {
      want_positional(blank);
    }
    return blank;
  }

 private:
  static std::string long_name(const CLI::Option& option) {
    return option.get_lnames().empty() ? option.get_name() : option.get_lnames().front();
  }

  std::string value(const std::string& option) const {
    const auto found = values_.find(option);
    return found == values_.end() ? std::string() : found->second;
  }

  const CLI::App* find_command(const std::string& word) const {
    for (const CLI::App* child : app_->get_subcommands({})) {
      if (child->get_name() == word) return child;
    }
    return nullptr;
  }

  void take_option(const std::string& word) {
    const auto equals = word.find('=');
    const CLI::Option* option = app_->get_option_no_throw(word.substr(0, equals));
    if (option == nullptr || option->get_items_expected_max() == 0) return;  // unknown, or a flag
    if (equals == std::string::npos) {
      awaiting_ = option;
    } else {
      values_[long_name(*option)] = word.substr(equals + 1);
    }
  }

  // "--" and what may follow it, or the value behind "--option=".
  void want_option(Blank& blank) const {
    const auto equals = blank.begun.find('=');
    const auto* option =
        equals == std::string::npos ? nullptr : app_->get_option_no_throw(blank.begun.substr(0, equals));
    if (option == nullptr) {
      blank.candidates = options_of(*app_);
      return;
    }
    want_value(blank, *option);
    blank.before = blank.begun.substr(0, equals + 1);
    for (Candidate& candidate : blank.candidates) candidate.word.insert(0, blank.before);
  }

  void want_value(Blank& blank, const CLI::Option& option) const {
    blank.candidates = choices_of(option);
    const std::string name = long_name(option);
    if (const auto ask = asks_by_option().find(name); ask != asks_by_option().end()) blank.ask = ask->second;
    if (name == "name" && path_.starts_with("lab")) blank.ask = Ask::kLabs;
  }

  void want_positional(Blank& blank) const {
    const auto* row = std::ranges::find(kPositionals, path_, &Positionals::path);
    if (row == std::end(kPositionals)) {
      if (blank.begun.empty()) blank.candidates = options_of(*app_);
      return;
    }
    switch (row->words.at(std::min(positionals_.size(), row->words.size() - 1))) {
      case Positional::kKind:
        want_kind_or_slashed_name(blank);
        break;
      case Positional::kName:
        want_name(blank);
        break;
      case Positional::kPool:
        blank.ask = Ask::kNames;
        blank.kind = Kind::kIpPool;
        break;
      case Positional::kWorkload:
        blank.ask = Ask::kWorkloads;
        break;
      case Positional::kLabHost:
        blank.ask = Ask::kLabHosts;
        break;
      case Positional::kLabPod:
        blank.ask = Ask::kLabPods;
        break;
      case Positional::kFree:
        break;
    }
  }

  // "gnp", or "gnp/quarantine".
  static void want_kind_or_slashed_name(Blank& blank) {
    const auto slash = blank.begun.find('/');
    if (slash == std::string::npos) {
      blank.candidates = kind_words();
    } else if (const auto kind = find_kind_by_word(blank.begun.substr(0, slash))) {
      blank.ask = Ask::kNames;
      blank.kind = *kind;
      blank.before = blank.begun.substr(0, slash + 1);
    }
  }

  void want_name(Blank& blank) const {
    if (positionals_.front().find('/') != std::string::npos) return want_kind_or_slashed_name(blank);
    const auto kind = find_kind_by_word(positionals_.front());
    if (!kind) return;
    blank.ask = Ask::kNames;
    blank.kind = *kind;
  }

  const CLI::App* app_;
  std::string path_;  // "lab pod delete"
  std::vector<std::string> positionals_;
  std::map<std::string, std::string> values_;  // of options, by long name
  const CLI::Option* awaiting_ = nullptr;      // its value comes next
  bool literal_ = false;                       // behind "--"
};

}  // namespace

Blank blank_at_end(const CLI::App& app, std::span<const std::string> words) {
  Walk walk(app);
  if (words.empty()) return walk.end("");
  for (const std::string& word : words.first(words.size() - 1)) walk.take(word);
  return walk.end(words.back());
}

int run_complete(const CLI::App& app, std::span<const std::string> words) {
  for (const auto& [word, about] : fill(blank_at_end(app, words))) {
    say("{}{}{}\n", word, about.empty() ? "" : "\t", about);
  }
  return kDone;
}

}  // namespace ocicat::cli
