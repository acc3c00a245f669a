#include "views/json_read.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

namespace ocicat::views {
namespace {

std::string text_of(const boost::json::value& value) {
  if (value.is_null()) return {};
  if (const auto* text = value.if_string()) return std::string(*text);
  return boost::json::serialize(value);
}

}  // namespace

const boost::json::value* find_at(const boost::json::object& object, Path path) {
  const boost::json::object* here = &object;
  const boost::json::value* found = nullptr;
  for (const std::string_view word : path) {
    if (!here) return nullptr;
    found = here->if_contains(word);
    if (!found) return nullptr;
    here = found->if_object();
  }
  return found;
}

std::string text_at(const boost::json::object& object, Path path) {
  const auto* value = find_at(object, path);
  return value ? text_of(*value) : std::string();
}

std::uint64_t number_at(const boost::json::object& object, Path path) {
  const auto* value = find_at(object, path);
  if (!value) return 0;
  if (value->is_uint64()) return value->get_uint64();
  if (value->is_int64()) return value->get_int64() < 0 ? 0 : static_cast<std::uint64_t>(value->get_int64());
  std::uint64_t number = 0;
  if (const auto* text = value->if_string())
    std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

std::string list_at(const boost::json::object& object, Path path, std::string_view separator) {
  const auto* value = find_at(object, path);
  const auto* array = value ? value->if_array() : nullptr;
  std::string out;
  if (!array) return out;
  for (const auto& element : *array) {
    if (!out.empty()) out += separator;
    out += text_of(element);
  }
  return out;
}

std::string age_text(std::chrono::system_clock::duration age) {
  const auto seconds =
      std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count());
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

}  // namespace ocicat::views
