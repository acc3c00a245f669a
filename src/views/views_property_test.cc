// The two ways to an answer, held to each other: `ocicat explain` asks the evaluator, `ocicat matrix` and
// `ocicat policy diff` ask the decision tables.
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <tuple>

#include "test/support/boundary_packets.h"
#include "test/support/for_seeds.h"
#include "test/support/random_snapshot.h"
#include "views/explain.h"
#include "views/matrix.h"
#include "views/policy_diff.h"

namespace ocicat::views {
namespace {

using policy::Verdict;

constexpr test::SnapshotSize kSize{.endpoints = 4, .hosts = 3, .policies = 7};

// With a node for each host that endpoints may be on, and what it does with packets of its own workloads.
policy::Snapshot random_world(test::Random& random) {
  auto snapshot = test::random_snapshot(random, kSize);
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

// What a diff says changes, in one pair and family: what is sent, and both verdicts before and after.
using Said = std::set<std::tuple<std::string, std::string, Family, std::string, std::array<Verdict, 4>>>;

// Asked about every probe between every two workloads, without a thought about which of them can change.
Said change_asked_for(const policy::Snapshot& before, const policy::Snapshot& after,
                      const std::vector<Probe>& probes) {
  const Connectivity was(before), is(after);
  Said said;
  for (const auto& from : is.inventory().endpoints()) {
    for (const auto& to : is.inventory().endpoints()) {
      if (from.name == to.name) continue;
      const auto old_from = was.inventory().find(from.name);
      const auto old_to = was.inventory().find(to.name);
      if (!old_from || !old_to) continue;
      for (const auto family : kFamilies) {
        if (!from.address(family) || !to.address(family) || !old_from->address(family) ||
            !old_to->address(family)) {
          continue;
        }
        for (const auto& probe : probes) {
          if (probe.traffic.family.value_or(family) != family || probe.family.value_or(family) != family)
            continue;
          const auto a = was.ask(*old_from, *old_to, probe.traffic, family);
          const auto b = is.ask(from, to, probe.traffic, family);
          if (a.verdict() == b.verdict() && a.pending() == b.pending()) continue;
          said.insert({from.name,
                       to.name,
                       family,
                       probe.traffic.to_string(),
                       {a.verdict(), b.verdict(), a.pending(), b.pending()}});
        }
      }
    }
  }
  return said;
}

Said change_told(const PolicyDiff& diff, const std::vector<Probe>& probes) {
  Said said;
  for (const auto& change : diff.changes) {
    if (change.from.starts_with("host:") || change.to.starts_with("host:")) continue;
    for (const auto& probe : probes) {
      const bool same = probe.ports ? probe.traffic.protocol == change.traffic.protocol &&
                                          std::ranges::any_of(change.ports,
                                                              [&](const PortRange& range) {
                                                                return range.first <= probe.ports->first &&
                                                                       probe.ports->last <= range.last;
                                                              })
                                    : probe.traffic == change.traffic;
      if (!same) continue;
      said.insert({change.from,
                   change.to,
                   change.family,
                   probe.traffic.to_string(),
                   {change.before, change.after, change.pending_before, change.pending_after}});
    }
  }
  return said;
}

TEST(ViewsProperty, ADiffTellsJustWhatAskingAboutEverythingTells) {
  std::size_t told = 0;
  test::for_seeds(60, [&](std::uint64_t seed) {
    test::Random random(seed);
    const auto before = random_world(random);
    auto after = before;
    // Most changes change no answer: with few of them, most seeds would compare nothing with nothing.
    const auto steps = 1 + random.below(12);
    for (std::size_t i = 0; i < steps; ++i) test::random_change(random, after, kSize).apply_to(after);
    const auto probes = probes_of(before, after);
    const auto wanted = change_asked_for(before, after, probes);
    const auto found = change_told(diff(before, after, probes), probes);
    told += wanted.size();
    EXPECT_EQ(found, wanted) << "OCICAT_SEED=" << seed;
    return found == wanted;
  });
  EXPECT_GT(told, 50U);
}

}  // namespace
}  // namespace ocicat::views
