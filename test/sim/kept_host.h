// A host over simulated kernels, what is wanted of it, and what its state says of a packet.
#pragma once

#include <gtest/gtest.h>
#include <array>
#include <random>
#include "dataplane/host_keeper.h"
#include "dataplane/nftables/policy_table.h"
#include "kernel/simulated_connections.h"
#include "kernel/simulated_nft.h"
#include "kernel/simulated_queues.h"
#include "kernel/simulated_routes.h"
#include "kernel/simulated_tunnels.h"
#include "netns/random_tables.h"
#include "policy/simulator.h"
#include "sim/kernel_lookup.h"
#include "test/support/random.h"

namespace ocicat::test {

using dataplane::HostKeeper;
using kernel::nft::SimulatedKernel;
using policy::Direction;
using policy::ProgramId;

inline const Error kNoMemory{ErrorCode::kExhausted, "no memory"};

inline IpAddress address(const std::string& text) {
  return *IpAddress::parse(text);
}
inline ResourceKey pod_key(std::size_t number) {
  return {Kind::kPod, "shop", fmt::format("pod{}", number)};
}
inline std::string interface_of(std::size_t number) {
  return fmt::format("cali{}", number);
}
inline IpAddress pod_address(std::size_t number) {
  return IpAddress::v4(0x0a410000 + static_cast<std::uint32_t>(number));
}

// How many lookups a packet has behind it when a step comes: none, or some of those of a round of rules.
inline std::array<int, 3> moments(Random& random) {
  const auto some = [&] { return 1 + static_cast<int>(random.below(13)); };
  return {0, some(), some()};
}

// The same tables under other ids.
inline policy::Tables with_new_ids(policy::Tables tables, std::uint32_t by) {
  const auto moved = [&](policy::TableId id) { return policy::TableId{static_cast<std::uint32_t>(id) + by}; };
  for (auto& [key, id] : tables.tables_by_projection) id = moved(id);
  for (auto& [key, program] : tables.programs) program.base = moved(program.base);
  for (auto& [id, table] : std::exchange(tables.tables, {})) {
    std::vector<policy::Interval> intervals;
    for (auto interval : table) {
      if (interval.source_ports != policy::TableId{}) interval.source_ports = moved(interval.source_ports);
      intervals.push_back(interval);
    }
    tables.tables.emplace(moved(id), policy::Table(intervals));
  }
  return tables;
}

// A host with three workloads' interfaces, and what is wanted of it.
class KeptHost {
 public:
  explicit KeptHost(std::uint64_t seed) : random(seed) {
    for (int i = 0; i < 3; ++i)
      routes.link_by_index[10 + i] = {10 + i, interface_of(static_cast<std::size_t>(i)), true};
    routes.link_by_index[2] = {2, "uplink", true, {address("192.0.2.254")}};
    routes.link_by_index[3] = {3, "eth1", true};
    routes.settings["net/ipv4/ip_forward"] = "0";
    routes.next_hops[address("192.0.2.1")] = {2, std::nullopt};
  }

