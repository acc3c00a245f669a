// Which endpoints are a host's own, and as whom they may send.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine_host.h"

namespace ocicat {
namespace {

using policy::Verdict;
using test::allow_from;
using test::endpoint;
using test::EngineHost;
using test::key;
using test::policy_key;
using test::World;
using testing::HasSubstr;

TEST(LocalEndpoints, LeavesOutAnEndpointThatMaySpoofUntilTheSettingsAllowIt) {
  EngineHost host{"host1"};
  auto spoofer = endpoint("a", "host1", "calia", "10.0.0.1");
  spoofer.allowed_source_prefixes = {test::prefix("192.0.2.0/24")};
  const auto changes = host.set(key("a"), spoofer);
  EXPECT_TRUE(host.state.endpoints.empty());
  ASSERT_TRUE(changes.refused.entries().contains(key("a")));
  EXPECT_THAT(*changes.refused.entries().at(key("a")), HasSubstr("workloadSourceSpoofing"));

  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values = {{"workloadSourceSpoofing", "Any"}};
  const ResourceKey settings{Kind::kFelixConfiguration, "", "default"};
  host.set(settings, configuration);
  EXPECT_TRUE(host.state.endpoints.contains(key("a")));
  host.remove(settings);
  EXPECT_TRUE(host.state.endpoints.empty());
}

// What rules ask of the sender's side is asked of the address that it sends from.
TEST(LocalEndpoints, JudgesWhatAnEndpointSendsFromElsewhereByThatAddress) {
  EngineHost host{"host1"};
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values = {{"workloadSourceSpoofing", "Any"}};
  host.set({Kind::kFelixConfiguration, "", "default"}, configuration);
  Rule rule;
  rule.source.nets = {test::prefix("192.0.2.0/25")};
  host.set(policy_key("out"), test::global_egress("out", {rule}));
  auto sender = endpoint("a", "host1", "calia", "10.0.0.1");
  sender.allowed_source_prefixes = {test::prefix("192.0.2.128/25"), test::prefix("192.0.2.0/24")};
  host.set(key("a"), sender);
  const auto& state = host.state.endpoints.at(key("a"));
  EXPECT_EQ(state.sources, std::vector{test::prefix("192.0.2.0/24")});
  EXPECT_EQ(state.source_chain(Family::kIpv6), policy::ChainId{});
  const auto sent_from = [&](const char* source) {
    const policy::Packet packet{
        .source = test::address(source), .destination = test::address("10.0.0.2"), .destination_port = 80};
    return policy::Simulator(host.state.tables)
        .lookup(state.source_chain(Family::kIpv4), packet.source, packet.destination, packet)
        .verdict;
  };
  EXPECT_EQ(sent_from("192.0.2.7"), Verdict::kAllow);
  EXPECT_EQ(sent_from("192.0.2.200"), Verdict::kDeny);
  host.remove(key("a"));
  EXPECT_TRUE(host.state.tables.chains.empty());
}

// Judged by the old settings and by the new ones in one batch, it goes and comes: its number stays its own.
TEST(LocalEndpoints, AnEndpointThatMaySpoofFromTheMomentItAsksToKeepsItsNumber) {
  EngineHost host{"host1"};
  host.set(policy_key("allow"), allow_from("allow", "role == 'api'", "role == 'web'"));
  auto spoofer = endpoint("a", "host1", "calia", "10.0.0.1", {{"role", "api"}});
  host.set(key("a"), spoofer);
  spoofer.allowed_source_prefixes = {test::prefix("192.0.2.0/24")};
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values = {{"workloadSourceSpoofing", "Any"}};
  ResourceChanges both;
  both.update(key("a"), spoofer);
  both.update({Kind::kFelixConfiguration, "", "default"}, configuration);
  host.step(both);

  host.set(key("b"), endpoint("b", "host1", "calib", "10.0.0.2", {{"role", "web"}}));
  EXPECT_EQ(host.engine.counters().endpoints, 2U);
  EXPECT_EQ(host.ingress(key("a"), "10.0.0.2"), Verdict::kAllow);
  host.remove(key("b"));
  EXPECT_TRUE(host.state.endpoints.contains(key("a")));
  EXPECT_EQ(host.ingress(key("a"), "10.0.0.2"), Verdict::kDeny);
}

TEST(LocalEndpoints, OnlyEndpointsOfItsHostGetPrograms) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1"));
  host.set(key("other"), endpoint("other", "b", "cali1", "10.0.0.2"));
  EXPECT_EQ(host.state.endpoints.size(), 1U);
  EXPECT_EQ(host.state.endpoints.begin()->first, key("mine"));
}

TEST(LocalEndpoints, WithoutAHostEveryEndpointIsLocal) {
  EngineHost everywhere(std::nullopt);
  everywhere.set(key("one"), endpoint("one", "a", "cali1", "10.0.0.1"));
  everywhere.set(key("two"), endpoint("two", "b", "cali1", "10.0.0.2"));
  EXPECT_EQ(everywhere.state.endpoints.size(), 2U);
}

TEST(LocalEndpoints, OfTwoEndpointsWithOneInterfaceTheFirstNameHasItAndTheOtherWaits) {
  EngineHost host("a");
  host.set(key("late"), endpoint("late", "a", "cali1", "10.0.0.2"));
  const auto changes = host.set(key("early"), endpoint("early", "a", "cali1", "10.0.0.1"));
  EXPECT_EQ(host.state.endpoints.size(), 1U);
  EXPECT_TRUE(host.state.endpoints.contains(key("early")));
  EXPECT_THAT(changes.refused.entries().at(key("late")).value(), HasSubstr("early"));
  const auto after = host.remove(key("early"));
  EXPECT_TRUE(host.state.endpoints.contains(key("late")));
  EXPECT_EQ(after.refused.entries().at(key("late")), std::nullopt);
}

TEST(LocalEndpoints, AnEndpointThatMayNoLongerSpoofIsReportedAlsoWhereItWaited) {
  World world;
  world.with_pod("shop/api", {"10.0.0.1"});
  auto& api = std::get<WorkloadEndpoint>(world.snapshot.at(test::pod_key("shop/api")));
  api.allowed_source_prefixes = {test::prefix("192.0.2.0/24")};
  api.interface_name = "";
  const ResourceKey settings{Kind::kFelixConfiguration, "", "default"};
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values["workloadSourceSpoofing"] = "Any";
  world.snapshot.insert_or_assign(settings, configuration);
  Engine engine({.node = "host1", .dictionary = {}});
  std::map<ResourceKey, std::string> told;
  engine.update(ResourceChanges::between({}, world.snapshot)).refused.apply_to(told);
  EXPECT_THAT(told[test::pod_key("shop/api")], HasSubstr("names no interface"));
  ResourceChanges gone;
  gone.remove(settings);
  engine.update(gone).refused.apply_to(told);
  EXPECT_THAT(told[test::pod_key("shop/api")], HasSubstr("workloadSourceSpoofing is not Any"));
}

TEST(LocalEndpoints, ABandwidthThatIsTakenAsABoundIsToldAndNotRefusedAsLongAsItIsThere) {
  EngineHost host("a");
  auto slow = endpoint("slow", "a", "cali1", "10.0.0.1");
  slow.qos.limits.egress.rate = 1000;
  slow.qos.bounded = "egressBandwidth of 1 is taken as 1000";
  const auto changes = host.set(key("slow"), slow);
  EXPECT_EQ(changes.bounded.entries().at(key("slow")), slow.qos.bounded);
  EXPECT_TRUE(changes.refused.empty());
  EXPECT_TRUE(host.set(key("slow"), slow).bounded.empty()) << "once";
  EXPECT_EQ(host.remove(key("slow")).bounded.entries().at(key("slow")), std::nullopt);
}

TEST(LocalEndpoints, AnEndpointWithoutAnAddressIsIgnored) {
  EngineHost host("a");
  auto bare = endpoint("bare", "a", "cali1", "10.0.0.1");
  bare.addresses.clear();
  EXPECT_TRUE(host.state.endpoints.empty());
  host.set(key("bare"), bare);
  EXPECT_TRUE(host.state.endpoints.empty());
  EXPECT_EQ(host.engine.counters().endpoints, 0U);
}

}  // namespace
}  // namespace ocicat
