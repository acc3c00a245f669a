#include "policy/evaluator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::global_egress;
using test::global_ingress;
using test::lines;
using test::pod_key;
using test::World;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const Rule kAllow{.action = Action::kAllow};
const Rule kDeny{.action = Action::kDeny};
const Rule kPass{.action = Action::kPass};
const Rule kLog{.action = Action::kLog};
const Rule kAllowUdp{.action = Action::kAllow, .protocol = ProtocolMatch{kUdp}};

constexpr const char* kApi = "10.0.0.1";
constexpr const char* kDb = "10.0.0.2";

// shop/api and shop/db, each with one address, in a namespace that allows all.
World shop() {
  World world;
  world.with_namespace("shop");
  world.with_pod("shop/api", {kApi}, {{"role", "api"}});
  world.with_pod("shop/db", {kDb}, {{"role", "db"}});
  return world;
}

Packet api_to_db() {
  return test::packet(kTcp, kApi, kDb, 5432);
}

// What happens to a packet from api when it arrives at db, or leaves api.
Outcome arriving(const World& world) {
  return Evaluator{world.snapshot}.evaluate(pod_key("shop/db"), Direction::kIngress, api_to_db());
}
Outcome leaving(const World& world) {
  return Evaluator{world.snapshot}.evaluate(pod_key("shop/api"), Direction::kEgress, api_to_db());
}
Judgement arriving_if_staged_were_enforced(const World& world) {
  return Evaluator{world.snapshot}.explain(pod_key("shop/db"), Direction::kIngress, api_to_db()).pending;
}

NetworkPolicy in_tier(std::string tier, NetworkPolicy policy) {
  policy.tier = std::move(tier);
  return policy;
}
NetworkPolicy ordered(double order, NetworkPolicy policy) {
  policy.order = order;
  return policy;
}
NetworkPolicy staged(NetworkPolicy policy) {
  policy.kind = Kind::kStagedGlobalNetworkPolicy;
  return policy;
}
NetworkPolicy for_whom(std::string selector, NetworkPolicy policy) {
  policy.selector = std::move(selector);
  return policy;
}

// --- what no workload may send ---

World with_settings(World world, const Labels& values) {
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values = values;
  world.snapshot.insert_or_assign(ResourceKey{Kind::kFelixConfiguration, "", "default"}, configuration);
  return world;
}

Verdict sending(const World& world, const Packet& packet) {
  return Evaluator{world.snapshot}.evaluate(pod_key("shop/api"), Direction::kEgress, packet).verdict;
}

TEST(Evaluator, DeniesTunnelledPacketsFromAWorkloadWhateverPolicySays) {
  const auto world = shop();
  const auto vxlan = test::packet(kUdp, kApi, kDb, 4789);
  const Outcome denied{Verdict::kDeny, {{.tier = "", .policy = {}, .rule = TraceStep::kEncapsulated}}};
  const Evaluator evaluator{world.snapshot};
  EXPECT_EQ(evaluator.evaluate(pod_key("shop/api"), Direction::kEgress, vxlan), denied);
  EXPECT_EQ(sending(world, test::packet(kIpInIp, kApi, kDb)), Verdict::kDeny);
  EXPECT_EQ(sending(world, test::packet(kUdp, kApi, kDb, 4790)), Verdict::kAllow);
  EXPECT_EQ(evaluator.evaluate(pod_key("shop/db"), Direction::kIngress, vxlan).verdict, Verdict::kAllow);
}

TEST(Evaluator, LetsTunnelledPacketsPassWhereTheSettingsSay) {
  const auto vxlan = test::packet(kUdp, kApi, kDb, 4789);
  EXPECT_EQ(sending(with_settings(shop(), {{"allowVXLANPacketsFromWorkloads", "true"}}), vxlan),
            Verdict::kAllow);
  EXPECT_EQ(sending(with_settings(shop(), {{"vxlanPort", "4790"}}), vxlan), Verdict::kAllow);
  EXPECT_EQ(sending(with_settings(shop(), {{"allowIPIPPacketsFromWorkloads", "true"}}),
                    test::packet(kIpInIp, kApi, kDb)),
            Verdict::kAllow);
}

