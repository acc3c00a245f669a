#include "api/server/router.h"

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include <charconv>
#include <future>
#include <span>

#include "api/server/discovery.h"
#include "api/server/reader.h"
#include "api/server/rules.h"
#include "api/server/stored_text.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

using Segments = std::span<const std::string>;

http::Response json_response(const json::object& object) {
  http::Response response;
  response.content_type = "application/json";
  response.body = json::serialize(object) + "\n";
  return response;
}

http::Response object_response(int status, const Written& written) {
  http::Response response;
  response.status = status;
  response.content_type = "application/json";
  append_object(response.body, *written.text, written.revision);
  response.body += '\n';
  return response;
}

// As kubectl shows them: RFC 7234, section 5.5, with the code for warnings that last and no agent.
void add_warnings(const std::vector<std::string>& warnings, http::Response& response) {
  for (const auto& warning : warnings) {
    std::string quoted;
    for (const char c : warning) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    response.headers.push_back({"Warning", fmt::format("299 - \"{}\"", quoted)});
  }
}

bool is_true(std::string_view text) {
  return text == "true" || text == "1" || text == "True" || text == "TRUE" || text == "t";
}

// The part behind "/api/v1" or "/apis/GROUP/VERSION": "[namespaces/NS/]PLURAL[/NAME]".
std::optional<Location> locate(std::string_view group, std::string_view version, Segments rest) {
  Location location;
  // "/api/v1/namespaces/shop" is the Namespace; with anything behind it, the namespace of something else.
  if (rest.size() > 2 && rest[0] == "namespaces") {
    location.ns = rest[1];
    rest = rest.subspan(2);
  }
  if (rest.empty() || rest.size() > 2) return std::nullopt;
  const auto kind = find_kind_by_plural(group, version, rest[0]);
  if (!kind || !info(*kind).served) return std::nullopt;
  location.kind = *kind;
  if (rest.size() == 2) location.name = rest[1];
  if (rest.size() == 2 && rest[1].empty()) return std::nullopt;
  const bool namespaced = info(*kind).namespaced;
  if (!namespaced && location.ns) return std::nullopt;
  if (location.ns && location.ns->empty()) return std::nullopt;
  if (namespaced && !location.ns && !location.name.empty()) return std::nullopt;
  return location;
}

std::optional<Location> locate(Segments segments) {
  if (segments.size() > 2 && segments[0] == "api") return locate("", segments[1], segments.subspan(2));
  if (segments.size() > 3 && segments[0] == "apis")
    return locate(segments[1], segments[2], segments.subspan(3));
  return std::nullopt;
}

Answer<Selection> selection_of(const http::Target& target) {
  auto labels = LabelSelector::parse(target.parameter("labelSelector"));
  if (!labels) return std::unexpected(bad_request(labels.error().message));
  auto fields = FieldSelector::parse(target.parameter("fieldSelector"));
  if (!fields) return std::unexpected(bad_request(fields.error().message));
  return Selection{*std::move(labels), *std::move(fields)};
}

Answer<WatchRequest> watch_request(const http::Target& target, const Location& location) {
  WatchRequest request;
  request.kind = location.kind;
  request.ns = location.ns;
  auto selection = selection_of(target);
  if (!selection) return std::unexpected(std::move(selection).error());
  request.selection = *std::move(selection);
  const auto after = parse_revision(target.parameter("resourceVersion"));
  if (!after) return std::unexpected(bad_request("resourceVersion is not one of ours"));
  request.after = *after;
  request.incarnation = target.parameter("store");
  request.bookmarks = is_true(target.parameter("allowWatchBookmarks"));
  if (const auto text = target.parameter("timeoutSeconds"); !text.empty()) {
    std::uint32_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size())
      return std::unexpected(bad_request("timeoutSeconds is not a number"));
    if (seconds != 0) request.timeout = std::chrono::seconds(seconds);
  }
  return request;
}

Answer<bool> dry_run_of(const http::Target& target) {
  const auto text = target.parameter("dryRun");
  if (text.empty()) return false;
  if (text == "All") return true;
  return std::unexpected(bad_request(fmt::format("dryRun: \"{}\": must be All", text)));
}

// "NetworkPolicy.projectcalico.org"; for the core group just "Pod".
std::string revision_key(const KindInfo& known) {
  return known.group.empty() ? std::string(known.name) : fmt::format("{}.{}", known.name, known.group);
}

// So that a reader can say, in the parameter `store` of a watch, of what its resourceVersion is.
http::Response with_incarnation(http::Response response, const std::string& incarnation) {
  response.headers.push_back({"Ocicat-Store", incarnation});
  return response;
}

}  // namespace

Router::Router(store::Store& store, Now now) : store_(store), writer_(store), now_(std::move(now)) {}

Result<void> Router::ensure_built_ins() {
  for (const auto& tier : built_in_tiers()) {
    Submitted submitted{{Kind::kTier, "", std::string(tier.name)}, built_in_tier(tier), {}, 0};
    if (store_.get(submitted.key)) continue;
    std::promise<Answer<Written>> promise;
    writer_.create(std::move(submitted), false,
                   [&promise](Answer<Written> answer) { promise.set_value(std::move(answer)); });
    const auto answer = promise.get_future().get();
    if (!answer)
      return fail(answer.error().code == 507 ? ErrorCode::kExhausted : ErrorCode::kUnavailable, "tier {}: {}",
                  tier.name, answer.error().message);
  }
  return {};
}

