// What may stand at the end of a command line, for the completion of shells: made from the tree of commands
// itself. The scripts for shells only ask `ocicat __complete WORDS...` and show what it prints.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "resources/kinds.h"

namespace CLI {
class App;
}

namespace ocicat::cli {

struct Candidate {
  std::string word;
  std::string about;  // may be empty

  bool operator==(const Candidate&) const = default;
};

// The last word of a command line, as far as it is typed, and what could stand there.
struct Blank {
  enum class Ask { kNothing, kNames, kWorkloads, kNamespaces, kLabs, kLabHosts, kLabPods };

  std::string begun;                  // candidates begin with it
  std::vector<Candidate> candidates;  // known without asking anybody
  Ask ask = Ask::kNothing;            // what else: objects of the server, things of a lab
  std::string before;                 // stands in front of what is asked for: "gnp/"
  Kind kind{};                        // kNames: of which kind
  std::string ns;                     // kNames: --namespace; empty: "default"
  std::string server;                 // --server
  std::string lab;                    // --name
};

// `words` are those after the program's name; the last one is the word to complete and may be empty. Pure.
Blank blank_at_end(const CLI::App& app, std::span<const std::string> words);

// All candidates for the blank, sorted; asks the server or looks at labs where it must. What does not answer
// adds nothing.
std::vector<Candidate> fill(const Blank& blank);

// `ocicat __complete WORDS...`: a candidate a line, followed by a tab and what it is where that is known.
// Without a line the shell may offer files. Returns the exit code.
int run_complete(const CLI::App& app, std::span<const std::string> words);

}  // namespace ocicat::cli
