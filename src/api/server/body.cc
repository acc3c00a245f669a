#include "api/server/body.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "api/server/stored_text.h"
#include "resources/document.h"
#include "resources/validate.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxDepth = 64;

std::string_view media_type(const http::Request& request) {
  auto type = http::find(request.headers, "content-type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return type;
}

Answer<json::object> parse_yaml(const std::string& body) {
  auto read = read_documents(body, "");
  if (!read.complaints.empty()) return std::unexpected(bad_request(read.complaints.front().to_string()));
  if (read.documents.size() != 1)
    return std::unexpected(
        bad_request(fmt::format("the body has {} documents, not one", read.documents.size())));
  return std::move(read.documents.front().json);
}

// A number such as 1e400 is one in JSON, and an infinity in a double, which no JSON could tell a reader.
bool has_infinity(const json::value& value) {
  if (const auto* number = value.if_double()) return !std::isfinite(*number);
  if (const auto* list = value.if_array()) return std::ranges::any_of(*list, has_infinity);
  if (const auto* object = value.if_object()) {
    return std::ranges::any_of(*object, [](const auto& field) { return has_infinity(field.value()); });
  }
  return false;
}

Answer<json::object> parse_json(const std::string& body) {
  boost::system::error_code error;
  auto value = json::parse(body, error, {}, {.max_depth = kMaxDepth});
  if (error) return std::unexpected(bad_request("the body is not JSON: " + error.message()));
  if (!value.is_object()) return std::unexpected(bad_request("the body is not a JSON object"));
  if (has_infinity(value))
    return std::unexpected(bad_request("a number in the body is beyond what a double can hold"));
  return std::move(value.get_object());
}

Answer<json::object> parse_body(const http::Request& request) {
  const auto type = media_type(request);
  if (type.empty() || type == "application/json") return parse_json(request.body);
  if (type == "application/yaml" || type == "text/yaml" || type == "application/x-yaml")
    return parse_yaml(request.body);
  return std::unexpected(unsupported_media_type(type));
}

// Fills `name` in, or refuses where it says something else than the path.
std::optional<Failure> agree(json::object& object, std::string_view name, std::string_view wanted,
                             std::string_view what) {
  auto* value = object.if_contains(name);
  if (!value || value->is_null() || (value->is_string() && value->get_string().empty())) {
    object[name] = wanted;
    return std::nullopt;
  }
  if (!value->is_string()) return bad_request(fmt::format("{} must be a string", what));
  if (std::string_view(value->get_string()) == wanted) return std::nullopt;
  return bad_request(fmt::format("{} is \"{}\" in the body and \"{}\" in the path", what,
                                 std::string_view(value->get_string()), wanted));
}

// Takes a text out of the metadata.
Answer<std::string> take_text(json::object& metadata, std::string_view name) {
  auto* value = metadata.if_contains(name);
  if (!value) return std::string();
  std::string text;
  if (value->is_string()) {
    text = std::string_view(value->get_string());
  } else if (!value->is_null()) {
    return std::unexpected(bad_request(fmt::format("metadata.{} must be a string", name)));
  }
  metadata.erase(name);
  return text;
}

std::optional<Failure> agree_with_path(json::object& object, const Location& location) {
  if (auto failure = agree(object, "apiVersion", info(location.kind).api_version(), "apiVersion"))
    return failure;
  if (auto failure = agree(object, "kind", info(location.kind).name, "kind")) return failure;
  auto& metadata = object["metadata"];
  if (metadata.is_null()) metadata.emplace_object();
  if (!metadata.is_object()) return bad_request("metadata must be an object");
  if (location.ns) {
    if (auto failure = agree(metadata.get_object(), "namespace", *location.ns, "metadata.namespace"))
      return failure;
  }
  if (location.name.empty()) return std::nullopt;
  return agree(metadata.get_object(), "name", location.name, "metadata.name");
}

}  // namespace

std::optional<store::Revision> parse_revision(std::string_view text) {
  store::Revision revision = 0;
  if (text.empty()) return revision;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), revision);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return revision;
}

Answer<Submitted> read_object(const http::Request& request, const Location& location) {
  auto parsed = parse_body(request);
  if (!parsed) return std::unexpected(std::move(parsed).error());
  if (auto failure = agree_with_path(*parsed, location)) return std::unexpected(*std::move(failure));

  Submitted submitted;
  auto& metadata = (*parsed)["metadata"].get_object();
  for (const auto* decided_here : {"creationTimestamp", "generation", "managedFields", "selfLink"})
    metadata.erase(decided_here);
  auto uid = take_text(metadata, "uid");
  if (!uid) return std::unexpected(std::move(uid).error());
  submitted.uid = *std::move(uid);
  const auto version = take_text(metadata, "resourceVersion");
  if (!version) return std::unexpected(version.error());
  const auto revision = parse_revision(*version);
  if (!revision)
    return std::unexpected(
        bad_request(fmt::format("metadata.resourceVersion: \"{}\" is not one of ours", *version)));
  submitted.revision = *revision;

  Document document;
  document.json = *std::move(parsed);
  auto validated = validate(document);
  if (!validated.ok())
    return std::unexpected(invalid(validated.key.value_or(location.key()), validated.complaints));
  CHECK(validated.key && validated.key->kind == location.kind);
  submitted.key = *validated.key;
  submitted.object = std::move(validated.json);
  for (const auto& warning : validated.warnings) submitted.warnings.push_back(warning.to_string());
  return submitted;
}

Answer<DeleteOptions> read_delete_options(const http::Request& request) {
  DeleteOptions options;
  if (request.body.empty()) return options;
  const auto body = parse_body(request);
  if (!body) return std::unexpected(body.error());
  const auto& preconditions = child_object(*body, "preconditions");
  options.uid = child_text(preconditions, "uid");
  const auto revision = parse_revision(child_text(preconditions, "resourceVersion"));
  if (!revision) return std::unexpected(bad_request("preconditions.resourceVersion is not one of ours"));
  options.revision = *revision;
  options.orphan = child_text(*body, "propagationPolicy") == "Orphan";
  const auto* dry_run = body->if_contains("dryRun");
  if (dry_run && dry_run->is_array() && !dry_run->get_array().empty()) options.dry_run = true;
  return options;
}

}  // namespace ocicat::api
