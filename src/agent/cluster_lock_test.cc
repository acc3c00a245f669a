// Over the real server.
#include "agent/cluster_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "api/client/test_server.h"
#include "http/server.h"

namespace ocicat::agent {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

json::object information(bool ready) {
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "ClusterInformation"},
          {"metadata", json::object{{"name", "default"}}},
          {"spec", json::object{{"datastoreReady", ready}}}};
}

bool eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks
  }
  return true;
}

bool becomes(const ClusterLock& lock, bool locked) {
  return eventually([&] { return lock.why_locked().empty() != locked; });
}

// Leaves the server stopped. As long as the document is not followed yet the server is asked for it, which shows in
// nothing but what is said while that is away.
bool remembers_its_lock(const ClusterLock& lock, api::TestServer& server) {
  return eventually([&] {
    server.stop();
    if (lock.why_locked().find("datastoreReady: false") != std::string::npos) return true;
    server.start();
    return false;
  });
}

TEST(ClusterLock, FollowsTheDocumentAndRemembersItWhileTheServerIsAway) {
  api::TestServer server;
  const ClusterLock lock(server.address());
  EXPECT_EQ(lock.why_locked(), "") << "there is none";
  ASSERT_TRUE(server.client().create(information(false)));
  EXPECT_TRUE(becomes(lock, true));
  EXPECT_TRUE(remembers_its_lock(lock, server));
  server.start();
  ASSERT_TRUE(server.client().update(information(true)));
  EXPECT_TRUE(becomes(lock, false));
}

TEST(ClusterLock, BeforeTheListIsThereTheServerIsAskedAndNobodyGuesses) {
  api::TestServer server;
  ASSERT_TRUE(server.client().create(information(false)));
  server.stop();
  const ClusterLock lock(server.address());
  for (int i = 0; i < 1'000; ++i) ASSERT_THAT(lock.why_locked(), HasSubstr("is not known"));
  server.start();
  EXPECT_THAT(lock.why_locked(), HasSubstr("datastoreReady: false"));
}

TEST(ClusterLock, AServerThatDoesNotKnowTheKindLocksNothing) {
  const auto socket = std::filesystem::temp_directory_path() / fmt::format("no-such-kind-{}", ::getpid());
  http::ServerOptions options;
  options.endpoints = {http::Endpoint::unix_socket(socket.string())};
  const auto server = http::Server::start(std::move(options), [](const auto&, const http::Respond& respond) {
    respond({404, "text/plain", {}, "404 page not found\n", {}});
  });
  ASSERT_TRUE(server);
  const ClusterLock lock(api::Address{"unix://" + socket.string()});
  EXPECT_EQ(lock.why_locked(), "");
}

}  // namespace
}  // namespace ocicat::agent
