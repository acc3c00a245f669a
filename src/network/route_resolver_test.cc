#include "network/route_resolver.h"

#include <gtest/gtest.h>

namespace ocicat::network {
namespace {

const auto kFour = *IpAddress::parse("10.65.0.2");
const auto kSix = *IpAddress::parse("fd00::2");

Node node(std::string name, std::optional<std::string> ipv4, std::optional<std::string> ipv6 = {}) {
  Node result;
  result.metadata.name = std::move(name);
  if (ipv4) result.ipv4 = Prefix::parse(*ipv4);
  if (ipv6) result.ipv6 = Prefix::parse(*ipv6);
  return result;
}

TEST(RouteResolver, ALocalEndpointIsReachedByItsInterface) {
  const RouteResolver resolver;
  EXPECT_EQ(resolver.way(kFour, {{true, "cali1", "a"}}), (Way{Way::Kind::kInterface, "cali1", {}}));
}

TEST(RouteResolver, ARemoteEndpointIsReachedByItsNodeInTheSameFamily) {
  RouteResolver resolver;
  resolver.set_node(node("b", "192.0.2.2/24", "2001:db8::2/64"));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}}),
            (Way{Way::Kind::kHost, "", IpAddress::parse("192.0.2.2")}));
  EXPECT_EQ(resolver.way(kSix, {{false, "", "b"}}),
            (Way{Way::Kind::kHost, "", IpAddress::parse("2001:db8::2")}));
}

TEST(RouteResolver, AnUnknownNodeOrOneWithoutAnAddressOfTheFamilyGivesNoWay) {
  RouteResolver resolver;
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}}), std::nullopt);
  resolver.set_node(node("b", "192.0.2.2/24"));
  EXPECT_EQ(resolver.way(kSix, {{false, "", "b"}}), std::nullopt);
  EXPECT_TRUE(resolver.remove_node("b").node);
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}}), std::nullopt);
}

TEST(RouteResolver, OfSeveralClaimsALocalOneWins) {
  RouteResolver resolver;
  resolver.set_node(node("b", "192.0.2.2/24"));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}, {true, "cali1", "a"}}),
            (Way{Way::Kind::kInterface, "cali1", {}}));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "c"}, {false, "", "b"}}), std::nullopt);
  EXPECT_EQ(resolver.way(kFour, {}), std::nullopt);
}

TEST(RouteResolver, SaysWhatAChangeOfANodeConcerns) {
  RouteResolver resolver("a");
  EXPECT_TRUE(resolver.set_node(node("b", "192.0.2.2/24")).node);
  EXPECT_FALSE(resolver.set_node(node("b", "192.0.2.2/24")).node);
  const auto moved = resolver.set_node(node("b", "192.0.2.3/24"));
  EXPECT_TRUE(moved.node);
  EXPECT_FALSE(moved.all);
  EXPECT_EQ(moved.peers, (std::vector{*IpAddress::parse("192.0.2.2"), *IpAddress::parse("192.0.2.3")}));
  EXPECT_FALSE(resolver.remove_node("c").node);
  // The subnet of the own node decides which others are reached without a tunnel.
  EXPECT_TRUE(resolver.set_node(node("a", "192.0.2.1/24")).all);
  EXPECT_TRUE(resolver.set_node(node("a", "192.0.2.1/25")).all);
}

IpPool pool(const std::string& name, const std::string& cidr, IpPool::Encapsulation vxlan,
            IpPool::Encapsulation ipip = IpPool::Encapsulation::kNever) {
  IpPool result;
  result.metadata.name = name;
  result.cidr = *Prefix::parse(cidr);
  result.vxlan = vxlan;
  result.ipip = ipip;
  return result;
}

class Overlay : public testing::Test {
 protected:
  Overlay() {
    resolver_.set_node(node("a", "192.0.2.1/24", "2001:db8::1/64"));
    near_ = node("b", "192.0.2.2/24", "2001:db8::2/64");
    far_ = node("c", "198.51.100.3/24", "2001:db8:1::3/64");
    near_.vxlan[0].address = IpAddress::parse("10.65.2.0");
    far_.vxlan[0].address = IpAddress::parse("10.65.3.0");
    resolver_.set_node(near_);
    resolver_.set_node(far_);
  }
  std::optional<Way> way(const IpAddress& address, std::string_view host) const {
    return resolver_.way(address, {{false, "", host}});
  }
  using enum IpPool::Encapsulation;

