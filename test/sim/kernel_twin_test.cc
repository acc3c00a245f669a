// Random policies as the kernel's maps have them, element by element, against the evaluator: at workloads,
// and at every hook of host endpoints.
#include <gtest/gtest.h>

#include "dataplane/host_keeper.h"
#include "engine/engine.h"
#include "kernel/simulated_connections.h"
#include "kernel/simulated_nft.h"
#include "kernel/simulated_queues.h"
#include "kernel/simulated_routes.h"
#include "kernel/simulated_tunnels.h"
#include "sim/kernel_lookup.h"
#include "test/support/boundary_packets.h"
#include "test/support/describe.h"
#include "test/support/for_seeds.h"
#include "test/support/random_history.h"

namespace ocicat::test {
namespace {

using policy::Direction;
using policy::Verdict;

// A host whose links carry every interface and address that host endpoints may ask for.
kernel::SimulatedRoutes machine() {
  kernel::SimulatedRoutes routes;
  routes.link_by_index[2] = {2, "eth0", true, {}};
  routes.link_by_index[3] = {3, "eth1", true, {}};
  auto& third = routes.link_by_index[4] = {4, "eth2", true, {*IpAddress::parse("10.65.0.3")}};
  third.addresses.push_back(*IpAddress::parse("fd00:65::4"));
  for (int i = 0; i < 6; ++i) routes.link_by_index[10 + i] = {10 + i, fmt::format("cali{}", i), true, {}};
  routes.settings["net/ipv4/ip_forward"] = "0";
  return routes;
}

// One engine and its host, step by step.
class Twins {
 public:
  void step(const Step& step) {
    step.apply_to(snapshot_);
    const auto changes = engine_.update(step);
    changes.apply_to(state_);
    keeper_.take(changes);
    keeper_.attempt();
  }
  const policy::Snapshot& snapshot() const { return snapshot_; }

  // Empty, or the first packet about which they disagree.
  std::string disagreement(Random& random, std::size_t packets) {
    const policy::Evaluator evaluator(snapshot_);
    const auto boundaries = boundaries_of(snapshot_);
    for (std::size_t i = 0; i < packets; ++i) {
      if (auto found = at_workloads(random, evaluator, boundaries); !found.empty()) return found;
      if (auto found = at_hosts(random, evaluator, boundaries); !found.empty()) return found;
    }
    return {};
  }
  std::size_t compared_at_hosts() const { return compared_at_hosts_; }

 private:
  std::string at_workloads(Random& random, const policy::Evaluator& evaluator, const Boundaries& boundaries) {
    for (const auto& [key, endpoint] : state_.endpoints) {
      for (const auto& own : endpoint.addresses) {
        const auto direction = random.percent(50) ? Direction::kIngress : Direction::kEgress;
        const auto packet = random_boundary_packets(random, boundaries, own.address, direction, 1).front();
        const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
        const bool passes = KernelLookup(nft_.all_elements())
                                .passes(direction, endpoint.interface_name, own.address, peer, packet);
        const auto expected = evaluator.evaluate(key, direction, packet).verdict;
        if (passes != (expected == Verdict::kAllow)) return text(key.to_string(), packet, expected);
      }
    }
    return {};
  }

  std::string at_hosts(Random& random, const policy::Evaluator& evaluator, const Boundaries& boundaries) {
    dataplane::Links links;
    for (const auto& [index, link] : routes_.link_by_index) links.emplace(link.name, link);
    const auto hosts = dataplane::assign_interfaces(state_.host_endpoints, links);
    for (const auto& [name, link] : links) {
      const auto named = hosts.by_name.find(name);
      const auto& key = named != hosts.by_name.end() ? std::optional(named->second) : hosts.all_others;
      const auto hook = policy::kHooks[random.below(policy::kHooks.size())];
      const auto& own = random.pick(boundaries.addresses);
      const auto packet = random_boundary_packets(random, boundaries, own, hook.direction, 1).front();
      const auto& peer = hook.direction == Direction::kIngress ? packet.source : packet.destination;
      const auto actual = KernelLookup(nft_.all_elements()).at_host(hook, name, own, peer, packet);
      if (!key) {
        if (actual) return fmt::format("policy is asked at {}, which has no host endpoint", name);
        continue;
      }
      ++compared_at_hosts_;
      const auto outcome = evaluator.evaluate(*key, hook.direction, packet, hook.chain);
      // Where no policy is, nobody is asked and the packet goes on.
      const bool open = outcome.verdict != Verdict::kDeny && outcome.trace.empty();
      const auto expected = open ? Verdict::kNone : outcome.verdict;
      if (actual.value_or(Verdict::kNone) != expected)
        return text(fmt::format("{} at {}, {} {}", key->to_string(), name, policy::to_string(hook.chain),
                                policy::to_string(hook.direction)),
                    packet, expected);
    }
    return {};
  }

  static std::string text(const std::string& where, const policy::Packet& packet, Verdict expected) {
    return fmt::format("{}: {} port {} -> {} port {} protocol {} icmp {}/{}: evaluator {}", where,
                       packet.source.to_string(), packet.source_port, packet.destination.to_string(),
                       packet.destination_port, packet.protocol, packet.icmp_type, packet.icmp_code,
                       policy::to_string(expected));
  }

  policy::Snapshot snapshot_;
  Engine engine_{{.node = "host0", .dictionary = {}}};
  HostState state_;
  kernel::nft::SimulatedKernel nft_, nat_;
  kernel::SimulatedRoutes routes_ = machine();
  kernel::SimulatedTunnels tunnels_;
  kernel::SimulatedConnections connections_;
  kernel::SimulatedQueues queues_;
  dataplane::HostKeeper keeper_{{nft_, nat_, routes_, tunnels_, connections_, queues_}, {}};
  std::size_t compared_at_hosts_ = 0;
};

bool is_readable(const Step& step) {
  return std::ranges::all_of(step.entries(), [](const auto& entry) {
    const auto* policy = entry.second ? std::get_if<NetworkPolicy>(&*entry.second) : nullptr;
    return policy == nullptr || policy->staged_delete || policy::effective(*policy).has_value();
  });
}

TEST(KernelProperty, TheKernelsMapsSayWhatTheEvaluatorSaysAtWorkloadsAndHosts) {
  const SnapshotSize size{.endpoints = 5, .hosts = 5, .policies = 8};
  std::size_t compared = 0;
  for_seeds(25, [&](std::uint64_t seed) {
    Random random(seed);
    Twins twins;
    std::string found;
    for (int i = 0; i < 20 && found.empty(); ++i) {
      const auto step = i == 0 ? Step::between({}, random_snapshot(random, size))
                               : random_step(random, twins.snapshot(), size);
      if (!is_readable(step)) continue;  // the last readable version would count
      twins.step(step);
      found = twins.disagreement(random, 12);
    }
    compared += twins.compared_at_hosts();
    EXPECT_EQ(found, "") << "OCICAT_SEED=" << seed;
    return found.empty();
  });
  EXPECT_GT(compared, 1'000U);
}

}  // namespace
}  // namespace ocicat::test