TEST(Evaluator, TakesAnEndpointThatMaySpoofForAbsentUnlessTheSettingsAllowIt) {
  auto world = shop();
  std::get<WorkloadEndpoint>(world.snapshot.at(pod_key("shop/api"))).allowed_source_prefixes = {
      test::prefix("192.0.2.0/24")};
  EXPECT_EQ(sending(world, api_to_db()), Verdict::kDeny);
  EXPECT_EQ(sending(with_settings(world, {{"workloadSourceSpoofing", "Any"}}), api_to_db()), Verdict::kAllow);
}

// As in Calico each host goes by its own settings, about workloads of other hosts too.
TEST(Evaluator, JudgesAPeerThatMaySpoofByTheSettingsOfTheHostThatJudges) {
  auto world = shop();
  auto& api = std::get<WorkloadEndpoint>(world.snapshot.at(pod_key("shop/api")));
  api.allowed_source_prefixes = {test::prefix("192.0.2.0/24")};
  api.node = "host1";
  std::get<WorkloadEndpoint>(world.snapshot.at(pod_key("shop/db"))).node = "host2";
  Rule from_api = kAllow;
  from_api.source.selector = "role == 'api'";
  world.with_policy(for_whom("role == 'db'", global_ingress("db", {from_api})));
  const auto allowing_at = [&](const char* name) {
    auto copy = world;
    FelixConfiguration configuration;
    configuration.metadata.name = name;
    configuration.values = {{"workloadSourceSpoofing", "Any"}};
    copy.snapshot.insert_or_assign({Kind::kFelixConfiguration, "", name}, configuration);
    return copy;
  };
  EXPECT_EQ(sending(allowing_at("node.host1"), api_to_db()), Verdict::kAllow);
  EXPECT_EQ(arriving(allowing_at("node.host1")).verdict, Verdict::kDeny);
  EXPECT_EQ(sending(allowing_at("node.host2"), api_to_db()), Verdict::kDeny);
  EXPECT_EQ(arriving(allowing_at("node.host2")).verdict, Verdict::kAllow);
}

// --- endpoints ---

TEST(Evaluator, DeniesAnEndpointThatDoesNotExist) {
  const auto outcome =
      Evaluator{shop().snapshot}.evaluate(pod_key("shop/ghost"), Direction::kIngress, api_to_db());
  EXPECT_EQ(outcome, (Outcome{Verdict::kDeny, {}}));
}

TEST(Evaluator, IgnoresAnEndpointWithoutAddresses) {
  auto world = shop();
  world.with_pod("shop/db", {});
  EXPECT_EQ(arriving(world), (Outcome{Verdict::kDeny, {}}));
}

// --- profiles ---

TEST(Profiles, DecideWhereNoPolicyApplies) {
  EXPECT_EQ(arriving(shop()).verdict, Verdict::kAllow);
  EXPECT_THAT(lines(arriving(shop())), ElementsAre("__PROFILE__|Profile kns.shop|rule 0|allow"));
  EXPECT_THAT(lines(leaving(shop())), ElementsAre("__PROFILE__|Profile kns.shop|rule 0|allow"));
}

WorkloadEndpoint& endpoint(World& world, std::string_view name) {
  return std::get<WorkloadEndpoint>(world.snapshot.at(pod_key(name)));
}

World with_db_profiles(std::vector<std::string> names) {
  auto world = shop();
  endpoint(world, "shop/db").profiles = std::move(names);
  world.with_profile({.metadata = {.name = "empty"}});
  world.with_profile({.metadata = {.name = "denies"}, .ingress = {kDeny}});
  world.with_profile({.metadata = {.name = "passes"}, .ingress = {kLog, kPass, kDeny}});
  world.with_profile({.metadata = {.name = "allows"}, .ingress = {kAllow}});
  world.with_profile({.metadata = {.name = "broken"}, .broken = "cannot be read"});
  return world;
}

TEST(Profiles, DenyWhereThereAreNoneAndNoTiers) {
  EXPECT_EQ(arriving(with_db_profiles({})).verdict, Verdict::kDeny);
  EXPECT_THAT(lines(arriving(with_db_profiles({}))), ElementsAre("__PROFILE__|-|no profile|deny"));
}

