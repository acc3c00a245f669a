// Reading the field tables. They are ours and embedded: a line that cannot be read is a broken invariant.
#include "resources/schema.h"

#include <fmt/format.h>
#include <boost/json/string.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <utility>

#include "base/result.h"

namespace ocicat::schema {

extern const char kTables[];  // schema/*.fields.txt, one after the other

namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// The words of a constraint column; blanks inside `…`, […] and (…) do not separate.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  int nesting = 0;
  bool quoted = false;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    const char c = at < text.size() ? text[at] : ' ';
    if (c == '`') quoted = !quoted;
    if (quoted) continue;
    if (c == '[' || c == '(') ++nesting;
    if (c == ']' || c == ')') --nesting;
    if (c != ' ' || (nesting > 0 && at < text.size())) continue;
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  return words;
}

template <class Number>
Number number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK(error == std::errc() && end == text.data() + text.size());
  return number;
}

std::string_view unquoted(std::string_view text) {
  const bool quoted =
      text.size() >= 2 && (text.front() == '\'' || text.front() == '`') && text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

// Where each kind's section and each pattern alias stands.
struct Index {
  std::map<std::string_view, std::string_view> sections;  // the name after KIND → its lines
  std::map<std::string_view, std::string_view> patterns;  // "@P1" → regular expression
};

const Index& tables() {
  static const Index kIndex = [] {
    Index index;
    std::string_view name;
    const char* begin = nullptr;
    const std::string_view text = kTables;
    for (const auto line : split(text, '\n')) {
      const bool is_last = line.data() + line.size() == text.data() + text.size();
      const bool ends = is_last || line.starts_with("====") || line.starts_with("####");
      if (ends && begin != nullptr) {
        index.sections.emplace(name, std::string_view(begin, static_cast<std::size_t>(line.data() - begin)));
        begin = nullptr;
      } else if (line.starts_with("KIND ")) {
        name = line.substr(5, line.find(' ', 5) - 5);
        begin = line.data();
      } else if (line.starts_with("#   @P")) {
        const auto parts = split(line, '`');
        index.patterns.emplace(line.substr(4, line.find(' ', 4) - 4), parts.at(1));
      }
    }
    return index;
  }();
  return kIndex;
}

class TableReader {
 public:
  // The fields of a section, as children of `root`.
  void read(std::string_view section, std::string_view kind_name, Field& root) {
    for (const auto line : split(section, '\n')) {
      if (!line.starts_with(kind_name) || line.size() <= kind_name.size() || line[kind_name.size()] != '.')
        continue;
      const auto columns = split(line, '\t');
      CHECK(columns.size() >= 2);
      Field& field = place(columns[0].substr(kind_name.size() + 1), root);
      set_type(columns[1], field);
      if (columns.size() > 2) set_constraints(columns[2], field);
    }
  }

 private:
  // "spec.ingress[].action" → the field; what it stands in comes before it in the table.
  static Field& place(std::string_view path, Field& root) {
    Field* at = &root;
    const auto parts = split(path, '.');
    for (std::size_t i = 0; i < parts.size(); ++i) {
      std::string_view part = parts[i];
      std::size_t depth = 0;
      for (; part.ends_with("[]") || part.ends_with("{}"); ++depth) part.remove_suffix(2);
      at = i + 1 == parts.size() ? &child(*at, part) : at->find(part);
      CHECK(at != nullptr);
      for (; depth > 0; --depth) at = at->element.get();
    }
    return *at;
  }

  static Field& child(Field& parent, std::string_view name) {
    parent.fields.emplace_back().name = name;
    return parent.fields.back();
  }

  void set_type(std::string_view type, Field& field) {
    if (type.starts_with("[]")) {
      field.type = Type::kList;
      field.element = std::make_unique<Field>();
      return set_type(type.substr(2), *field.element);
    }
    if (type.starts_with("map[string]")) {
      field.type = Type::kMap;
      field.element = std::make_unique<Field>();
      return set_type(type.substr(11), *field.element);
    }
    static const std::map<std::string_view, Type> kTypes{
        {"any", Type::kAny},
        {"object", Type::kObject},
        {"string", Type::kString},
        {"integer", Type::kInteger},
        {"int", Type::kInteger},
        {"int64", Type::kInteger},
        {"uint16", Type::kInteger},
        {"number", Type::kNumber},
        {"boolean", Type::kBoolean},
        {"Port", Type::kIntOrString},
        {"DSCP", Type::kIntOrString},
        {"int-or-string", Type::kIntOrString},
        {"Protocol", Type::kIntOrString},
        {"ASNumber", Type::kIntOrString},
    };
    field.type = kTypes.at(type);
    if (type == "uint16") {
      field.min = 0;
      field.max = 65535;
    }
    if (type == "Port" || type == "Protocol" || type == "ASNumber" || type == "DSCP") {
      field.formats.push_back(*find_check(type));
    }
  }

  void set_constraints(std::string_view text, Field& field) {
    for (const auto word : words_of(text)) {
      if (word.starts_with("items(") || word.starts_with("values(")) {
        const auto inner = word.substr(word.find('(') + 1);
        set_constraints(inner.substr(0, inner.size() - 1), *field.element);
        continue;
      }
      const auto equals = word.find('=');
      const auto key = word.substr(0, equals);
      set_constraint(key, equals == std::string_view::npos ? "" : word.substr(equals + 1), field);
    }
  }

  void set_constraint(std::string_view key, std::string_view value, Field& field) {
    if (key == "required") field.required = true;
    if (key == "nullable") field.nullable = true;
    if (key == "default") field.default_value = default_of(unquoted(value), field);
    if (key == "enum") {
      for (const auto word : split(value.substr(1, value.size() - 2), '|'))
        field.one_of.emplace_back(unquoted(word));
    }
    if (key == "min") field.min = number_of<std::int64_t>(value);
    if (key == "max") field.max = number_of<std::int64_t>(value);
    if (key == "minLen" || key == "minItems" || key == "minProps")
      field.min_size = number_of<std::size_t>(value);
    if (key == "maxLen" || key == "maxItems" || key == "maxProps")
      field.max_size = number_of<std::size_t>(value);
    if (key == "pattern") set_pattern(value, field);
    if (key == "format") {
      if (auto check = find_check(fmt::format("format:{}", value)))
        field.formats.push_back(*std::move(check));
    }
    if (key == "go") {
      Field& typed = field.type == Type::kList ? *field.element : field;
      if (value == "ASNumber") {
        typed.type = Type::kIntOrString;
        typed.formats.clear();  // int32, though half of all numbers of 32 bits are above
      }
      if (auto check = find_check(value)) typed.formats.push_back(*std::move(check));
    }
    if (key == "list") set_list(value, field);
    if (key == "check") set_checks(split(value, ','), field);
  }

  static boost::json::value default_of(std::string_view text, const Field& field) {
    if (field.type == Type::kBoolean) return text == "true";
    if (field.type == Type::kInteger || field.type == Type::kNumber) return number_of<std::int64_t>(text);
    return boost::json::value(boost::json::string_view(text.data(), text.size()));
  }

  void set_pattern(std::string_view value, Field& field) {
    if (value.starts_with('@')) value = tables().patterns.at(value);
    value = unquoted(value);
    if (value == "^.*") return;  // says nothing
    auto pattern = std::make_shared<re2::RE2>(re2::StringPiece(value.data(), value.size()), re2::RE2::Quiet);
    CHECK(pattern->ok());
    field.pattern_rule = in_words(value);
    field.pattern = std::move(pattern);
  }

  // What the patterns that recur ask for; others are shown as they are.
  static std::string in_words(std::string_view pattern) {
    constexpr std::string_view kWords = "^(?i)(";
    if (pattern.starts_with(kWords) && pattern.ends_with(")?$")) {
      const auto words = pattern.substr(kWords.size(), pattern.size() - kWords.size() - 3);
      return fmt::format("must be one of {}", fmt::join(split(words, '|'), ", "));
    }
    if (pattern == unquoted(tables().patterns.at("@P1")))
      return "must be a duration in whole units, such as 90s or 1m30s";
    if (pattern == unquoted(tables().patterns.at("@P3"))) return "must be a duration such as 90s, or Auto";
    return fmt::format("must match {}", pattern);
  }

  static void set_list(std::string_view value, Field& field) {
    field.items_are_unique = value == "set";
    if (value.starts_with("map(")) field.unique_key = value.substr(4, value.size() - 5);
  }

  // As in Go's struct tags: what follows `dive` is about the items.
  static void set_checks(const std::vector<std::string_view>& names, Field& field) {
    Field* about = &field;
    for (const auto name : names) {
      if (name == "dive") {
        about = field.element.get();
      } else if (name == "required") {
        about->non_zero = true;
      } else if (name == "unique") {
        about->items_are_unique = true;
      } else if (name == "labels") {
        about->keys_are_labels = true;
      } else {
        const bool per_item = name == "cidrs" || name.ends_with("Slice");
        auto check = find_check(name);
        CHECK(check.has_value());
        (per_item ? *about->element : *about).checks.push_back(*std::move(check));
      }
    }
  }
};

std::string_view section_name(Kind kind) {
  return kind == Kind::kKubernetesNetworkPolicy ? "networking.k8s.io/NetworkPolicy" : info(kind).name;
}

std::unique_ptr<const Field> read_table(Kind kind) {
  const auto& sections = tables().sections;
  const auto section = sections.find(section_name(kind));
  if (section == sections.end()) return nullptr;
  auto table = std::make_unique<Field>();
  table->type = Type::kObject;
  for (const auto* name : {"apiVersion", "kind"}) {
    Field& field = table->fields.emplace_back();
    field.name = name;
    field.type = Type::kString;
    field.required = true;
  }
  Field& metadata = table->fields.emplace_back();
  metadata.name = "metadata";
  metadata.type = Type::kObject;
  metadata.required = true;
  TableReader reader;
  reader.read(sections.at("ObjectMeta"), "ObjectMeta", metadata);
  reader.read(section->second, section_name(kind), *table);
  return table;
}

}  // namespace

const Field* Field::find(std::string_view field_name) const {
  const auto found = std::ranges::find(fields, field_name, &Field::name);
  return found == fields.end() ? nullptr : &*found;
}

Field* Field::find(std::string_view field_name) {
  return const_cast<Field*>(std::as_const(*this).find(field_name));
}

const Field* table_of(Kind kind) {
  struct Slot {
    std::once_flag once;
    std::unique_ptr<const Field> table;
  };
  static std::array<Slot, 64> slots;
  CHECK(all_kinds().size() <= slots.size());
  Slot& slot = slots[static_cast<std::size_t>(kind)];
  std::call_once(slot.once, [&] { slot.table = read_table(kind); });
  return slot.table.get();
}

}  // namespace ocicat::schema
