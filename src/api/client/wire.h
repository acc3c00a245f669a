// How the API's requests and answers look: paths, errors, lines of a watch.
#pragma once

#include <boost/json/object.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "api/client/client.h"
#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat::api {

// "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies/web"; without a name the collection, without a
// namespace that of all namespaces.
std::string path_of(Kind kind, const std::optional<std::string>& ns, std::string_view name = {});
std::string path_of(const ResourceKey& key);

// What an answer other than 2xx means. The message is the one of the `Status` in the body, where there is
// one.
Error error_of(int status, std::string_view body);

// Parts of what is parsed must not outlive it by long: they keep all of its memory.
Result<boost::json::value> parse_json(std::string_view text);
// kUnavailable where the body is not a JSON object: whoever answered is not an API server.
Result<boost::json::object> parse_object(std::string_view text);

// {"type":"ADDED","object":{…}}. An ERROR event comes back as the error it holds (kExpired for 410).
Result<Client::Event> parse_event(std::string_view line);

// metadata.resourceVersion; empty where there is none.
std::string_view resource_version_of(const boost::json::object& object);
// A list that is all there, as ListReader has it.
Result<Listed> parse_list(Kind kind, std::string_view body);

// Cuts a stream into lines. kExhausted where one is longer than any object may be.
class Lines {
 public:
  // Calls `on_line` for every complete line until it returns false.
  Result<void> feed(std::string_view data, const std::function<bool(std::string_view)>& on_line);

 private:
  std::string rest_;
};

}  // namespace ocicat::api
