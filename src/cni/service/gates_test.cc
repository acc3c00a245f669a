#include "cni/service/gates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "http/server.h"

namespace ocicat::cni {
namespace {

using testing::HasSubstr;

// One that answers what it is told to, and notes what it was asked.
class Gatekeeper {
 public:
  Gatekeeper() {
    http::ServerOptions options;
    options.endpoints = {*http::Endpoint::parse("127.0.0.1:0")};
    options.workers = 1;
    auto server = http::Server::start(std::move(options),
                                      [this](const http::Request& request, const http::Respond& respond) {
                                        asked = request.target;
                                        respond({status.load(), "text/plain", {}, "", {}});
                                      });
    CHECK(server);
    server_ = *std::move(server);
  }
  std::string url(std::string_view target) const {
    return fmt::format("http://127.0.0.1:{}{}", server_->endpoints().front().port, target);
  }

  std::atomic<int> status = 200;
  std::string asked;

 private:
  std::unique_ptr<http::Server> server_;
};

TEST(Gates, AreOpenWhereEachAnswersThatItIsReady) {
  Gatekeeper keeper;
  EXPECT_TRUE(gates_are_open({}));
  EXPECT_TRUE(gates_are_open({keeper.url("/readiness?all=1"), keeper.url("")}));
  EXPECT_EQ(keeper.asked, "/");
  keeper.status = 503;
  const auto closed = gates_are_open({keeper.url("/readiness")});
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, FailureCode::kTryAgainLater);
  EXPECT_THAT(closed.error().details, HasSubstr("it answers 503; see: curl -i http://127.0.0.1:"));
}

TEST(Gates, AreClosedWhereNobodyListens) {
  std::string url;
  {
    const Gatekeeper gone;
    url = gone.url("/");
  }
  const auto closed = gates_are_open({url});
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, FailureCode::kTryAgainLater);
}

TEST(Gates, WhatCannotBeAskedIsRefusedAndNeverPassedOver) {
  for (const auto* url :
       {"https://127.0.0.1/", "http://ready.example/", "http://", "http:///x", "http://unix:///run/x",
        "127.0.0.1:80", "http://127.0.0.1:99999/", "http://::1/a b"}) {
    const auto refused = gates_are_open({url});
    ASSERT_FALSE(refused) << url;
    EXPECT_EQ(refused.error().code, FailureCode::kUnsupportedField) << url;
    EXPECT_THAT(refused.error().details, HasSubstr(url));
  }
}

}  // namespace
}  // namespace ocicat::cni
