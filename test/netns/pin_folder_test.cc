#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/unique_fd.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

// The path that the first process of a new namespace of processes gives its pins.
std::string path_of_a_first_process() {
  std::array<int, 2> ends{};
  CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const auto child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(::unshare(CLONE_NEWPID) == 0);
    if (const auto first = ::fork(); first != 0) {
      ::waitpid(first, nullptr, 0);
      ::_exit(0);
    }
    CHECK(::getpid() == 1);
    const auto path = PinFolder().path().string();
    CHECK(::write(write_end.get(), path.data(), path.size()) == static_cast<ssize_t>(path.size()));
    ::_exit(0);
  }
  write_end.reset();
  std::array<char, 256> buffer{};
  const auto size = ::read(read_end.get(), buffer.data(), buffer.size());
  CHECK(::waitpid(child, nullptr, 0) == child && size > 0);
  return {buffer.data(), static_cast<std::size_t>(size)};
}

TEST(PinFolder, IsAnotherForAProcessOfTheSameNumber) {
  EXPECT_NE(path_of_a_first_process(), path_of_a_first_process());
}

}  // namespace
}  // namespace ocicat::test
