#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <thread>

#include "agent/agent_status.h"
#include "api/client/client.h"
#include "cli/cli_for_test.h"
#include "resources/types.h"

namespace ocicat::cli {
namespace {

using testing::HasSubstr;

class Status : public WithServer {
 protected:
  // What an agent on `host1` reports that has everything up to `revision` of what the server holds, or of
  // that incarnation of its store.
  boost::json::object report(std::uint64_t revision) { return report(revision, incarnation()); }
  boost::json::object report(std::uint64_t revision, const std::string& incarnation) {
    agent::News news;
    news.report.emplace();
    for (const Kind kind : watched_kinds()) news.report->revisions[kind] = {revision, incarnation};
    status_.apply(news);
    return status_.document(std::chrono::system_clock::now());
  }

  std::string incarnation() const {
    api::Client client(*api::Address::parse(address()));
    return std::string(client.get_raw("/ocicat/status")->at("store").at("incarnation").as_string());
  }

  agent::AgentStatus status_{"host1", "nftables", "", 7};
  api::Client client_{*api::Address::parse(address())};
};

TEST_F(Status, WaitingGivesUpAfterTheTimeoutAndSaysWhoIsBehind) {
  const Ran nobody = ocicat({"status", "--wait", "--timeout", "50ms"});
  EXPECT_EQ(nobody.code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("no agent has reported"));
  ASSERT_TRUE(client_.create(report(0)));
  const Ran behind = ocicat({"status", "--wait", "--timeout", "50ms"});
  EXPECT_EQ(behind.code, 1) << "the built-in tiers have a revision above 0";
  EXPECT_THAT(behind.err, HasSubstr("host1: has Tier.projectcalico.org to revision 0"));
}

TEST_F(Status, WaitingReturnsWhenTheLastAgentHasWhatStoodAtTheServer) {
  ASSERT_TRUE(client_.create(report(0)));
  // Written from another thread at some moment of the wait; before it or during it, the answer is the same.
  std::thread agent([this] {
    api::Client own(*api::Address::parse(address()));
    EXPECT_TRUE(own.update(report(1'000'000)));
  });
  const Ran ran = ocicat({"status", "--wait", "--timeout", "60s", "-o", "json"});
  agent.join();
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto json = boost::json::parse(ran.out);
  EXPECT_TRUE(json.at("agents").at(0).at("upToDate").as_bool());
}

TEST_F(Status, WhatAnAgentHasOfOtherDataCountsForNothingHoweverHighItsRevisions) {
  ASSERT_TRUE(client_.create(report(1'000'000, "0123456789abcdef")));
  const Ran behind = ocicat({"status", "--wait", "--timeout", "50ms"});
  EXPECT_EQ(behind.code, 1);
  EXPECT_THAT(behind.err, HasSubstr("host1: has not come back since the server was started"));
  ASSERT_TRUE(client_.update(report(1'000'000)));
  EXPECT_EQ(ocicat({"status", "--wait", "--timeout", "50ms"}).code, 0);
}

// `ocicat apply -f policies/ && ocicat status --wait` is no success where a policy is not in force.
TEST_F(Status, WaitingEndsAtOnceAndFailsWhereAnAgentRefusesSomething) {
  agent::News news;
  news.refused.update({Kind::kNetworkPolicy, "shop", "web"}, "its selector is too long");
  status_.apply(news);
  ASSERT_TRUE(client_.create(report(1'000'000)));
  const Ran refused = ocicat({"status", "--wait", "--timeout", "60s"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("not all is in force"));
  EXPECT_THAT(refused.out, HasSubstr("its selector is too long"));
  EXPECT_EQ(ocicat({"status"}).code, 0) << "which only shows";
}

TEST_F(Status, WaitingSucceedsWhereABandwidthIsInForceAsItsBound) {
  agent::News news;
  news.bounded.update({Kind::kPod, "shop", "slow"}, "egressBandwidth of 1 is taken as 1000");
  status_.apply(news);
  ASSERT_TRUE(client_.create(report(1'000'000)));
  const Ran ran = ocicat({"status", "--wait", "--timeout", "60s"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Pod shop/slow: egressBandwidth of 1 is taken as 1000"));
}

TEST_F(Status, WithoutWaitingItOnlyShows) {
  const Ran ran = ocicat({"status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("Server: version " OCICAT_VERSION));
  EXPECT_EQ(ocicat({"status", "--wait", "--timeout", "soon"}).code, 2);
}

}  // namespace
}  // namespace ocicat::cli
