#include "policy/rule_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/near_miss.h"
#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::packet;
using test::prefix;
using test::World;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kApi = "10.0.0.1";
constexpr const char* kDb = "10.0.0.2";
constexpr const char* kVault = "10.1.0.1";
constexpr const char* kPartner = "192.0.2.5";
constexpr const char* kStranger = "203.0.113.9";

World world() {
  World world;
  world.with_namespace("shop", {{"team", "retail"}}).with_namespace("billing", {{"team", "money"}});
  world.with_service_account("shop", "reader", {{"trust", "high"}});
  world.with_pod("shop/api", {kApi, "fd00::1"}, {{"role", "api"}}, {}, "reader");
  world.with_pod("shop/db", {kDb, "fd00::2"}, {{"role", "db"}},
                 {{"sql", kTcp, 5432}, {"sql", kUdp, 5433}, {"stats", kSctp, 9100}});
  world.with_pod("billing/vault", {kVault}, {{"role", "db"}}, {{"sql", kTcp, 6000}});
  world.with_network_set("", "partners", {"192.0.2.0/24"}, {{"role", "partner"}});
  world.with_network_set("shop", "suppliers", {"198.51.100.0/24"}, {{"role", "supplier"}});
  return world;
}

// The rule as it stands in a policy of this kind, in namespace shop where that has one.
MatchRule in_policy(Kind kind, Rule rule) {
  NetworkPolicy policy{.kind = kind,
                       .metadata = {.name = "p", .ns = kind == Kind::kNetworkPolicy ? "shop" : ""}};
  policy.ingress = {std::move(rule)};
  const auto result = effective(policy).value();
  EXPECT_EQ(result.broken, "");
  return result.ingress.at(0);
}

bool matches_in(Kind kind, const World& w, const Rule& rule, const Packet& packet) {
  const auto view = view_of(w.snapshot);
  const Question question{packet, view.owners(packet.source), view.owners(packet.destination)};
  const auto match = in_policy(kind, rule);
  EXPECT_EQ(matches(match, question), failing(match, question).empty());
  return matches(match, question);
}
bool matches_global(const Rule& rule, const Packet& packet) {
  return matches_in(Kind::kGlobalNetworkPolicy, world(), rule, packet);
}
bool matches_namespaced(const Rule& rule, const Packet& packet) {
  return matches_in(Kind::kNetworkPolicy, world(), rule, packet);
}

Packet from(std::string_view source) {
  return packet(kTcp, source, kDb, 5432);
}

TEST(RuleMatch, OfARuleWithoutCriteriaIsEverything) {
  EXPECT_TRUE(matches_global({}, from(kStranger)));
  EXPECT_TRUE(matches_global({}, packet(47, "fd00::9", "fd00::2")));
}

// --- selectors ---

TEST(SelectorMatch, OfAllIsEveryEndpointAndNetworkSetButNotAnyAddress) {
  const Rule all{.source = {.selector = "all()"}};
  EXPECT_TRUE(matches_global(all, from(kVault)));
  EXPECT_TRUE(matches_global(all, from(kPartner)));
  EXPECT_FALSE(matches_global(all, from(kStranger)));
}

TEST(SelectorMatch, InANamespacedPolicyStaysInItsNamespace) {
  const Rule rule{.source = {.selector = "has(role)"}};
  EXPECT_TRUE(matches_namespaced(rule, from(kApi)));
  EXPECT_FALSE(matches_namespaced(rule, from(kVault)));
  EXPECT_TRUE(matches_namespaced(rule, from("198.51.100.7")));  // a NetworkSet of the namespace
  EXPECT_FALSE(matches_namespaced(rule, from(kPartner)));       // a global one
}

TEST(SelectorMatch, OfNamespacesGoesByTheLabelsOfTheNamespace) {
  const Rule rule{.source = {.namespace_selector = "team == 'money'"}};
  EXPECT_TRUE(matches_namespaced(rule, from(kVault)));
  EXPECT_FALSE(matches_namespaced(rule, from(kApi)));
  const Rule by_name{.source = {.namespace_selector = "projectcalico.org/name == 'billing'"}};
  EXPECT_TRUE(matches_global(by_name, from(kVault)));
  const Rule of_sets{.source = {.namespace_selector = "team == 'retail'"}};
  EXPECT_TRUE(matches_global(of_sets, from("198.51.100.7")));
}

