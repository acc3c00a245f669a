#include "policy/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ocicat::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kInShop = "projectcalico.org/namespace == 'shop'";

Selector parsed(std::string_view text) {
  return *Selector::parse(text);
}

NetworkPolicy policy_of(Kind kind) {
  NetworkPolicy policy;
  policy.kind = kind;
  policy.metadata.name = "api";
  if (kind == Kind::kNetworkPolicy) policy.metadata.ns = "shop";
  return policy;
}

NetworkPolicy with_ingress(Kind kind, Rule rule) {
  auto policy = policy_of(kind);
  policy.applies_to_ingress = true;
  policy.ingress = {std::move(rule)};
  return policy;
}

// What a rule's source becomes in a policy of this kind.
EntityMatch source_in(Kind kind, EntityRule source) {
  Rule rule;
  rule.source = std::move(source);
  const auto policy = effective(with_ingress(kind, rule)).value();
  EXPECT_EQ(policy.broken, "");
  return policy.ingress.at(0).source;
}

MatchRule effective_in_global(const Rule& rule) {
  const auto policy = effective(with_ingress(Kind::kGlobalNetworkPolicy, rule)).value();
  EXPECT_EQ(policy.broken, "");
  return policy.ingress.at(0);
}

std::string why_broken(const Rule& rule) {
  return effective(with_ingress(Kind::kGlobalNetworkPolicy, rule)).value().broken;
}

TEST(PolicySelector, OfANamespacedPolicyIsLimitedToItsNamespace) {
  auto policy = policy_of(Kind::kNetworkPolicy);
  EXPECT_EQ(effective(policy)->selector, parsed(kInShop));
  policy.selector = "role == 'api' || role == 'db'";
  EXPECT_EQ(effective(policy)->selector,
            parsed(fmt::format("(role == 'api' || role == 'db') && {}", kInShop)));
  policy.service_account_selector = "team == 'x'";
  EXPECT_EQ(effective(policy)->selector,
            parsed(fmt::format("((role == 'api' || role == 'db') && {}) && pcsa.team == 'x'", kInShop)));
}

TEST(PolicySelector, OfAGlobalPolicyIsTakenAsWritten) {
  auto policy = policy_of(Kind::kGlobalNetworkPolicy);
  EXPECT_TRUE(effective(policy)->selector.is_all());
  policy.selector = "all()";
  EXPECT_TRUE(effective(policy)->selector.is_all());
}

TEST(PolicySelector, OfAGlobalPolicyWithNamespaceSelectorTurnsEveryAllIntoInSomeNamespace) {
  auto policy = policy_of(Kind::kGlobalNetworkPolicy);
  policy.selector = "all()";
  policy.namespace_selector = "all()";
  EXPECT_EQ(effective(policy)->selector,
            parsed("has(projectcalico.org/namespace) && has(projectcalico.org/namespace)"));
  policy.selector = "";
  policy.namespace_selector = "team == 'x'";
  EXPECT_EQ(effective(policy)->selector, parsed("pcns.team == 'x'"));
}

TEST(PolicySelector, OfAGlobalPolicyWithServiceAccountSelectorTurnsEveryAllIntoHasAServiceAccount) {
  auto policy = policy_of(Kind::kGlobalNetworkPolicy);
  policy.selector = "all()";
  policy.service_account_selector = "team == 'x'";
  EXPECT_EQ(effective(policy)->selector, parsed("has(projectcalico.org/serviceaccount) && pcsa.team == 'x'"));
}

TEST(PolicySelector, ThatCannotBeReadIsAnErrorThatNamesTheField) {
  auto policy = policy_of(Kind::kGlobalNetworkPolicy);
  policy.namespace_selector = "team ==";
  ASSERT_FALSE(effective(policy));
  EXPECT_THAT(effective(policy).error().message, HasSubstr("namespaceSelector"));
}

