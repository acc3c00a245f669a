#include "kernel/namespace_claim.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>

namespace ocicat::kernel {
namespace {

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

Name abstract(std::string_view name) {
  Name result;
  CHECK(name.size() < sizeof result.address.sun_path);
  result.address.sun_family = AF_UNIX;
  std::ranges::copy(name, result.address.sun_path + 1);  // the first byte stays zero: not a file
  result.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

UniqueFd new_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Who listens there.
std::optional<ucred> listener(const Name& name) {
  const UniqueFd socket = new_socket();
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (!socket || ::connect(socket.get(), name.get(), name.size) != 0 ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return std::nullopt;
  }
  return credentials;
}

}  // namespace

Result<NamespaceClaim> NamespaceClaim::take(std::string_view name) {
  const Name address = abstract(name);
  UniqueFd socket = new_socket();
  if (!socket) return fail_errno("socket", errno);
  if (::bind(socket.get(), address.get(), address.size) == 0) {
    // Those who ask who we are wait in the queue, and nobody ever answers: connecting says it all.
    if (::listen(socket.get(), SOMAXCONN) != 0) return fail_errno("listen", errno);
    return NamespaceClaim(std::move(socket));
  }
  if (errno != EADDRINUSE) return fail_errno(fmt::format("bind @{}", name), errno);
  const auto holder = listener(address);
  if (!holder || holder->uid != ::geteuid()) return NamespaceClaim(UniqueFd());
  return fail(ErrorCode::kUnavailable, "{}", holder->pid > 0 ? std::to_string(holder->pid) : "");
}

}  // namespace ocicat::kernel