TEST(Profiles, DenyWhereNoneAllows) {
  EXPECT_THAT(lines(arriving(with_db_profiles({"empty"}))), ElementsAre("__PROFILE__|-|no profile|deny"));
}

TEST(Profiles, AreTriedInOrder) {
  EXPECT_THAT(lines(arriving(with_db_profiles({"empty", "allows", "denies"}))),
              ElementsAre("__PROFILE__|Profile allows|rule 0|allow"));
  EXPECT_THAT(lines(arriving(with_db_profiles({"denies", "allows"}))),
              ElementsAre("__PROFILE__|Profile denies|rule 0|deny"));
}

TEST(Profiles, HandAPassToTheNextProfile) {
  EXPECT_THAT(lines(arriving(with_db_profiles({"passes", "allows"}))),
              ElementsAre("__PROFILE__|Profile passes|rule 0|log", "__PROFILE__|Profile passes|rule 1|pass",
                          "__PROFILE__|Profile allows|rule 0|allow"));
  EXPECT_EQ(arriving(with_db_profiles({"passes"})).verdict, Verdict::kDeny);
}

TEST(Profiles, ThatAreMissingDenyAtTheirPlace) {
  EXPECT_THAT(lines(arriving(with_db_profiles({"ghost", "allows"}))),
              ElementsAre("__PROFILE__|Profile ghost|missing|deny"));
  EXPECT_EQ(arriving(with_db_profiles({"allows", "ghost"})).verdict, Verdict::kAllow);
}

TEST(Profiles, ThatCannotBeReadDenyAtTheirPlaceAndAreReported) {
  const auto world = with_db_profiles({"broken", "allows"});
  EXPECT_THAT(lines(arriving(world)), ElementsAre("__PROFILE__|Profile broken|broken|deny"));
  EXPECT_THAT(Evaluator{world.snapshot}.problems(),
              ElementsAre(Evaluator::Problem{{Kind::kProfile, "", "broken"}, "cannot be read"}));
}

TEST(Profiles, AndTiersThatAreNamedAndNotThereAreReported) {
  auto world = with_db_profiles({"ghost"});
  world.with_policy(in_tier("nowhere", global_ingress("a", {kAllow})));
  EXPECT_THAT(Evaluator{world.snapshot}.problems(),
              ElementsAre(Evaluator::Problem{{Kind::kProfile, "", "broken"}, "cannot be read"},
                          Evaluator::Problem{{Kind::kTier, "", "nowhere"}, about_missing_tier()},
                          Evaluator::Problem{{Kind::kProfile, "", "ghost"}, about_missing_profile("ghost")}));
}

TEST(Profiles, AlwaysIncludeTheDefaultThatAllowsAll) {
  EXPECT_THAT(lines(arriving(with_db_profiles({"projectcalico-default-allow"}))),
              ElementsAre("__PROFILE__|Profile projectcalico-default-allow|rule 0|allow"));
}

// --- rules and policies of a tier ---

TEST(Policies, AreTriedInOrderAndTheFirstRuleThatMatchesDecides) {
  auto world = shop();
  world.with_policy(ordered(2, global_ingress("a", {kDeny})));
  world.with_policy(ordered(1, global_ingress("b", {kAllowUdp, kAllow, kDeny})));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("default|GlobalNetworkPolicy b|rule 1|allow"));
}

TEST(Policies, DenyAtTheEndOfTheirTierAndNameWhatSelectedTheEndpoint) {
  auto world = shop();
  world.with_policy(ordered(2, global_ingress("a", {kAllowUdp})));
  world.with_policy(ordered(1, global_ingress("b", {})));
  world.with_policy(for_whom("role == 'api'", global_ingress("c", {kAllow})));
  const auto outcome = arriving(world);
  EXPECT_EQ(outcome.verdict, Verdict::kDeny);
  EXPECT_THAT(lines(outcome), ElementsAre("default|-|end of tier|deny"));
  EXPECT_THAT(outcome.trace.at(0).selected_by, ElementsAre(ResourceKey{Kind::kGlobalNetworkPolicy, "", "b"},
                                                           ResourceKey{Kind::kGlobalNetworkPolicy, "", "a"}));
}

