// What single values must look like: the check= names of the field tables and their number-or-string types.
//
// Each check returns what is wrong and what would be right, or "" for a value that is fine.
#pragma once

#include <boost/json/value.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ocicat::schema {

using ValueCheck = std::function<std::string(const boost::json::value&)>;

// By its name in the tables ("net", "selector", "Port", "int32", "oneof=A|B", "gte=1"); nothing for an unknown name.
std::optional<ValueCheck> find_check(std::string_view name);

// For rules, the same checks on text.
std::string check_text(std::string_view check_name, std::string_view text);

// Kubernetes' names, as fields and metadata use them. "" or what is wrong.
std::string check_label_key(std::string_view key);
std::string check_label_value(std::string_view value);
std::string check_dns_label(std::string_view text);      // RFC 1123 label: 1 to 63 of [a-z0-9-]
std::string check_dns_subdomain(std::string_view text);  // labels joined by dots, at most 253

}  // namespace ocicat::schema
