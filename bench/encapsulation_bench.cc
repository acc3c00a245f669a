// Packets of known connections to a workload of another host, in VXLAN of either family: with eBPF, against a
// kernel that routes them to its VXLAN interface and does nothing else. Needs root.
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
constexpr std::uint32_t kVni = 4096;
constexpr std::uint16_t kPort = 4789;

// The ends of a tunnel, and a workload at the other one.
struct Tunnel {
  Family family;
  IpAddress host, far_host;
  network::Vtep here, there;
  IpAddress far;
  const char* prefix;  // of figures

  const std::string& interface() const { return dataplane::vxlan_name(family); }
  std::uint32_t overhead() const { return dataplane::vxlan_overhead(family); }
  std::uint32_t mtu() const { return 1500 - overhead(); }
  IpAddress workload() const { return address_of_station("a", family); }
};

Tunnel tunnel_of(Family family) {
  const auto of = [&](const char* four, const char* six) {
    return *IpAddress::parse(family == Family::kIpv4 ? four : six);
  };
  return {.family = family,
          .host = of("192.0.2.2", "2001:db8::2"),
          .far_host = address_of_station("outside", family),
          .here = {of("10.65.1.0", "fd00:65:1::"), *MacAddress::parse("66:00:00:00:00:01")},
          .there = {of("10.65.2.0", "fd00:65:2::"), *MacAddress::parse("66:00:00:00:00:02")},
          .far = of("10.66.0.2", "fd00:66::2"),
          .prefix = family == Family::kIpv4 ? "encapsulation" : "encapsulation-ipv6"};
}

// As the agent makes it.
void make_tunnel(const kernel::NetworkNamespace& ns, const Tunnel& tunnel, const IpAddress& host,
                 const IpAddress& other_host, const network::Vtep& end, const network::Vtep& other,
                 const IpAddress& behind) {
  ns.run([&] {
    test::shell(
        fmt::format("ip link add {0} address {1} type vxlan id {2} local {3} dstport {4} nolearning;"
                    "ip addr add {5} dev {0}; ip link set {0} mtu {6} up;"
                    "bridge fdb add {7} dev {0} dst {8}; ip neigh add {9} lladdr {7} dev {0} nud permanent;"
                    "ip route add {10} via {9} dev {0} onlink",
                    tunnel.interface(), end.mac.to_string(), kVni, host.to_string(), kPort,
                    Prefix::host(end.address).to_string(), tunnel.mtu(), other.mac.to_string(),
                    other_host.to_string(), other.address.to_string(), Prefix::host(behind).to_string()));
  });
}

HostChanges with_tunnel(const Tunnel& tunnel) {
  auto changes = test::first_state(1);
  changes.settings->redirect = true;
  const bool v4 = tunnel.family == Family::kIpv4;
  (v4 ? changes.settings->overlays.vxlan4 : changes.settings->overlays.vxlan6) = true;
  add_workload(changes, "a", test::kAllowAll, test::kAllowAll, tunnel.family);
  changes.peers.update(tunnel.far_host, network::Peer{.vtep = tunnel.there});
  changes.vxlan.emplace()[v4 ? 0 : 1] =
      VxlanDevice{.end = tunnel.here, .host = tunnel.host, .vni = kVni, .port = kPort, .mtu = tunnel.mtu()};
  changes.routes.update(Prefix::host(tunnel.far), Route{Route::Kind::kVxlan, "", tunnel.there.address});
  return changes;
}

struct Arm {
  Arm(const Tunnel& tunnel, bool ours) : name(ours ? "ours" : "kernel") {
    if (tunnel.family == Family::kIpv6) router->speak_ipv6();
    router->shell(fmt::format("ip addr add {} dev uplink", Prefix::host(tunnel.host).to_string()));
    if (ours) {
      router->enforce(with_tunnel(tunnel));
    } else {
      make_tunnel(router->host(), tunnel, tunnel.host, tunnel.far_host, tunnel.here, tunnel.there,
                  tunnel.far);
    }
  }
  const char* name;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::vector<double> rounds{}, processor{};
};

struct Arms {
  explicit Arms(const Tunnel& tunnel) : kernel(tunnel, false), ours(tunnel, true) {}

