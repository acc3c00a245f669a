// The routes, tunnels and hosts that a host's engine wants of its kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine_host.h"

namespace ocicat {
namespace {

using test::endpoint;
using test::EngineHost;
using test::key;
using test::node;

TEST(LocalRoutes, LeadToInterfacesOfLocalEndpointsAndToNodesOfOthers) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1"));
  host.set(key("other"), endpoint("other", "b", "cali2", "10.0.0.2"));
  EXPECT_EQ(host.state.routes.size(), 1U);
  const auto& mine = host.state.routes.at(test::prefix("10.0.0.1/32"));
  EXPECT_EQ(mine, (Route{Route::Kind::kInterface, "cali1", {}}));
  host.set({Kind::kNode, "", "b"}, node("b", "192.0.2.2/24"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")),
            (Route{Route::Kind::kHost, "", test::address("192.0.2.2")}));
  // It moves here.
  host.set(key("other"), endpoint("other", "a", "cali2", "10.0.0.2"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")), (Route{Route::Kind::kInterface, "cali2", {}}));
  host.remove(key("other"));
  EXPECT_EQ(host.state.routes.size(), 1U);
}

IpPool pool(const std::string& cidr, IpPool::Encapsulation vxlan) {
  IpPool result;
  result.metadata.name = "p";
  result.cidr = test::prefix(cidr);
  result.vxlan = vxlan;
  return result;
}

Node with_tunnel(Node node, const std::string& address) {
  node.vxlan[0].address = test::address(address);
  return node;
}

TEST(LocalRoutes, LeavesTheWaysToOtherHostsToARouterUnlessTheirPoolAsksForTunnels) {
  EngineHost host("a", {}, Engine::Router::kRuns);
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1"));
  host.set(key("other"), endpoint("other", "b", "cali2", "10.0.0.2"));
  host.set({Kind::kNode, "", "a"}, node("a", "192.0.2.1/24"));
  host.set({Kind::kNode, "", "b"}, node("b", "192.0.2.2/24"));
  EXPECT_EQ(host.state.routes.size(), 1U) << "that of its own workload";
  host.set({Kind::kIpPool, "", "p"}, pool("10.0.0.0/16", IpPool::Encapsulation::kCrossSubnet));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kHost);
  host.set({Kind::kIpPool, "", "p"}, pool("10.0.0.0/16", IpPool::Encapsulation::kNever));
  EXPECT_EQ(host.state.routes.size(), 1U);
}

TEST(LocalRoutes, StandsInForARouterThatIsStartingOnTheWaysToOtherHosts) {
  EngineHost host("a", {}, Engine::Router::kStarting);
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1"));
  host.set(key("other"), endpoint("other", "b", "cali2", "10.0.0.2"));
  host.set({Kind::kNode, "", "a"}, node("a", "192.0.2.1/24"));
  host.set({Kind::kNode, "", "b"}, node("b", "192.0.2.2/24"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kHost);
  host.engine.leave_to_router();
  const auto left = host.engine.settle();
  EXPECT_EQ(left.routes.size(), 2U) << "one goes, one is as it was";
  left.apply_to(host.state);
  EXPECT_EQ(host.state.routes.size(), 1U);
  EXPECT_TRUE(host.state.routes.contains(test::prefix("10.0.0.1/32")));
  host.set(key("third"), endpoint("third", "b", "cali3", "10.0.0.3"));
  EXPECT_EQ(host.state.routes.size(), 1U) << "what comes later is the router's too";
}

TEST(LocalRoutes, AnOverlayLeadsThroughTheTunnelsOfItsHostsOnceBothEndsAreKnown) {
  EngineHost host("a");
  host.set(key("other"), endpoint("other", "b", "cali2", "10.0.0.2"));
  host.set({Kind::kNode, "", "a"}, node("a", "192.0.2.1/24"));
  host.set({Kind::kNode, "", "b"}, node("b", "192.0.2.2/24"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kHost);
  EXPECT_EQ(host.state.peers.size(), 1U);
  host.set({Kind::kIpPool, "", "p"}, pool("10.0.0.0/16", IpPool::Encapsulation::kAlways));
  EXPECT_TRUE(host.state.settings.overlays.vxlan4);
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")), (Route{Route::Kind::kVxlan, "", {}}))
      << "nowhere else meanwhile";
  EXPECT_FALSE(host.state.vxlan[0]);
  host.set({Kind::kNode, "", "b"}, with_tunnel(node("b", "192.0.2.2/24"), "10.0.2.0"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")),
            (Route{Route::Kind::kVxlan, "", test::address("10.0.2.0")}));
  EXPECT_EQ(host.state.peers.at(test::address("192.0.2.2")).vtep->address, test::address("10.0.2.0"));
  host.set({Kind::kNode, "", "a"}, with_tunnel(node("a", "192.0.2.1/24"), "10.0.1.0"));
  ASSERT_TRUE(host.state.vxlan[0]);
  EXPECT_EQ(host.state.vxlan[0]->host, test::address("192.0.2.1"));
  EXPECT_EQ(host.state.vxlan[0]->vni, 4096U);
  // Hosts of one subnet need none.
  host.set({Kind::kIpPool, "", "p"}, pool("10.0.0.0/16", IpPool::Encapsulation::kCrossSubnet));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kHost);
  host.set({Kind::kNode, "", "a"}, with_tunnel(node("a", "192.0.2.1/32"), "10.0.1.0"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kVxlan);
  host.remove({Kind::kIpPool, "", "p"});
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kHost);
  EXPECT_FALSE(host.state.vxlan[0]);
  host.remove({Kind::kNode, "", "b"});
  EXPECT_TRUE(host.state.peers.empty());
}

TEST(LocalRoutes, IpipHasAnInterfaceWhereAPoolAsksForItAndLeadsToTheOtherHostItself) {
  EngineHost host("a");
  host.set(key("other"), endpoint("other", "b", "cali2", "10.0.0.2"));
  auto own = node("a", "192.0.2.1/24");
  own.ipip = test::address("10.0.1.0");
  host.set({Kind::kNode, "", "a"}, own);
  host.set({Kind::kNode, "", "b"}, node("b", "198.51.100.2/24"));
  EXPECT_FALSE(host.state.ipip);
  auto asking = pool("10.0.0.0/16", IpPool::Encapsulation::kNever);
  asking.ipip = IpPool::Encapsulation::kCrossSubnet;
  host.set({Kind::kIpPool, "", "p"}, asking);
  ASSERT_TRUE(host.state.ipip);
  EXPECT_EQ(host.state.ipip->host, test::address("192.0.2.1"));
  EXPECT_EQ(host.state.ipip->address, test::address("10.0.1.0"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")),
            (Route{Route::Kind::kIpip, "", test::address("198.51.100.2")}));
  // Hosts of one subnet need none.
  host.set({Kind::kNode, "", "b"}, node("b", "192.0.2.2/24"));
  EXPECT_EQ(host.state.routes.at(test::prefix("10.0.0.2/32")).kind, Route::Kind::kHost);
  host.remove({Kind::kIpPool, "", "p"});
  EXPECT_FALSE(host.state.ipip);
}

}  // namespace
}  // namespace ocicat