void Router::handle(const http::Request& request, const Respond& respond) {
  const auto target = http::Target::parse(request.target);
  if (!target) return respond(to_response(bad_request("the target is not a path with a query")));
  // Browsers name the page that speaks; no client of ours does. A page must not reach a server on loopback.
  if (!http::find(request.headers, "origin").empty()) {
    return respond(to_response(bad_request("requests of web pages (with an Origin header) are refused")));
  }
  if (const auto location = locate(target->segments)) return resource(request, *target, *location, respond);
  auto answer = information(request, *target);
  respond(answer ? *std::move(answer) : to_response(answer.error()));
}

void Router::resource(const http::Request& request, const http::Target& target, const Location& location,
                      const Respond& respond) {
  const bool collection = location.name.empty();
  if (request.method == "GET") {
    auto answer = read(target, location);
    return respond(answer ? *std::move(answer) : to_response(answer.error()));
  }
  const bool in_place = !info(location.kind).namespaced || location.ns;
  const bool allowed = collection ? request.method == "POST" && in_place
                                  : request.method == "PUT" || request.method == "DELETE";
  if (allowed) return write(request, target, location, respond);
  auto response = to_response(method_not_allowed(request.method, target.path));
  response.headers.push_back({"Allow", !collection ? "GET, PUT, DELETE" : in_place ? "GET, POST" : "GET"});
  respond(std::move(response));
}

Answer<http::Response> Router::read(const http::Target& target, const Location& location) {
  if (!location.name.empty()) {
    const auto entry = store_.get(location.key());
    if (!entry) return std::unexpected(failure_of(entry.error(), location.key()));
    return object_response(200, {entry->document, entry->revision});
  }
  const auto incarnation = store_.status().incarnation;
  if (is_true(target.parameter("watch"))) {
    auto request = watch_request(target, location);
    if (!request) return std::unexpected(std::move(request).error());
    auto stream = watch_stream(store_, *std::move(request), now_);
    if (!stream) return std::unexpected(std::move(stream).error());
    http::Response response;
    response.content_type = "application/json";
    response.stream = *std::move(stream);
    return with_incarnation(std::move(response), incarnation);
  }
  const auto selection = selection_of(target);
  if (!selection) return std::unexpected(selection.error());
  return with_incarnation(list_response(location.kind, store_.list(location.kind, location.ns), *selection),
                          incarnation);
}

void Router::write(const http::Request& request, const http::Target& target, const Location& location,
                   const Respond& respond) {
  const auto refuse = [&](const Failure& failure) { respond(to_response(failure)); };
  const auto dry_run = dry_run_of(target);
  if (!dry_run) return refuse(dry_run.error());
  const auto answer_with = [respond](int status, std::vector<std::string> warnings = {}) {
    return [respond, status, warnings = std::move(warnings)](Answer<Written> written) {
      auto response = written ? object_response(status, *written) : to_response(written.error());
      add_warnings(warnings, response);
      respond(std::move(response));
    };
  };
  if (request.method == "DELETE") {
    auto options = read_delete_options(request);
    if (!options) return refuse(options.error());
    options->dry_run = options->dry_run || *dry_run;
    options->orphan = options->orphan || target.parameter("propagationPolicy") == "Orphan";
    return writer_.remove(location.key(), *options, answer_with(200));
  }
  auto submitted = read_object(request, location);
  if (!submitted) return refuse(submitted.error());
  const auto post = request.method == "POST";
  auto answer = answer_with(post ? 201 : 200, std::move(submitted->warnings));
  if (post) return writer_.create(*std::move(submitted), *dry_run, std::move(answer));
  writer_.update(*std::move(submitted), *dry_run, std::move(answer));
}

Answer<http::Response> Router::information(const http::Request& request, const http::Target& target) {
  const auto& path = target.segments;
  const auto is = [&](std::string_view only) { return path.size() == 1 && path[0] == only; };
  std::optional<http::Response> response;
  if (path.empty()) {
    response = json_response({{"paths", json::array{"/api", "/apis", "/healthz", "/livez", "/readyz",
                                                    "/version", "/ocicat/status"}}});
  } else if (is("healthz") || is("livez") || is("readyz")) {
    response.emplace().body = "ok";
  } else if (is("version")) {
    response = json_response(version_info());
  } else if (is("api")) {
    response = json_response(api_versions());
  } else if (is("apis")) {
    response = json_response(api_groups());
  } else if (path.size() == 2 && path[0] == "ocicat" && path[1] == "status") {
    response = status();
  } else if (path.size() == 2 && path[0] == "api") {
    if (const auto resources = api_resources("", path[1])) response = json_response(*resources);
  } else if (path.size() == 2 && path[0] == "apis") {
    if (const auto group = api_group(path[1])) response = json_response(*group);
  } else if (path.size() == 3 && path[0] == "apis") {
    if (const auto resources = api_resources(path[1], path[2])) response = json_response(*resources);
  }
  if (!response) return std::unexpected(not_found(target.path));
  if (request.method != "GET") return std::unexpected(method_not_allowed(request.method, target.path));
  return *std::move(response);
}

http::Response Router::status() const {
  const auto store = store_.status();
  json::object revisions;
  for (const auto& known : all_kinds()) {
    const auto last = store.last.find(known.kind);
    if (known.served) revisions[revision_key(known)] = last == store.last.end() ? 0 : last->second;
  }
  const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(now_() - started_);
  return json_response({{"version", OCICAT_VERSION},
                        {"pid", ::getpid()},
                        {"uptimeSeconds", uptime.count()},
                        {"store", json::object{{"path", store.location},
                                               {"incarnation", store.incarnation},
                                               {"objects", store.objects}}},
                        {"revision", store.revision},
                        {"revisions", std::move(revisions)},
                        {"watchers", store.watches}});
}

}  // namespace ocicat::api
