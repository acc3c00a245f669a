// Requests and responses as values, and bodies that are produced as they go.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ocicat::http {

struct Header {
  std::string name;
  std::string value;
};
using Headers = std::vector<Header>;

// The first header of that name, in any case; empty where there is none.
std::string_view find(const Headers& headers, std::string_view name);

struct Request {
  std::string method = "GET";
  std::string target = "/";  // path and query, still percent-encoded
  Headers headers;
  std::string body;
};

// A body sent chunk by chunk, for as long as it has something to say. Pulled, so a slow reader costs what its
// source keeps, and no buffer in between. All calls come from the server's own thread, one at a time.
class Stream {
 public:
  virtual ~Stream() = default;

  // What to send next. Empty: nothing now. Nothing: the end.
  virtual std::optional<std::string> next() = 0;

  // Called once, before next(). After next() has returned an empty chunk, `wake` is called as soon as there
  // is more: from any thread, but never after the stream has been destroyed.
  virtual void on_more(std::function<void()> wake) = 0;

  // When next() is to be called again even without a wake.
  virtual std::optional<std::chrono::steady_clock::time_point> wake_at() { return std::nullopt; }
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  Headers headers;
  std::string body;
  std::shared_ptr<Stream> stream;  // instead of `body`
};

// A target taken apart: "/apis/a%20b?x=1&y" → path "/apis/a%20b", segments {"apis", "a b"}, query
// {{"x","1"},{"y",""}}.
struct Target {
  std::string path;
  std::vector<std::string> segments;
  std::vector<std::pair<std::string, std::string>> query;

  // Nothing for text that is no target: it does not begin with "/", or has a broken percent-encoding.
  static std::optional<Target> parse(std::string_view text);
  // The first value of that name; empty where there is none.
  std::string_view parameter(std::string_view name) const;
};

// For one path segment or query value: everything outside RFC 3986 "unreserved" as %XX.
std::string percent_encode(std::string_view text);

}  // namespace ocicat::http
