#include "api/server/server.h"

#include <signal.h>

#include <spdlog/spdlog.h>

#include <filesystem>

#include "api/server/failure.h"
#include "api/server/router.h"
#include "http/server.h"
#include "store/sqlite/sqlite_store.h"

namespace ocicat::api {
namespace {

constexpr std::size_t kWorkers = 4;  // they validate and serialise; the store has a thread of its own

Result<void> make_folder_of(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return fail_errno(folder.string(), error.value());
  return {};
}

Result<std::vector<http::Endpoint>> endpoints_of(const ServerOptions& options) {
  std::vector<http::Endpoint> endpoints{http::Endpoint::unix_socket(options.socket_path)};
  if (!options.tcp) return endpoints;
  TRY(auto tcp, loopback_endpoint(*options.tcp));
  endpoints.push_back(std::move(tcp));
  return endpoints;
}

http::Response refusal(int status, std::string_view message) {
  const auto reason = status == 413 ? "RequestEntityTooLarge" : status < 500 ? "BadRequest" : "InternalError";
  return to_response({status, reason, std::string(message), {}, {}, {}});
}

}  // namespace

Result<http::Endpoint> loopback_endpoint(std::string_view text) {
  TRY(auto tcp, http::Endpoint::parse(text));
  if (!tcp.is_unix() && tcp.is_loopback()) return tcp;
  return fail(ErrorCode::kInvalid,
              "{}: without TLS and authentication only a loopback address is allowed, such as 127.0.0.1:8321",
              text);
}

struct Server::State {
  std::unique_ptr<store::Store> store;
  std::unique_ptr<Router> router;
  std::unique_ptr<http::Server> http;  // last, so that it goes first: its streams follow the store
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() {
  stop();
}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options) {
  auto state = std::make_unique<State>();
  TRY(auto endpoints, endpoints_of(options));
  TRY_VOID(make_folder_of(options.socket_path));
  if (options.database_path != ":memory:") TRY_VOID(make_folder_of(options.database_path));
  TRY(state->store,
      store::open_sqlite_store({.path = options.database_path, .history = {}, .max_pages = {}}));
  state->router = std::make_unique<Router>(*state->store);
  TRY_VOID(state->router->ensure_built_ins());

  http::ServerOptions http_options;
  http_options.endpoints = std::move(endpoints);
  http_options.workers = kWorkers;
  http_options.refuse = refusal;
  TRY(state->http,
      http::Server::start(std::move(http_options), [&router = *state->router](const http::Request& request,
                                                                              const http::Respond& respond) {
        router.handle(request, respond);
      }));
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

const std::vector<http::Endpoint>& Server::endpoints() const {
  return state_->http->endpoints();
}

void Server::stop() {
  state_->http->stop();
}

Result<void> run(const ServerOptions& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // inherited by all threads that start from here

  TRY(const auto server, Server::start(options));
  for (const auto& endpoint : server->endpoints())
    spdlog::info("serving {} from {}", endpoint.to_string(), options.database_path);
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping after signal {}", signal);
  server->stop();
  return {};
}

}  // namespace ocicat::api
