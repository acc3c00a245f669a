// What single values must look like: the check= names of the field tables and their number-or-string types.
//
// Each check returns what is wrong and what would be right, or "" for a value that is fine.
#pragma once

#include <boost/json/value.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "resources/schema_text.h"

namespace ocicat::schema {

using ValueCheck = std::function<std::string(const boost::json::value&)>;

// By its name in the tables ("net", "selector", "Port", "int32", "oneof=A|B", "gte=1"); nothing for an
// unknown name.
std::optional<ValueCheck> find_check(std::string_view name);

// For rules, the same checks on text.
std::string check_text(std::string_view check_name, std::string_view text);

}  // namespace ocicat::schema
