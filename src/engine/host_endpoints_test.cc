// Host endpoints in the engine's output. That its tables say what the evaluator says is in
// engine_property_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "policy/simulator.h"
#include "test/support/world.h"

namespace ocicat {
namespace {

using policy::ChainId;
using policy::ChainKind;
using policy::Direction;
using policy::Hook;
using policy::Verdict;
using test::host_key;
using test::World;
using testing::HasSubstr;

constexpr Hook kIn{ChainKind::kNormal, Direction::kIngress};
constexpr Hook kForwardIn{ChainKind::kForward, Direction::kIngress};
constexpr Hook kUntrackedIn{ChainKind::kUntracked, Direction::kIngress};

struct Host {
  explicit Host(policy::Dictionary dictionary = {})
      : engine({.node = "host1", .dictionary = std::move(dictionary)}) {}

  HostChanges take(const World& world) {
    const auto changes = ResourceChanges::between(seen, world.snapshot);
    seen = world.snapshot;
    auto out = engine.update(changes);
    out.apply_to(state);
    out.refused.apply_to(refused);
    return out;
  }
  const HostEndpointState& at(const std::string& name) const {
    return state.host_endpoints.at(host_key(name));
  }
  Verdict verdict(const std::string& name, Hook hook, const policy::Packet& packet) const {
    const policy::Simulator simulator(state.tables);
    const bool in = hook.direction == Direction::kIngress;
    return simulator
        .lookup(at(name).chain(packet.family(), hook), in ? packet.destination : packet.source,
                in ? packet.source : packet.destination, packet)
        .verdict;
  }

