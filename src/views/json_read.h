// Reading documents that may be missing anything.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/time_text.h"

namespace ocicat::views {

using Path = std::initializer_list<std::string_view>;

// The value at {"metadata", "name"}; nullptr where there is none.
const boost::json::value* find_at(const boost::json::object& object, Path path);
// Strings as they are, other values as JSON; empty where there is none.
std::string text_at(const boost::json::object& object, Path path);
// A number, or a string of digits; 0 where there is neither.
std::uint64_t number_at(const boost::json::object& object, Path path);
// The elements of an array as text, joined; empty where there is none.
std::string list_at(const boost::json::object& object, Path path, std::string_view separator = ",");

// "12s", "5m", "3h", "2d", as kubectl's AGE; "0s" for the future.
std::string age_text(std::chrono::system_clock::duration age);

}  // namespace ocicat::views
