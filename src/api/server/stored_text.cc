#include "api/server/stored_text.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <fmt/format.h>

#include <iterator>

namespace ocicat::api {

namespace json = boost::json;

namespace {

// apiVersion and kind come from our own tables, so this cannot be inside one of them.
constexpr std::string_view kMetadata = R"("metadata":{)";

}  // namespace

std::string to_stored_text(const json::object& object) {
  json::object ordered;
  ordered.reserve(object.size());
  for (const std::string_view first : {"apiVersion", "kind", "metadata"}) {
    if (const auto* value = object.if_contains(first)) ordered.emplace(first, *value);
  }
  for (const auto& [name, value] : object) ordered.emplace(name, value);  // keeps what is there already
  if (auto* metadata = ordered["metadata"].if_object()) metadata->erase("resourceVersion");
  return json::serialize(ordered);
}

json::object from_stored_text(std::string_view text) {
  boost::system::error_code error;
  auto value = json::parse(text, error, {}, {.max_depth = 256});
  return !error && value.is_object() ? std::move(value.get_object()) : json::object();
}

void append_object(std::string& out, std::string_view stored_text, store::Revision revision) {
  const auto found = stored_text.find(kMetadata);
  if (revision == 0 || found == std::string_view::npos) {
    out += stored_text;
    return;
  }
  const auto inside = found + kMetadata.size();
  out += stored_text.substr(0, inside);
  const bool alone = inside < stored_text.size() && stored_text[inside] == '}';
  fmt::format_to(std::back_inserter(out), R"("resourceVersion":"{}"{})", revision, alone ? "" : ",");
  out += stored_text.substr(inside);
}

const json::object& child_object(const json::object& object, std::string_view name) {
  static const json::object kNone;
  const auto* value = object.if_contains(name);
  return value && value->is_object() ? value->get_object() : kNone;
}

std::string_view child_text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

const json::object& labels_of(const json::object& object) {
  return child_object(child_object(object, "metadata"), "labels");
}

}  // namespace ocicat::api