TEST(RuleSelector, InANamespacedPolicyMeansItsOwnNamespace) {
  EXPECT_EQ(source_in(Kind::kNetworkPolicy, {.selector = "role == 'api'"}).selector,
            parsed(fmt::format("{} && role == 'api'", kInShop)));
  EXPECT_EQ(source_in(Kind::kGlobalNetworkPolicy, {.selector = "role == 'api'"}).selector,
            parsed("role == 'api'"));
}

TEST(RuleSelector, IsAbsentWhereARuleOnlyNamesNets) {
  const auto source = source_in(Kind::kNetworkPolicy, {.nets = {*Prefix::parse("10.0.0.0/8")}});
  EXPECT_EQ(source.selector, std::nullopt);
  EXPECT_EQ(source.not_in_selector, std::nullopt);
}

TEST(RuleSelector, OfNamespacesReplacesTheOwnNamespace) {
  EXPECT_EQ(
      source_in(Kind::kNetworkPolicy, {.selector = "role == 'api'", .namespace_selector = "team == 'x'"})
          .selector,
      parsed("pcns.team == 'x' && role == 'api'"));
}

TEST(RuleSelector, OfAllNamespacesMeansInSomeNamespaceAndGlobalMeansInNone) {
  EXPECT_EQ(source_in(Kind::kNetworkPolicy, {.namespace_selector = "all()"}).selector,
            parsed("has(projectcalico.org/namespace)"));
  EXPECT_EQ(source_in(Kind::kNetworkPolicy, {.namespace_selector = "global()"}).selector,
            parsed("!has(projectcalico.org/namespace)"));
}

TEST(RuleSelector, OfServiceAccountsTakesNamesAndLabels) {
  const ServiceAccountMatch match{.names = {"b", "a"}, .selector = "team == 'x'"};
  EXPECT_EQ(source_in(Kind::kGlobalNetworkPolicy, {.service_accounts = match}).selector,
            parsed("pcsa.team == 'x' && projectcalico.org/serviceaccount in {'a', 'b'}"));
}

TEST(RuleSelector, OfServiceAccountsIsLimitedToTheOwnNamespace) {
  const ServiceAccountMatch match{.names = {"a"}, .selector = ""};
  EXPECT_EQ(source_in(Kind::kNetworkPolicy, {.service_accounts = match}).selector,
            parsed(fmt::format("{} && projectcalico.org/serviceaccount in {{'a'}}", kInShop)));
}

TEST(RuleSelector, OfServiceAccountsThatSaysNothingLimitsNothing) {
  EXPECT_EQ(source_in(Kind::kNetworkPolicy, {.service_accounts = ServiceAccountMatch{}}).selector,
            std::nullopt);
}

TEST(RuleNotSelector, IsTakenFromThePositivePartWhereThereIsOne) {
  const auto source =
      source_in(Kind::kGlobalNetworkPolicy, {.selector = "role == 'api'", .not_selector = "pci == 'a'"});
  EXPECT_EQ(source.selector, parsed("role == 'api' && !(pci == 'a')"));
  EXPECT_EQ(source.not_in_selector, std::nullopt);
}

TEST(RuleNotSelector, AloneInANamespacedPolicyMeansTheRestOfTheNamespace) {
  const auto source = source_in(Kind::kNetworkPolicy, {.not_selector = "pci == 'a'"});
  EXPECT_EQ(source.selector, parsed(fmt::format("{} && !(pci == 'a')", kInShop)));
  EXPECT_EQ(source.not_in_selector, std::nullopt);
}

TEST(RuleNotSelector, AloneInAGlobalPolicyMeansAnyAddressOutsideTheSet) {
  const auto source = source_in(Kind::kGlobalNetworkPolicy, {.not_selector = "pci == 'a'"});
  EXPECT_EQ(source.selector, std::nullopt);
  EXPECT_EQ(source.not_in_selector, parsed("pci == 'a'"));
}

TEST(RuleServices, InANamespacedPolicyDefaultToItsNamespace) {
  EXPECT_EQ(source_in(Kind::kNetworkPolicy, {.services = ServiceMatch{"web", ""}}).services,
            (ServiceMatch{"web", "shop"}));
}

