// Every case of test/conformance/kubernetes-networkpolicy.json, through the evaluator.
#include <gtest/gtest.h>

#include "policy/evaluator.h"
#include "test/source_dir.h"
#include "test/support/conformance_cases.h"

namespace ocicat::policy {
namespace {

const std::vector<test::ConformanceCase>& all_cases() {
  static const auto kCases =
      test::read_conformance_cases(test::source_dir() / "test/conformance/kubernetes-networkpolicy.json");
  if (!kCases) throw std::runtime_error{kCases.error().message};
  return *kCases;
}

// A connection needs both: it may leave its source, and it may reach its destination.
bool allows(const Evaluator& evaluator, const test::ConformanceProbe& probe) {
  return evaluator.evaluate(probe.from, Direction::kEgress, probe.packet).verdict == Verdict::kAllow &&
         evaluator.evaluate(probe.to, Direction::kIngress, probe.packet).verdict == Verdict::kAllow;
}

TEST(KubernetesConformance, HasAllItsCases) {
  std::size_t steps = 0;
  std::size_t probes = 0;
  for (const auto& one : all_cases()) {
    steps += one.steps.size();
    for (const auto& step : one.steps) probes += step.probes.size();
  }
  EXPECT_EQ(all_cases().size(), 112U);
  EXPECT_EQ(steps, 122U);
  EXPECT_EQ(probes, 53'040U);
}

TEST(KubernetesConformance, EveryVerdictOfTheEvaluatorIsTheExpectedOne) {
  for (const auto& one : all_cases()) {
    for (std::size_t i = 0; i < one.steps.size(); ++i) {
      const Evaluator evaluator{one.steps[i].snapshot};
      ASSERT_TRUE(evaluator.problems().empty());
      for (const auto& probe : one.steps[i].probes) {
        ASSERT_EQ(allows(evaluator, probe), probe.allowed)
            << "case " << one.id << " (" << one.description << "), step " << i << ": " << probe.to_string();
      }
    }
  }
}

}  // namespace
}  // namespace ocicat::policy
