// Packets of known connections to a workload of another host, in VXLAN: with eBPF, against a kernel that routes
// them to its VXLAN interface and does nothing else. Needs root.
//
//   method   benchmarks.md 5 and B11: UDP as XDP live frames from a workload, arms in turn, each delivery
//            counted where it comes to the other host; a TCP stream to that host, both ends on one processor
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <cstdio>

#include "bench/router.h"
#include "bench/streams.h"
#include "dataplane/overlay/vxlan.h"
#include "maps/counters.h"
#include "netns/agent_host.h"

namespace ocicat::bench {
namespace {

constexpr int kTurns = 16, kStreams = 9;
constexpr std::uint32_t kVni = 4096, kMtu = 1450;
constexpr std::uint16_t kPort = 4789;

// The ends of the tunnel, and a workload at the other one.
const IpAddress kHost = *IpAddress::parse("192.0.2.2"), kFarHost = address_of_station("outside");
const network::Vtep kHere{*IpAddress::parse("10.65.1.0"), *MacAddress::parse("66:00:00:00:00:01")};
const network::Vtep kThere{*IpAddress::parse("10.65.2.0"), *MacAddress::parse("66:00:00:00:00:02")};
const IpAddress kFar = *IpAddress::parse("10.66.0.2");

const std::string& interface() {
  return dataplane::vxlan_name(Family::kIpv4);
}

// As the agent makes it.
void make_tunnel(const kernel::NetworkNamespace& ns, const IpAddress& host, const IpAddress& other_host,
                 const network::Vtep& end, const network::Vtep& other, const IpAddress& behind) {
  ns.run([&] {
    test::shell(fmt::format(
        "ip link add {0} address {1} type vxlan id {2} local {3} dstport {4} nolearning;"
        "ip addr add {5}/32 dev {0}; ip link set {0} mtu {6} up;"
        "bridge fdb add {7} dev {0} dst {8}; ip neigh add {9} lladdr {7} dev {0} nud permanent;"
        "ip route add {10}/32 via {9} dev {0} onlink",
        interface(), end.mac.to_string(), kVni, host.to_string(), kPort, end.address.to_string(), kMtu,
        other.mac.to_string(), other_host.to_string(), other.address.to_string(), behind.to_string()));
  });
}

HostChanges with_tunnel() {
  auto changes = test::first_state(1);
  changes.settings->redirect = true;
  changes.settings->overlays.vxlan4 = true;
  add_workload(changes, "a", test::kAllowAll, test::kAllowAll);
  changes.peers.update(kFarHost, network::Peer{.vtep = kThere});
  changes.vxlan.emplace()[0] =
      VxlanDevice{.end = kHere, .host = kHost, .vni = kVni, .port = kPort, .mtu = kMtu};
  changes.routes.update(Prefix::host(kFar), Route{Route::Kind::kVxlan, "", kThere.address});
  return changes;
}

struct Arm {
  explicit Arm(bool ours) : name(ours ? "ours" : "kernel") {
    router->shell(fmt::format("ip addr add {}/32 dev uplink", kHost.to_string()));
    if (ours) {
      router->enforce(with_tunnel());
    } else {
      make_tunnel(router->host(), kHost, kFarHost, kHere, kThere, kFar);
    }
  }
  const char* name;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::vector<double> rounds{}, processor{};
};

struct Arms {
  Arm kernel{false}, ours{true};
  std::array<Arm*, 2> in_turn(int turn) {
    return turn % 2 == 0 ? std::array{&kernel, &ours} : std::array{&ours, &kernel};
  }
};

// All become known, both ways: answers come out of the tunnel.
void open(Load& load, const Arm& arm, const Flows& flows) {
  auto answers = flows;
  std::swap(answers.source, answers.destination);
  answers.by_destination = answers.replies = true;
  answers.grows = 0;
  for (int i = 0; i < 2; ++i) {
    arm.router->open(load, "a", flows);
    arm.router->host().run([&] {
      stay_on(0);
      load.aim(answers, kHere.mac.to_string());
      load.send(static_cast<int>(::if_nametoindex(interface().c_str())), flows.count);
    });
  }
}

void packets(Load& load, Arms& arms, std::uint32_t count, std::uint32_t size, const std::string& figure) {
  Flows flows{.source = address_of_station("a"), .destination = kFar, .count = count};
  flows.size = size;
  flows.grows = dataplane::vxlan_overhead(Family::kIpv4);
  for (auto* arm : arms.in_turn(0)) {
    arm->rounds.clear();
    open(load, *arm, flows);
  }
  flows.random = true;
  const auto before = arms.ours.router->counters();
  for (int turn = 0; turn < kTurns; ++turn) {
    for (auto* arm : arms.in_turn(turn))
      arm->router->turn(load, "a", flows, static_cast<std::uint32_t>(turn), Router::Fate::kArrive,
                        arm->rounds);
  }
  const auto after = arms.ours.router->counters();
  std::fprintf(stderr, "%s: of %u encapsulated %lu\n", figure.c_str(),
               kTurns * (Router::kWarm + Router::kRoundsATurn * Router::kRound),
               after[bpf::COUNT_ENCAPSULATED] - before[bpf::COUNT_ENCAPSULATED]);
  const auto kernel = cost_of(arms.kernel.rounds);
  for (const auto* arm : arms.in_turn(0)) {
    const auto cost = cost_of(arm->rounds);
    std::fprintf(stderr, "%s %-7s %6.0f (%.0f) ns  %.3f (%.3f) x kernel\n", figure.c_str(), arm->name,
                 cost.least, cost.quarter, cost.least / kernel.least, cost.quarter / kernel.quarter);
  }
  std::printf("%s %.3f x\n", figure.c_str(), cost_of(arms.ours.rounds).least / kernel.least);
}

void streams() {
  Arms arms;
  for (auto* arm : arms.in_turn(0)) {
    make_tunnel(arm->router->at("outside"), kFarHost, kHost, kThere, kHere, address_of_station("a"));
    arm->router->at("outside").run(
        [] { test::shell(fmt::format("ip addr add {}/32 dev lo", kFar.to_string())); });
    // Of what the tunnel leaves.
    arm->router->at("a").run([] { test::shell(fmt::format("ip link set eth0 mtu {}", kMtu)); });
  }
  for (int round = 0; round < kStreams; ++round) {
    for (auto* arm : arms.in_turn(round)) {
      const auto taken = stream(arm->router->at("a"), arm->router->at("outside"), kFar, 1);
      arm->rounds.push_back(taken.rate);
      arm->processor.push_back(taken.processor);
    }
  }
  // Whatever else the machine does only ever takes away.
  const auto best = [](const Arm& arm) { return *std::ranges::max_element(arm.rounds); };
  const auto least = [](const Arm& arm) { return *std::ranges::min_element(arm.processor); };
  for (const auto* arm : arms.in_turn(0))
    std::fprintf(stderr, "stream %-7s %.2f Gbit/s, %.4g ns a byte\n", arm->name, best(*arm) * 8e-9,
                 least(*arm) * 1e9);
  std::fprintf(stderr, "stream: encapsulated %lu\n", arms.ours.router->counters()[bpf::COUNT_ENCAPSULATED]);
  std::printf("encapsulation-stream %.3f x\n", best(arms.ours) / best(arms.kernel));
  std::printf("encapsulation-stream-processor %.3f x\n", least(arms.ours) / least(arms.kernel));
}

int measure() {
  Load load;
  {
    Arms arms;
    for (auto* arm : arms.in_turn(0)) arm->router->count_at(load, "outside");
    packets(load, arms, 64, LOAD_FRAME, "encapsulation-64b");
    packets(load, arms, 4'096, LOAD_FRAME, "encapsulation-64b-4k");
    packets(load, arms, 64, kMtu + 14, "encapsulation-mtu");
    packets(load, arms, 4'096, kMtu + 14, "encapsulation-mtu-4k");
    std::printf("encapsulation-delivered %.6f x\n", load.delivered());
  }
  streams();
  return load.lost() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  return ocicat::bench::measure();
}