TEST(RuleNets, AreMasked) {
  const auto source = source_in(Kind::kGlobalNetworkPolicy, {.nets = {*Prefix::parse("10.1.2.3/8")}});
  EXPECT_THAT(source.nets, ElementsAre(*Prefix::parse("10.0.0.0/8")));
}

TEST(RulePorts, AreSplitIntoNumbersAndNames) {
  Rule rule{.protocol = ProtocolMatch{kTcp}};
  rule.destination.ports = {PortRange{80, 81}, std::string{"http"}};
  rule.source.not_ports = {std::string{"dns"}, PortRange{53, 53}};
  const auto match = effective_in_global(rule);
  EXPECT_THAT(match.destination.ports, ElementsAre(PortRange{80, 81}));
  EXPECT_THAT(match.destination.named_ports, ElementsAre("http"));
  EXPECT_THAT(match.source.not_ports, ElementsAre(PortRange{53, 53}));
  EXPECT_THAT(match.source.not_named_ports, ElementsAre("dns"));
}

TEST(RulePorts, ByNameTakeTheRulesProtocolOrElseTcp) {
  EXPECT_EQ(named_port_protocol(MatchRule{}), kTcp);
  EXPECT_EQ(named_port_protocol(MatchRule{.protocol = kUdp}), kUdp);
}

std::pair<bool, bool> families(const Rule& rule) {
  const auto match = effective_in_global(rule);
  return {match.ipv4, match.ipv6};
}
const std::pair kBoth{true, true};
const std::pair kOnlyIpv4{true, false};
const std::pair kOnlyIpv6{false, true};
const std::pair kNeither{false, false};

TEST(RuleFamilies, AreBothUnlessSaid) {
  EXPECT_EQ(families({}), kBoth);
  EXPECT_EQ(families({.ip_version = Family::kIpv4}), kOnlyIpv4);
  EXPECT_EQ(families({.ip_version = Family::kIpv6}), kOnlyIpv6);
}

TEST(RuleFamilies, FollowFromTheNameIcmpButNotFromItsNumber) {
  EXPECT_EQ(families({.protocol = ProtocolMatch{kIcmp, true}}), kOnlyIpv4);
  EXPECT_EQ(families({.protocol = ProtocolMatch{kIcmpV6, true}}), kOnlyIpv6);
  EXPECT_EQ(families({.protocol = ProtocolMatch{kIcmp, false}}), kBoth);
  EXPECT_EQ(families({.protocol = ProtocolMatch{kIcmpV6, false}}), kBoth);
  EXPECT_EQ(families({.ip_version = Family::kIpv6, .protocol = ProtocolMatch{kIcmp, true}}), kNeither);
}

TEST(RuleFamilies, FollowFromNetsOnEitherSideNegatedOnesIncluded) {
  const auto ipv4 = *Prefix::parse("10.0.0.0/8");
  const auto ipv6 = *Prefix::parse("fd00::/8");
  EXPECT_EQ(families({.source = {.nets = {ipv4}}}), kOnlyIpv4);
  EXPECT_EQ(families({.source = {.not_nets = {ipv6}}}), kOnlyIpv6);
  EXPECT_EQ(families({.destination = {.nets = {ipv6}}}), kOnlyIpv6);
  EXPECT_EQ(families({.destination = {.not_nets = {ipv4}}}), kOnlyIpv4);
  EXPECT_EQ(families({.source = {.nets = {ipv4}}, .destination = {.nets = {ipv6}}}), kNeither);
  EXPECT_EQ(families({.source = {.nets = {ipv4, ipv6}}}), kBoth);
}

TEST(RuleFamilies, LackAFamilyThatNotNetsTakesAwayWhole) {
  EXPECT_EQ(families({.source = {.not_nets = {*Prefix::parse("0.0.0.0/0")}}}), kNeither);
  EXPECT_EQ(families({.source = {.not_nets = {*Prefix::parse("0.0.0.0/0"), *Prefix::parse("fd00::/8")}}}),
            kOnlyIpv6);
}

