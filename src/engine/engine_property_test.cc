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

ResourceChanges all_of(const policy::Snapshot& snapshot) { return ResourceChanges::between({}, snapshot); }

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
                       key.to_string(), policy::to_string(direction), packet.source.to_string(), packet.source_port,
                       packet.destination.to_string(), packet.destination_port, packet.protocol, packet.icmp_type,
                       packet.icmp_code, to_text(expected), to_text(actual));
  }
  return {};
}

std::string first_disagreement(test::Random& random, const policy::Snapshot& snapshot, const HostState& state,
                               std::size_t packets) {
  const auto boundaries = test::boundaries_of(snapshot);
  for (const auto& [key, endpoint] : state.endpoints) {
    for (const auto& own : endpoint.addresses) {
      for (const auto direction : policy::kDirections) {
        const auto drawn = packets == 0
                               ? test::boundary_packets(boundaries, own.address, direction)
                               : test::random_boundary_packets(random, boundaries, own.address, direction, packets);
        if (auto found = disagreement(snapshot, state, drawn, key, own, direction); !found.empty()) return found;
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

}  // namespace
}  // namespace ocicat
