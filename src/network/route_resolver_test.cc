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
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {{true, "cali1", "a"}}),
            (Way{Way::Kind::kInterface, "cali1", {}}));
}

TEST(RouteResolver, ARemoteEndpointIsReachedByItsNodeInTheSameFamily) {
  RouteResolver resolver;
  resolver.set_node(node("b", "192.0.2.2/24", "2001:db8::2/64"));
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {{false, "", "b"}}),
            (Way{Way::Kind::kHost, "", IpAddress::parse("192.0.2.2")}));
  EXPECT_EQ(resolver.way(Prefix::host(kSix), {{false, "", "b"}}),
            (Way{Way::Kind::kHost, "", IpAddress::parse("2001:db8::2")}));
}

TEST(RouteResolver, AnUnknownNodeOrOneWithoutAnAddressOfTheFamilyGivesNoWay) {
  RouteResolver resolver;
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {{false, "", "b"}}), std::nullopt);
  resolver.set_node(node("b", "192.0.2.2/24"));
  EXPECT_EQ(resolver.way(Prefix::host(kSix), {{false, "", "b"}}), std::nullopt);
  EXPECT_TRUE(resolver.remove_node("b").node);
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {{false, "", "b"}}), std::nullopt);
}

TEST(RouteResolver, OfSeveralClaimsALocalOneWins) {
  RouteResolver resolver;
  resolver.set_node(node("b", "192.0.2.2/24"));
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {{false, "", "b"}, {true, "cali1", "a"}}),
            (Way{Way::Kind::kInterface, "cali1", {}}));
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {{false, "", "c"}, {false, "", "b"}}), std::nullopt);
  EXPECT_EQ(resolver.way(Prefix::host(kFour), {}), std::nullopt);
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
    return resolver_.way(Prefix::host(address), {{false, "", host}});
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

TEST_F(Overlay, IsTheOnlyWayAlsoBeforeTheOtherEndIsKnown) {
  resolver_.set_pool(pool("six", "fd00::/48", kAlways));
  EXPECT_EQ(way(kSix, "b"), (Way{Way::Kind::kVxlan, "", {}}));
  near_.vxlan[1].address = IpAddress::parse("fd00::b:0");
  EXPECT_TRUE(resolver_.set_node(near_).node);
  EXPECT_EQ(way(kSix, "b"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("fd00::b:0")}));
}

TEST_F(Overlay, IsTheOnlyWayToAHostThatIsNotKnown) {
  for (const auto mode : {kAlways, kCrossSubnet}) {
    resolver_.set_pool(pool("p", "10.65.0.0/16", mode));
    EXPECT_EQ(way(kFour, "d"), (Way{Way::Kind::kVxlan, "", {}}));
    resolver_.set_pool(pool("p", "10.65.0.0/16", kNever, mode));
    EXPECT_EQ(way(kFour, "d"), (Way{Way::Kind::kIpip, "", {}}));
  }
  resolver_.set_pool(pool("p", "10.65.0.0/16", kNever));
  EXPECT_EQ(way(kFour, "d"), std::nullopt);
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
  EXPECT_EQ(resolver_.way(Prefix::host(kFour), {{true, "cali1", "a"}}),
            (Way{Way::Kind::kInterface, "cali1", {}}));
}

AddressBlock block(const std::string& cidr, std::string node,
                   std::vector<AddressBlock::Elsewhere> elsewhere = {}) {
  AddressBlock result;
  result.cidr = *Prefix::parse(cidr);
  result.metadata.name = cidr;
  result.node = std::move(node);
  result.elsewhere = std::move(elsewhere);
  return result;
}

class Blocks : public Overlay {
 protected:
  std::optional<Way> route(const std::string& prefix, const std::vector<Claim>& claims = {}) const {
    return resolver_.way(*Prefix::parse(prefix), claims);
  }
  const Way near_way_{Way::Kind::kHost, "", IpAddress::parse("192.0.2.2")};
  const Way far_way_{Way::Kind::kHost, "", IpAddress::parse("198.51.100.3")};
  const Way nowhere_{Way::Kind::kNowhere, "", {}};
};

TEST_F(Blocks, LeadToTheirHostsAsAWholeAndTheirOwnNowhere) {
  resolver_.set_block(block("10.65.0.0/26", "a"));
  resolver_.set_block(block("10.65.0.64/26", "b"));
  resolver_.set_block(block("10.65.0.128/26", ""));
  resolver_.set_block(block("10.65.1.0/26", "unknown"));
  EXPECT_EQ(route("10.65.0.0/26"), nowhere_);
  EXPECT_EQ(route("10.65.0.64/26"), near_way_);
  EXPECT_EQ(route("10.65.0.128/26"), std::nullopt);
  EXPECT_EQ(route("10.65.1.0/26"), std::nullopt);
  EXPECT_EQ(route("10.65.0.65/32", {{false, "", "b"}}), std::nullopt) << "the block leads there";
}

TEST_F(Blocks, OfOneAddressHaveNoBlackhole) {
  resolver_.set_block(block("10.65.0.1/32", "a"));
  resolver_.set_block(block("10.65.0.2/32", "b"));
  EXPECT_EQ(route("10.65.0.1/32"), std::nullopt);
  EXPECT_EQ(route("10.65.0.2/32"), near_way_);
  EXPECT_EQ(route("10.65.0.2/32", {{false, "", "b"}}), near_way_);
}

