#include "cni/plugin/bounded_run.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>

#include "base/command.h"
#include "base/unique_fd.h"

namespace ocicat::cni {
namespace {

using Clock = std::chrono::steady_clock;

// Started, in a process group of its own, and not waited for yet.
class Child {
 public:
  static Result<Child> start(const std::string& path, const std::vector<std::string>& environment, int in,
                             int out) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    pid_t pid = 0;
    const int failed = posix_spawn(&pid, path.c_str(), &actions, &attributes, argv_of({path}).data(),
                                   argv_of(environment).data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) return fail_errno(fmt::format("run {}", path), failed);
    return Child(pid);
  }

  int ended() const { return ended_.get(); }  // readable then
  void kill() const { ::kill(-pid_, SIGKILL); }
  int wait() const {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  explicit Child(pid_t pid)
      : pid_(pid), ended_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}  // glibc's needs C
  pid_t pid_;
  UniqueFd ended_;
};

// Reads once. Nothing: there will be no more; 0: not now.
std::optional<std::size_t> take(int fd, std::string& output) {
  std::array<char, 16384> buffer{};
  while (true) {
    const auto size = ::read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return 0;
    if (size <= 0) return std::nullopt;
    output.append(buffer.data(), static_cast<std::size_t>(size));
    return size;
  }
}

// Until it ends, or passes a bound.
Result<std::string> listen(const Child& child, int out, const Bounds& bounds) {
  const auto until = Clock::now() + bounds.patience;
  std::string output;
  std::array<pollfd, 2> waiting{pollfd{out, POLLIN, 0}, pollfd{child.ended(), POLLIN, 0}};
  for (bool has_ended = false; !has_ended;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0)
      return fail(ErrorCode::kUnavailable, "does not end within {} ms", bounds.patience.count());
    waiting[0].revents = waiting[1].revents = 0;
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count()) + 1) < 0 && errno != EINTR)
      return fail_errno("poll", errno);
    has_ended = waiting[1].revents != 0;
    if (waiting[0].revents != 0 && !take(out, output)) waiting[0].fd = -1;
    // What it has said before its end; others that it has started may go on for ever.
    while (has_ended && output.size() <= bounds.most_output && take(out, output).value_or(0) > 0) {
    }
    if (output.size() > bounds.most_output)
      return fail(ErrorCode::kInvalid, "prints more than {} bytes", bounds.most_output);
  }
  return output;
}

}  // namespace

Result<Ran> run_bounded(const std::string& path, const std::vector<std::string>& environment,
                        std::string_view input, const Bounds& bounds) {
  // A memory file: it may end without reading it.
  const UniqueFd in(::memfd_create("input", MFD_CLOEXEC));
  if (!in) return fail_errno("memfd_create", errno);
  if (::write(in.get(), input.data(), input.size()) < 0) return fail_errno("write", errno);
  ::lseek(in.get(), 0, SEEK_SET);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("pipe", errno);
  const UniqueFd out(ends[0]);
  UniqueFd theirs(ends[1]);
  ::fcntl(theirs.get(), F_SETFL, 0);  // it need not expect that
  TRY(const auto child, Child::start(path, environment, in.get(), theirs.get()));
  theirs.reset();
  auto output = listen(child, out.get(), bounds);
  if (!output) child.kill();
  const int exit_code = child.wait();
  if (!output) return std::unexpected(std::move(output).error());
  return Ran{exit_code, *std::move(output)};
}

}  // namespace ocicat::cni