TEST(SelectorMatch, OfGlobalIsWhatHasNoNamespace) {
  const Rule rule{.source = {.namespace_selector = "global()"}};
  EXPECT_TRUE(matches_namespaced(rule, from(kPartner)));
  EXPECT_FALSE(matches_namespaced(rule, from(kApi)));
  EXPECT_FALSE(matches_namespaced(rule, from(kStranger)));
}

TEST(SelectorMatch, OfServiceAccountsGoesByNameAndLabels) {
  EXPECT_TRUE(
      matches_namespaced({.source = {.service_accounts = ServiceAccountMatch{{"reader"}, ""}}}, from(kApi)));
  EXPECT_FALSE(
      matches_namespaced({.source = {.service_accounts = ServiceAccountMatch{{"writer"}, ""}}}, from(kApi)));
  EXPECT_TRUE(matches_global({.source = {.service_accounts = ServiceAccountMatch{{}, "trust == 'high'"}}},
                             from(kApi)));
  EXPECT_FALSE(matches_global({.source = {.service_accounts = ServiceAccountMatch{{}, "trust == 'high'"}}},
                              packet(kTcp, kDb, kApi, 1)));
}

TEST(SelectorMatch, OfANotSelectorAloneInAGlobalPolicyHoldsForStrangers) {
  const Rule rule{.source = {.not_selector = "role == 'api'"}};
  EXPECT_TRUE(matches_global(rule, from(kStranger)));
  EXPECT_TRUE(matches_global(rule, from(kVault)));
  EXPECT_FALSE(matches_global(rule, from(kApi)));
}

TEST(SelectorMatch, OfANotSelectorAloneInANamespacedPolicyIsTheRestOfTheNamespace) {
  const Rule rule{.source = {.not_selector = "role == 'api'"}};
  EXPECT_FALSE(matches_namespaced(rule, from(kStranger)));
  EXPECT_FALSE(matches_namespaced(rule, from(kVault)));
  EXPECT_FALSE(matches_namespaced(rule, from(kApi)));
  EXPECT_TRUE(matches_namespaced(rule, packet(kTcp, kDb, kApi, 1)));
}

TEST(SelectorMatch, CountsEveryOwnerOfASharedAddress) {
  auto shared = world();
  shared.with_pod("billing/twin", {kApi}, {{"role", "twin"}});
  const auto check = [&](const char* selector) {
    return matches_in(Kind::kGlobalNetworkPolicy, shared, {.source = {.selector = selector}}, from(kApi));
  };
  EXPECT_TRUE(check("role == 'api'"));
  EXPECT_TRUE(check("role == 'twin'"));
  EXPECT_FALSE(
      check("role == 'twin' && projectcalico.org/namespace == 'shop'"));  // of one owner, not of both
  const Rule negated{.source = {.not_selector = "role == 'twin'"}};
  EXPECT_FALSE(matches_in(Kind::kGlobalNetworkPolicy, shared, negated, from(kApi)));
}

TEST(SelectorMatch, CountsASetWhosePrefixCoversTheAddressOfAnEndpoint) {
  auto covered = world();
  covered.with_network_set("", "all-pods", {"10.0.0.0/8"}, {{"role", "pods"}});
  EXPECT_TRUE(matches_in(Kind::kGlobalNetworkPolicy, covered, {.source = {.selector = "role == 'pods'"}},
                         from(kApi)));
}

TEST(SelectorMatch, OfNobodyNeverHoldsAndItsNegationAlwaysDoes) {
  for (const auto* source : {kApi, kPartner, kStranger}) {
    EXPECT_FALSE(matches_global({.source = {.selector = "role == 'nobody'"}}, from(source))) << source;
    EXPECT_TRUE(matches_global({.source = {.not_selector = "role == 'nobody'"}}, from(source))) << source;
  }
}

