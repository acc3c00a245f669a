#include "api/client/wire.h"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>

#include <utility>

#include "api/client/list_reader.h"
#include "http/message.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxLine = 32 * 1024 * 1024;
constexpr std::size_t kMaxDepth = 128;

const json::value* member(const json::object& object, std::string_view name) {
  return object.if_contains(name);
}

std::string_view text_member(const json::object& object, std::string_view name) {
  const auto* value = member(object, name);
  return value && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

ErrorCode code_of(int status, std::string_view reason) {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return ErrorCode::kInvalid;
    case 401:
    case 403:
      return ErrorCode::kPermission;
    case 404:
      return ErrorCode::kNotFound;
    case 405:
    case 406:
    case 415:
    case 501:
      return ErrorCode::kUnsupported;
    case 409:
      return reason == "AlreadyExists" ? ErrorCode::kAlreadyExists : ErrorCode::kConflict;
    case 410:
      return ErrorCode::kExpired;
    case 429:
    case 502:
    case 503:
    case 504:
      return ErrorCode::kUnavailable;
    case 507:
      return ErrorCode::kExhausted;
    default:
      return ErrorCode::kInternal;
  }
}

Error error_of_status(int status, const json::object& body) {
  const auto message = text_member(body, "message");
  return {code_of(status, text_member(body, "reason")),
          message.empty() ? fmt::format("the server answered {}", status) : std::string(message)};
}

}  // namespace

std::string path_of(Kind kind, const std::optional<std::string>& ns, std::string_view name) {
  const auto& known = info(kind);
  std::string path = known.group.empty() ? fmt::format("/api/{}", known.version)
                                         : fmt::format("/apis/{}/{}", known.group, known.version);
  if (known.namespaced && ns) path += "/namespaces/" + http::percent_encode(*ns);
  path += fmt::format("/{}", known.plural);
  if (!name.empty()) path += "/" + http::percent_encode(name);
  return path;
}

std::string path_of(const ResourceKey& key) {
  return path_of(key.kind, info(key.kind).namespaced ? std::optional(key.ns) : std::nullopt, key.name);
}

Error error_of(int status, std::string_view body) {
  const auto object = parse_object(body);
  if (object) return error_of_status(status, *object);
  const auto said = body.empty() ? "is an ocicat server at that address?" : body.substr(0, 200);
  return {code_of(status, {}), fmt::format("the server answered {}: {}", status, said)};
}

// The document's parts lie in one piece of memory, which goes with the last of them: to make and to drop each
// by itself costs more than reading them.
Result<json::value> parse_json(std::string_view text) {
  boost::system::error_code error;
  auto memory = json::make_shared_resource<json::monotonic_resource>(2 * text.size());
  auto value = json::parse(text, error, std::move(memory), {.max_depth = kMaxDepth});
  if (error) return fail(ErrorCode::kUnavailable, "the server did not answer with JSON: {}", error.message());
  return value;
}

Result<json::object> parse_object(std::string_view text) {
  TRY(auto value, parse_json(text));
  if (!value.is_object())
    return fail(ErrorCode::kUnavailable, "the server did not answer with a JSON object");
  return std::move(value.get_object());
}

Result<Client::Event> parse_event(std::string_view line) {
  TRY(auto event, parse_object(line));
  auto* object = event.if_contains("object");
  if (!object || !object->is_object())
    return fail(ErrorCode::kUnavailable, "a watch event without an object");
  const auto type = text_member(event, "type");
  if (type == "ERROR") {
    const auto* code = member(object->get_object(), "code");
    const bool is_status = code && code->is_int64() && std::in_range<std::uint16_t>(code->get_int64());
    return std::unexpected(
        error_of_status(is_status ? static_cast<int>(code->get_int64()) : 500, object->get_object()));
  }
  const auto event_of = [&](Client::EventType known) {
    return Client::Event{known, std::move(object->get_object())};  // moved into a new one: no copy
  };
  if (type == "ADDED") return event_of(Client::EventType::kAdded);
  if (type == "MODIFIED") return event_of(Client::EventType::kModified);
  if (type == "DELETED") return event_of(Client::EventType::kDeleted);
  if (type == "BOOKMARK") return event_of(Client::EventType::kBookmark);
  return fail(ErrorCode::kUnavailable, "a watch event of unknown type \"{}\"", type);
}

std::string_view resource_version_of(const json::object& object) {
  const auto* metadata = member(object, "metadata");
  return metadata && metadata->is_object() ? text_member(metadata->get_object(), "resourceVersion")
                                           : std::string_view();
}

Result<Listed> parse_list(Kind kind, std::string_view body) {
  Listed listed;
  ListReader reader(kind);
  TRY_VOID(reader.feed(
      body, [&](const json::object& item) { listed.items.emplace_back(item, json::storage_ptr()); }));
  TRY(listed.resource_version, reader.end());
  return listed;
}

Result<void> Lines::feed(std::string_view data, const std::function<bool(std::string_view)>& on_line) {
  while (true) {
    const auto end = data.find('\n');
    if (end == std::string_view::npos) break;
    bool go_on = true;
    if (rest_.empty()) {
      if (end > 0) go_on = on_line(data.substr(0, end));
    } else {
      rest_ += data.substr(0, end);
      go_on = on_line(std::exchange(rest_, {}));
    }
    data.remove_prefix(end + 1);
    if (!go_on) return {};
  }
  if (rest_.size() + data.size() > kMaxLine)
    return fail(ErrorCode::kExhausted, "a watch event is longer than {} bytes", kMaxLine);
  rest_ += data;
  return {};
}

}  // namespace ocicat::api
