// Every case of test/conformance/kubernetes-networkpolicy.json, through the decision tables, one engine for
// all steps of a case; as written and once more with IPv6 in place of IPv4.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "policy/simulator.h"
#include "test/source_dir.h"
#include "test/support/conformance_cases.h"

namespace ocicat {
namespace {

using policy::Direction;
using policy::Verdict;

const std::vector<test::ConformanceCase>& all_cases() {
  static const auto kCases =
      test::read_conformance_cases(test::source_dir() / "test/conformance/kubernetes-networkpolicy.json");
  if (!kCases) throw std::runtime_error{kCases.error().message};
  return *kCases;
}

// fd00::a.b.c.d
IpAddress six(const IpAddress& four) {
  auto bytes = four.bytes();
  bytes[0] = 0xfd;
  bytes[10] = bytes[11] = 0;
  return IpAddress::v6(bytes);
}

void to_six(std::vector<Prefix>& nets) {
  for (auto& net : nets) net = {six(net.address), static_cast<std::uint8_t>(net.length + 96)};
}

void to_six(std::vector<Rule>& rules) {
  for (auto& rule : rules) {
    for (auto* side : {&rule.source, &rule.destination}) {
      to_six(side->nets);
      to_six(side->not_nets);
    }
  }
}

policy::Snapshot to_six(policy::Snapshot snapshot) {
  for (auto& [key, resource] : snapshot) {
    if (auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      for (auto& address : endpoint->addresses) address = six(address);
    } else if (auto* policy = std::get_if<NetworkPolicy>(&resource)) {
      to_six(policy->ingress);
      to_six(policy->egress);
    }
  }
  return snapshot;
}

Verdict verdict(const HostState& state, const policy::Simulator& simulator, const ResourceKey& key,
                Direction direction, const policy::Packet& packet) {
  const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
  const auto& own = direction == Direction::kIngress ? packet.destination : packet.source;
  for (const auto& programs : state.endpoints.at(key).addresses) {
    if (programs.address != own) continue;
    return simulator
        .lookup(direction == Direction::kIngress ? programs.ingress : programs.egress, peer, packet)
        .verdict;
  }
  ADD_FAILURE() << key.to_string() << " has no programs for " << own.to_string();
  return Verdict::kDeny;
}

void check(Family family) {
  for (const auto& one : all_cases()) {
    Engine engine({});
    HostState state;
    policy::Snapshot before;
    for (std::size_t i = 0; i < one.steps.size(); ++i) {
      const auto& step = one.steps[i];
      auto snapshot = family == Family::kIpv4 ? step.snapshot : to_six(step.snapshot);
      const auto changes = engine.update(ResourceChanges::between(before, snapshot));
      EXPECT_TRUE(changes.refused.empty());
      changes.apply_to(state);
      before = std::move(snapshot);
      const policy::Simulator simulator(state.tables);
      for (const auto& probe : step.probes) {
        auto packet = probe.packet;
        if (family == Family::kIpv6) {
          packet.source = six(packet.source);
          packet.destination = six(packet.destination);
        }
        const bool allowed =
            verdict(state, simulator, probe.from, Direction::kEgress, packet) == Verdict::kAllow &&
            verdict(state, simulator, probe.to, Direction::kIngress, packet) == Verdict::kAllow;
        ASSERT_EQ(allowed, probe.allowed) << "case " << one.id << " step " << i << ": " << probe.to_string();
      }
    }
  }
}

TEST(KubernetesConformance, EveryVerdictOfTheTablesIsTheExpectedOne) {
  check(Family::kIpv4);
}

TEST(KubernetesConformance, AndTheSameInIpv6) {
  check(Family::kIpv6);
}

}  // namespace
}  // namespace ocicat
