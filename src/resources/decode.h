// From a stored document to a value the engine computes from.
#pragma once

#include <boost/json/object.hpp>

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "resources/types.h"

namespace ocicat {

// Reads what is needed and ignores the rest, so that a document of a newer version still decodes. Does not
// assume that validate() ever saw it: an agent may read from a server it does not trust.
//
// Fails closed. A policy or profile whose rules cannot be read, but whose selector can, comes back with
// `broken` set. An error means that not even whom it concerns could be read: the caller keeps the last value
// it had.
//
// A document of a right kind that is no endpoint at the moment, such as a pod that has finished or uses its
// host's network, comes back as one without addresses. Labels of policies and tiers decide nothing and are
// left out.
Result<Resource> decode(Kind kind, const boost::json::object& json);

// A WorkloadEndpoint from the text of its document, in a third of the time that a parser and decode() take.
//
// What decode() makes of the document with which the text begins goes into `endpoint`, a new one, where the document is
// plain (plain_json.h) and has no more than nearly all of them have. Returns how long it is; 0: it is for a parser and
// decode() to tell, and what `endpoint` has come to means nothing. kind and apiVersion may be missing.
std::size_t read_plain_endpoint(std::string_view text, WorkloadEndpoint& endpoint);

// The key under which a document is kept; fails where kind or name are missing.
Result<ResourceKey> key_of(const boost::json::object& json);

// The name of a workload endpoint, computed from what it belongs to; dashes inside a component are doubled
// (validation.md 7.5): "host1", "k8s", "frontend", "eth0" → "host1-k8s-frontend-eth0".
std::string workload_endpoint_name(std::string_view node, std::string_view orchestrator,
                                   std::string_view workload, std::string_view endpoint);
// "cali" and 11 hex digits of SHA-1("ns.pod").
std::string workload_interface_name(std::string_view ns, std::string_view pod);

}  // namespace ocicat