TEST(SelectorMatch, IsAskedOfBothSides) {
  const Rule rule{.source = {.selector = "role == 'api'"}, .destination = {.selector = "role == 'db'"}};
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 1)));
  EXPECT_FALSE(matches_global(rule, packet(kTcp, kDb, kApi, 1)));
}

// --- nets ---

TEST(NetMatch, IsAnyOfNetsAndNoneOfNotNets) {
  const Rule rule{.source = {.nets = {prefix("10.0.0.0/8"), prefix("192.0.2.0/24")},
                             .not_nets = {prefix("10.1.0.0/16")}}};
  EXPECT_TRUE(matches_global(rule, from(kApi)));
  EXPECT_TRUE(matches_global(rule, from(kPartner)));
  EXPECT_FALSE(matches_global(rule, from(kVault)));
  EXPECT_FALSE(matches_global(rule, from(kStranger)));
}

TEST(NetMatch, OfSeveralNotNetsExcludesEach) {
  const Rule rule{.source = {.not_nets = {prefix("192.0.2.0/24"), prefix("10.1.0.0/16")}}};
  EXPECT_FALSE(matches_global(rule, from(kPartner)));
  EXPECT_FALSE(matches_global(rule, from(kVault)));
  EXPECT_TRUE(matches_global(rule, from(kStranger)));
}

TEST(NetMatch, IsAskedBesideTheSelector) {
  const Rule rule{.source = {.selector = "role == 'db'", .nets = {prefix("10.0.0.0/16")}}};
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kDb, kApi, 1)));
  EXPECT_FALSE(matches_global(rule, from(kVault)));
  EXPECT_FALSE(matches_global(rule, from(kApi)));
}

TEST(NetMatch, OfOneFamilySkipsTheRuleForTheOther) {
  const Rule rule{.source = {.not_nets = {prefix("10.1.0.0/16")}}};
  EXPECT_TRUE(matches_global(rule, from(kApi)));
  EXPECT_FALSE(matches_global(rule, packet(kTcp, "fd00::1", "fd00::2", 1)));
}

// --- protocols and ICMP ---

TEST(ProtocolMatching, GoesByNumberAndByItsNegation) {
  EXPECT_TRUE(matches_global({.protocol = ProtocolMatch{47}}, packet(47, kApi, kDb)));
  EXPECT_FALSE(matches_global({.protocol = ProtocolMatch{47}}, from(kApi)));
  EXPECT_FALSE(matches_global({.not_protocol = ProtocolMatch{kTcp}}, from(kApi)));
  EXPECT_TRUE(matches_global({.not_protocol = ProtocolMatch{kTcp}}, packet(kUdp, kApi, kDb, 1)));
}

TEST(ProtocolMatching, ByTheNameIcmpIsForIpv4Only) {
  EXPECT_TRUE(matches_global({.protocol = ProtocolMatch{kIcmp, true}}, packet(kIcmp, kApi, kDb)));
  EXPECT_FALSE(matches_global({.protocol = ProtocolMatch{kIcmp, true}}, packet(kIcmp, "fd00::1", "fd00::2")));
  EXPECT_TRUE(matches_global({.protocol = ProtocolMatch{kIcmp, false}}, packet(kIcmp, "fd00::1", "fd00::2")));
}

Packet icmp(std::uint8_t type, std::uint8_t code) {
  auto result = packet(kIcmp, kApi, kDb);
  result.icmp_type = type;
  result.icmp_code = code;
  return result;
}

TEST(IcmpMatching, GoesByTypeAndCode) {
  const Rule type{.protocol = ProtocolMatch{kIcmp, true}, .icmp = IcmpMatch{8, {}}};
  EXPECT_TRUE(matches_global(type, icmp(8, 3)));
  EXPECT_FALSE(matches_global(type, icmp(9, 3)));
  const Rule code{.protocol = ProtocolMatch{kIcmp, true}, .icmp = IcmpMatch{8, 3}};
  EXPECT_TRUE(matches_global(code, icmp(8, 3)));
  EXPECT_FALSE(matches_global(code, icmp(8, 4)));
}

