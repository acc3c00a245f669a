// What the files of the lab's command line share.
#pragma once

#include <fmt/format.h>
#include <CLI/App.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <type_traits>

#include "base/result.h"
#include "base/say.h"
#include "lab/lab.h"

namespace ocicat::lab {

// --name, for every command.
void add_name_option(CLI::App& command, std::string& name);

// Runs with the lab of that name; prints the error and leaves with code 1 where it fails.
void run_in_lab(const std::string& name, const std::function<Result<void>(Lab&)>& work);
// The same for what needs no lab.
void run_command(const std::function<Result<void>()>& work);

// A word of the command line, understood; one that cannot be is wrong usage: the command leaves with code 2.
[[noreturn]] void wrong_usage(const Error& error);
template <class T>
T typed(Result<T> word) {
  if (!word) wrong_usage(word.error());
  if constexpr (!std::is_void_v<T>) return *std::move(word);
}

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// Its addresses, between blanks.
std::string addresses_text(const PodRecord& pod);

// Each adds its commands to the group `lab`.
void add_pod_commands(CLI::App& group);
void add_process_commands(CLI::App& group);  // exec, host exec, agent, server, listen
void add_probe_command(CLI::App& group);

}  // namespace ocicat::lab
