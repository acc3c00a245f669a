// Where someone listens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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

// A listening, non-blocking socket. For a Unix socket: mode 0660; a file that a dead process left behind is
// replaced, one that somebody listens on is kUnavailable; `lock` keeps the file ours for as long as it lives.
struct Listening {
  UniqueFd fd;
  UniqueFd lock;      // Unix only: of PATH.lock
  Endpoint endpoint;  // with the port the kernel chose, where 0 was asked for
};
Result<Listening> listen(const Endpoint& endpoint);

}  // namespace ocicat::http