TEST(IcmpMatching, NegatedFailsOnlyForIcmpPacketsOfThatTypeAndCode) {
  const Rule rule{.not_icmp = IcmpMatch{8, {}}};
  EXPECT_FALSE(matches_global(rule, icmp(8, 0)));
  EXPECT_TRUE(matches_global(rule, icmp(0, 0)));
  EXPECT_TRUE(matches_global(rule, from(kApi)));
}

TEST(IcmpMatching, IsAboutTheIcmpOfThePacketsFamily) {
  auto echo = packet(kIcmpV6, "fd00::1", "fd00::2");
  echo.icmp_type = 128;
  const Rule rule{.protocol = ProtocolMatch{kIcmpV6, true}, .icmp = IcmpMatch{128, {}}};
  EXPECT_TRUE(matches_global(rule, echo));
  const Rule other{.protocol = ProtocolMatch{kIcmp, false}, .icmp = IcmpMatch{8, {}}};
  auto foreign = packet(kIcmp, "fd00::1", "fd00::2");
  foreign.icmp_type = 8;
  EXPECT_FALSE(matches_global(other, foreign));
}

// --- ports ---

Rule to_ports(Protocol protocol, std::vector<Port> ports) {
  return {.protocol = ProtocolMatch{protocol}, .destination = {.ports = std::move(ports)}};
}

TEST(PortMatch, IncludesBothEndsOfARange) {
  const auto rule = to_ports(kTcp, {PortRange{80, 90}, PortRange{443, 443}});
  for (const auto& [port, expected] : std::map<std::uint16_t, bool>{
           {79, false}, {80, true}, {90, true}, {91, false}, {443, true}, {442, false}}) {
    EXPECT_EQ(matches_global(rule, packet(kTcp, kApi, kDb, port)), expected) << port;
  }
}

TEST(PortMatch, OfSourceAndNegatedPorts) {
  const Rule rule{.protocol = ProtocolMatch{kTcp},
                  .source = {.ports = {PortRange{40'000, 40'000}}},
                  .destination = {.not_ports = {PortRange{22, 22}}}};
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 23)));
  EXPECT_FALSE(matches_global(rule, packet(kTcp, kApi, kDb, 22)));
  auto other = packet(kTcp, kApi, kDb, 23);
  other.source_port = 40'001;
  EXPECT_FALSE(matches_global(rule, other));
}

TEST(PortMatch, OfSeveralNegatedPortsExcludesEachNumbersAndNames) {
  const Rule rule{.protocol = ProtocolMatch{kTcp}, .destination = {.not_ports = {PortRange{22, 23}, "sql"}}};
  for (const auto& [port, expected] :
       std::map<std::uint16_t, bool>{{21, true}, {22, false}, {23, false}, {24, true}, {5432, false}}) {
    EXPECT_EQ(matches_global(rule, packet(kTcp, kApi, kDb, port)), expected) << port;
  }
}

TEST(NamedPortMatch, IsTheOwnersOwnPortOfThatNameAndTheRulesProtocol) {
  EXPECT_TRUE(matches_global(to_ports(kTcp, {"sql"}), packet(kTcp, kApi, kDb, 5432)));
  EXPECT_TRUE(matches_global(to_ports(kTcp, {"sql"}), packet(kTcp, kApi, kVault, 6000)));
  EXPECT_FALSE(matches_global(to_ports(kTcp, {"sql"}), packet(kTcp, kApi, kVault, 5432)));
  EXPECT_FALSE(matches_global(to_ports(kTcp, {"sql"}), packet(kTcp, kApi, kDb, 5433)));
  EXPECT_TRUE(matches_global(to_ports(kUdp, {"sql"}), packet(kUdp, kApi, kDb, 5433)));
  EXPECT_FALSE(matches_global(to_ports(kTcp, {"sql"}), packet(kTcp, kApi, kStranger, 5432)));
}

TEST(NamedPortMatch, WithoutAProtocolIsTcp) {
  const Rule rule{.destination = {.ports = {"sql"}}};
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 5432)));
  EXPECT_FALSE(matches_global(rule, packet(kUdp, kApi, kDb, 5433)));
}

