#include "base/command.h"

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace ocicat {

std::vector<char*> argv_of(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Result<std::string> read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (true) {
    const auto count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read", errno);
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

Result<Finished> run_to_end(const std::vector<std::string>& command, std::string_view input,
                            const std::optional<std::vector<std::string>>& variables) {
  // Memory files rather than pipes: neither side can ever wait for the other.
  const UniqueFd in(memfd_create("input", MFD_CLOEXEC));
  const UniqueFd out(memfd_create("output", MFD_CLOEXEC));
  if (!in || !out) return fail_errno("memfd_create", errno);
  if (write(in.get(), input.data(), input.size()) < 0) return fail_errno("write", errno);
  lseek(in.get(), 0, SEEK_SET);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.get(), STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  pid_t pid = 0;
  const auto given = variables ? argv_of(*variables) : std::vector<char*>{};
  const int failed = posix_spawnp(&pid, command[0].c_str(), &actions, nullptr, argv_of(command).data(),
                                  variables ? given.data() : environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return fail_errno(command[0], failed);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  lseek(out.get(), 0, SEEK_SET);
  TRY(auto printed, read_all(out.get()));
  return Finished{WIFEXITED(status) ? WEXITSTATUS(status) : -1, std::move(printed)};
}

Result<std::string> run(const std::vector<std::string>& command, std::string_view input) {
  TRY(auto finished, run_to_end(command, input));
  if (finished.exit_code == 0) return std::move(finished.printed);
  return fail(ErrorCode::kInternal, "{} failed: {}", fmt::join(command, " "), finished.printed);
}

}  // namespace ocicat
