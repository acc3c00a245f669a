#include "api/client/client.h"

#include <boost/json/serialize.hpp>

#include <cstdlib>

#include "api/client/list_reader.h"
#include "api/client/wire.h"
#include "http/client.h"
#include "resources/decode.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

constexpr std::string_view kStandardAddress = "unix:///run/ocicat/server.sock";
constexpr const char* kDryRun = "?dryRun=All";

http::Request request_of(std::string method, std::string target, std::string body = {}) {
  http::Request request{
      std::move(method), std::move(target), {{"Accept", "application/json"}}, std::move(body)};
  if (!request.body.empty()) request.headers.push_back({"Content-Type", "application/json"});
  return request;
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  TRY_VOID(http::Endpoint::parse(text));
  return Address{std::string(text)};
}

Address Address::standard() {
  const char* text = std::getenv("OCICAT_SERVER");
  return {text && *text ? text : std::string(kStandardAddress)};
}

struct Client::State {
  Address address;
  std::optional<http::BlockingClient> http;        // made at the first request
  std::optional<http::BlockingClient> watch_http;  // its data may be minutes apart
  std::string store;                               // the incarnation that answered last, where it tells

  void note(const http::Response& response) {
    if (const auto told = http::find(response.headers, "ocicat-store"); !told.empty()) store = told;
  }

  Result<http::BlockingClient*> connected(std::optional<http::BlockingClient>& client,
                                          http::Timeouts timeouts) {
    if (!client) {
      TRY(auto endpoint, http::Endpoint::parse(address.text));
      client.emplace(std::move(endpoint), timeouts);
    }
    return &*client;
  }

  // The body of a 2xx answer.
  Result<std::string> send(http::Request request) {
    TRY(auto* client, connected(http, {}));
    TRY(auto response, client->send(std::move(request)));
    if (response.status / 100 != 2) return std::unexpected(error_of(response.status, response.body));
    note(response);
    return std::move(response.body);
  }

  Result<json::object> send_for_object(http::Request request) {
    TRY(const auto body, send(std::move(request)));
    return parse_object(body);
  }
};

Client::Client(Address address) : state_(std::make_unique<State>()) {
  state_->address = std::move(address);
}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Listed> Client::list(Kind kind, const std::optional<std::string>& ns,
                            std::string_view label_selector) {
  auto target = path_of(kind, ns);
  if (!label_selector.empty()) target += "?labelSelector=" + http::percent_encode(label_selector);
  TRY(auto* client, state_->connected(state_->http, {}));
  Listed listed;
  ListReader reader(kind);
  Result<void> fed;
  const auto on_data = [&](std::string_view data) {
    fed = reader.feed(
        data, [&](const json::object& item) { listed.items.emplace_back(item, json::storage_ptr()); });
    return fed.has_value();
  };
  TRY(const auto response, client->stream(request_of("GET", std::move(target)), on_data));
  if (response.status != 200) return std::unexpected(error_of(response.status, response.body));
  TRY_VOID(std::move(fed));
  TRY(listed.resource_version, reader.end());
  state_->note(response);
  return listed;
}

Result<json::object> Client::get(const ResourceKey& key) {
  return state_->send_for_object(request_of("GET", path_of(key)));
}

Result<json::object> Client::create(const json::object& object, bool dry_run) {
  TRY(const auto key, key_of(object));
  const auto target = path_of(key.kind, key.ns) + (dry_run ? kDryRun : "");
  return state_->send_for_object(request_of("POST", target, json::serialize(object)));
}

Result<json::object> Client::update(const json::object& object, bool dry_run) {
  TRY(const auto key, key_of(object));
  const auto target = path_of(key) + (dry_run ? kDryRun : "");
  return state_->send_for_object(request_of("PUT", target, json::serialize(object)));
}

Result<void> Client::replace(const json::object& object) {
  TRY(const auto key, key_of(object));
  TRY([[maybe_unused]] const auto answer,
      state_->send(request_of("PUT", path_of(key), json::serialize(object))));
  return {};
}

Result<json::object> Client::remove(const ResourceKey& key, bool orphan) {
  const auto target = path_of(key) + (orphan ? "?propagationPolicy=Orphan" : "");
  return state_->send_for_object(request_of("DELETE", target));
}

Result<void> Client::watch(Kind kind, const std::optional<std::string>& ns, std::string_view resource_version,
                           const std::function<bool(Event)>& on_event,
                           std::optional<std::chrono::milliseconds> patience) {
  auto target = fmt::format("{}?watch=true&allowWatchBookmarks=true&resourceVersion={}", path_of(kind, ns),
                            http::percent_encode(resource_version));
  if (!state_->store.empty()) target += "&store=" + http::percent_encode(state_->store);
  std::optional<http::BlockingClient> bounded;  // its timeout is this watch's own
  if (patience)
    target += fmt::format("&timeoutSeconds={}", std::chrono::ceil<std::chrono::seconds>(*patience).count());
  TRY(auto* client, patience ? state_->connected(bounded, {.data = *patience})
                             : state_->connected(state_->watch_http, {.data = std::chrono::hours(24)}));
  const auto deadline = std::chrono::steady_clock::now() + patience.value_or(std::chrono::hours(24));
  Lines lines;
  Result<void> outcome;
  const auto on_line = [&](std::string_view line) {
    auto event = parse_event(line);
    if (event) return on_event(*std::move(event));
    outcome = std::unexpected(std::move(event).error());
    return false;
  };
  const auto on_data = [&](std::string_view data) {
    bool go_on = true;
    auto fed = lines.feed(data, [&](std::string_view line) { return go_on = on_line(line); });
    if (!fed) outcome = std::move(fed);
    return go_on && outcome.has_value();
  };
  const auto response = client->stream(request_of("GET", target), on_data);
  if (!response) {
    if (patience && std::chrono::steady_clock::now() >= deadline) return {};
    return std::unexpected(response.error());
  }
  if (response->status != 200) return std::unexpected(error_of(response->status, response->body));
  state_->note(*response);
  return outcome;
}

Result<json::value> Client::get_raw(std::string_view path) {
  TRY(const auto body, state_->send(request_of("GET", std::string(path))));
  return parse_json(body);
}

}  // namespace ocicat::api
