#include "resources/rules_scope.h"

#include <algorithm>

namespace ocicat::rules {

namespace json = boost::json;

bool is_zero(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return true;
    case json::kind::bool_:
      return !value.get_bool();
    case json::kind::int64:
      return value.get_int64() == 0;
    case json::kind::uint64:
      return value.get_uint64() == 0;
    case json::kind::double_:
      return value.get_double() == 0;
    case json::kind::string:
      return value.get_string().empty();
    case json::kind::array:
      return value.get_array().empty();
    case json::kind::object:
      return std::ranges::all_of(value.get_object(),
                                 [](const auto& field) { return is_zero(field.value()); });
  }
  return false;
}

const json::value* Scope::find(std::string_view key) const {
  return object_.if_contains(key);
}

std::string_view Scope::text(std::string_view key) const {
  const auto* value = find(key);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

std::optional<std::int64_t> Scope::number(std::string_view key) const {
  const auto* value = find(key);
  const auto* number = value == nullptr ? nullptr : value->if_int64();
  return number == nullptr ? std::nullopt : std::optional(*number);
}

const json::object* Scope::object(std::string_view key) const {
  const auto* value = find(key);
  return value == nullptr ? nullptr : value->if_object();
}

const json::array* Scope::list(std::string_view key) const {
  const auto* value = find(key);
  return value == nullptr ? nullptr : value->if_array();
}

bool Scope::is_true(std::string_view key) const {
  const auto* value = find(key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

bool Scope::is_set(std::string_view key) const {
  const auto* value = find(key);
  return value != nullptr && !is_zero(*value);
}

void Scope::complain(std::string_view key, std::string rule) const {
  const Place here(place_, key);
  if (const auto* value = find(key)) {
    findings_.add(here, *value, std::move(rule));
  } else {
    findings_.add(here, std::move(rule));
  }
}

void Scope::complain(std::string_view key, std::size_t index, std::string rule) const {
  const Place list_place(place_, key);
  findings_.add(Place(list_place, index), list(key)->at(index), std::move(rule));
}

}  // namespace ocicat::rules
