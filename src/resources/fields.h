// Reading the fields of JSON objects that nobody has checked.
//
// An absent field and a null are the same. The message of an error begins with the path of the field,
// relative to the object that was read; who read that object puts its own path in front (`inside`).
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "resources/types.h"

namespace ocicat::fields {

// The value as a message shows it: short, whatever it is.
std::string shown(const boost::json::value& value);

// "path: what is wrong".
[[nodiscard]] std::unexpected<Error> wrong(std::string_view path, std::string_view what);
// The same, with the value between.
[[nodiscard]] std::unexpected<Error> wrong(std::string_view path, const boost::json::value& value,
                                           std::string_view what);
// The same error, seen from the object around: "spec" and "selector: …" make "spec.selector: …".
[[nodiscard]] std::unexpected<Error> inside(std::string_view path, Error error);
[[nodiscard]] std::unexpected<Error> inside(std::string_view path, std::size_t index, Error error);

// nullptr where absent.
const boost::json::value* find(const boost::json::object& object, std::string_view name);

// Each of these fails where the field is there but of another type; where it is absent it is nullptr, empty,
// false or nothing. Views and pointers point into the document.
Result<const boost::json::object*> object_at(const boost::json::object& object, std::string_view name);
Result<const boost::json::array*> array_at(const boost::json::object& object, std::string_view name);
Result<std::string_view> string_at(const boost::json::object& object, std::string_view name);
Result<bool> bool_at(const boost::json::object& object, std::string_view name);
Result<std::optional<double>> number_at(const boost::json::object& object, std::string_view name);
// Whole, and within the bounds.
Result<std::optional<std::int64_t>> integer_at(const boost::json::object& object, std::string_view name,
                                               std::int64_t least, std::int64_t most);
Result<std::vector<std::string>> strings_at(const boost::json::object& object, std::string_view name);
Result<std::vector<Prefix>> prefixes_at(const boost::json::object& object, std::string_view name);
// An object whose values are all strings; `prefix` goes before each name.
Result<Labels> labels_at(const boost::json::object& object, std::string_view name,
                         std::string_view prefix = {});
// Sorts what need not be sorted, once: a flat_map filled one by one in a hostile order costs the square.
Labels labels_from(Labels::sequence_type entries);
// A selector that parses; its text as written.
Result<std::string> selector_at(const boost::json::object& object, std::string_view name);
// Objects of a list, in order: nullptr entries there are none.
Result<std::vector<const boost::json::object*>> objects_at(const boost::json::object& object,
                                                           std::string_view name);

// Fails where a field is there that is not among these: for objects of which each field narrows what is
// meant, so that one which a newer API has must not be passed over.
Result<void> nothing_but(const boost::json::object& object, std::initializer_list<std::string_view> known);

// The value as a string, where it is one.
inline std::optional<std::string_view> text_of(const boost::json::value& value) {
  const auto* text = value.if_string();
  if (text == nullptr) return std::nullopt;
  return std::string_view(text->data(), text->size());
}

inline std::string_view view(boost::json::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace ocicat::fields
