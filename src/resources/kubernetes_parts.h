// What conversions of Kubernetes' policies share: its label selectors and ports in words of ours. Private to
// resources/.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "resources/types.h"

namespace ocicat::decoding {

// Pods of Kubernetes that the selector at `podSelector` selects; all where it is absent.
Result<std::string> pod_selector(const boost::json::object& owner);
// Namespaces that a label selector selects: "all()" where it is empty.
Result<std::string> namespace_selector(const boost::json::object& selector);
// Every pod of Kubernetes.
std::string any_pod();

// Can be the name of a port, for a rule to ask for.
bool is_port_name(std::string_view name);

// Named ports first, then the fewest ranges, ascending.
std::vector<Port> simplified(const std::vector<Port>& ports);

}  // namespace ocicat::decoding