  Engine engine;
  HostState state;
  std::map<ResourceKey, std::string> refused;
  policy::Snapshot seen;
};

TEST(HostEndpointsOfAHost, AreThoseOfItsNode) {
  World world;
  world.with_host("here", "eth0", {"192.0.2.1"}).with_host("there", "eth0", {"192.0.2.2"});
  std::get<HostEndpoint>(world.snapshot.at(host_key("there"))).node = "host2";
  Host host;
  host.take(world);
  ASSERT_EQ(host.state.host_endpoints.size(), 1U);
  EXPECT_EQ(host.at("here").interface_name, "eth0");
  EXPECT_EQ(host.at("here").expected_addresses, std::vector{test::address("192.0.2.1")});
  EXPECT_NE(host.at("here").chain(Family::kIpv4, kIn), ChainId{});
  EXPECT_EQ(host.at("here").chain(Family::kIpv4, kForwardIn), ChainId{})
      << "nothing is asked where no policy is";
  std::get<HostEndpoint>(world.snapshot.at(host_key("here"))).node = "host2";
  host.take(world);
  EXPECT_TRUE(host.state.host_endpoints.empty());
}

TEST(HostEndpointsOfAHost, GetAProgramForEachKindOfOwnAddressThatRulesTellApart) {
  Rule rule{.action = Action::kAllow};
  rule.destination.nets = {test::prefix("192.0.2.0/24")};
  World world;
  world.with_host("edge", "eth0").with_policy(test::global_ingress("p", {rule}));
  Host host;
  host.take(world);
  const auto chain = host.state.tables.chains.at(host.at("edge").chain(Family::kIpv4, kIn));
  EXPECT_NE(chain.vocabulary, policy::VocabularyId{});
  EXPECT_EQ(host.state.tables.chain_programs.size(), 1U);
  EXPECT_EQ(host.verdict("edge", kIn, test::packet(kTcp, "198.51.100.1", "192.0.2.1", 80)), Verdict::kAllow);
  EXPECT_EQ(host.verdict("edge", kIn, test::packet(kTcp, "198.51.100.1", "192.0.3.1", 80)), Verdict::kDeny);
}

TEST(HostEndpointsOfAHost, FollowTheFailsafePortsOfTheConfiguration) {
  World world;
  world.with_host("edge", "eth0");
  Host host;
  host.take(world);
  const auto ssh = test::packet(kTcp, "198.51.100.1", "192.0.2.1", 22);
  EXPECT_EQ(host.verdict("edge", kIn, ssh), Verdict::kAllow);
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values["failsafeInboundHostPorts"] = "tcp:203.0.113.0/24:22";
  world.snapshot.insert_or_assign({Kind::kFelixConfiguration, "", "default"}, configuration);
  host.take(world);
  EXPECT_EQ(host.verdict("edge", kIn, ssh), Verdict::kDeny);
  EXPECT_EQ(host.verdict("edge", kIn, test::packet(kTcp, "203.0.113.9", "192.0.2.1", 22)), Verdict::kAllow);
}

TEST(HostEndpointsOfAHost, ForStarIgnoreUntrackedPolicyAndSaySo) {
  auto untracked = test::global_ingress("u", {Rule{.action = Action::kDeny}});
  untracked.do_not_track = untracked.apply_on_forward = true;
  World world;
  world.with_host("all", "*").with_host("edge", "eth0").with_policy(untracked);
  Host host;
  host.take(world);
  EXPECT_EQ(host.at("all").chain(Family::kIpv4, kUntrackedIn), ChainId{});
  EXPECT_NE(host.at("edge").chain(Family::kIpv4, kUntrackedIn), ChainId{});
  EXPECT_THAT(host.refused.at(host_key("all")), HasSubstr("doNotTrack"));
  EXPECT_FALSE(host.refused.contains(host_key("edge")));
  world.snapshot.erase({Kind::kGlobalNetworkPolicy, "", "u"});
  host.take(world);
  EXPECT_TRUE(host.refused.empty());
}

// The set of a named port that one member leaves and another joins is one set all along, also where the first
// had no address.
TEST(HostEndpointsOfAHost, LeaveANamedPortToTheNextThatHasIt) {
  Rule rule{.action = Action::kAllow, .protocol = ProtocolMatch{kTcp}};
  rule.destination.ports = {std::string("web")};
  World world;
  world.with_host("a", "eth0", {}, {}, {}, {{"web", kTcp, 80}})
      .with_policy(test::global_ingress("p", {rule}));
  Host host;
  host.take(world);
  world.with_host("a", "eth0").with_host("b", "eth1", {}, {}, {}, {{"web", kTcp, 80}});
  host.take(world);
  world.with_host("b", "eth1", {"192.0.2.1"}, {}, {}, {{"web", kTcp, 80}});
  host.take(world);
  EXPECT_EQ(host.verdict("b", kIn, test::packet(kTcp, "198.51.100.1", "192.0.2.1", 80)), Verdict::kAllow);
  EXPECT_EQ(host.verdict("b", kIn, test::packet(kTcp, "198.51.100.1", "192.0.2.1", 81)), Verdict::kDeny);
}

TEST(HostEndpointsOfAHost, KeepTheirIdsAfterARestart) {
  World world;
  world.with_host("a", "eth0").with_host("b", "eth1").with_policy(test::global_ingress("p", {Rule{}}));
  Host host;
  host.take(world);
  Host again(host.state.tables.dictionary);
  again.take(world);
  EXPECT_EQ(again.state.host_endpoints, host.state.host_endpoints);
  EXPECT_NE(host.at("a").id, host.at("b").id);
}

TEST(HostEndpointsOfAHost, MakeUntrackedPolicyCountOnlyWhereTheyAre) {
  Rule rule{.action = Action::kAllow};
  rule.source.selector = "role == 'a'";
  auto untracked = test::global_ingress("u", {rule});
  untracked.do_not_track = untracked.apply_on_forward = true;
  World world;
  world.with_namespace("shop").with_pod("shop/api", {"10.0.0.1"}, {{"role", "a"}}).with_policy(untracked);
  Host host;
  host.take(world);
  EXPECT_EQ(host.engine.counters().active_policies, 0U) << "no workload has untracked policy";
  world.with_host("edge", "eth0");
  host.take(world);
  EXPECT_EQ(host.engine.counters().active_policies, 1U);
}

}  // namespace
}  // namespace ocicat