TEST(RuleIcmp, WithoutATypeLimitsNothing) {
  EXPECT_EQ(effective_in_global({.protocol = ProtocolMatch{kIcmp}, .icmp = IcmpMatch{}}).icmp, std::nullopt);
  EXPECT_EQ(effective_in_global({.not_icmp = IcmpMatch{}}).not_icmp, std::nullopt);
}

TEST(BrokenPolicy, HasNoRulesAndKeepsItsSelectorAndDirections) {
  auto policy = with_ingress(Kind::kNetworkPolicy, {.source = {.selector = "role =="}});
  policy.applies_to_egress = true;
  policy.egress = {Rule{}};
  const auto result = effective(policy).value();
  EXPECT_THAT(result.broken, HasSubstr("ingress[0]: source: selector: "));
  EXPECT_THAT(result.ingress, IsEmpty());
  EXPECT_THAT(result.egress, IsEmpty());
  EXPECT_TRUE(result.applies_to_ingress);
  EXPECT_TRUE(result.applies_to_egress);
  EXPECT_EQ(result.selector, parsed(kInShop));
}

TEST(BrokenPolicy, AsDecodedStaysBroken) {
  auto policy = policy_of(Kind::kNetworkPolicy);
  policy.broken = "cannot be read";
  EXPECT_EQ(effective(policy)->broken, "cannot be read");
}

TEST(BrokenPolicy, IsOneWhosePortsHaveNoProtocolToBelongTo) {
  EXPECT_THAT(why_broken({.destination = {.ports = {PortRange{80, 80}}}}),
              HasSubstr("ingress[0]: destination: ports: port numbers need a protocol"));
  EXPECT_THAT(why_broken({.protocol = ProtocolMatch{kIcmp}, .source = {.not_ports = {std::string{"http"}}}}),
              HasSubstr("source: notPorts: protocol ICMP has no ports"));
  EXPECT_THAT(why_broken({.protocol = ProtocolMatch{kTcp}, .source = {.ports = {PortRange{9, 5}}}}),
              HasSubstr("range 9:5 is empty"));
  EXPECT_EQ(why_broken({.destination = {.ports = {std::string{"http"}}}}), "");
}

TEST(BrokenPolicy, IsOneWhoseIcmpCannotBe) {
  EXPECT_THAT(why_broken({.icmp = IcmpMatch{8, {}}}), HasSubstr("icmp: needs protocol ICMP or ICMPv6"));
  EXPECT_THAT(why_broken({.not_icmp = IcmpMatch{{}, 1}}), HasSubstr("notICMP: a code needs a type"));
}

TEST(EffectiveProfile, ReadsItsRulesAsAGlobalPolicys) {
  Profile profile;
  profile.metadata.name = "kns.shop";
  profile.ingress = {Rule{.source = {.selector = "role == 'api'"}}};
  const auto rules = effective(profile);
  EXPECT_EQ(rules.name, "kns.shop");
  EXPECT_EQ(rules.ingress.at(0).source.selector, parsed("role == 'api'"));
  profile.egress = {Rule{.source = {.selector = "role"}}};
  EXPECT_THAT(effective(profile).broken, HasSubstr("egress[0]"));
}

Policy placed(std::optional<double> order, Kind kind, std::string ns, std::string name) {
  return {.id = {kind, std::move(ns), std::move(name)}, .tier = "default", .order = order};
}

TEST(PolicyOrder, IsByNumberAndNoneComesLast) {
  const auto minus = placed(-1, Kind::kGlobalNetworkPolicy, "", "z");
  const auto one = placed(1, Kind::kGlobalNetworkPolicy, "", "b");
  const auto none = placed({}, Kind::kGlobalNetworkPolicy, "", "a");
  EXPECT_TRUE(before(minus, one));
  EXPECT_TRUE(before(one, none));
  EXPECT_FALSE(before(none, one));
  EXPECT_FALSE(before(one, one));
}

