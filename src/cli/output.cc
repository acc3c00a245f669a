#include "cli/output.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "resources/document.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;

void append_pretty(std::string& out, const json::value& value, std::size_t level) {
  const auto new_line = [&](std::size_t at) { out.append(1, '\n').append(2 * at, ' '); };
  if (const auto* object = value.if_object(); object && !object->empty()) {
    out += '{';
    for (const auto& entry : *object) {
      if (&entry != &*object->begin()) out += ',';
      new_line(level + 1);
      out += json::serialize(json::string(entry.key()));
      out += ": ";
      append_pretty(out, entry.value(), level + 1);
    }
    new_line(level);
    out += '}';
  } else if (const auto* array = value.if_array(); array && !array->empty()) {
    out += '[';
    for (const auto& element : *array) {
      if (&element != &*array->begin()) out += ',';
      new_line(level + 1);
      append_pretty(out, element, level + 1);
    }
    new_line(level);
    out += ']';
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::optional<Format> parse_format(std::string_view text) {
  if (text.empty()) return Format::kTable;
  if (text == "wide") return Format::kWide;
  if (text == "json") return Format::kJson;
  if (text == "yaml") return Format::kYaml;
  if (text == "name") return Format::kName;
  return {};
}

std::string pretty(const json::value& value) {
  std::string out;
  append_pretty(out, value, 0);
  return out;
}

std::string document_text(const json::value& value, Format format) {
  if (format == Format::kJson) return pretty(value) + "\n";
  std::string text = to_yaml(value);
  if (!text.ends_with('\n')) text += '\n';
  return text;
}

json::object list_of(std::span<const json::object> objects) {
  json::array items;
  for (const json::object& object : objects) items.push_back(object);
  return {{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}};
}

std::string short_name(const ResourceKey& key) {
  const KindInfo& about = info(key.kind);
  if (about.group.empty()) return fmt::format("{}/{}", about.singular, key.name);
  return fmt::format("{}.{}/{}", about.singular, about.group, key.name);
}

}  // namespace ocicat::cli
