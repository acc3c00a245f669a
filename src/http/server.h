// An HTTP/1.1 server on Unix sockets and TCP.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "http/endpoint.h"
#include "http/message.h"

namespace ocicat::http {

// Answers one request; call it exactly once, from any thread, now or later. Dropped without a call it answers
// 500.
using Respond = std::function<void(Response)>;
// Called on one of the worker threads, for many requests at a time.
using Handler = std::function<void(Request, Respond)>;

struct ServerOptions {
  std::vector<Endpoint> endpoints;
  std::size_t workers = 4;
  std::size_t max_body_bytes = 3 * 1024 * 1024;  // more is 413
  std::size_t max_header_bytes = 64 * 1024;      // more is 431
  std::size_t max_connections = 8192;            // more are closed at once
  // Against slow and dead clients: the pause before a whole head has arrived, before a whole body has, and
  // before any one write has been taken.
  std::chrono::milliseconds head_timeout{60'000};
  std::chrono::milliseconds body_timeout{30'000};
  std::chrono::milliseconds write_timeout{30'000};
  // How long stop() lets requests finish.
  std::chrono::milliseconds grace{5'000};
  // The answer to what never reaches the handler (400, 413, 431, 500, 505); plain text without it.
  std::function<Response(int status, std::string_view message)> refuse;
};

// One thread for all sockets, `workers` for the handler. TLS and authentication belong between the socket and
// the session (server.cc), and are not there yet: listen only where file modes or the host protect.
class Server {
 public:
  static Result<std::unique_ptr<Server>> start(ServerOptions options, Handler handler);
  ~Server();  // stops
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // With the ports the kernel chose.
  const std::vector<Endpoint>& endpoints() const;

  // Takes no more connections, lets requests in work finish, ends streams, closes. Idempotent.
  void stop();

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::http