TEST(NamedPortMatch, IsRestrictedByTheSelectorOfItsSide) {
  Rule rule = to_ports(kTcp, {"sql"});
  rule.destination.selector = "projectcalico.org/namespace == 'shop'";
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 5432)));
  EXPECT_FALSE(matches_global(rule, packet(kTcp, kApi, kVault, 6000)));
}

TEST(NamedPortMatch, AsksSelectorAndPortOfOneOwner) {
  auto shared = world();
  shared.with_pod("shop/twin", {kDb}, {{"role", "twin"}});
  Rule rule = to_ports(kTcp, {"sql"});
  rule.destination.selector = "role == 'twin'";
  EXPECT_FALSE(matches_in(Kind::kGlobalNetworkPolicy, shared, rule, packet(kTcp, kApi, kDb, 5432)));
}

TEST(NamedPortMatch, BesideNumbersKeepsTheSelectorForThem) {
  Rule rule = to_ports(kTcp, {PortRange{80, 80}, "sql"});
  rule.destination.selector = "projectcalico.org/namespace == 'shop'";
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 80)));
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 5432)));
  EXPECT_FALSE(matches_global(rule, packet(kTcp, kApi, kVault, 80)));
}

TEST(NamedPortMatch, NegatedHoldsWhereTheAddressHasNoSuchPort) {
  const Rule rule{.protocol = ProtocolMatch{kTcp}, .destination = {.not_ports = {"sql"}}};
  EXPECT_FALSE(matches_global(rule, packet(kTcp, kApi, kDb, 5432)));
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kDb, 5433)));
  EXPECT_TRUE(matches_global(rule, packet(kTcp, kApi, kStranger, 5432)));
}

TEST(NamedPortMatch, NegatedIsRestrictedByTheSelectorOfItsSideToo) {
  auto shared = world();
  shared.with_pod("shop/twin", {kDb}, {{"role", "twin"}});
  Rule rule{.protocol = ProtocolMatch{kTcp},
            .destination = {.selector = "role == 'twin'", .not_ports = {"sql"}}};
  const auto to_sql = packet(kTcp, kApi, kDb, 5432);
  EXPECT_TRUE(matches_in(Kind::kGlobalNetworkPolicy, shared, rule, to_sql));
  rule.destination.selector = "has(role)";
  EXPECT_FALSE(matches_in(Kind::kGlobalNetworkPolicy, shared, rule, to_sql));
}

