// Checks of text: addresses, names, keys and the rest of the tables' check= names that are about strings.
#pragma once

#include <string>
#include <string_view>

namespace ocicat::schema {

// What is wrong with the text and what would be right, or "".
using TextCheck = std::string (*)(std::string_view);

// By its name in the tables; nullptr for a name that is no check of text.
TextCheck find_text_check(std::string_view name);

// Kubernetes' names, as fields and metadata use them.
std::string check_label_key(std::string_view key);
std::string check_label_value(std::string_view value);
std::string check_dns_label(std::string_view text);      // RFC 1123 label: 1 to 63 of [a-z0-9-]
std::string check_dns_subdomain(std::string_view text);  // labels joined by dots, at most 253

}  // namespace ocicat::schema
