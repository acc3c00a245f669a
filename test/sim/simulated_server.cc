#include "sim/simulated_server.h"

#include <unistd.h>

#include <boost/json/serialize.hpp>

#include <atomic>

#include "api/client/wire.h"
#include "api/server/stored_text.h"
#include "resources/decode.h"

namespace ocicat::test {

SimulatedServer::SimulatedServer(const Time& now, store::HistoryLimits limits) : now_(now), limits_(limits) {
  static std::atomic<int> count = 0;
  folder_ = std::filesystem::temp_directory_path() / fmt::format("ocicat-sim-{}-{}", ::getpid(), ++count);
  std::filesystem::create_directories(folder_);
  open();
  restart();
}

SimulatedServer::~SimulatedServer() {
  close();
  std::filesystem::remove_all(folder_);
}

void SimulatedServer::close() {
  router_.reset();
  store_.reset();
}

void SimulatedServer::restart() {
  close();
  std::filesystem::copy_file(file("ocicat.db"), file("backup.db"),
                             std::filesystem::copy_options::overwrite_existing);
  open();
}

void SimulatedServer::restore() {
  close();
  std::filesystem::copy_file(file("backup.db"), file("ocicat.db"),
                             std::filesystem::copy_options::overwrite_existing);
  open();
}

void SimulatedServer::open() {
  auto store = InlineStore::open(file("ocicat.db"), limits_);
  CHECK(store);
  store_ = *std::move(store);
  router_.emplace(*store_, [this] { return now_; });
  CHECK(router_->ensure_built_ins());
}

std::optional<http::Response> SimulatedServer::answer(const http::Request& request) {
  std::optional<http::Response> answer;
  router_->handle(request, [&](http::Response response) { answer = std::move(response); });
  return answer;
}

std::optional<int> SimulatedServer::write(const ResourceKey& key,
                                          const std::optional<boost::json::object>& document) {
  const bool exists = stored(key).has_value();
  http::Request request{"DELETE", api::path_of(key), {{"Content-Type", "application/json"}}, {}};
  if (document) {
    request.method = exists ? "PUT" : "POST";
    if (!exists) {
      request.target =
          api::path_of(key.kind, info(key.kind).namespaced ? std::optional(key.ns) : std::nullopt);
    }
    request.body = boost::json::serialize(*document);
  }
  const auto response = answer(request);
  if (!response) return std::nullopt;
  return response->status;
}

std::optional<std::string> SimulatedServer::stored(const ResourceKey& key) const {
  const auto entry = store_->get(key);
  return entry ? std::optional(*entry->document) : std::nullopt;
}

policy::Snapshot SimulatedServer::snapshot() const {
  policy::Snapshot snapshot;
  for (const Kind kind : watched_kinds()) {
    for (const auto& entry : store_->list(kind, std::nullopt).entries) {
      auto resource = decode(kind, api::from_stored_text(*entry.document));
      CHECK(resource);  // validation lets nothing in that cannot be read
      snapshot.emplace(entry.key, *std::move(resource));
    }
  }
  return snapshot;
}

}  // namespace ocicat::test
