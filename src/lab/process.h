// Processes that outlive the command that starts them, and are found again by pid and start time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/command.h"
#include "base/result.h"

namespace ocicat::lab {

// A pid alone may belong to somebody else by now; with the time it started at (clock ticks since boot,
// proc(5) stat field 22) it names one process.
struct Process {
  int pid = 0;
  std::uint64_t start_time = 0;

  bool operator==(const Process&) const = default;
};

// What a record file says; nothing where there is none.
std::optional<Process> recorded(const std::filesystem::path& record);
bool is_running(const Process& process);

struct Daemon {
  std::vector<std::string> command;  // command[0] is a path
  std::string network_namespace;     // empty: the caller's
  std::filesystem::path log;         // what it prints, appended
  std::filesystem::path record;  // written by the process itself before it runs the command, so none is lost
  // The command ends in "--ready-fd 3" and, when it is ready, writes "+" there and closes it; start() waits
  // for that.
  bool tells_when_ready = false;
};

// In a session of its own. An error carries the end of the log where the process ended before it was ready.
Result<Process> start(const Daemon& daemon);

// Sends the signal and waits until the process is gone, at most `patience`; then removes the record. One that
// does not run is no error.
Result<void> stop(const std::filesystem::path& record, int signal, std::chrono::milliseconds patience);
Result<void> stop(const Process& process, int signal, std::chrono::milliseconds patience);

// Those whose main thread is in one of the named network namespaces.
std::vector<Process> processes_in(const std::set<std::string>& network_namespaces);

// The last lines of a file, in one line, for error messages.
std::string tail(const std::filesystem::path& file, std::size_t lines);

}  // namespace ocicat::lab
