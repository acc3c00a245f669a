// The API: from a request to its answer. Knows no sockets.
#pragma once

#include <chrono>
#include <memory>

#include "api/server/body.h"
#include "api/server/writer.h"
#include "http/message.h"
#include "store/store.h"

namespace ocicat::api {

// Safe for any number of threads. The store must outlive it and the streams it has answered with.
class Router {
 public:
  using Respond = std::function<void(http::Response)>;

  using Clock = std::chrono::steady_clock;
  using Now = std::function<Clock::time_point()>;  // when it is, to watches that end and show where they are

  explicit Router(store::Store& store, Now now = Clock::now);

  // Makes the built-in tiers where they are missing.
  Result<void> ensure_built_ins();

  // Answers once: at once for reads, from the store's thread for writes.
  void handle(const http::Request& request, const Respond& respond);

 private:
  void resource(const http::Request& request, const http::Target& target, const Location& location,
                const Respond& respond);
  Answer<http::Response> read(const http::Target& target, const Location& location);
  void write(const http::Request& request, const http::Target& target, const Location& location,
             const Respond& respond);
  Answer<http::Response> information(const http::Request& request, const http::Target& target);
  http::Response status() const;

  store::Store& store_;
  Writer writer_;
  const Now now_;
  const Clock::time_point started_ = now_();
};

}  // namespace ocicat::api
