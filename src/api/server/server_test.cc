#include "api/server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>

#include <atomic>
#include <filesystem>
#include <thread>

#include "http/client.h"

namespace ocicat::api {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

const std::string kSets = "/apis/projectcalico.org/v3/globalnetworksets";

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    static int count = 0;
    folder_ =
        std::filesystem::temp_directory_path() / fmt::format("ocicat-server-{}-{}", ::getpid(), ++count);
    options_.socket_path = folder_ / "run" / "server.sock";
    options_.database_path = folder_ / "data" / "ocicat.db";
  }
  ~ServerTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Server> start() {
    auto server = Server::start(options_);
    if (!server) {
      ADD_FAILURE() << server.error().message;
      std::abort();
    }
    return *std::move(server);
  }
  http::BlockingClient client() const {
    return http::BlockingClient(http::Endpoint::unix_socket(options_.socket_path));
  }
  static http::Request post(std::string_view name) {
    return {"POST",
            kSets,
            {{"Content-Type", "application/json"}},
            fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"nets":[]}}}})", name)};
  }

  std::filesystem::path folder_;
  ServerOptions options_;
};

TEST_F(ServerTest, ListensOnTcpOnLoopbackOnly) {
  for (const auto* address :
       {"0.0.0.0:0", "10.0.0.1:80", "[::]:0", "192.168.1.1:1", "unix:///tmp/x", "nonsense"}) {
    options_.tcp = address;
    const auto server = Server::start(options_);
    ASSERT_FALSE(server) << address;
    EXPECT_EQ(server.error().code, ErrorCode::kInvalid) << address;
  }
  options_.tcp = "127.0.0.1:0";
  const auto server = start();
  ASSERT_EQ(server->endpoints().size(), 2u);
  const auto response = http::BlockingClient(server->endpoints()[1]).send({"GET", "/healthz", {}, {}});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "ok");
}

TEST_F(ServerTest, TwoServersShareNeitherDatabaseNorSocket) {
  const auto server = start();
  auto other = options_;
  other.socket_path = folder_ / "other.sock";
  EXPECT_EQ(Server::start(other).error().code, ErrorCode::kUnavailable);
  other = options_;
  other.database_path = folder_ / "other.db";
  EXPECT_EQ(Server::start(other).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(client().send({"GET", "/healthz", {}, {}})->status, 200);
}

TEST_F(ServerTest, ManyWritersAndWatchersSeeTheSame) {
  const auto server = start();
  constexpr std::size_t kWriters = 6;
  constexpr std::size_t kEach = 40;
  const auto list = client().send({"GET", kSets, {}, {}});
  const auto version = std::string(json::parse(list->body).at("metadata").at("resourceVersion").as_string());
  std::vector<std::thread> threads;
  std::vector<std::string> seen(5);
  for (auto& lines : seen) {
    threads.emplace_back([&] {
      auto watcher = client();
      const auto ended = watcher.stream(
          {"GET", kSets + "?watch=true&resourceVersion=" + version, {}, {}}, [&](std::string_view data) {
            lines += data;
            return static_cast<std::size_t>(std::ranges::count(lines, '\n')) < kWriters * kEach;
          });
      EXPECT_TRUE(ended) << ended.error().message;
    });
  }
  for (std::size_t writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      auto own = client();
      for (std::size_t i = 0; i < kEach; ++i) {
        const auto created = own.send(post(fmt::format("s{}-{}", writer, i)));
        ASSERT_TRUE(created) << created.error().message;
        EXPECT_EQ(created->status, 201) << created->body;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& lines : seen) EXPECT_EQ(lines, seen[0]);
}

TEST_F(ServerTest, OfManyWhoCreateTheSameOneOneWins) {
  const auto server = start();
  std::atomic<int> created = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto response = client().send(post("same"));
      ASSERT_TRUE(response);
      (response->status == 201 ? created : refused) += 1;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(created, 1);
  EXPECT_EQ(refused, 7);
}

TEST_F(ServerTest, RefusesABodyThatIsTooLargeWithAStatus) {
  const auto server = start();
  const auto response = client().send(
      {"POST", kSets, {{"Content-Type", "application/json"}}, std::string(4 * 1024 * 1024, ' ')});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 413);
  EXPECT_EQ(json::parse(response->body).at("kind"), "Status");
}

TEST_F(ServerTest, AWatchEndsAfterTheTimeItAskedFor) {
  const auto server = start();
  const auto ended = client().stream({"GET", kSets + "?watch=true&timeoutSeconds=1", {}, {}},
                                     [](std::string_view) { return true; });
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->status, 200);
}

TEST_F(ServerTest, StoppingEndsOpenWatches) {
  const auto server = start();
  ASSERT_EQ(client().send(post("a"))->status, 201);
  std::thread stop;
  const auto ended = client().stream({"GET", kSets + "?watch=true", {}, {}}, [&](std::string_view data) {
    // The set below has arrived, so the watch is open.
    EXPECT_THAT(std::string(data), HasSubstr("ADDED"));
    stop = std::thread([&] { server->stop(); });
    return true;
  });
  EXPECT_TRUE(ended) << ended.error().message;
  stop.join();
}

}  // namespace
}  // namespace ocicat::api
