// Objects in the form that was asked for.
#pragma once

#include <boost/json/fwd.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "resources/kinds.h"

namespace ocicat::cli {

enum class Format { kTable, kWide, kJson, kYaml, kName };
std::optional<Format> parse_format(std::string_view text);  // "" is kTable

// JSON over several lines, two blanks a level.
std::string pretty(const boost::json::value& value);
// In kJson or kYaml; each ends with a line feed.
std::string document_text(const boost::json::value& value, Format format);
// {"apiVersion": "v1", "kind": "List", "items": [...]}
boost::json::object list_of(std::span<const boost::json::object> objects);
// "networkpolicy.projectcalico.org/frontend", "pod/frontend".
std::string short_name(const ResourceKey& key);

}  // namespace ocicat::cli
