#include "ipam/api_documents.h"

#include <boost/json/serialize.hpp>

#include "api/client/wire.h"
#include "http/loop.h"

namespace ocicat::ipam {

namespace json = boost::json;

namespace {

constexpr std::size_t kConnections = 16;

http::Request request_of(std::string method, std::string target, std::string body = {}) {
  http::Request request{
      std::move(method), std::move(target), {{"Accept", "application/json"}}, std::move(body)};
  if (!request.body.empty()) request.headers.push_back({"Content-Type", "application/json"});
  return request;
}

http::Request request_of(const Write& write) {
  switch (write.verb) {
    case Write::Verb::kCreate:
      return request_of("POST", api::path_of(write.key.kind, write.key.ns), json::serialize(write.object));
    case Write::Verb::kUpdate:
      return request_of("PUT", api::path_of(write.key), json::serialize(write.object));
    case Write::Verb::kDelete:
      break;
  }
  const json::object options{{"preconditions", json::object{{"resourceVersion", write.revision}}}};
  return request_of("DELETE", api::path_of(write.key), json::serialize(options));
}

// A server without room may have some again; what is exhausted are pools and what a host may have of them.
Error error_of(int status, const std::string& body) {
  auto error = api::error_of(status, body);
  if (error.code == ErrorCode::kExhausted) error.code = ErrorCode::kUnavailable;
  return error;
}

}  // namespace

struct ApiDocuments::State {
  http::Endpoint endpoint;
  http::Timeouts timeouts;
  http::Loop loop;
  std::vector<std::unique_ptr<http::Connection>> connections;  // made as they are needed

  // All of them, over as many connections as there may be; the bodies of 2xx answers in their order.
  std::vector<Result<std::string>> send(std::vector<http::Request> requests) {
    std::vector<Result<std::string>> answers(requests.size(), std::string());
    std::vector<int> statuses(requests.size());
    std::size_t next = 0;
    std::size_t left = requests.size();
    const std::function<void(http::Connection&)> start = [&](http::Connection& connection) {
      if (next == requests.size()) return;
      const auto i = next++;
      http::Callbacks callbacks;
      callbacks.on_head = [&statuses, i](int status, const http::Headers&) { statuses[i] = status; };
      callbacks.on_data = [&answers, i](std::string_view data) { *answers[i] += data; };
      callbacks.on_end = [&, i](Result<void> result) {
        if (!result) {
          answers[i] = std::unexpected(std::move(result).error());
        } else if (statuses[i] / 100 != 2) {
          answers[i] = std::unexpected(error_of(statuses[i], *answers[i]));
        }
        --left;
        start(connection);
      };
      connection.send(std::move(requests[i]), std::move(callbacks));
    };
    while (connections.size() < std::min(kConnections, requests.size()))
      connections.push_back(std::make_unique<http::Connection>(loop, endpoint, timeouts));
    for (auto& connection : connections) start(*connection);
    while (left > 0) loop.run_one();
    return answers;
  }

  std::vector<Result<json::object>> send_for_objects(std::vector<http::Request> requests) {
    std::vector<Result<json::object>> objects;
    for (auto& answer : send(std::move(requests))) {
      objects.push_back(answer ? api::parse_object(*answer)
                               : Result<json::object>(std::unexpected(std::move(answer).error())));
    }
    return objects;
  }
};

ApiDocuments::ApiDocuments(const api::Address& address, http::Timeouts timeouts)
    : state_(std::make_unique<State>()) {
  auto endpoint = http::Endpoint::parse(address.text);
  CHECK(endpoint);
  state_->endpoint = *std::move(endpoint);
  state_->timeouts = timeouts;
}
ApiDocuments::~ApiDocuments() = default;

Result<std::vector<json::object>> ApiDocuments::list(Kind kind) {
  TRY(const auto body, std::move(state_->send({request_of("GET", api::path_of(kind, {}))}).front()));
  TRY(auto listed, api::parse_list(kind, body));
  return std::move(listed.items);
}

std::vector<Result<json::object>> ApiDocuments::get(const std::vector<ResourceKey>& keys) {
  std::vector<http::Request> requests;
  for (const auto& key : keys) requests.push_back(request_of("GET", api::path_of(key)));
  return state_->send_for_objects(std::move(requests));
}

std::vector<Result<json::object>> ApiDocuments::write(std::vector<Write> writes) {
  std::vector<http::Request> requests;
  for (const auto& write : writes) requests.push_back(request_of(write));
  return state_->send_for_objects(std::move(requests));
}

}  // namespace ocicat::ipam
