// The engine against its two standards: the evaluator, and itself built from nothing.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/property_test.h"
#include "policy/evaluator.h"
#include "policy/simulator.h"
#include "test/support/boundary_packets.h"
#include "test/support/random_snapshot.h"

namespace ocicat {
namespace {

using policy::Direction;

ResourceChanges all_of(const policy::Snapshot& snapshot) {
  return ResourceChanges::between({}, snapshot);
}

HostState state_of(const policy::Snapshot& snapshot) {
  Engine engine({});
  HostState state;
  engine.update(all_of(snapshot)).apply_to(state);
  return state;
}

std::string to_text(const policy::Outcome& outcome) {
  std::string text{policy::to_string(outcome.verdict)};
  for (const auto& step : outcome.trace) {
    text += "\n    " + policy::to_string(step);
    for (const auto& key : step.selected_by) text += " " + key.to_string();
  }
  return text;
}

// Empty, or the first packet about which tables and evaluator disagree.
std::string disagreement(const policy::Snapshot& snapshot, const HostState& state,
                         const std::vector<policy::Packet>& packets, const ResourceKey& key,
                         const AddressPrograms& own, Direction direction) {
  const policy::Evaluator evaluator(snapshot);
  const policy::Simulator simulator(state.tables);
  const auto program = direction == Direction::kIngress ? own.ingress : own.egress;
  for (const auto& packet : packets) {
    const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
    const auto expected = evaluator.evaluate(key, direction, packet);
    const auto& actual = simulator.lookup(program, peer, packet);
    if (expected == actual) continue;
    return fmt::format("{} {} {} port {} -> {} port {} protocol {} icmp {}/{}\n  evaluator: {}\n  tables: {}",
                       key.to_string(), policy::to_string(direction), packet.source.to_string(),
                       packet.source_port, packet.destination.to_string(), packet.destination_port,
                       packet.protocol, packet.icmp_type, packet.icmp_code, to_text(expected),
                       to_text(actual));
  }
  return {};
}

std::string first_disagreement(test::Random& random, const policy::Snapshot& snapshot, const HostState& state,
                               std::size_t packets) {
  const auto boundaries = test::boundaries_of(snapshot);
  for (const auto& [key, endpoint] : state.endpoints) {
    for (const auto& own : endpoint.addresses) {
      for (const auto direction : policy::kDirections) {
        const auto drawn =
            packets == 0 ? test::boundary_packets(boundaries, own.address, direction)
                         : test::random_boundary_packets(random, boundaries, own.address, direction, packets);
        if (auto found = disagreement(snapshot, state, drawn, key, own, direction); !found.empty())
          return found;
      }
    }
  }
  return {};
}

TEST(EngineProperty, DecisionTablesAgreeWithTheEvaluatorOnBoundaryPackets) {
  test::for_seeds(300, [](std::uint64_t seed) {
    test::Random random(seed);
    const auto snapshot = test::random_snapshot(random);
    const auto found = first_disagreement(random, snapshot, state_of(snapshot), 40);
    EXPECT_EQ(found, "") << "OCICAT_SEED=" << seed;
    return found.empty();
  });
}

TEST(EngineProperty, SmallDecisionTablesAgreeWithTheEvaluatorOnEveryBoundaryPacket) {
  const test::SnapshotSize small{
      .endpoints = 2, .network_sets = 1, .tiers = 1, .profiles = 1, .policies = 2, .rules = 1};
  test::for_seeds(10, [&](std::uint64_t seed) {
    test::Random random(seed);
    const auto snapshot = test::random_snapshot(random, small);
    const auto found = first_disagreement(random, snapshot, state_of(snapshot), 0);
    EXPECT_EQ(found, "") << "OCICAT_SEED=" << seed;
    return found.empty();
  });
}

// A history of resources, with the engine that saw it step by step.
class History {
 public:
  explicit History(std::optional<std::string> node)
      : node_(std::move(node)), engine_({.node = node_, .dictionary = {}}) {}

