#include "lab/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <deque>
#include <fstream>
#include <sstream>

#include "base/command.h"
#include "base/unique_fd.h"
#include "lab/netns.h"

namespace ocicat::lab {
namespace {

constexpr int kReadyFd = 3;

// Nothing for one that is not there or has ended and only waits to be collected.
std::optional<std::uint64_t> start_time_of(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  // The command's name is in parentheses and may hold anything; the fields that follow are plain.
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int number = 3; number <= 22; ++number) {
    if (!(fields >> field)) return std::nullopt;
    if (number == 3 && (field == "Z" || field == "X")) return std::nullopt;
  }
  std::uint64_t value = 0;
  std::from_chars(field.data(), field.data() + field.size(), value);
  return value;
}

// What the daemon's own process does before it becomes the command. Returns only where that fails.
Error become(const Daemon& daemon, int report_fd) {
  {
    std::ofstream record(daemon.record);
    record << getpid() << ' ' << start_time_of(getpid()).value_or(0) << '\n';
    if (!record.flush()) return {ErrorCode::kInternal, fmt::format("write {}", daemon.record.string())};
  }
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log = open(daemon.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (null < 0 || log < 0) return fail_errno(daemon.log.string(), errno).error();
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (!daemon.network_namespace.empty()) {
    if (auto entered = enter_namespace(daemon.network_namespace); !entered) return entered.error();
  }
  if (daemon.tells_when_ready && dup2(report_fd, kReadyFd) < 0) return fail_errno("dup2", errno).error();
  execv(daemon.command[0].c_str(), argv_of(daemon.command).data());
  return fail_errno(daemon.command[0], errno).error();
}

// Everything open but the standard three is closed in the command, by O_CLOEXEC.
[[noreturn]] void child_of_child(const Daemon& daemon, int report_fd) {
  setsid();
  const pid_t pid = fork();
  if (pid != 0) _exit(pid < 0 ? 1 : 0);
  const auto error = become(daemon, report_fd);
  const auto count = write(report_fd, error.message.data(), error.message.size());
  _exit(count < 0 ? 2 : 1);
}

}  // namespace

std::optional<Process> recorded(const std::filesystem::path& record) {
  std::ifstream file(record);
  Process process;
  if (!(file >> process.pid >> process.start_time)) return std::nullopt;
  return process;
}

bool is_running(const Process& process) {
  return start_time_of(process.pid) == process.start_time;
}

Result<Process> start(const Daemon& daemon) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  if (writing.get() == kReadyFd) {  // dup2 onto itself would keep O_CLOEXEC
    writing = UniqueFd(fcntl(writing.get(), F_DUPFD_CLOEXEC, kReadyFd + 1));
  }
  const pid_t child = fork();
  if (child < 0) return fail_errno("fork", errno);
  if (child == 0) child_of_child(daemon, writing.get());
  writing.reset();
  waitpid(child, nullptr, 0);

  // End of file without a word: the command runs (the pipe closed itself at exec), or ended without being
  // ready.
  TRY(const auto word, read_all(reading.get()));
  const auto name = std::filesystem::path(daemon.record).filename().string();
  const bool ready = word == (daemon.tells_when_ready ? "+" : "");
  const auto process = recorded(daemon.record);
  if (ready && process) return *process;
  return fail(ErrorCode::kInternal, "start {}: {}", name,
              word.empty() || word == "+" ? "it ended at once; it said: " + tail(daemon.log, 5) : word);
}

Result<void> stop(const std::filesystem::path& record, int signal, std::chrono::milliseconds patience) {
  if (const auto process = recorded(record)) TRY_VOID(stop(*process, signal, patience));
  std::error_code ignored;
  std::filesystem::remove(record, ignored);
  return {};
}

Result<void> stop(const Process& process, int signal, std::chrono::milliseconds patience) {
  const UniqueFd handle(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  // The handle is the process that has the pid now; the start time tells whether that is the one meant.
  if (!handle || !is_running(process)) return {};
  if (syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
    return fail_errno(fmt::format("signal process {}", process.pid), errno);
  }
  pollfd ended{handle.get(), POLLIN, 0};
  if (poll(&ended, 1, static_cast<int>(patience.count())) == 0) {
    return fail(ErrorCode::kUnavailable, "process {} has not ended {} ms after signal {}", process.pid,
                patience.count(), signal);
  }
  return {};
}

std::vector<Process> processes_in(const std::set<std::string>& network_namespaces) {
  std::set<std::pair<dev_t, ino_t>> wanted;
  struct stat seen{};
  for (const auto& name : network_namespaces) {
    if (stat(fmt::format("/run/netns/{}", name).c_str(), &seen) == 0)
      wanted.emplace(seen.st_dev, seen.st_ino);
  }
  std::vector<Process> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto word = entry.path().filename().string();
    int pid = 0;
    if (std::from_chars(word.data(), word.data() + word.size(), pid).ec != std::errc{}) continue;
    if (stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &seen) != 0) continue;
    if (!wanted.contains({seen.st_dev, seen.st_ino})) continue;
    if (const auto start_time = start_time_of(pid)) found.push_back({pid, *start_time});
  }
  return found;
}

std::string tail(const std::filesystem::path& file, std::size_t lines) {
  std::ifstream in(file);
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    last.push_back(line);
    if (last.size() > lines) last.pop_front();
  }
  return fmt::format("{}", fmt::join(last, " | "));
}

}  // namespace ocicat::lab
