#include "api/server/failure.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

namespace ocicat::api {

namespace json = boost::json;

namespace {

// The length of the UTF-8 sequence that the text begins with; 0 where it is none (RFC 3629).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool out_of_range = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || out_of_range ? 0 : length;
}

// Refusals repeat what was sent, such as a path; JSON must be UTF-8 whatever that was.
std::string as_utf8(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const auto length = sequence_length(text);
    if (length == 0) {
      clean += "\xef\xbf\xbd";  // U+FFFD, the replacement character
    } else {
      clean += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return clean;
}

Failure about(const ResourceKey& key, int code, std::string reason, std::string_view what) {
  return {code,     std::move(reason), fmt::format("{} \"{}\" {}", resource_name(key.kind), key.name, what),
          key.kind, key.name,          {}};
}

}  // namespace

std::string resource_name(Kind kind) {
  const auto& known = info(kind);
  return known.group.empty() ? std::string(known.plural) : fmt::format("{}.{}", known.plural, known.group);
}

Failure failure_of(const Error& error, const ResourceKey& key) {
  switch (error.code) {
    case ErrorCode::kNotFound:
      return about(key, 404, "NotFound", "not found");
    case ErrorCode::kAlreadyExists:
      return about(key, 409, "AlreadyExists", "already exists");
    case ErrorCode::kConflict: {
      auto failure = about(key, 409, "Conflict", "");
      failure.message = fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", resource_name(key.kind),
                                    key.name, error.message);
      return failure;
    }
    case ErrorCode::kInvalid:
      return {422, "Invalid", error.message, key.kind, key.name, {}};
    case ErrorCode::kExpired:
      return expired(error.message);
    case ErrorCode::kUnavailable:
      return {503, "ServiceUnavailable", error.message, key.kind, key.name, {}};
    case ErrorCode::kPermission:  // of the server on its disk, not of the caller
    case ErrorCode::kExhausted:
      return {507, "InsufficientStorage", error.message, key.kind, key.name, {}};
    case ErrorCode::kUnsupported:
      return {501, "NotImplemented", error.message, key.kind, key.name, {}};
    case ErrorCode::kInternal:
      break;
  }
  return {500, "InternalError", error.message, key.kind, key.name, {}};
}

Failure bad_request(std::string message) {
  return {400, "BadRequest", std::move(message), {}, {}, {}};
}

Failure not_found(std::string_view path) {
  return {404, "NotFound", fmt::format("the server could not find the requested resource: {}", path),
          {},  {},         {}};
}

Failure method_not_allowed(std::string_view method, std::string_view path) {
  return {405, "MethodNotAllowed", fmt::format("{} is not supported on {}", method, path), {}, {}, {}};
}

Failure unsupported_media_type(std::string_view type) {
  return {415,
          "UnsupportedMediaType",
          fmt::format("the body is of type \"{}\", accepted are application/json and application/yaml", type),
          {},
          {},
          {}};
}

Failure expired(std::string message) {
  return {410, "Expired", std::move(message), {}, {}, {}};
}

Failure invalid(const ResourceKey& key, std::vector<Cause> causes) {
  std::string list;
  for (const auto& cause : causes) {
    list += fmt::format("{}{}{}{}", list.empty() ? "" : "; ", cause.field, cause.field.empty() ? "" : ": ",
                        cause.message);
  }
  return {422,      "Invalid", fmt::format("{} \"{}\" is invalid: {}", info(key.kind).name, key.name, list),
          key.kind, key.name,  std::move(causes)};
}

Failure invalid(const ResourceKey& key, const std::vector<Complaint>& complaints) {
  std::vector<Cause> causes;
  for (const auto& complaint : complaints) {
    auto message =
        complaint.value.empty() ? complaint.rule : fmt::format("{}: {}", complaint.value, complaint.rule);
    causes.push_back({complaint.field_path, std::move(message)});
  }
  return invalid(key, std::move(causes));
}

Failure forbidden(const ResourceKey& key, std::string_view why) {
  return {403,
          "Forbidden",
          fmt::format("{} \"{}\" is forbidden: {}", resource_name(key.kind), key.name, why),
          key.kind,
          key.name,
          {}};
}

json::object to_status(const Failure& failure) {
  json::object status{{"kind", "Status"},
                      {"apiVersion", "v1"},
                      {"metadata", json::object{}},
                      {"status", "Failure"},
                      {"message", as_utf8(failure.message)},
                      {"reason", failure.reason}};
  json::object details;
  if (!failure.name.empty()) details["name"] = as_utf8(failure.name);
  if (failure.kind) {
    details["group"] = info(*failure.kind).group;
    details["kind"] = failure.causes.empty() ? info(*failure.kind).plural : info(*failure.kind).name;
  }
  if (!failure.causes.empty()) {
    auto& causes = details["causes"].emplace_array();
    for (const auto& cause : failure.causes) {
      causes.push_back(json::object{{"reason", "FieldValueInvalid"},
                                    {"message", as_utf8(cause.message)},
                                    {"field", as_utf8(cause.field)}});
    }
  }
  if (!details.empty()) status["details"] = std::move(details);
  status["code"] = failure.code;
  return status;
}

http::Response to_response(const Failure& failure) {
  http::Response response;
  response.status = failure.code;
  response.content_type = "application/json";
  response.body = json::serialize(to_status(failure)) + "\n";
  return response;
}

}  // namespace ocicat::api