TEST_F(Blocks, LeadWhatTheyHaveGivenElsewhereToWhereItIs) {
  const std::vector<AddressBlock::Elsewhere> given{{*IpAddress::parse("10.65.0.66"), "c"},
                                                   {*IpAddress::parse("10.65.0.67"), "a"},
                                                   {*IpAddress::parse("192.0.2.2"), "c"}};
  resolver_.set_block(block("10.65.0.64/26", "b", given));
  resolver_.set_block(block("192.0.2.0/28", "c", {{*IpAddress::parse("192.0.2.2"), "b"}}));
  EXPECT_EQ(route("10.65.0.66/32"), far_way_);
  EXPECT_EQ(route("10.65.0.66/32", {{false, "", "b"}}), far_way_) << "the block says who was given it";
  EXPECT_EQ(route("10.65.0.67/32"), std::nullopt) << "here, and nobody has it yet";
  EXPECT_EQ(route("192.0.2.2/32"), std::nullopt) << "the address of a host is no workload's";
}

TEST_F(Blocks, NeverTakeTheWayOfALocalEndpointWhateverTheySay) {
  resolver_.set_block(block("10.65.0.0/26", "b", {{*IpAddress::parse("10.65.0.2"), "c"}}));
  const Way here{Way::Kind::kInterface, "cali1", {}};
  EXPECT_EQ(route("10.65.0.2/32", {{true, "cali1", "a"}}), here);
  EXPECT_EQ(route("10.65.0.3/32", {{false, "", "c"}, {true, "cali1", "a"}}), here);
}

TEST_F(Blocks, LeaveAnEndpointThatIsElsewhereAndWasNotGivenItsAddressItsOwnWay) {
  resolver_.set_block(block("10.65.0.0/26", "b"));
  EXPECT_EQ(route("10.65.0.9/32", {{false, "", "c"}}), far_way_);
  EXPECT_EQ(route("10.66.0.9/32", {{false, "", "c"}}), far_way_) << "in no block";
}

TEST_F(Blocks, TravelAsTheirPoolSays) {
  resolver_.set_pool(pool("p", "10.65.0.0/24", kAlways));
  resolver_.set_pool(pool("q", "10.65.1.0/24", kCrossSubnet));
  resolver_.set_block(block("10.65.0.0/26", "b"));
  resolver_.set_block(block("10.65.1.0/26", "b"));
  resolver_.set_block(block("10.65.1.64/26", "c"));
  resolver_.set_block(block("10.65.2.0/26", "c"));
  EXPECT_EQ(route("10.65.0.0/26"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("10.65.2.0")}));
  EXPECT_EQ(route("10.65.1.0/26"), near_way_);
  EXPECT_EQ(route("10.65.1.64/26"), (Way{Way::Kind::kVxlan, "", IpAddress::parse("10.65.3.0")}));
  EXPECT_EQ(route("10.65.2.0/26"), far_way_);
}

TEST_F(Blocks, LeadToTheEndOfATunnelWhileAnyPoolTravelsInIt) {
  const auto end = *IpAddress::parse("10.65.3.0");  // of c, borrowed
  const auto prefix = Prefix::host(end).to_string();
  near_.ipip = IpAddress::parse("10.65.3.1");  // of b, likewise
  resolver_.set_node(near_);
  resolver_.set_block(block("10.65.3.0/26", "a", {{end, "c"}, {*near_.ipip, "b"}}));
  resolver_.set_pool(pool("p", "10.65.0.0/16", kNever));
  resolver_.set_pool(pool("six", "fd00::/48", kAlways));
  EXPECT_EQ(route(prefix), std::nullopt) << "no interface has it";
  EXPECT_EQ(route("10.65.3.1/32"), std::nullopt);
  EXPECT_TRUE(resolver_.set_pool(pool("other", "10.66.0.0/16", kAlways)));
  EXPECT_EQ(route(prefix), far_way_);
  EXPECT_EQ(route("10.65.3.1/32"), std::nullopt) << "that is of the other kind of tunnel";
  EXPECT_TRUE(resolver_.set_pool(pool("other", "10.66.0.0/16", kNever, kCrossSubnet)));
  EXPECT_EQ(route(prefix), std::nullopt);
  EXPECT_EQ(route("10.65.3.1/32"), near_way_);
}

TEST_F(Blocks, SayWhatTheirChangeConcerns) {
  const auto prefixes = [](const std::string& first, const auto&... more) {
    return std::vector{*Prefix::parse(first), *Prefix::parse(more)...};
  };
  auto changed = resolver_.set_block(block("10.65.0.0/26", "b"));
  EXPECT_TRUE(changed.all_inside);
  EXPECT_EQ(changed.prefixes, prefixes("10.65.0.0/26"));
  EXPECT_TRUE(resolver_.set_block(block("10.65.0.0/26", "b")).prefixes.empty());
  changed = resolver_.set_block(block("10.65.0.0/26", "b", {{*IpAddress::parse("10.65.0.3"), "c"}}));
  EXPECT_FALSE(changed.all_inside);
  EXPECT_EQ(changed.prefixes, prefixes("10.65.0.3/32"));
  changed = resolver_.set_block(block("10.65.0.0/26", "c"));
  EXPECT_TRUE(changed.all_inside);
  EXPECT_EQ(changed.prefixes, prefixes("10.65.0.0/26", "10.65.0.3/32"));
  std::vector<Prefix> of_c;
  resolver_.blocks().prefixes_of("c", of_c);
  EXPECT_EQ(of_c, prefixes("10.65.0.0/26"));
  EXPECT_TRUE(resolver_.remove_block("10.65.0.0/26").all_inside);
  EXPECT_TRUE(resolver_.remove_block("10.65.0.0/26").prefixes.empty());
  EXPECT_TRUE(resolver_.blocks().empty());
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
