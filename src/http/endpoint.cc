#include "http/endpoint.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace ocicat::http {
namespace {

constexpr int kBacklog = 1024;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<SocketAddress> socket_address(const Endpoint& endpoint) {
  SocketAddress result;
  if (endpoint.is_unix()) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (endpoint.path.size() >= sizeof name.sun_path) {
      return fail(ErrorCode::kInvalid, "{}: the path of a Unix socket has at most {} bytes", endpoint.path,
                  sizeof name.sun_path - 1);
    }
    std::memcpy(name.sun_path, endpoint.path.data(), endpoint.path.size());
    std::memcpy(&result.storage, &name, sizeof name);
    result.length = sizeof name;
  } else if (endpoint.address.is_v4()) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(endpoint.port);
    name.sin_addr.s_addr = htonl(endpoint.address.v4_value());
    std::memcpy(&result.storage, &name, sizeof name);
    result.length = sizeof name;
  } else {
    sockaddr_in6 name{};
    name.sin6_family = AF_INET6;
    name.sin6_port = htons(endpoint.port);
    std::memcpy(&name.sin6_addr, endpoint.address.bytes().data(), 16);
    std::memcpy(&result.storage, &name, sizeof name);
    result.length = sizeof name;
  }
  return result;
}

Result<UniqueFd> open_socket(const SocketAddress& address) {
  UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket", errno);
  return fd;
}

bool is_the_file_at(const std::string& path, int fd) {
  struct stat held{}, there{};
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
         held.st_ino == there.st_ino;
}

// Takes the lock and removes a socket file that nobody listens on.
Result<SocketLock> claim(const Endpoint& endpoint, const SocketAddress& address) {
  TRY(auto lock, SocketLock::take(endpoint.path));
  struct stat info{};
  if (::lstat(endpoint.path.c_str(), &info) != 0) return lock;
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorCode::kInvalid, "{}: exists and is not a socket; remove it or choose another path",
                endpoint.path);
  }
  TRY(const UniqueFd probe, open_socket(address));
  if (::connect(probe.get(), address.get(), address.length) == 0 || errno == EAGAIN) {
    return fail(ErrorCode::kUnavailable, "{}: another process listens there", endpoint.path);
  }
  if (::unlink(endpoint.path.c_str()) != 0) return fail_errno(endpoint.path, errno);
  return lock;
}

Result<std::uint16_t> port_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
    return fail_errno("getsockname", errno);
  sockaddr_in6 name{};  // the port is at the same place in both families
  std::memcpy(&name, &storage, sizeof name);
  return ntohs(name.sin6_port);
}

}  // namespace

Result<SocketLock> SocketLock::take(const std::string& socket_path) {
  const std::string path = socket_path + ".lock";
  while (true) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0660));
    if (!file) return fail_errno(path, errno);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      return fail(ErrorCode::kUnavailable, "{}: another process listens there ({} is locked)", socket_path,
                  path);
    }
    // Whoever held it may have removed it since it was opened: then it keeps nobody away.
    if (is_the_file_at(path, file.get())) return SocketLock(std::move(file), path);
  }
}

SocketLock& SocketLock::operator=(SocketLock&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  return *this;
}

SocketLock::~SocketLock() {
  if (file_) ::unlink(path_.c_str());
}

Endpoint Endpoint::unix_socket(std::string path) {
  Endpoint endpoint;
  endpoint.path = std::move(path);
  return endpoint;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const std::string_view whole = text;
  if (text.starts_with("unix://")) {
    text.remove_prefix(7);
    if (text.empty()) return fail(ErrorCode::kInvalid, "{}: the path of the socket is missing", whole);
    return unix_socket(std::string(text));
  }
  if (text.starts_with("https://")) {
    return fail(ErrorCode::kUnsupported, "{}: TLS is not there yet; use unix://PATH or http://127.0.0.1:PORT",
                whole);
  }
  if (text.starts_with("http://")) text.remove_prefix(7);
  if (text.ends_with('/')) text.remove_suffix(1);
  const auto colon = text.rfind(':');
  auto host = text.substr(0, colon == std::string_view::npos ? 0 : colon);
  const auto port_text = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";

  Endpoint endpoint;
  const auto address = IpAddress::parse(host);
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), endpoint.port);
  if (!address || port_text.empty() || error != std::errc() || end != port_text.data() + port_text.size()) {
    return fail(ErrorCode::kInvalid, "\"{}\": expected unix://PATH or http://ADDRESS:PORT", whole);
  }
  endpoint.address = *address;
  return endpoint;
}

bool Endpoint::is_loopback() const {
  if (is_unix()) return true;
  if (address.is_v4()) return address.v4_value() >> 24 == 127;
  return address == IpAddress::parse("::1");
}

std::string Endpoint::to_string() const {
  if (is_unix()) return "unix://" + path;
  return fmt::format(fmt::runtime(address.is_v4() ? "http://{}:{}" : "http://[{}]:{}"), address.to_string(),
                     port);
}

Result<Listening> listen(const Endpoint& endpoint) {
  TRY(const auto address, socket_address(endpoint));
  Listening result{.fd = {}, .lock = {}, .endpoint = endpoint};
  if (endpoint.is_unix()) {
    TRY(result.lock, claim(endpoint, address));
  }
  TRY(result.fd, open_socket(address));
  const int on = 1;
  if (!endpoint.is_unix()) ::setsockopt(result.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // The mode of a socket file is what bind() leaves of the mode of the descriptor.
  if (endpoint.is_unix() && ::fchmod(result.fd.get(), 0660) != 0)
    return fail_errno(endpoint.to_string(), errno);
  if (::bind(result.fd.get(), address.get(), address.length) != 0)
    return fail_errno(endpoint.to_string(), errno);
  if (endpoint.is_unix() && ::chmod(endpoint.path.c_str(), 0660) != 0)
    return fail_errno(endpoint.to_string(), errno);
  if (::listen(result.fd.get(), kBacklog) != 0) return fail_errno(endpoint.to_string(), errno);
  if (!endpoint.is_unix()) {
    TRY(result.endpoint.port, port_of(result.fd.get()));
  }
  return result;
}

}  // namespace ocicat::http
