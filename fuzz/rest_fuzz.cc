// Requests to the API server, without sockets, over a store in memory that lives as long as the process: so a
// history of requests is tried, not only single ones.
//
// The input is a list of requests, one after the other: a line "METHOD TARGET [CONTENT-TYPE]", then the body
// up to a line with a single "." or the end.
#include <boost/json/parse.hpp>

#include <cstdint>
#include <future>
#include <memory>
#include <string_view>

#include "api/server/router.h"
#include "base/result.h"
#include "store/sqlite/sqlite_store.h"

namespace {

using namespace ocicat;

struct Server {
  std::unique_ptr<store::Store> store;
  std::unique_ptr<api::Router> router;

  Server() {
    auto opened = store::open_sqlite_store({":memory:", {.events = 64, .bytes = 1 << 20}, {}});
    CHECK(opened);
    store = *std::move(opened);
    router = std::make_unique<api::Router>(*store);
    CHECK(router->ensure_built_ins());
  }
};

std::string_view take_until(std::string_view& text, std::string_view end) {
  const auto at = text.find(end);
  const auto taken = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
  return taken;
}

// What must hold for every answer.
void check(const http::Response& response) {
  CHECK(response.status >= 200 && response.status < 600 && response.status != 500);
  if (response.stream) {
    for (int i = 0; i < 4; ++i) {
      const auto piece = response.stream->next();
      if (!piece || piece->empty()) break;
    }
    return;
  }
  if (response.content_type != "application/json") return;
  boost::system::error_code error;
  const auto value = boost::json::parse(response.body, error, {}, {.max_depth = 256});
  CHECK(!error && value.is_object());
  // Refusals are Status objects that repeat the code.
  if (response.status >= 400) CHECK(value.at("kind") == "Status" && value.at("code") == response.status);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (int requests = 0; !text.empty() && requests < 16; ++requests) {
    auto line = take_until(text, "\n");
    http::Request request;
    request.method = take_until(line, " ");
    request.target = take_until(line, " ");
    if (!line.empty()) request.headers.push_back({"Content-Type", std::string(line)});
    request.body = take_until(text, "\n.\n");
    std::promise<http::Response> answered;
    server.router->handle(request, [&](http::Response response) { answered.set_value(std::move(response)); });
    check(answered.get_future().get());
  }
  return 0;
}
