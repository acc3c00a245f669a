// `ocicat server`: the API on a Unix socket, and TCP on loopback if asked for, over a SQLite file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/endpoint.h"

namespace ocicat::api {

// What ServerOptions::tcp may be. kInvalid: no address and port, or not loopback.
Result<http::Endpoint> loopback_endpoint(std::string_view text);

struct ServerOptions {
  std::string socket_path = "/run/ocicat/server.sock";
  std::optional<std::string>
      tcp;  // "127.0.0.1:8321"; only loopback, as there is no TLS and no authentication yet
  std::string database_path = "/var/lib/ocicat/ocicat.db";  // ":memory:" keeps nothing
};

class Server {
 public:
  // Opens the database, makes the built-in tiers, and serves. Folders of socket and database are made where
  // missing. kInvalid: an address that is not loopback; kUnavailable: another server has the database or
  // socket.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options);
  ~Server();  // stops
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // With the port the kernel chose.
  const std::vector<http::Endpoint>& endpoints() const;
  // Answers requests in work, ends watches, closes. Idempotent.
  void stop();

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Serves until SIGTERM or SIGINT. Call it before any other thread is started: it blocks these two signals.
Result<void> run(const ServerOptions& options);

}  // namespace ocicat::api