  RouteResolver resolver_{"a"};
  Node near_, far_;
};

TEST_F(Overlay, ThatIsAlwaysLeadsToTheVtepOfTheHost) {
  EXPECT_TRUE(resolver_.set_pool(pool("p", "10.65.0.0/16", kAlways)));
  EXPECT_FALSE(resolver_.set_pool(pool("p", "10.65.0.0/16", kAlways)));
  EXPECT_EQ(way(kFour, "b"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("10.65.2.0")}));
  EXPECT_EQ(way(kFour, "c"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("10.65.3.0")}));
}

TEST_F(Overlay, OnlyAcrossSubnetsSparesHostsOfTheOwnSubnet) {
  resolver_.set_pool(pool("p", "10.65.0.0/16", kCrossSubnet));
  EXPECT_EQ(way(kFour, "b"), (Way{Way::Kind::kHost, "", IpAddress::parse("192.0.2.2")}));
  EXPECT_EQ(way(kFour, "c"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("10.65.3.0")}));
}

TEST_F(Overlay, IsNotUsedBeforeTheOtherEndIsKnown) {
  resolver_.set_pool(pool("six", "fd00::/48", kAlways));
  EXPECT_EQ(way(kSix, "b"), std::nullopt);
  near_.vxlan[1].address = IpAddress::parse("fd00::b:0");
  EXPECT_TRUE(resolver_.set_node(near_).node);
  EXPECT_EQ(way(kSix, "b"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("fd00::b:0")}));
}

TEST_F(Overlay, OfOnePoolLeavesAnotherPoolAndForeignAddressesAlone) {
  resolver_.set_pool(pool("p", "10.65.0.0/24", kAlways));
  resolver_.set_pool(pool("q", "10.65.1.0/24", kNever, kAlways));
  EXPECT_EQ(way(*IpAddress::parse("10.65.1.1"), "c"),
            (Way{Way::Kind::kIpip, "", IpAddress::parse("198.51.100.3")}));
  EXPECT_EQ(way(*IpAddress::parse("10.66.0.1"), "c"),
            (Way{Way::Kind::kHost, "", IpAddress::parse("198.51.100.3")}));
  EXPECT_TRUE(resolver_.remove_pool("p"));
  EXPECT_EQ(way(kFour, "c"), (Way{Way::Kind::kHost, "", IpAddress::parse("198.51.100.3")}));
}

TEST_F(Overlay, NeverLeadsALocalEndpointAway) {
  resolver_.set_pool(pool("p", "10.65.0.0/16", kAlways));
  EXPECT_EQ(resolver_.way(kFour, {{true, "cali1", "a"}}), (Way{Way::Kind::kInterface, "cali1", {}}));
}

TEST(Hosts, HaveTheMacOfTheirNameUnlessTheNodeSaysAnother) {
  // As `printf node-a | sha1sum` says, and `printf node-a-v6 | sha1sum`.
  EXPECT_EQ(vtep_mac("node-a", Family::kIpv4).to_string(), "66:07:02:c1:cc:60");
  EXPECT_EQ(vtep_mac("node-a", Family::kIpv6).to_string(), "66:d4:d5:51:3d:42");
  Hosts hosts;
  auto b = node("b", "192.0.2.2/24");
  b.vxlan[0].address = IpAddress::parse("10.65.2.0");
  hosts.set(b);
  EXPECT_EQ(hosts.peer(*IpAddress::parse("192.0.2.2"), "a")->vtep->mac, vtep_mac("b", Family::kIpv4));
  b.vxlan[0].mac = MacAddress::parse("66:00:00:00:00:01");
  hosts.set(b);
  EXPECT_EQ(hosts.peer(*IpAddress::parse("192.0.2.2"), "a")->vtep->mac,
            *MacAddress::parse("66:00:00:00:00:01"));
}

TEST(Hosts, ThatClaimOneAddressLeaveItToTheFirstByName) {
  Hosts hosts;
  hosts.set(node("c", "192.0.2.2/24"));
  hosts.set(node("b", "192.0.2.2/24"));
  EXPECT_EQ(hosts.peer(*IpAddress::parse("192.0.2.2"), "b"), std::nullopt);
  EXPECT_TRUE(hosts.peer(*IpAddress::parse("192.0.2.2"), "c"));
  hosts.remove("b");
  EXPECT_TRUE(hosts.peer(*IpAddress::parse("192.0.2.2"), "b"));
}

}  // namespace
}  // namespace ocicat::network