  HostChanges step(const ResourceChanges& changes) {
    for (const auto& [key, resource] : changes.entries()) {
      if (!resource) {
        now_.erase(key);
      } else if (is_readable(*resource) || !now_.contains(key)) {
        now_.insert_or_assign(key, *resource);
      }  // else the last readable version counts
    }
    auto out = engine_.update(changes);
    out.apply_to(state_);
    return out;
  }

  const policy::Snapshot& now() const { return now_; }
  const HostState& state() const { return state_; }
  const Engine& engine() const { return engine_; }

  // What a new engine makes of the same resources, given the ids that are in use.
  HostState rebuilt() const {
    Engine anew({.node = node_, .dictionary = state_.tables.dictionary});
    HostState state;
    anew.update(all_of(now_)).apply_to(state);
    return state;
  }

 private:
  static bool is_readable(const Resource& resource) {
    const auto* policy = std::get_if<NetworkPolicy>(&resource);
    return policy == nullptr || policy->staged_delete || policy::effective(*policy).has_value();
  }

  std::optional<std::string> node_;
  policy::Snapshot now_;
  Engine engine_;
  HostState state_;
};

// Names the first part in which two states differ.
std::string difference(const HostState& a, const HostState& b) {
  if (a.settings != b.settings) return "settings";
  if (a.tables.outcomes != b.tables.outcomes) return "outcomes";
  if (a.tables.tables != b.tables.tables) return "tables";
  if (a.tables.programs != b.tables.programs) return "programs";
  if (a.tables.tables_by_projection != b.tables.tables_by_projection) return "tables by projection";
  if (a.tables.projections != b.tables.projections) return "projections";
  if (a.tables.classes != b.tables.classes) return "classes";
  if (a.tables.dictionary != b.tables.dictionary) return "dictionary";
  if (a.endpoints != b.endpoints) return "endpoints";
  if (a.routes != b.routes) return "routes";
  return {};
}

TEST(EngineProperty, StepByStepGivesWhatBuildingFromNothingGives) {
  test::for_seeds(60, [](std::uint64_t seed) {
    test::Random random(seed);
    History history(random.percent(50) ? std::optional<std::string>{"host0"} : std::nullopt);
    history.step(all_of(test::random_snapshot(random)));
    for (int step = 0; step < 25; ++step) {
      history.step(test::random_change(random, history.now()));
      const auto found = difference(history.state(), history.rebuilt());
      EXPECT_EQ(found, "") << "after step " << step << " OCICAT_SEED=" << seed;
      if (!found.empty()) return false;
    }
    const auto found = first_disagreement(random, history.now(), history.state(), 10);
    EXPECT_EQ(found, "") << "after the last step, OCICAT_SEED=" << seed;
    return found.empty();
  });
}

TEST(EngineProperty, AHistoryThatEndsWithNothingLeavesNothing) {
  test::for_seeds(40, [](std::uint64_t seed) {
    test::Random random(seed);
    History history(random.percent(50) ? std::optional<std::string>{"host0"} : std::nullopt);
    history.step(all_of(test::random_snapshot(random)));
    for (int step = 0; step < 10; ++step) history.step(test::random_change(random, history.now()));
    while (!history.now().empty()) {
      ResourceChanges changes;
      for (const auto& [key, resource] : history.now()) {
        if (random.percent(30)) changes.remove(key);
      }
      history.step(changes);
    }
    const auto found = difference(history.state(), HostState{});
    const auto left = history.engine().counters();
    const auto sum = left.endpoints + left.local_endpoints + left.policies + left.active_policies +
                     left.sets + left.classes + left.programs + left.tables + left.outcomes;
    EXPECT_EQ(found, "") << "OCICAT_SEED=" << seed;
    EXPECT_EQ(sum, 0U) << "OCICAT_SEED=" << seed;
    return found.empty() && sum == 0;
  });
}

TEST(EngineProperty, AChangeToWhatIsAlreadyTrueChangesNothing) {
  test::for_seeds(60, [](std::uint64_t seed) {
    test::Random random(seed);
    History history(std::nullopt);
    history.step(all_of(test::random_snapshot(random)));
    const auto again = history.step(all_of(history.now()));
    EXPECT_TRUE(again.empty()) << "OCICAT_SEED=" << seed;
    return again.empty();
  });
}

}  // namespace
}  // namespace ocicat