TEST(NamedPortMatch, OfTheSourceIsAskedOfItsOwnerAndPort) {
  const Rule rule{.protocol = ProtocolMatch{kTcp}, .source = {.ports = {"sql"}}};
  auto reply = packet(kTcp, kDb, kApi, 40'000);
  reply.source_port = 5432;
  EXPECT_TRUE(matches_global(rule, reply));
  reply.source_port = 6000;  // billing/vault's
  EXPECT_FALSE(matches_global(rule, reply));
}

TEST(NamedPortMatch, OfANetworkSetDoesNotExist) {
  auto covered = world();
  covered.with_network_set("", "net", {"203.0.113.0/24"}, {{"role", "db"}});
  EXPECT_FALSE(matches_in(Kind::kGlobalNetworkPolicy, covered, to_ports(kTcp, {"sql"}),
                          packet(kTcp, kApi, kStranger, 5432)));
}

TEST(ServiceMatching, OfAServiceWithoutSlicesNeverHolds) {
  EXPECT_FALSE(matches_global({.destination = {.services = ServiceMatch{"web", "shop"}}}, from(kApi)));
}

TEST(HttpMatching, IsIgnoredHereAndTheRestOfTheRuleIsNot) {
  const Rule rule{.protocol = ProtocolMatch{kTcp},
                  .http = HttpMatch{{"GET"}, {{true, "/public"}}},
                  .source = {.selector = "role == 'api'"},
                  .destination = {.ports = {PortRange{5432, 5432}}}};
  EXPECT_TRUE(matches_global(rule, from(kApi)));
  EXPECT_FALSE(matches_global(rule, from(kVault)));
  EXPECT_FALSE(matches_global(rule, packet(kTcp, kApi, kDb, 5433)));
  EXPECT_FALSE(matches_global(rule, packet(kUdp, kApi, kDb, 5432)));
}

// --- what failed, in words ---

std::vector<std::string> complaints(const Rule& rule, const Packet& packet) {
  const auto view = view_of(world().snapshot);
  const Question question{packet, view.owners(packet.source), view.owners(packet.destination)};
  const auto match = in_policy(Kind::kGlobalNetworkPolicy, rule);
  std::vector<std::string> texts;
  for (const auto criterion : failing(match, question)) texts.push_back(describe(criterion, match, question));
  return texts;
}

TEST(WhyARuleDoesNotMatch, IsNothingWhereItDoes) {
  EXPECT_THAT(complaints({}, from(kApi)), IsEmpty());
}

TEST(WhyARuleDoesNotMatch, NamesAddressAndOwner) {
  EXPECT_THAT(complaints({.source = {.selector = "role == 'api'"}}, from(kVault)),
              ElementsAre("source 10.1.0.1 (billing/vault) does not match selector role == \"api\""));
  EXPECT_THAT(complaints({.source = {.selector = "role == 'api'"}}, from(kPartner)),
              ElementsAre(HasSubstr("192.0.2.5 (GlobalNetworkSet partners)")));
  EXPECT_THAT(complaints({.source = {.selector = "role == 'api'"}}, from(kStranger)),
              ElementsAre(HasSubstr("203.0.113.9 (no endpoint or network set that is known)")));
  EXPECT_THAT(complaints({.source = {.not_selector = "role == 'api'"}}, from(kApi)),
              ElementsAre("source 10.0.0.1 (shop/api) is excepted by notSelector role == \"api\""));
}

TEST(WhyARuleDoesNotMatch, NamesPorts) {
  EXPECT_THAT(complaints(to_ports(kTcp, {PortRange{80, 80}}), from(kApi)),
              ElementsAre("destination port 5432 is not 80"));
  EXPECT_THAT(complaints(to_ports(kTcp, {"stats"}), from(kApi)),
              ElementsAre("destination 10.0.0.2 (shop/db) has no port 5432 that is named by stats"));
  EXPECT_THAT(
      complaints({.protocol = ProtocolMatch{kTcp}, .destination = {.not_ports = {PortRange{5000, 6000}}}},
                 from(kApi)),
      ElementsAre("destination port 5432 is excepted by notPorts 5000:6000"));
}

TEST(WhyARuleDoesNotMatch, NamesProtocolFamilyAndIcmp) {
  EXPECT_THAT(complaints({.protocol = ProtocolMatch{kUdp}}, from(kApi)),
              ElementsAre("protocol TCP is not UDP"));
  EXPECT_THAT(complaints({.not_protocol = ProtocolMatch{kTcp}}, from(kApi)),
              ElementsAre("protocol TCP is excepted by notProtocol"));
  EXPECT_THAT(complaints({.ip_version = Family::kIpv6}, from(kApi)),
              ElementsAre("the rule says nothing about IPv4"));
  EXPECT_THAT(complaints({.protocol = ProtocolMatch{kIcmp, true}, .icmp = IcmpMatch{8, 0}}, icmp(0, 0)),
              ElementsAre("ICMP type 0 code 0 is not type 8 code 0"));
  EXPECT_THAT(complaints({.not_icmp = IcmpMatch{8, {}}}, icmp(8, 1)),
              ElementsAre("ICMP type 8 code 1 is excepted by notICMP type 8"));
}

TEST(WhyARuleDoesNotMatch, NamesNetsButNotEndlessly) {
  EXPECT_THAT(complaints({.source = {.nets = {prefix("10.1.0.0/16")}}}, from(kApi)),
              ElementsAre("source 10.0.0.1 (shop/api) is not in 10.1.0.0/16"));
  Rule many;
  for (std::uint32_t i = 0; i < 12; ++i) many.source.nets.push_back({IpAddress::v4(0xc0000200 + i), 32});
  EXPECT_THAT(complaints(many, from(kApi)), ElementsAre(HasSubstr(" and 4 more")));
}

}  // namespace
}  // namespace ocicat::policy
