#include "cli/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::cli {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t set = stop_signals();
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  std::signal(SIGPIPE, SIG_IGN);
}

std::optional<int> StopSignals::wait_or(int fd) {
  const sigset_t set = stop_signals();
  const UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  CHECK(signals);
  std::array<pollfd, 2> fds{pollfd{signals.get(), POLLIN, 0}, pollfd{fd, POLLIN, 0}};
  while (::poll(fds.data(), fds.size(), -1) < 0) {
  }
  if (fds[0].revents == 0) return std::nullopt;
  signalfd_siginfo info{};
  CHECK(::read(signals.get(), &info, sizeof info) == sizeof info);
  return static_cast<int>(info.ssi_signo);
}

}  // namespace ocicat::cli
