// Refusals as the Kubernetes API words them: `Status` objects.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "resources/document.h"
#include "resources/kinds.h"

namespace ocicat::api {

// A field and what is wrong with it.
struct Cause {
  std::string field;
  std::string message;
};

struct Failure {
  int code = 500;
  std::string reason;  // "NotFound", "AlreadyExists", "Conflict", "Invalid" …
  std::string message;
  std::optional<Kind> kind;  // what it is about, for `details`
  std::string name;
  std::vector<Cause> causes;
};

template <class T>
using Answer = std::expected<T, Failure>;

// The store's word in the API's words.
Failure failure_of(const Error& error, const ResourceKey& key);
Failure bad_request(std::string message);                                    // 400
Failure not_found(std::string_view path);                                    // 404, nothing is at that path
Failure method_not_allowed(std::string_view method, std::string_view path);  // 405
Failure unsupported_media_type(std::string_view type);                       // 415
Failure expired(std::string message);                                        // 410
Failure invalid(const ResourceKey& key, std::vector<Cause> causes);          // 422
Failure invalid(const ResourceKey& key, const std::vector<Complaint>& complaints);
Failure forbidden(const ResourceKey& key, std::string_view why);  // 403

boost::json::object to_status(const Failure& failure);
http::Response to_response(const Failure& failure);

// "networkpolicies.projectcalico.org", "pods": what Kubernetes calls a kind in messages.
std::string resource_name(Kind kind);

}  // namespace ocicat::api
