// What an outcome says of staged policy, beside what is enforced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "policy/evaluator.h"
#include "resources/decode.h"
#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::lines;
using test::packet;
using test::World;
using testing::ElementsAre;

NetworkPolicy staged(NetworkPolicy policy, std::optional<double> order = {}) {
  policy.kind = policy.metadata.ns.empty() ? Kind::kStagedGlobalNetworkPolicy : Kind::kStagedNetworkPolicy;
  policy.order = order;
  return policy;
}

World world() {
  World world;
  world.with_namespace("shop").with_pod("shop/api", {"10.65.0.1"}).with_pod("shop/web", {"10.65.0.2"});
  return world;
}

Outcome ingress(const World& world) {
  return Evaluator{world.snapshot}.evaluate(test::pod_key("shop/api"), Direction::kIngress,
                                            packet(kTcp, "10.65.0.2", "10.65.0.1", 80));
}

Rule with(Action action) {
  return Rule{.action = action};
}

TEST(StagedPolicy, ChangesOnlyWhatWouldBe) {
  auto w = world();
  w.with_policy(staged(test::ingress_in("shop", "p", {with(Action::kDeny)})));
  const auto outcome = ingress(w);
  EXPECT_EQ(outcome.verdict, Verdict::kAllow);
  EXPECT_THAT(lines(outcome), ElementsAre("__PROFILE__|Profile kns.shop|rule 0|allow"));
  ASSERT_TRUE(outcome.pending);
  EXPECT_EQ(outcome.pending->verdict, Verdict::kDeny);
  EXPECT_THAT(lines(*outcome.pending), ElementsAre("default|StagedNetworkPolicy shop/p|rule 0|deny"));
}

TEST(StagedPolicy, OfATierThatHasNoOtherLeavesTheTierOutOfWhatIsEnforced) {
  auto w = world();
  w.with_tier("audit", 5, Action::kDeny);
  auto policy = staged(test::global_ingress("p", {}));
  policy.tier = "audit";
  w.with_policy(policy);
  const auto outcome = ingress(w);
  EXPECT_EQ(outcome.verdict, Verdict::kAllow);
  EXPECT_THAT(lines(outcome), ElementsAre("__PROFILE__|Profile kns.shop|rule 0|allow"));
  EXPECT_THAT(lines(outcome.with_staged()), ElementsAre("audit|-|end of tier|deny"));
}

TEST(StagedPolicy, CountsForTheEndOfATierOnlyInWhatWouldBe) {
  auto w = world();
  w.with_policy(test::global_ingress("a", {}));
  w.with_policy(staged(test::global_ingress("b", {})));
  const auto outcome = ingress(w);
  const ResourceKey enforced{Kind::kGlobalNetworkPolicy, "", "a"};
  const ResourceKey pending{Kind::kStagedGlobalNetworkPolicy, "", "b"};
  EXPECT_THAT(outcome.trace.back().selected_by, ElementsAre(enforced));
  EXPECT_THAT(outcome.with_staged().trace.back().selected_by, ElementsAre(enforced, pending));
}

TEST(StagedPolicy, OfOneNameWithAnEnforcedOneStandsBesideItAndAfterItAtTheSameOrder) {
  auto w = world();
  w.with_policy(test::ingress_in("shop", "p", {with(Action::kAllow)}));
  w.with_policy(staged(test::ingress_in("shop", "p", {with(Action::kDeny)})));
  EXPECT_EQ(ingress(w).pending, std::nullopt) << "the enforced one has the last word in both";
  w.with_policy(staged(test::ingress_in("shop", "p", {with(Action::kDeny)}), 1));
  EXPECT_THAT(lines(ingress(w).with_staged()), ElementsAre("default|StagedNetworkPolicy shop/p|rule 0|deny"));
}

// The document of a staged policy that denies all that comes to shop's pods.
NetworkPolicy staged_document(Kind kind, std::string_view action) {
  const bool of_kubernetes = kind == Kind::kStagedKubernetesNetworkPolicy;
  const auto spec = of_kubernetes ? R"("podSelector": {}, "policyTypes": ["Ingress"])"
                                  : R"j("selector": "all()", "types": ["Ingress"])j";
  const auto text = fmt::format(
      R"({{"metadata": {{"name": "p", "namespace": "shop"}}, "spec": {{{}, "stagedAction": "{}"}}}})", spec,
      action);
  auto policy = decode(kind, boost::json::parse(text).as_object());
  CHECK(policy.has_value());
  return std::get<NetworkPolicy>(*std::move(policy));
}

TEST(StagedPolicy, OfEachKindIsPendingWhateverItsActionUnlessThatIsDelete) {
  for (const auto kind :
       {Kind::kStagedNetworkPolicy, Kind::kStagedGlobalNetworkPolicy, Kind::kStagedKubernetesNetworkPolicy}) {
    for (const auto* action : {"", "Set", "Learn", "Ignore", "Delete"}) {
      SCOPED_TRACE(fmt::format("{} {}", info(kind).name, action));
      auto w = world();
      w.with_policy(staged_document(kind, action));
      const auto outcome = ingress(w);
      EXPECT_EQ(outcome.verdict, Verdict::kAllow);
      const bool deletes = std::string_view(action) == "Delete";
      EXPECT_EQ(outcome.with_staged().verdict, deletes ? Verdict::kAllow : Verdict::kDeny);
      EXPECT_EQ(outcome.pending.has_value(), !deletes);
    }
  }
}

TEST(StagedPolicy, ThatStagesADeletionTakesNothingAwayFromWhatIsEnforced) {
  auto w = world();
  w.with_policy(test::ingress_in("shop", "p", {with(Action::kDeny)}));
  w.with_policy(staged_document(Kind::kStagedNetworkPolicy, "Delete"));
  EXPECT_EQ(ingress(w).verdict, Verdict::kDeny);
  EXPECT_EQ(ingress(w).pending, std::nullopt);
}

TEST(StagedPolicy, WhereThereIsNoneNothingIsPending) {
  auto w = world();
  w.with_policy(test::ingress_in("shop", "p", {with(Action::kAllow)}));
  EXPECT_EQ(ingress(w).pending, std::nullopt);
}

}  // namespace
}  // namespace ocicat::policy
