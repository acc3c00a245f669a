// From the body of a request to a checked object.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <vector>

#include "api/server/failure.h"
#include "http/message.h"
#include "store/store.h"

namespace ocicat::api {

// Where a request points: "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME".
struct Location {
  Kind kind{};
  std::optional<std::string> ns;  // nothing: not in the path
  std::string name;               // empty: the collection

  ResourceKey key() const { return {kind, ns.value_or(""), name}; }
};

struct Submitted {
  ResourceKey key;
  boost::json::object object;  // validated, defaults filled in, without what the server decides
  std::string uid;             // as sent, for preconditions
  store::Revision revision = 0;
  std::vector<std::string> warnings;  // about what is accepted and does nothing
};

// 415, 400 (not an object, or of another place than the path says), 422 (breaks a rule; all complaints).
Answer<Submitted> read_object(const http::Request& request, const Location& location);

// The body of a DELETE, which may be empty: Kubernetes' DeleteOptions.
struct DeleteOptions {
  std::string uid;
  store::Revision revision = 0;
  bool dry_run = false;
  bool orphan = false;  // propagationPolicy Orphan
};
Answer<DeleteOptions> read_delete_options(const http::Request& request);

// A resourceVersion as text; "" and "0" are 0. Nothing for anything but a number.
std::optional<store::Revision> parse_revision(std::string_view text);

}  // namespace ocicat::api
