// Bytes as choices: resources, a change of them and packets, about which the decision tables must say what
// the evaluator says, verdict, trace and what staged policy would change.
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "engine/engine.h"
#include "policy/evaluator.h"
#include "policy/simulator.h"
#include "test/support/boundary_packets.h"
#include "test/support/random_snapshot.h"

namespace {

using namespace ocicat;

constexpr std::size_t kPackets = 12;  // an address and direction
constexpr test::SnapshotSize kSmall{
    .endpoints = 3, .network_sets = 2, .slices = 2, .tiers = 2, .policies = 4};

void check(test::Random& random, const policy::Snapshot& snapshot, const HostState& state) {
  const policy::Evaluator evaluator(snapshot);
  const policy::Simulator simulator(state.tables);
  const auto boundaries = test::boundaries_of(snapshot);
  for (const auto& [key, endpoint] : state.endpoints) {
    for (const auto& own : endpoint.addresses) {
      for (const auto direction : policy::kDirections) {
        const bool ingress = direction == policy::Direction::kIngress;
        for (const auto& packet :
             test::random_boundary_packets(random, boundaries, own.address, direction, kPackets)) {
          const auto& peer = ingress ? packet.source : packet.destination;
          const auto& actual = simulator.lookup(ingress ? own.ingress : own.egress, peer, packet);
          CHECK(actual == evaluator.evaluate(key, direction, packet));
        }
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::Random random(std::span(data, size));
  auto snapshot = test::random_snapshot(random, kSmall);
  Engine engine(Engine::Options{});
  HostState state;
  engine.update(ResourceChanges::between({}, snapshot)).apply_to(state);
  check(random, snapshot, state);
  auto after = snapshot;
  test::random_change(random, snapshot, kSmall).apply_to(after);
  for (auto& [key, resource] : after) {
    // The engine keeps the last version of a policy that can be read, which the evaluator never saw.
    const auto* policy = std::get_if<NetworkPolicy>(&resource);
    const auto before = snapshot.find(key);
    if (policy == nullptr || before == snapshot.end() || policy->staged_delete) continue;
    if (!policy::effective(*policy)) resource = before->second;
  }
  engine.update(ResourceChanges::between(snapshot, after)).apply_to(state);
  check(random, after, state);
  return 0;
}