TEST(Policies, GoOnAfterALogRule) {
  auto world = shop();
  world.with_policy(global_ingress("a", {kLog, kAllow}));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("default|GlobalNetworkPolicy a|rule 0|log",
                                                  "default|GlobalNetworkPolicy a|rule 1|allow"));
}

TEST(Policies, OfOneDirectionLeaveTheOtherToTheProfiles) {
  auto world = shop();
  world.with_policy(global_ingress("a", {kDeny}));
  EXPECT_EQ(arriving(world).verdict, Verdict::kDeny);
  EXPECT_THAT(lines(leaving(world)), ElementsAre("__PROFILE__|Profile kns.shop|rule 0|allow"));
}

TEST(Policies, OfADirectionThatTheyDoNotHaveDoNotCountWhateverTheirRules) {
  auto world = shop();
  auto policy = global_egress("a", {kDeny});
  policy.ingress = {kDeny};
  world.with_policy(policy);
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
  EXPECT_EQ(leaving(world).verdict, Verdict::kDeny);
}

TEST(Policies, ForWhomTheyDoNotSelectDoNotCount) {
  auto world = shop();
  world.with_policy(for_whom("role == 'api'", global_ingress("a", {kDeny})));
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
}

TEST(Policies, OfANamespaceSelectOnlyThere) {
  auto world = shop();
  world.with_policy(test::ingress_in("billing", "a", {kDeny}));
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
  world.with_policy(test::ingress_in("shop", "a", {kDeny}));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("default|NetworkPolicy shop/a|rule 0|deny"));
}

TEST(Policies, ThatAreUntrackedOrPreDnatDoNotConcernWorkloads) {
  auto world = shop();
  auto untracked = global_ingress("a", {kDeny});
  untracked.do_not_track = true;
  auto pre_dnat = global_ingress("b", {kDeny});
  pre_dnat.pre_dnat = true;
  world.with_policy(untracked).with_policy(pre_dnat);
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
}

TEST(Policies, ThatApplyOnForwardConcernWorkloadsLikeAnyOther) {
  auto world = shop();
  auto forwarded = global_ingress("a", {kDeny});
  forwarded.apply_on_forward = true;
  world.with_policy(forwarded);
  EXPECT_EQ(arriving(world).verdict, Verdict::kDeny);
}

// --- tiers ---

TEST(Tiers, AreTriedInOrder) {
  auto world = shop();
  world.with_tier("late", 20, Action::kDeny).with_tier("early", 10, Action::kDeny);
  world.with_policy(in_tier("late", global_ingress("a", {kDeny})));
  world.with_policy(in_tier("early", global_ingress("b", {kAllow})));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("early|GlobalNetworkPolicy b|rule 0|allow"));
}

TEST(Tiers, AreLeftByAPassWithoutTheirOtherPolicies) {
  auto world = shop();
  world.with_tier("early", 10, Action::kDeny);
  world.with_policy(in_tier("early", ordered(1, global_ingress("a", {kPass, kDeny}))));
  world.with_policy(in_tier("early", ordered(2, global_ingress("b", {kDeny}))));
  world.with_policy(global_ingress("c", {kAllow}));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("early|GlobalNetworkPolicy a|rule 0|pass",
                                                  "default|GlobalNetworkPolicy c|rule 0|allow"));
}

TEST(Tiers, ThatPassAtTheirEndLeadOnAndSaySo) {
  auto world = shop();
  world.with_tier("early", 10, Action::kPass);
  world.with_policy(in_tier("early", global_ingress("a", {kAllowUdp})));
  EXPECT_THAT(lines(arriving(world)),
              ElementsAre("early|-|end of tier|pass", "__PROFILE__|Profile kns.shop|rule 0|allow"));
}

TEST(Tiers, WithoutAPolicyForTheEndpointInThisDirectionAreSkipped) {
  auto world = shop();
  world.with_tier("early", 10, Action::kDeny);
  world.with_policy(in_tier("early", global_egress("a", {kDeny})));
  world.with_policy(in_tier("early", for_whom("role == 'api'", global_ingress("b", {kDeny}))));
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
}

