#include "resources/fields.h"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "resources/selector/selector.h"

namespace ocicat::fields {
namespace json = boost::json;

namespace {

constexpr std::size_t kShown = 60;

std::string join(std::string_view path, std::string_view rest) {
  return fmt::format("{}{}{}", path, rest.starts_with('[') ? "" : ".", rest);
}

}  // namespace

std::string shown(const json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  const auto text = text_of(value);
  if (text && text->size() > kShown) return fmt::format("\"{}…\"", text->substr(0, kShown));
  return json::serialize(value);
}

std::unexpected<Error> wrong(std::string_view path, std::string_view what) {
  return fail(ErrorCode::kInvalid, "{}: {}", path, what);
}

std::unexpected<Error> wrong(std::string_view path, const json::value& value, std::string_view what) {
  return fail(ErrorCode::kInvalid, "{}: {}: {}", path, shown(value), what);
}

std::unexpected<Error> inside(std::string_view path, Error error) {
  error.message = join(path, error.message);
  return std::unexpected(std::move(error));
}

std::unexpected<Error> inside(std::string_view path, std::size_t index, Error error) {
  return inside(fmt::format("{}[{}]", path, index), std::move(error));
}

const json::value* find(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<const json::object*> object_at(const json::object& object, std::string_view name) {
  const auto* value = find(object, name);
  if (value == nullptr) return nullptr;
  if (const auto* found = value->if_object()) return found;
  return wrong(name, *value, "must be an object");
}

Result<const json::array*> array_at(const json::object& object, std::string_view name) {
  const auto* value = find(object, name);
  if (value == nullptr) return nullptr;
  if (const auto* found = value->if_array()) return found;
  return wrong(name, *value, "must be a list");
}

Result<std::string_view> string_at(const json::object& object, std::string_view name) {
  const auto* value = find(object, name);
  if (value == nullptr) return std::string_view();
  if (const auto text = text_of(*value)) return *text;
  return wrong(name, *value, "must be a string");
}

Result<bool> bool_at(const json::object& object, std::string_view name) {
  const auto* value = find(object, name);
  if (value == nullptr) return false;
  if (const auto* found = value->if_bool()) return *found;
  return wrong(name, *value, "must be true or false");
}

Result<std::optional<double>> number_at(const json::object& object, std::string_view name) {
  const auto* value = find(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return wrong(name, *value, "must be a number");
  if (const auto* whole = value->if_int64()) return static_cast<double>(*whole);
  if (const auto* large = value->if_uint64()) return static_cast<double>(*large);
  const auto number = value->get_double();
  if (!std::isfinite(number)) return wrong(name, *value, "must be a finite number");
  return number;
}

Result<std::optional<std::int64_t>> integer_at(const json::object& object, std::string_view name,
                                               std::int64_t least, std::int64_t most) {
  const auto* value = find(object, name);
  if (value == nullptr) return std::nullopt;
  const auto* whole = value->if_int64();
  if (whole == nullptr || *whole < least || *whole > most) {
    return wrong(name, *value, fmt::format("must be a whole number from {} to {}", least, most));
  }
  return *whole;
}

Result<std::vector<std::string>> strings_at(const json::object& object, std::string_view name) {
  TRY(const auto* array, array_at(object, name));
  std::vector<std::string> strings;
  if (array == nullptr) return strings;
  strings.reserve(array->size());
  for (const auto& value : *array) {
    const auto text = text_of(value);
    if (!text) return wrong(fmt::format("{}[{}]", name, strings.size()), value, "must be a string");
    strings.emplace_back(*text);
  }
  return strings;
}

Result<std::vector<Prefix>> prefixes_at(const json::object& object, std::string_view name) {
  TRY(const auto* array, array_at(object, name));
  std::vector<Prefix> prefixes;
  if (array == nullptr) return prefixes;
  prefixes.reserve(array->size());
  for (const auto& value : *array) {
    const auto text = text_of(value);
    const auto prefix = text ? Prefix::parse(*text, true) : std::nullopt;
    if (!prefix)
      return wrong(fmt::format("{}[{}]", name, prefixes.size()), value, "must be a CIDR or an IP address");
    prefixes.push_back(*prefix);
  }
  return prefixes;
}

Result<Labels> labels_at(const json::object& object, std::string_view name, std::string_view prefix) {
  TRY(const auto* stated, object_at(object, name));
  Labels::sequence_type labels;
  if (stated == nullptr) return Labels();
  labels.reserve(stated->size() + 3);  // room for what the kinds add
  for (const auto& [key, value] : *stated) {
    const auto text = text_of(value);
    if (!text)
      return wrong(fmt::format("{}.{}", name, view(key).substr(0, kShown)), value, "must be a string");
    auto& label = labels.emplace_back();
    label.first.reserve(prefix.size() + key.size());
    label.first.append(prefix).append(view(key));
    label.second = *text;
  }
  return labels_from(std::move(labels));
}

Labels labels_from(Labels::sequence_type entries) {
  // The API sends labels sorted; keys of one object are unique.
  constexpr auto kName = &Labels::sequence_type::value_type::first;
  if (!std::ranges::is_sorted(entries, {}, kName)) std::ranges::sort(entries, {}, kName);
  Labels labels;
  labels.adopt_sequence(boost::container::ordered_unique_range, std::move(entries));
  return labels;
}

Result<std::string> selector_at(const json::object& object, std::string_view name) {
  TRY(const auto text, string_at(object, name));
  if (!text.empty()) {
    const auto selector = Selector::check(text);
    if (!selector) return wrong(name, *find(object, name), selector.error().message);
  }
  return std::string(text);
}

Result<std::vector<const json::object*>> objects_at(const json::object& object, std::string_view name) {
  TRY(const auto* array, array_at(object, name));
  std::vector<const json::object*> objects;
  if (array == nullptr) return objects;
  objects.reserve(array->size());
  for (const auto& value : *array) {
    const auto* entry = value.if_object();
    if (entry == nullptr)
      return wrong(fmt::format("{}[{}]", name, objects.size()), value, "must be an object");
    objects.push_back(entry);
  }
  return objects;
}

Result<void> nothing_but(const json::object& object, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : object) {
    if (value.is_null() || std::ranges::find(known, view(name)) != known.end()) continue;
    return wrong(view(name).substr(0, kShown), value, "is no field that this version knows");
  }
  return {};
}

}  // namespace ocicat::fields