  // A random next state; the step that leads there.
  HostChanges step() {
    RandomTablesOptions options;
    options.chains = policy::ChainId{kChains};
    for (std::size_t i = 0; i < 6; ++i) options.peers.push_back(pod_address(i));
    for (const auto* net : {"10.65.0.0/30", "10.65.0.2/31", "10.65.0.4/31", "10.65.0.0/16", "0.0.0.0/0"})
      options.nets.push_back(*Prefix::parse(net));
    auto tables = random_tables(random, options);
    if (new_tables) tables = with_new_ids(tables, 1000 * static_cast<std::uint32_t>(revision));
    HostChanges changes;
    changes.tables = changes_between(wanted.tables, tables);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto prefix = Prefix::host(pod_address(i));
      if (random.percent(20)) {
        changes.endpoints.remove(pod_key(i));
        changes.routes.update(prefix, {Route::Kind::kHost, {}, address("192.0.2.1")});
      } else {
        const ProgramId ingress{static_cast<std::uint32_t>(1 + random.below(4))},
            egress{static_cast<std::uint32_t>(1 + random.below(4))};
        EndpointState pod{interface_of(i), {{pod_address(i), ingress, egress}}};
        for (auto* limit : {&pod.limits.ingress, &pod.limits.egress}) {
          if (random.percent(40)) *limit = {.rate = 8'000 * (1 + random.below(3)), .burst = 8'000};
        }
        changes.endpoints.update(pod_key(i), pod);
        changes.routes.update(prefix, {Route::Kind::kInterface, interface_of(i), {}});
      }
    }
    for (std::uint32_t i = 1; i <= 3; ++i) {
      const ResourceKey key{Kind::kHostEndpoint, "", fmt::format("edge{}", i)};
      if (random.percent(40)) {
        changes.host_endpoints.remove(key);
      } else {
        changes.host_endpoints.update(key, random_host(i));
      }
    }
    if (random.percent(10)) changes.settings.emplace().reject = random.percent(50);
    changes.revisions[Kind::kPod].revision = ++revision;
    changes.apply_to(wanted);
    return changes;
  }

  // By name, by address or for all that is left; with chains at some hooks.
  HostEndpointState random_host(std::uint32_t id) {
    HostEndpointState host{.id = id};
    switch (random.below(4)) {
      case 0:
        host.interface_name = kAllInterfaces;
        break;
      case 1:
        host.expected_addresses = {address("192.0.2.254")};
        break;
      default:
        host.interface_name = random.percent(50) ? "uplink" : "eth1";
    }
    for (auto& chain : host.chains[0]) {
      if (random.percent(80)) chain = policy::ChainId{static_cast<std::uint32_t>(1 + random.below(kChains))};
    }
    return host;
  }

  static constexpr std::uint32_t kChains = 5;
  Random random;
  bool new_tables = false;  // in every step, as an engine gives them ids
  HostKeeper::Kernels kernels() { return {nft, nat, routes, tunnels, connections, queues}; }

  SimulatedKernel nft, nat;
  kernel::SimulatedRoutes routes;
  kernel::SimulatedTunnels tunnels;
  kernel::SimulatedConnections connections;
  kernel::SimulatedQueues queues;
  HostState wanted;
  std::uint64_t revision = 0;
};

inline std::optional<ProgramId> program_of(const HostState& state, Direction direction, std::size_t pod) {
  const auto found = state.endpoints.find(pod_key(pod));
  if (found == state.endpoints.end()) return std::nullopt;
  const auto& programs = found->second.addresses.front();
  return direction == Direction::kIngress ? programs.ingress : programs.egress;
}

// Whether a pod gets or may send a packet, by the state that is wanted.
inline bool passes(const HostState& state, Direction direction, std::size_t pod, const IpAddress& peer,
                   const policy::Packet& packet) {
  const auto program = program_of(state, direction, pod);
  if (!program) return false;
  return policy::Simulator(state.tables).lookup(*program, peer, packet).verdict == policy::Verdict::kAllow;
}

// Whether a packet goes on at a hook of an interface, by the state that is wanted.
inline bool goes_on(const HostState& state, const kernel::SimulatedRoutes& routes, policy::Hook hook,
                    const std::string& interface_name, const IpAddress& own, const IpAddress& peer,
                    const policy::Packet& packet) {
  dataplane::Links links;
  for (const auto& [index, link] : routes.link_by_index) links.emplace(link.name, link);
  const auto hosts = dataplane::assign_interfaces(state.host_endpoints, links);
  const auto named = hosts.by_name.find(interface_name);
  const auto& key = named != hosts.by_name.end() ? std::optional(named->second) : hosts.all_others;
  if (!key) return true;
  const auto chain = state.host_endpoints.at(*key).chain(Family::kIpv4, hook);
  return policy::Simulator(state.tables).lookup(chain, own, peer, packet).verdict != policy::Verdict::kDeny;
}

}  // namespace ocicat::test