TEST(Tiers, ThatAreMissingComeLastAndStillDeny) {
  auto world = shop();
  world.with_tier("late", std::nullopt, Action::kPass);
  world.with_policy(in_tier("a-ghost", global_ingress("a", {})));
  world.with_policy(in_tier("late", global_ingress("b", {})));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("late|-|end of tier|pass", "a-ghost|-|end of tier|deny"));
}

TEST(Tiers, OfKubernetesStandAroundTheDefaultTier) {
  auto world = shop();
  world.with_policy(in_tier("kube-baseline", global_ingress("a", {kAllow})));
  world.with_policy(in_tier("kube-admin", global_ingress("b", {})));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("kube-admin|-|end of tier|pass",
                                                  "kube-baseline|GlobalNetworkPolicy a|rule 0|allow"));
  world.with_policy(global_ingress("c", {}));
  EXPECT_THAT(lines(arriving(world)),
              ElementsAre("kube-admin|-|end of tier|pass", "default|-|end of tier|deny"));
}

// --- staged policies ---

TEST(StagedPolicies, AreNeverEnforcedAndShowWhatWouldBe) {
  auto world = shop();
  world.with_policy(staged(global_ingress("a", {kDeny})));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("__PROFILE__|Profile kns.shop|rule 0|allow"));
  EXPECT_THAT(lines(arriving_if_staged_were_enforced(world)),
              ElementsAre("default|StagedGlobalNetworkPolicy a|rule 0|deny"));
}

TEST(StagedPolicies, DoNotCountForTheEndOfTheTier) {
  auto world = shop();
  world.with_policy(staged(global_ingress("a", {})));
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
  EXPECT_THAT(lines(arriving_if_staged_were_enforced(world)), ElementsAre("default|-|end of tier|deny"));
}

TEST(StagedPolicies, AreNotAmongThoseThatSelectedTheEndpointUnlessCounted) {
  auto world = shop();
  world.with_policy(staged(global_ingress("a", {})));
  world.with_policy(global_ingress("b", {}));
  EXPECT_THAT(arriving(world).trace.at(0).selected_by, SizeIs(1));
  EXPECT_THAT(arriving_if_staged_were_enforced(world).trace.at(0).selected_by, SizeIs(2));
}

TEST(StagedPolicies, ThatStageADeletionSayNothing) {
  auto world = shop();
  auto deletion = staged(global_ingress("a", {}));
  deletion.staged_delete = true;
  world.with_policy(deletion);
  EXPECT_EQ(arriving_if_staged_were_enforced(world).verdict, Verdict::kAllow);
}

// --- policies that cannot be used ---

TEST(BrokenPolicies, DenyForWhomTheySelectInTheirDirectionAtTheirPlace) {
  auto world = shop();
  auto broken = ordered(2, for_whom("role == 'db'", global_ingress("a", {})));
  broken.broken = "cannot be read";
  world.with_policy(broken);
  EXPECT_THAT(lines(arriving(world)), ElementsAre("default|GlobalNetworkPolicy a|broken|deny"));
  EXPECT_EQ(leaving(world).verdict, Verdict::kAllow);
  EXPECT_THAT(Evaluator{world.snapshot}.problems(),
              ElementsAre(Evaluator::Problem{{Kind::kGlobalNetworkPolicy, "", "a"}, "cannot be read"}));

  world.with_policy(ordered(1, global_ingress("b", {kAllow})));
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
}

TEST(BrokenPolicies, IncludeThoseWithARuleThatCannotBeRead) {
  auto world = shop();
  world.with_policy(global_ingress("a", {kAllow, Rule{.source = {.selector = "role =="}}}));
  EXPECT_THAT(lines(arriving(world)), ElementsAre("default|GlobalNetworkPolicy a|broken|deny"));
}

TEST(BrokenPolicies, WhoseSelectorCannotBeReadAreAsIfAbsentAndReported) {
  auto world = shop();
  world.with_policy(for_whom("role ==", global_ingress("a", {kDeny})));
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
  const Evaluator evaluator{world.snapshot};
  const auto& problems = evaluator.problems();
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(problems[0].key, (ResourceKey{Kind::kGlobalNetworkPolicy, "", "a"}));
  EXPECT_THAT(problems[0].message, HasSubstr("selector"));
}

