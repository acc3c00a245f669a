// ADD.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <variant>

#include "cni/attachment.h"
#include "cni/service/context.h"

namespace ocicat::cni {

// Another plugin is to be run first: with this for its ADD, and with DEL before where `again` says that one ran earlier.
struct Delegation {
  boost::json::object config;
  bool again = false;
};

// All of it or nothing: after a failure everything is taken back, or noted to be. Called again for an
// attachment that is there whole it answers as before.
Outcome<std::variant<Attachment, Delegation>> add(Context& context, const Call& call,
                                                  const std::string& namespace_path);

}  // namespace ocicat::cni