  Arm kernel, ours;
  std::array<Arm*, 2> in_turn(int turn) {
    return turn % 2 == 0 ? std::array{&kernel, &ours} : std::array{&ours, &kernel};
  }
};

// All become known, both ways: answers come out of the tunnel.
void open(Load& load, const Tunnel& tunnel, const Arm& arm, const Flows& flows) {
  auto answers = flows;
  std::swap(answers.source, answers.destination);
  answers.by_destination = answers.replies = true;
  answers.grows = 0;
  for (int i = 0; i < 2; ++i) {
    arm.router->open(load, "a", flows);
    arm.router->host().run([&] {
      stay_on(0);
      load.aim(answers, tunnel.here.mac.to_string());
      load.send(static_cast<int>(::if_nametoindex(tunnel.interface().c_str())), flows.count);
    });
  }
}

void packets(Load& load, const Tunnel& tunnel, Arms& arms, std::uint32_t count, std::uint32_t size,
             const std::string& figure) {
  Flows flows{.source = tunnel.workload(), .destination = tunnel.far, .count = count};
  flows.size = size;
  flows.grows = tunnel.overhead();
  for (auto* arm : arms.in_turn(0)) {
    arm->rounds.clear();
    open(load, tunnel, *arm, flows);
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

void streams(const Tunnel& tunnel) {
  Arms arms(tunnel);
  for (auto* arm : arms.in_turn(0)) {
    const auto& outside = arm->router->at("outside");
    make_tunnel(outside, tunnel, tunnel.far_host, tunnel.host, tunnel.there, tunnel.here, tunnel.workload());
    outside.run(
        [&] { test::shell(fmt::format("ip addr add {} dev lo", Prefix::host(tunnel.far).to_string())); });
    // Of what the tunnel leaves.
    arm->router->at("a").run([&] { test::shell(fmt::format("ip link set eth0 mtu {}", tunnel.mtu())); });
  }
  for (int round = 0; round < kStreams; ++round) {
    for (auto* arm : arms.in_turn(round)) {
      const auto taken = stream(arm->router->at("a"), arm->router->at("outside"), tunnel.far, 1);
      arm->rounds.push_back(taken.rate);
      arm->processor.push_back(taken.processor);
    }
  }
  // Whatever else the machine does only ever takes away.
  const auto best = [](const Arm& arm) { return *std::ranges::max_element(arm.rounds); };
  const auto least = [](const Arm& arm) { return *std::ranges::min_element(arm.processor); };
  for (const auto* arm : arms.in_turn(0))
    std::fprintf(stderr, "%s-stream %-7s %.2f Gbit/s, %.4g ns a byte\n", tunnel.prefix, arm->name,
                 best(*arm) * 8e-9, least(*arm) * 1e9);
  std::fprintf(stderr, "%s-stream: encapsulated %lu\n", tunnel.prefix,
               arms.ours.router->counters()[bpf::COUNT_ENCAPSULATED]);
  std::printf("%s-stream %.3f x\n", tunnel.prefix, best(arms.ours) / best(arms.kernel));
  std::printf("%s-stream-processor %.3f x\n", tunnel.prefix, least(arms.ours) / least(arms.kernel));
}

bool measure(Family family) {
  const auto tunnel = tunnel_of(family);
  Load load;
  {
    Arms arms(tunnel);
    for (auto* arm : arms.in_turn(0)) arm->router->count_at(load, "outside");
    const auto figure = [&](const char* what) { return fmt::format("{}-{}", tunnel.prefix, what); };
    packets(load, tunnel, arms, 64, LOAD_FRAME, figure("64b"));
    packets(load, tunnel, arms, 4'096, LOAD_FRAME, figure("64b-4k"));
    packets(load, tunnel, arms, 64, tunnel.mtu() + 14, figure("mtu"));
    packets(load, tunnel, arms, 4'096, tunnel.mtu() + 14, figure("mtu-4k"));
    std::printf("%s %.6f x\n", figure("delivered").c_str(), load.delivered());
  }
  streams(tunnel);
  return load.lost() == 0;
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  using namespace ocicat;
  const bool all = bench::measure(Family::kIpv4) & bench::measure(Family::kIpv6);
  return all ? 0 : 1;
}
