// Where someone listens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/ip.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::http {

// A Unix socket by its path, or an IP address and port.
struct Endpoint {
  std::string path;  // of a Unix socket; empty means TCP
  IpAddress address;
  std::uint16_t port = 0;

  // "unix:///run/ocicat/server.sock", "http://127.0.0.1:8321", "127.0.0.1:8321", "[::1]:8321". No host names
  // but "localhost".
  static Result<Endpoint> parse(std::string_view text);
  static Endpoint unix_socket(std::string path);

  bool is_unix() const { return !path.empty(); }
  bool is_loopback() const;       // true for a Unix socket
  std::string to_string() const;  // as parse() takes it
};

// The file PATH.lock beside a Unix socket: ours for as long as this lives, and gone with it.
class SocketLock {
 public:
  SocketLock() = default;
  // kUnavailable where another process holds it.
  static Result<SocketLock> take(const std::string& socket_path);
  SocketLock(SocketLock&&) noexcept = default;
  SocketLock& operator=(SocketLock&& other) noexcept;
  ~SocketLock();

 private:
  SocketLock(UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  UniqueFd file_;
  std::string path_;
};

// A listening, non-blocking socket. For a Unix socket: mode 0660; a file that a dead process left behind is
// replaced, one that somebody listens on is kUnavailable; `lock` keeps the file ours for as long as it lives.
struct Listening {
  UniqueFd fd;
  SocketLock lock;    // Unix only
  Endpoint endpoint;  // with the port the kernel chose, where 0 was asked for
};
Result<Listening> listen(const Endpoint& endpoint);

}  // namespace ocicat::http
