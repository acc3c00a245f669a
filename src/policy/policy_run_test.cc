#include "policy/policy_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/support/random.h"

namespace ocicat::policy {
namespace {

std::shared_ptr<RuleList> list(const std::string& name, std::vector<CompactRule> rules = {},
                               Kind kind = Kind::kGlobalNetworkPolicy) {
  auto list = std::make_shared<RuleList>();
  list->id = {kind, "", name};
  list->rules = std::move(rules);
  return list;
}

TEST(PolicyRun, AStageHasThePoliciesOfItsRunsInOrderWhateverRunsTheyAreIn) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    test::Random random(seed);
    std::vector<std::pair<double, std::string>> policies;
    const auto count = random.below(40);
    for (unsigned i = 0; i < count; ++i) {
      policies.emplace_back(static_cast<double>(random.below(5)), "policy" + std::to_string(i));
    }
    std::ranges::sort(policies);
    std::vector<std::shared_ptr<PolicyRun>> runs(1 + random.below(4));
    for (auto& run : runs) run = std::make_shared<PolicyRun>();
    for (std::size_t i = 0; i < policies.size();) {
      auto& run = runs[random.below(runs.size())];
      for (auto together = 1 + random.below(6); together > 0 && i < policies.size(); --together, ++i) {
        run->add(list(policies[i].second), policies[i].first);
      }
    }
    Stage stage;
    for (const auto& run : runs) {
      if (!run->policies.empty()) stage.merge(run);
    }
    if (stage.parts.empty()) continue;
    stage.number_policies();
    ASSERT_EQ(stage.size(), policies.size()) << "seed " << seed;
    for (std::uint32_t i = 0; i < stage.size(); ++i) {
      ASSERT_EQ(stage.policy(i)->id.name, policies[i].second) << "seed " << seed;
    }
  }
}

TEST(PolicyRun, ARuleThatAnEarlierOneOfTheRunLeavesNothingToIsNotAsked) {
  const CompactRule allows{1, 0, Action::kAllow}, logs{2, 1, Action::kLog}, passes{2, 2, Action::kPass};
  PolicyRun run;
  run.add(list("staged", {{3, 0, Action::kDeny}}, Kind::kStagedGlobalNetworkPolicy), 0);
  run.add(list("a", {allows, logs, passes, {2, 3, Action::kDeny}}), 1);
  run.add(list("b", {{1, 0, Action::kDeny}, {3, 1, Action::kDeny}, {3, 2, Action::kAllow}}), 2);
  auto broken = list("c", {{9, 0, Action::kAllow}});
  broken->denies = TraceStep::kBroken;
  run.add(broken, 3);
  MatchMarks marks;
  run.find_telling_rules(marks);
  std::vector<std::array<int, 3>> rules;
  for (const auto& [policy, rule] : run.rules) {
    rules.push_back({static_cast<int>(policy), static_cast<int>(rule.match), rule.index});
  }
  EXPECT_EQ(rules, (std::vector<std::array<int, 3>>{
                       {0, 3, 0}, {1, 1, 0}, {1, 2, 1}, {1, 2, 2}, {2, 3, 1}, {3, 0, 0}}));
  EXPECT_EQ(run.staged, 1U);
}

}  // namespace
}  // namespace ocicat::policy
