// The two ways to an answer, held to each other: `ocicat explain` asks the evaluator, `ocicat matrix` and
// `ocicat policy diff` ask the decision tables.
#include <gtest/gtest.h>

#include "test/support/boundary_packets.h"
#include "test/support/for_seeds.h"
#include "test/support/random_snapshot.h"
#include "views/explain.h"
#include "views/matrix.h"
#include "views/policy_diff.h"

namespace ocicat::views {
namespace {

using policy::Verdict;

// With a node for each host that endpoints may be on, and what it does with packets of its own workloads.
policy::Snapshot random_world(test::Random& random) {
  auto snapshot = test::random_snapshot(random, {.endpoints = 4, .hosts = 3, .policies = 7});
  for (std::uint32_t i = 0; i < 2; ++i) {
    Node node{.metadata = {.name = fmt::format("host{}", i)}};
    // Addresses that host endpoints may expect.
    node.ipv4 = Prefix{IpAddress::v4(0x0a410001U + i), 24};
    if (random.percent(70)) node.ipv6 = Prefix::parse(fmt::format("fd00:65::{}/64", i + 1));
    snapshot.insert_or_assign({Kind::kNode, "", node.metadata.name}, node);
  }
  static const std::vector<std::string> kActions{"Drop", "Accept", "Return"};
  FelixConfiguration configuration;
  configuration.metadata.name = "node.host0";
  configuration.values["defaultEndpointToHostAction"] = random.pick(kActions);
  snapshot.insert_or_assign({Kind::kFelixConfiguration, "", "node.host0"}, configuration);
  return snapshot;
}

std::string text_of(std::string_view way, const Explained& explained, const Connectivity::Answer& answer) {
  const auto& question = explained.question;
  return fmt::format(
      "{} {} -> {} {} IPv{}: explained {}/{} pending {}/{}, tables {}/{} pending {}/{}", way,
      question.from.name, question.to.name, question.traffic.to_string(), number_of(question.family),
      policy::to_string(explained.egress.verdict), policy::to_string(explained.ingress.verdict),
      policy::to_string(explained.egress.pending), policy::to_string(explained.ingress.pending),
      policy::to_string(answer.egress.verdict), policy::to_string(answer.ingress.verdict),
      policy::to_string(answer.egress.pending), policy::to_string(answer.ingress.pending));
}

bool agree(const Explained& explained, const Connectivity::Answer& answer) {
  return explained.egress.verdict == answer.egress.verdict &&
         explained.ingress.verdict == answer.ingress.verdict &&
         explained.egress.pending == answer.egress.pending &&
         explained.ingress.pending == answer.ingress.pending;
}

TEST(ViewsProperty, TablesAndEvaluatorGiveOneAnswerBetweenWorkloadsAndHosts) {
  std::size_t of_hosts = 0, staged = 0;
  test::for_seeds(100, [&](std::uint64_t seed) {
    test::Random random(seed);
    const auto snapshot = random_world(random);
    const policy::Evaluator evaluator(snapshot);
    const Connectivity connectivity(snapshot);
    auto ends = connectivity.inventory().endpoints();
    for (auto& host : connectivity.inventory().hosts()) ends.push_back(std::move(host));
    const auto probes = probes_of(snapshot, snapshot);
    for (const auto& from : ends) {
      for (const auto& to : ends) {
        if (from.name == to.name) continue;
        for (const auto family : kFamilies) {
          if (!from.address(family) || !to.address(family)) continue;
          for (int i = 0; i < 8; ++i) {
            const auto& traffic = random.pick(probes).traffic;
            if (traffic.family.value_or(family) != family) continue;
            const auto explained = explain(evaluator, {from, to, traffic, family, kAnySourcePort});
            const auto answer = connectivity.ask(from, to, traffic, family);
            of_hosts += !explained.egress.crossings.empty() || !explained.ingress.crossings.empty();
            staged += explained.pending() != explained.verdict();
            if (agree(explained, answer)) continue;
            ADD_FAILURE() << "OCICAT_SEED=" << seed << "\n" << text_of("asked", explained, answer);
            return false;
          }
        }
      }
    }
    return true;
  });
  EXPECT_GT(of_hosts, 10U);
  EXPECT_GT(staged, 10U);
}

}  // namespace
}  // namespace ocicat::views
