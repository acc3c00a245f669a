#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "resources/document.h"
#include "resources/schema.h"

namespace ocicat::schema {

namespace json = boost::json;

void Findings::add(const Place& place, const json::value& value, std::string rule) {
  if (full()) return;
  findings_.push_back({place.to_string(), shortened(value), std::move(rule)});
}

void Findings::add(const Place& place, std::string rule) {
  if (full()) return;
  findings_.push_back({place.to_string(), "", std::move(rule)});
}

namespace {

// Edits that turn one word into the other: insertions, deletions, replacements, neighbours swapped.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> edits(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        edits[i][j] = i + j;
        continue;
      }
      const bool same = a[i - 1] == b[j - 1];
      edits[i][j] =
          std::min({edits[i - 1][j] + 1, edits[i][j - 1] + 1, edits[i - 1][j - 1] + (same ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) edits[i][j] = std::min(edits[i][j], edits[i - 2][j - 2] + 1);
    }
  }
  return edits[a.size()][b.size()];
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

// Characters, not bytes, as Kubernetes counts.
std::size_t length_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool is_zero(const json::value& value) {
  if (const auto* text = value.if_string()) return text->empty();
  if (const auto* list = value.if_array()) return list->empty();
  if (const auto* number = value.if_int64()) return *number == 0;
  return false;
}

class Checker {
 public:
  explicit Checker(Findings& findings) : findings_(findings) {}

  void object(const Field& table, json::object& object, const Place& place) {
    drop_nulls(object);
    check_size(table, object.size(), "fields", place);
    for (auto& [key, value] : object) {
      const Place here(place, std::string_view(key));
      if (const Field* field = table.find(key)) {
        this->field(*field, value, here);
      } else {
        unknown(table, key, value, here);
      }
    }
    for (const Field& field : table.fields) {
      if (object.contains(field.name)) continue;
      if (field.default_value) {
        object.emplace(field.name, *field.default_value);
      } else if (field.required || field.non_zero) {
        findings_.add(Place(place, field.name), missing(field));
      }
    }
  }

 private:
  // A null is a field that was not written. Lists keep theirs: there it is a value, and mostly a wrong one.
  static void drop_nulls(json::object& object) {
    for (auto at = object.begin(); at != object.end();) {
      at = at->value().is_null() ? object.stable_erase(at) : std::next(at);
    }
  }

  static std::string missing(const Field& field) {
    if (field.one_of.empty()) return "required, and missing";
    return fmt::format("required, and missing; one of {}", words_of(field));
  }

  // Those that it may be; "" where that is one.
  static std::string words_of(const Field& field) {
    std::string text;
    for (const std::string_view word : field.one_of)
      text += fmt::format("{}{}", text.empty() ? "" : ", ", word.empty() ? R"("")" : word);
    return text;
  }

  void unknown(const Field& table, std::string_view key, const json::value& value, const Place& place) {
    if (findings_.full()) return;  // looking for a close name is the costly part
    std::vector<std::string_view> known;
    known.reserve(table.fields.size());
    for (const Field& field : table.fields) known.push_back(field.name);
    std::string rule = "unknown field";
    if (auto hint = did_you_mean(key, known); !hint.empty()) {
      rule += "; " + hint;
    } else if (known.size() <= 16) {
      std::ranges::sort(known);
      rule += fmt::format("; known here: {}", fmt::join(known, ", "));
    }
    findings_.add(place, value, std::move(rule));
  }

  // A value at a field, or as an item of one.
  void field(const Field& field, json::value& value, const Place& place, bool is_item = false) {
    if (!has_type(field, value)) return findings_.add(place, value, type_rule(field, value));
    if (field.non_zero && is_zero(value)) return findings_.add(place, value, "must not be empty");
    scalar(field, value, place, is_item);
    if (auto* nested = value.if_object()) {
      if (field.type == Type::kObject) object(field, *nested, place);
      if (field.type == Type::kMap) map(field, *nested, place);
    } else if (auto* list = value.if_array(); list != nullptr && field.type == Type::kList) {
      this->list(field, *list, place);
    }
  }

  // The first rule that is broken is enough for one value.
  void scalar(const Field& field, const json::value& value, const Place& place, bool is_item) {
    std::string rule = outside_enum(field, value);
    if (rule.empty()) rule = outside_bounds(field, value);
    for (const auto& check : field.formats) {
      if (rule.empty()) rule = check(value);
    }
    const bool unset = !is_item && value.is_string() && value.get_string().empty();
    for (const auto& check : field.checks) {
      if (rule.empty() && !unset) rule = check(value);
    }
    if (!rule.empty()) findings_.add(place, value, std::move(rule));
  }

  static std::string outside_enum(const Field& field, const json::value& value) {
    if (field.one_of.empty() || field.type == Type::kList) return {};
    const std::string text =
        value.is_string() ? std::string(std::string_view(value.get_string())) : json::serialize(value);
    if (std::ranges::find(field.one_of, text) != field.one_of.end()) return {};
    return fmt::format("must be one of {}", words_of(field));
  }