TEST(BrokenPolicies, ThatAreStagedOnlyWouldDeny) {
  auto world = shop();
  auto broken = staged(global_ingress("a", {}));
  broken.broken = "cannot be read";
  world.with_policy(broken);
  EXPECT_EQ(arriving(world).verdict, Verdict::kAllow);
  EXPECT_EQ(arriving_if_staged_were_enforced(world).verdict, Verdict::kDeny);
}

// --- what people write beside rules ---

TEST(Evaluator, KnowsTheAnnotationsOfRulesAsTracesNameThem) {
  auto world = shop();
  auto first = kAllow;
  first.written_at = 3;
  first.annotations = {{"why", "monitoring"}};
  auto policy = global_ingress("a", {first, kDeny});
  policy.egress = {kDeny};
  world.with_policy(policy);
  auto opened = kAllow;
  opened.annotations = {{"who", "admin"}};
  world.with_profile({.metadata = {.name = "open"}, .ingress = {kLog, opened}});
  const Evaluator evaluator{world.snapshot};
  const ResourceKey key{Kind::kGlobalNetworkPolicy, "", "a"};
  EXPECT_EQ(arriving(world).trace.at(0).rule, 3);
  EXPECT_EQ(evaluator.annotations(key, Direction::kIngress, 3), first.annotations);
  EXPECT_THAT(evaluator.annotations(key, Direction::kIngress, 1), IsEmpty());
  EXPECT_THAT(evaluator.annotations(key, Direction::kEgress, 3), IsEmpty());
  EXPECT_EQ(evaluator.annotations({Kind::kProfile, "", "open"}, Direction::kIngress, 1), opened.annotations);
}

// --- near misses ---

std::vector<std::string> near_misses(const World& world) {
  const auto explanation =
      Evaluator{world.snapshot}.explain(pod_key("shop/db"), Direction::kIngress, api_to_db());
  std::vector<std::string> texts;
  for (const auto& miss : explanation.near_misses) {
    texts.push_back(fmt::format("{} {}: {}", miss.policy.name, miss.rule, miss.why));
  }
  return texts;
}

TEST(NearMisses, NameTheAllowRulesThatLackedOneCriterion) {
  auto world = shop();
  const Rule wrong_port{.protocol = ProtocolMatch{kTcp},
                        .destination = {.ports = {PortRange{8080, 8080}, PortRange{9090, 9099}}}};
  const Rule wrong_source{.source = {.selector = "role == 'web'"}};
  const Rule wrong_twice{.protocol = ProtocolMatch{kUdp}, .source = {.selector = "role == 'web'"}};
  world.with_policy(global_ingress("a", {wrong_source, wrong_twice, wrong_port}));
  EXPECT_THAT(near_misses(world),
              ElementsAre("a 2: destination port 5432 is not one of 8080, 9090:9099",
                          "a 0: source 10.0.0.1 (shop/api) does not match selector role == \"web\""));
}

TEST(NearMisses, AreAtMostThree) {
  auto world = shop();
  world.with_policy(global_ingress("a", std::vector<Rule>(5, kAllowUdp)));
  EXPECT_THAT(near_misses(world), SizeIs(3));
}

TEST(NearMisses, AreOnlyThoseOnThePacketsWay) {
  auto world = shop();
  world.with_tier("early", 1, Action::kDeny);
  world.with_policy(in_tier("early", global_ingress("a", {kDeny, kAllowUdp})));
  world.with_policy(global_ingress("b", {kAllowUdp}));
  EXPECT_THAT(near_misses(world), IsEmpty());
}

TEST(NearMisses, OfAnAllowedPacketAreNotTold) {
  auto world = shop();
  world.with_policy(global_ingress("a", {kAllowUdp, kAllow}));
  EXPECT_THAT(near_misses(world), IsEmpty());
}

TEST(NearMisses, DoNotIncludeRulesOfStagedPolicies) {
  auto world = shop();
  world.with_policy(staged(global_ingress("a", {kAllowUdp})));
  world.with_policy(global_ingress("b", {}));
  EXPECT_THAT(near_misses(world), IsEmpty());
}

}  // namespace
}  // namespace ocicat::policy
