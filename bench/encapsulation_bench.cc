// Packets of known connections to a workload of another host, in VXLAN of either family: with eBPF, against a
// kernel that routes them to its VXLAN interface and does nothing else. Needs root.
//
//   key      a third arm, packets alone: one program that sends all there by tunnel key, through one flow-based interface.
//            It asks nobody and notes nothing, so no datapath that goes this way can cost less
//   method   benchmarks.md 5 and B11: UDP as XDP live frames from a workload, arms in turn, each delivery
//            counted where it comes to the other host; a TCP stream to that host, both ends on one processor
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>

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

load_tunnel tunnel_key(const Tunnel& tunnel) {
  load_tunnel to{.interface = 0,
                 .vni = kVni,
                 .ipv6 = tunnel.family == Family::kIpv6 ? 1U : 0U,
                 .remote = {},
                 .macs = {}};
  if (to.ipv6 != 0) {
    std::memcpy(to.remote, tunnel.far_host.bytes().data(), sizeof to.remote);
  } else {
    const auto bytes = std::span(tunnel.far_host.bytes()).last(4);
    to.remote[0] = std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                   std::uint32_t{bytes[2]} << 8 | bytes[3];
  }
  std::memcpy(to.macs, tunnel.there.mac.bytes.data(), 6);
  std::memcpy(to.macs + 6, tunnel.here.mac.bytes.data(), 6);
  return to;
}

enum class By { kKernel, kKey, kOurs };
constexpr std::array kNames{"kernel", "key", "ours"};

struct Arm {
  Arm(const Tunnel& tunnel, By way) : by(way) {
    if (tunnel.family == Family::kIpv6) router->speak_ipv6();
    router->shell(fmt::format("ip addr add {} dev uplink", Prefix::host(tunnel.host).to_string()));
    if (by == By::kOurs) {
      router->enforce(with_tunnel(tunnel));
    } else if (by == By::kKernel) {
      make_tunnel(router->host(), tunnel, tunnel.host, tunnel.far_host, tunnel.here, tunnel.there,
                  tunnel.far);
    } else {
      router->shell(fmt::format(
          "ip link add {0} address {1} type vxlan external dstport {2}; ip link set {0} mtu {3} up",
          tunnel.interface(), tunnel.here.mac.to_string(), kPort, tunnel.mtu()));
    }
  }
  const char* name() const { return kNames[static_cast<std::size_t>(by)]; }
  By by;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::vector<double> rounds{}, processor{};
};

struct Arms {
  Arms(const Tunnel& tunnel, std::initializer_list<By> ways) {
    for (const auto way : ways) all.emplace_back(tunnel, way);
  }

  std::vector<Arm> all;
  Arm& of(By by) { return *std::ranges::find(all, by, &Arm::by); }
  std::vector<Arm*> in_turn(int turn) {
    std::vector<Arm*> arms;
    for (auto& arm : all) arms.push_back(&arm);
    if (turn % 2 != 0) std::ranges::reverse(arms);
    return arms;
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
    if (arm.by == By::kKey) continue;
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
  const auto before = arms.of(By::kOurs).router->counters();
  for (int turn = 0; turn < kTurns; ++turn) {
    for (auto* arm : arms.in_turn(turn))
      arm->router->turn(load, "a", flows, static_cast<std::uint32_t>(turn), Router::Fate::kArrive,
                        arm->rounds);
  }
  const auto after = arms.of(By::kOurs).router->counters();
  std::fprintf(stderr, "%s: of %u encapsulated %lu\n", figure.c_str(), kTurns * Router::packets_a_turn(flows),
               after[bpf::COUNT_ENCAPSULATED] - before[bpf::COUNT_ENCAPSULATED]);
  const auto kernel = cost_of(arms.of(By::kKernel).rounds);
  for (const auto* arm : arms.in_turn(0)) {
    const auto cost = cost_of(arm->rounds);
    std::fprintf(stderr, "%s %-7s %6.0f (%.0f) ns  %.3f (%.3f) x kernel\n", figure.c_str(), arm->name(),
                 cost.least, cost.quarter, cost.least / kernel.least, cost.quarter / kernel.quarter);
  }
  std::printf("%s %.3f x\n", figure.c_str(), cost_of(arms.of(By::kOurs).rounds).least / kernel.least);
  std::printf("%s-key %.3f x\n", figure.c_str(), cost_of(arms.of(By::kKey).rounds).least / kernel.least);
}

void streams(const Tunnel& tunnel) {
  Arms arms(tunnel, {By::kKernel, By::kOurs});
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
    std::fprintf(stderr, "%s-stream %-7s %.2f Gbit/s, %.4g ns a byte\n", tunnel.prefix, arm->name(),
                 best(*arm) * 8e-9, least(*arm) * 1e9);
  std::fprintf(stderr, "%s-stream: encapsulated %lu\n", tunnel.prefix,
               arms.of(By::kOurs).router->counters()[bpf::COUNT_ENCAPSULATED]);
  std::printf("%s-stream %.3f x\n", tunnel.prefix, best(arms.of(By::kOurs)) / best(arms.of(By::kKernel)));
  std::printf("%s-stream-processor %.3f x\n", tunnel.prefix,
              least(arms.of(By::kOurs)) / least(arms.of(By::kKernel)));
}

bool measure(Family family) {
  const auto tunnel = tunnel_of(family);
  Load load;
  {
    Arms arms(tunnel, {By::kKernel, By::kKey, By::kOurs});
    for (auto* arm : arms.in_turn(0)) arm->router->count_at(load, "outside");
    arms.of(By::kKey).router->tunnel_from(load, "a", tunnel.interface(), tunnel_key(tunnel));
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
