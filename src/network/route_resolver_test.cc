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
  EXPECT_EQ(resolver.way(kFour, {{true, "cali1", "a"}}), (Way{"cali1", {}}));
}

TEST(RouteResolver, ARemoteEndpointIsReachedByItsNodeInTheSameFamily) {
  RouteResolver resolver;
  resolver.set_node(node("b", "192.0.2.2/24", "2001:db8::2/64"));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}}), (Way{"", IpAddress::parse("192.0.2.2")}));
  EXPECT_EQ(resolver.way(kSix, {{false, "", "b"}}), (Way{"", IpAddress::parse("2001:db8::2")}));
}

TEST(RouteResolver, AnUnknownNodeOrOneWithoutAnAddressOfTheFamilyGivesNoWay) {
  RouteResolver resolver;
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}}), std::nullopt);
  resolver.set_node(node("b", "192.0.2.2/24"));
  EXPECT_EQ(resolver.way(kSix, {{false, "", "b"}}), std::nullopt);
  EXPECT_TRUE(resolver.remove_node("b"));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}}), std::nullopt);
}

TEST(RouteResolver, OfSeveralClaimsALocalOneWins) {
  RouteResolver resolver;
  resolver.set_node(node("b", "192.0.2.2/24"));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "b"}, {true, "cali1", "a"}}), (Way{"cali1", {}}));
  EXPECT_EQ(resolver.way(kFour, {{false, "", "c"}, {false, "", "b"}}), std::nullopt);
  EXPECT_EQ(resolver.way(kFour, {}), std::nullopt);
}

TEST(RouteResolver, SaysWhetherANodeChangedForRoutes) {
  RouteResolver resolver;
  EXPECT_TRUE(resolver.set_node(node("b", "192.0.2.2/24")));
  EXPECT_FALSE(resolver.set_node(node("b", "192.0.2.2/25")));
  EXPECT_TRUE(resolver.set_node(node("b", "192.0.2.3/24")));
  EXPECT_FALSE(resolver.remove_node("c"));
}

}  // namespace
}  // namespace ocicat::network
