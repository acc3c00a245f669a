#include "kernel/network_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>

namespace ocicat::kernel {
namespace {

constexpr const char* kOwn = "/proc/thread-self/ns/net";

}  // namespace

Result<NetworkNamespace> NetworkNamespace::current() {
  UniqueFd fd(::open(kOwn, O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(kOwn, errno);
  return NetworkNamespace(std::move(fd));
}

Result<NetworkNamespace> NetworkNamespace::create() {
  Result<NetworkNamespace> result = fail(ErrorCode::kInternal, "no thread");
  std::thread([&result] {
    if (::unshare(CLONE_NEWNET) < 0) {
      result = fail_errno("new network namespace", errno);
    } else {
      result = current();
    }
  }).join();
  return result;
}

std::string NetworkNamespace::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get());
}

Result<void> NetworkNamespace::enter() const {
  if (::setns(fd_.get(), CLONE_NEWNET) < 0) return fail_errno("enter network namespace", errno);
  return {};
}

void NetworkNamespace::run(const std::function<void()>& work) const {
  std::thread([&] {
    CHECK(enter());
    work();
  }).join();
}

}  // namespace ocicat::kernel
