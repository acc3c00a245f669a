#include "views/mentions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/support/world.h"

namespace ocicat::views {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsSupersetOf;
using testing::Not;

Rule to_ports(Protocol protocol, std::vector<Port> ports) {
  return {.protocol = ProtocolMatch{protocol}, .destination = {.ports = std::move(ports)}};
}

std::vector<std::string> ranges(const test::World& world, Protocol protocol = kTcp) {
  return texts_of(Mentions(world.snapshot).port_ranges(protocol));
}

TEST(Mentions, DividePortsAtTheEndsOfRangesOfTheirProtocol) {
  test::World world;
  EXPECT_THAT(ranges(world), ElementsAre("1-65535"));
  world.with_policy(test::global_ingress("p", {to_ports(kTcp, {PortRange{80, 90}, PortRange{1, 84}}),
                                               to_ports(kUdp, {PortRange{65535, 65535}})}));
  EXPECT_THAT(ranges(world), ElementsAre("1-79", "80-84", "85-90", "91-65535"));
  EXPECT_THAT(ranges(world, kUdp), ElementsAre("1-4788", "4789", "4790-65534", "65535"));
  EXPECT_THAT(ranges(world, kSctp), ElementsAre("1-65535"));
}

TEST(Mentions, DividePortsAtNumbersOfNamesAndServicesThatRulesUse) {
  test::World world;
  world.with_namespace("x").with_pod("x/a", {"10.0.0.1"}, {}, {{"web", kTcp, 80}, {"dns", kUdp, 5353}});
  world.with_host("edge", "eth0", {}, {}, {}, {{"web", kTcp, 9000}});
  world.with_slice("x", "db", {"10.0.0.9"}, {{kTcp, 5432}});
  EXPECT_THAT(ranges(world), Not(Contains("80")));
  EXPECT_THAT(ranges(world), Not(Contains("5432")));
  world.with_policy(test::global_egress(
      "p", {to_ports(kTcp, {"web"}), {.destination = {.services = ServiceMatch{"db", "x"}}}}));
  EXPECT_THAT(ranges(world), IsSupersetOf({"80", "9000", "5432"}));
  EXPECT_THAT(ranges(world, kUdp), Not(Contains("5353")));
}

TEST(Mentions, DividePortsAtFailsafePortsWhereThereAreHostEndpoints) {
  test::World world;
  EXPECT_THAT(ranges(world), Not(Contains("22")));
  world.with_host("edge", "eth0");
  EXPECT_THAT(ranges(world), IsSupersetOf({"22", "179", "2379", "2380"}));
  EXPECT_THAT(ranges(world, kUdp), IsSupersetOf({"53", "67", "68"}));
}

TEST(Mentions, TellKindsOfIcmpApartByTypeAndCode) {
  test::World world;
  const auto kinds = [&](Protocol protocol) { return Mentions(world.snapshot).icmp_kinds(protocol); };
  EXPECT_THAT(kinds(kIcmp), ElementsAre(IcmpKind{8, 0, false, true}));
  EXPECT_THAT(kinds(kIcmpV6), ElementsAre(IcmpKind{128, 0, false, true}));
  world.with_policy(
      test::global_ingress("p", {{.protocol = ProtocolMatch{kIcmp, true}, .icmp = IcmpMatch{8, {}}},
                                 {.protocol = ProtocolMatch{kIcmp, true}, .icmp = IcmpMatch{3, 1}},
                                 {.not_icmp = IcmpMatch{5, 0}}}));
  EXPECT_THAT(kinds(kIcmp),
              ElementsAre(IcmpKind{3, 1}, IcmpKind{3, 0, true, false}, IcmpKind{5, 0},
                          IcmpKind{5, 1, true, false}, IcmpKind{8, 0}, IcmpKind{0, 0, false, true}));
  EXPECT_THAT(kinds(kIcmpV6),
              ElementsAre(IcmpKind{5, 0}, IcmpKind{5, 1, true, false}, IcmpKind{128, 0, false, true}));
}

TEST(Mentions, KnowProtocolsThatRulesNameAndOneForAllOthers) {
  test::World world;
  EXPECT_THAT(Mentions(world.snapshot).protocols(), ElementsAre(kIcmp, kIpInIp, kTcp, kUdp, kIcmpV6));
  world.with_policy(
      test::global_ingress("p", {{.protocol = ProtocolMatch{2}}, {.not_protocol = ProtocolMatch{47}}}));
  const Mentions mentions(world.snapshot);
  EXPECT_THAT(mentions.protocols(), IsSupersetOf({2, 47}));
  EXPECT_EQ(mentions.other_protocol(), Protocol{3});
}

}  // namespace
}  // namespace ocicat::views
