// store-writes: durable creates a second by eight writers, each waiting for its own acknowledgement; on the
// disk that holds the temporary folder ($TMPDIR). store-watch: events a second that ten watchers receive over
// a Unix socket, following 8,000 stored events each; server and clients share the machine.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <vector>

#include "api/server/router.h"
#include "base/result.h"
#include "http/client.h"
#include "http/server.h"
#include "store/sqlite/sqlite_store.h"

namespace {

using namespace ocicat;
using Clock = std::chrono::steady_clock;

constexpr int kWriters = 8;
constexpr int kWritesEach = 1'000;
constexpr int kWatchers = 10;
constexpr int kEvents = 8'000;
constexpr int kRounds = 5;

std::unique_ptr<store::Store> open_at(const std::string& path) {
  auto store = store::open_sqlite_store({path, {}, {}});
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    std::exit(1);
  }
  return *std::move(store);
}

// About the size of a workload endpoint.
std::string document(int number) {
  return fmt::format(
      R"({{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkSet","metadata":{{"name":"n{}","labels":{{"app":"shop","filler":"{}"}}}},"spec":{{"nets":["10.0.0.0/8"]}}}})",
      number, std::string(400, 'x'));
}

ResourceKey key(int number) {
  return {Kind::kGlobalNetworkSet, "", fmt::format("n{}", number)};
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double writes_per_second(const std::string& path) {
  auto store = open_at(path);
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      for (int i = 0; i < kWritesEach; ++i) {
        const int number = writer * kWritesEach + i;
        CHECK(store->commit(store::create_edit(key(number), document(number))));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return kWriters * kWritesEach / seconds_since(start);
}

double deliveries_per_second(const std::string& path, const std::string& socket) {
  auto store = open_at(path);
  for (int i = 0; i < kEvents; ++i)
    CHECK(store->commit(store::create_edit(key(i), document(i)), store::Durability::kProcess));
  api::Router router(*store);
  http::ServerOptions options;
  options.endpoints = {http::Endpoint::unix_socket(socket)};
  auto server = http::Server::start(
      options, [&](http::Request request, http::Respond respond) { router.handle(request, respond); });
  CHECK(server);

  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int watcher = 0; watcher < kWatchers; ++watcher) {
    threads.emplace_back([&] {
      http::BlockingClient client(http::Endpoint::unix_socket(socket));
      std::ptrdiff_t lines = 0;
      const std::string target = "/apis/projectcalico.org/v3/globalnetworksets?watch=true&resourceVersion=1";
      const auto response = client.stream({"GET", target, {}, {}}, [&](std::string_view data) {
        lines += std::ranges::count(data, '\n');
        return lines < kEvents - 1;
      });
      CHECK(response && response->status == 200);
    });
  }
  for (auto& thread : threads) thread.join();
  return kWatchers * (kEvents - 1) / seconds_since(start);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main() {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("ocicat-store-bench-{}", ::getpid());
  std::vector<double> writes, deliveries;
  for (int round = 0; round < kRounds; ++round) {
    std::filesystem::create_directories(folder);
    writes.push_back(writes_per_second(folder / "writes.db"));
    deliveries.push_back(deliveries_per_second(folder / "watch.db", folder / "watch.sock"));
    std::filesystem::remove_all(folder);
  }
  fmt::print("store-writes {:.0f} writes/s\n", median(writes));
  fmt::print("store-watch {:.0f} events/s\n", median(deliveries));
}