TEST(PolicyOrder, OfEqualsIsByNameThenNamespaceThenKind) {
  const auto global = placed(1, Kind::kGlobalNetworkPolicy, "", "a");
  const auto in_billing = placed(1, Kind::kNetworkPolicy, "billing", "a");
  const auto in_shop = placed(1, Kind::kNetworkPolicy, "shop", "a");
  const auto of_kubernetes = placed(1, Kind::kKubernetesNetworkPolicy, "shop", "a");
  const auto b = placed(1, Kind::kGlobalNetworkPolicy, "", "b");
  EXPECT_TRUE(before(global, in_billing));
  EXPECT_TRUE(before(in_billing, in_shop));
  EXPECT_TRUE(before(of_kubernetes, in_shop));  // KubernetesNetworkPolicy < NetworkPolicy
  EXPECT_FALSE(before(in_shop, of_kubernetes));
  EXPECT_TRUE(before(in_shop, b));
}

TEST(PolicyOrder, OfNamesIsThatOfTheJoinedText) {
  // "a-b/…" sorts before "a/…", since '-' comes before '/'.
  EXPECT_TRUE(
      before(placed(1, Kind::kNetworkPolicy, "shop", "a-b"), placed(1, Kind::kNetworkPolicy, "shop", "a")));
}

TEST(TierOrder, IsByNumberThenNameAndMissingTiersComeLast) {
  const auto described = [](std::string name, std::optional<double> order) {
    return effective(Tier{.metadata = {.name = std::move(name)}, .order = order});
  };
  EXPECT_TRUE(before(described("z", 1), described("a", 2)));
  EXPECT_TRUE(before(described("z", 1), described("a", {})));
  EXPECT_TRUE(before(described("a", 1), described("b", 1)));
  EXPECT_TRUE(before(described("z", {}), undescribed_tier("a")));
  EXPECT_TRUE(before(undescribed_tier("a"), undescribed_tier("b")));
}

TEST(TierOrder, KnowsTheBuiltInTiersWithoutAResource) {
  EXPECT_TRUE(before(undescribed_tier("kube-admin"), undescribed_tier("default")));
  EXPECT_TRUE(before(undescribed_tier("default"), undescribed_tier("kube-baseline")));
  EXPECT_TRUE(before(undescribed_tier("kube-baseline"), undescribed_tier("a")));
  EXPECT_EQ(undescribed_tier("default").default_action, Action::kDeny);
  EXPECT_EQ(undescribed_tier("kube-admin").default_action, Action::kPass);
  EXPECT_EQ(undescribed_tier("kube-baseline").default_action, Action::kPass);
}

TEST(TierDefaultAction, OtherThanPassIsDeny) {
  EXPECT_EQ(effective(Tier{.default_action = Action::kPass}).default_action, Action::kPass);
  EXPECT_EQ(effective(Tier{.default_action = Action::kAllow}).default_action, Action::kDeny);
  EXPECT_EQ(undescribed_tier("ghost").default_action, Action::kDeny);
}

TEST(TraceStep, PrintsAsOneLine) {
  const ResourceKey policy{Kind::kNetworkPolicy, "shop", "api"};
  const ResourceKey profile{Kind::kProfile, "", "kns.shop"};
  const std::string profiles{kProfileTier};
  EXPECT_EQ(to_string(TraceStep{"default", policy, 2, Action::kAllow, {}}),
            "default|NetworkPolicy shop/api|rule 2|allow");
  EXPECT_EQ(to_string(TraceStep{"default", {}, TraceStep::kTierDefault, Action::kDeny, {policy}}),
            "default|-|end of tier|deny");
  EXPECT_EQ(to_string(TraceStep{"default", policy, TraceStep::kBroken, Action::kDeny, {}}),
            "default|NetworkPolicy shop/api|broken|deny");
  EXPECT_EQ(to_string(TraceStep{profiles, profile, TraceStep::kNoProfile, Action::kDeny, {}}),
            "__PROFILE__|Profile kns.shop|missing|deny");
  EXPECT_EQ(to_string(TraceStep{profiles, {}, TraceStep::kNoProfile, Action::kDeny, {}}),
            "__PROFILE__|-|no profile|deny");
}

}  // namespace
}  // namespace ocicat::policy
