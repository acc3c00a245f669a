#include "test/support/random_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "test/support/boundary_packets.h"
#include "test/support/world.h"

namespace ocicat::test {
namespace {

using policy::Direction;
using policy::Evaluator;
using policy::TraceStep;
using policy::Verdict;
using testing::IsSupersetOf;

policy::Snapshot snapshot_of(std::uint64_t seed) {
  Random random{seed};
  return random_snapshot(random);
}

TEST(RandomSnapshot, IsTheSameForTheSameSeed) {
  EXPECT_EQ(snapshot_of(7), snapshot_of(7));
  EXPECT_NE(snapshot_of(7), snapshot_of(8));
}

// Everything that was seen while evaluating a few hundred snapshots.
struct Seen {
  std::set<Verdict> verdicts;
  std::set<Action> actions;
  std::set<int> special_steps;
  std::set<Kind> deciding_kinds;
  std::set<std::string> tiers;
  bool pending_differs = false;
  bool problem = false;
  bool near_miss = false;

  void add(const policy::Explanation& explanation) {
    for (const auto* outcome : {&explanation.enforced, &explanation.pending}) {
      verdicts.insert(outcome->verdict);
      for (const auto& step : outcome->trace) {
        actions.insert(step.action);
        tiers.insert(step.tier);
        if (step.rule < 0) special_steps.insert(step.rule);
        if (!step.policy.name.empty()) deciding_kinds.insert(step.policy.kind);
      }
    }
    pending_differs |= explanation.enforced.verdict != explanation.pending.verdict;
    near_miss |= !explanation.near_misses.empty();
  }
};

void evaluate(Random& random, const policy::Snapshot& snapshot, Seen& seen) {
  const Evaluator evaluator{snapshot};
  seen.problem |= !evaluator.problems().empty();
  const auto boundaries = boundaries_of(snapshot);
  for (const auto& [key, resource] : snapshot) {
    const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
    if (endpoint == nullptr) continue;
    for (const auto& own : endpoint->addresses) {
      for (const auto direction : policy::kDirections) {
        for (const auto& packet : random_boundary_packets(random, boundaries, own, direction, 20)) {
          seen.add(evaluator.explain(key, direction, packet));
        }
      }
    }
  }
}

TEST(RandomSnapshot, ReachesEveryKindOfDecision) {
  Seen seen;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    Random random{seed};
    evaluate(random, random_snapshot(random), seen);
  }
  EXPECT_THAT(seen.verdicts, IsSupersetOf({Verdict::kAllow, Verdict::kDeny}));
  EXPECT_THAT(seen.actions, IsSupersetOf({Action::kAllow, Action::kDeny, Action::kLog, Action::kPass}));
  EXPECT_THAT(seen.special_steps,
              IsSupersetOf({TraceStep::kTierDefault, TraceStep::kNoProfile, TraceStep::kBroken}));
  EXPECT_THAT(seen.deciding_kinds,
              IsSupersetOf({Kind::kNetworkPolicy, Kind::kGlobalNetworkPolicy, Kind::kStagedNetworkPolicy,
                            Kind::kStagedGlobalNetworkPolicy, Kind::kStagedKubernetesNetworkPolicy,
                            Kind::kKubernetesNetworkPolicy, Kind::kClusterNetworkPolicy, Kind::kProfile}));
  EXPECT_THAT(seen.tiers, IsSupersetOf({"default", "security", "kube-admin", "ghost", "__PROFILE__"}));
  EXPECT_TRUE(seen.pending_differs);
  EXPECT_TRUE(seen.problem);
  EXPECT_TRUE(seen.near_miss);
}

TEST(RandomChange, AddsReplacesAndRemoves) {
  Random random{11};
  auto snapshot = random_snapshot(random);
  bool added = false;
  bool replaced = false;
  bool removed = false;
  for (int i = 0; i < 300; ++i) {
    const auto before = snapshot;
    random_change(random, snapshot).apply_to(snapshot);
    added |= snapshot.size() > before.size();
    removed |= snapshot.size() < before.size();
    replaced |= snapshot.size() == before.size() && snapshot != before;
  }
  EXPECT_TRUE(added);
  EXPECT_TRUE(replaced);
  EXPECT_TRUE(removed);
}

policy::Snapshot world_with_edges() {
  World world;
  world.with_pod("shop/api", {"10.0.0.1"}, {}, {{"sql", kTcp, 5432}});
  world.with_network_set("", "net", {"192.0.2.0/24"});
  world.with_policy(
      global_ingress("a", {Rule{.protocol = ProtocolMatch{kUdp},
                                .source = {.ports = {PortRange{1000, 2000}}},
                                .destination = {.nets = {prefix("fd00::/64")}, .ports = {PortRange{80, 90}}}},
                           Rule{.protocol = ProtocolMatch{kIcmp, true}, .icmp = IcmpMatch{8, 3}},
                           Rule{.not_protocol = ProtocolMatch{47}}}));
  return world.snapshot;
}

TEST(BoundaryPackets, StandOnBothSidesOfEveryEdgeOfAPrefix) {
  EXPECT_THAT(
      boundaries_of(world_with_edges()).addresses,
      IsSupersetOf({address("10.0.0.1"), address("192.0.1.255"), address("192.0.2.0"), address("192.0.2.255"),
                    address("192.0.3.0"), address("fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                    address("fd00::"), address("fd00::ffff:ffff:ffff:ffff"), address("fd00:0:0:1::")}));
}

TEST(BoundaryPackets, StandOnBothSidesOfEveryEdgeOfPortsTypesAndProtocols) {
  std::set<std::uint16_t> ports;
  std::set<std::uint16_t> source_ports;
  std::set<int> types;
  std::set<int> codes;
  std::set<int> protocols;
  for (const auto& shape : boundaries_of(world_with_edges()).shapes) {
    protocols.insert(shape.protocol);
    if (has_ports(shape.protocol)) {
      ports.insert(shape.destination_port);
      source_ports.insert(shape.source_port);
    } else if (shape.protocol == kIcmp) {
      types.insert(shape.icmp_type);
      codes.insert(shape.icmp_code);
    }
  }
  EXPECT_THAT(ports, IsSupersetOf({0, 79, 80, 81, 89, 90, 91, 5431, 5432, 5433, 65535}));
  EXPECT_THAT(source_ports, IsSupersetOf({999, 1000, 1001, 1999, 2000, 2001}));
  EXPECT_THAT(types, IsSupersetOf({0, 7, 8, 9, 255}));
  EXPECT_THAT(codes, IsSupersetOf({0, 2, 3, 4}));
  EXPECT_THAT(protocols, IsSupersetOf({0, 1, 2, 6, 16, 17, 18, 46, 47, 48, 58, 132, 255}));
}

TEST(BoundaryPackets, GoBetweenTheOwnAddressAndPeersOfItsFamily) {
  const auto boundaries = boundaries_of(world_with_edges());
  const auto own = address("10.0.0.1");
  const auto arriving = boundary_packets(boundaries, own, Direction::kIngress);
  const auto leaving = boundary_packets(boundaries, own, Direction::kEgress);
  const auto ipv4 = std::ranges::count_if(boundaries.addresses, &IpAddress::is_v4);
  EXPECT_EQ(arriving.size(), static_cast<std::size_t>(ipv4) * boundaries.shapes.size());
  EXPECT_TRUE(std::ranges::all_of(arriving, [&](const auto& packet) { return packet.destination == own; }));
  EXPECT_TRUE(std::ranges::all_of(leaving, [&](const auto& packet) { return packet.source == own; }));
  EXPECT_TRUE(std::ranges::all_of(leaving, [](const auto& packet) { return packet.destination.is_v4(); }));
  Random random{3};
  EXPECT_EQ(random_boundary_packets(random, boundaries, own, Direction::kIngress, 25).size(), 25U);
}

}  // namespace
}  // namespace ocicat::test
