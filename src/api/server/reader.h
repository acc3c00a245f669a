// Lists and watches as bodies of responses.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "api/server/failure.h"
#include "api/server/selection.h"
#include "http/message.h"
#include "store/store.h"

namespace ocicat::api {

// {"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[…]}. Sent piece by piece
// where it is long.
http::Response list_response(Kind kind, store::Listing listing, const Selection& selection);

// How often a quiet watch that asked for bookmarks gets one, if the revision has moved.
inline constexpr std::chrono::seconds kBookmarkPause{5};

struct WatchRequest {
  Kind kind{};
  std::optional<std::string> ns;
  Selection selection;
  store::Revision after = 0;  // 0: begin with what is there, as ADDED
  std::string incarnation;    // which gave out `after`; empty: the reader does not say
  bool bookmarks = false;
  std::chrono::seconds bookmark_pause = kBookmarkPause;
  std::optional<std::chrono::seconds> timeout;
};

// {"type":"ADDED","object":{…}} and so on, one a line. A watch that history has overtaken ends with an ERROR
// whose object is a Status of code 410; one that begins too far back is refused with it (kExpired).
Answer<std::shared_ptr<http::Stream>> watch_stream(
    store::Store& store, WatchRequest request,
    std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now);

}  // namespace ocicat::api
