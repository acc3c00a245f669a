// The other end: one connection, one request at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "http/endpoint.h"
#include "http/loop.h"
#include "http/message.h"

namespace ocicat::http {

struct Timeouts {
  std::chrono::milliseconds connect{5'000};
  std::chrono::milliseconds head{30'000};  // from the request to the whole head of the response
  std::chrono::milliseconds data{30'000};  // between two pieces of the body
};

// Called on the loop's thread. `on_head` comes at most once and before any `on_data`; `on_end` comes exactly
// once, last, unless the connection is destroyed first. Any of them may destroy the connection or, in
// `on_end`, send again.
struct Callbacks {
  std::function<void(int status, const Headers& headers)> on_head;
  std::function<void(std::string_view data)> on_data;
  std::function<void(Result<void>)> on_end;  // kUnavailable: no connection, broken off, too slow
};

// Keeps the connection between requests, and opens a new one where the old one is gone; also where the server
// closes it just when it is asked, as long as the request changes nothing (GET).
class Connection {
 public:
  // The loop must outlive the connection.
  Connection(Loop& loop, Endpoint endpoint, Timeouts timeouts = {});
  ~Connection();  // cancels; no callback comes after it
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Only when no other request is under way.
  void send(Request request, Callbacks callbacks);

 private:
  class Session;
  std::shared_ptr<Session> session_;
};

// Sends and waits for the whole response, on a loop of its own: for command lines, tests and other callers
// that may block.
class BlockingClient {
 public:
  explicit BlockingClient(Endpoint endpoint, Timeouts timeouts = {});
  ~BlockingClient();

  Result<Response> send(Request request);
  // Calls `on_data` for each piece until it returns false or the body ends. For a status other than 200 the
  // whole body comes back in the response, and `on_data` is not called.
  Result<Response> stream(Request request, const std::function<bool(std::string_view)>& on_data);

 private:
  Endpoint endpoint_;
  Timeouts timeouts_;
  Loop loop_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace ocicat::http