  static std::string outside_bounds(const Field& field, const json::value& value) {
    if (const auto* text = value.if_string()) {
      const std::size_t length = length_of(*text);
      if (field.max_size && length > *field.max_size)
        return fmt::format("must be at most {} characters; it has {}", *field.max_size, length);
      if (field.min_size && length < *field.min_size)
        return fmt::format("must be at least {} characters", *field.min_size);
      if (field.pattern &&
          !re2::RE2::PartialMatch(re2::StringPiece(text->data(), text->size()), *field.pattern)) {
        return field.pattern_rule;
      }
    }
    if (!value.is_number() || (!field.min && !field.max)) return {};
    const double number = value.to_number<double>();
    if ((!field.min || number >= static_cast<double>(*field.min)) &&
        (!field.max || number <= static_cast<double>(*field.max)))
      return {};
    if (field.min && field.max) return fmt::format("must be from {} to {}", *field.min, *field.max);
    return field.min ? fmt::format("must be at least {}", *field.min)
                     : fmt::format("must be at most {}", *field.max);
  }

  void list(const Field& field, json::array& items, const Place& place) {
    check_size(field, items.size(), "items", place);
    std::set<std::string> seen;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (field.element->nullable && items[i].is_null()) continue;
      const Place here(place, i);
      this->field(*field.element, items[i], here, true);
      if (field.items_are_unique && !seen.insert(json::serialize(items[i])).second) {
        findings_.add(here, items[i], "stands in the list twice");
      }
      if (field.unique_key.empty() || !items[i].is_object()) continue;
      const auto* key = items[i].get_object().if_contains(field.unique_key);
      if (key != nullptr && !seen.insert(json::serialize(*key)).second) {
        findings_.add(Place(here, field.unique_key), *key, "another item of the list has it already");
      }
    }
  }

  void map(const Field& field, json::object& object, const Place& place) {
    drop_nulls(object);
    check_size(field, object.size(), "keys", place);
    for (auto& [key, value] : object) {
      const Place here(place, std::string_view(key));
      if (field.keys_are_labels) label(key, value, here);
      this->field(*field.element, value, here, true);
    }
  }

  void label(std::string_view key, const json::value& value, const Place& place) {
    if (auto rule = check_label_key(key); !rule.empty()) findings_.add(place, "the key " + rule);
    if (!value.is_string()) return;
    if (auto rule = check_label_value(value.get_string()); !rule.empty())
      findings_.add(place, value, std::move(rule));
  }

  void check_size(const Field& field, std::size_t size, std::string_view what, const Place& place) {
    if (field.max_size && size > *field.max_size) {
      findings_.add(place, fmt::format("must have at most {} {}; it has {}", *field.max_size, what, size));
    }
    if (field.min_size && size < *field.min_size) {
      findings_.add(place, fmt::format("must have at least {} {}", *field.min_size, what));
    }
  }

  static bool has_type(const Field& field, json::value& value) {
    if (value.is_double() && (field.type == Type::kInteger || field.type == Type::kIntOrString)) {
      const double number = value.get_double();
      constexpr double kExact = 9007199254740992.0;  // beyond 2^53 a double names no single integer
      if (number == std::trunc(number) && std::abs(number) <= kExact)
        value = static_cast<std::int64_t>(number);
    }
    switch (field.type) {
      case Type::kAny:
        return true;
      case Type::kObject:
      case Type::kMap:
        return value.is_object();
      case Type::kList:
        return value.is_array();
      case Type::kString:
        return value.is_string();
      case Type::kInteger:
        return value.is_int64() || value.is_uint64();
      case Type::kNumber:
        return value.is_number();
      case Type::kBoolean:
        return value.is_bool();
      case Type::kIntOrString:
        return value.is_int64() || value.is_uint64() || value.is_string();
    }
    return false;
  }

  static std::string type_rule(const Field& field, const json::value& value) {
    switch (field.type) {
      case Type::kAny:
        return {};
      case Type::kObject:
        return "must be a mapping of fields";
      case Type::kMap:
        return "must be a mapping of keys to values";
      case Type::kList:
        return "must be a list";
      case Type::kString:
        return value.is_primitive() && !value.is_null() ? "must be text; put it in quotes" : "must be text";
      case Type::kInteger:
        return "must be a whole number";
      case Type::kNumber:
        return "must be a number";
      case Type::kBoolean:
        return "must be true or false";
      case Type::kIntOrString:
        return "must be a whole number or text";
    }
    return {};
  }

  Findings& findings_;
};

}  // namespace

std::string did_you_mean(std::string_view written, const std::vector<std::string_view>& words) {
  constexpr std::size_t kLongest = 64;
  if (written.size() > kLongest) return {};
  std::string_view best;
  std::size_t least = std::max<std::size_t>(1, written.size() / 3) + 1;
  const std::string wanted = lower(written);
  for (const auto word : words) {
    if (std::max(word.size(), wanted.size()) - std::min(word.size(), wanted.size()) >= least) continue;
    const std::size_t edits = distance(wanted, lower(word));
    if (edits < least) {
      least = edits;
      best = word;
    }
  }
  return best.empty() ? std::string() : fmt::format("did you mean {}?", best);
}

void check(const Field& table, json::object& object, const Place& place, Findings& findings) {
  Checker(findings).object(table, object, place);
}

}  // namespace ocicat::schema
