// Packets of known connections that leave by natOutgoing, and their answers: with eBPF, against a kernel that
// forwards, translates with one rule of nftables, and does nothing else. Needs root.
//
//   method   benchmarks.md 5 and B2: UDP of 64 bytes as XDP live frames, arms in turn, each delivery counted;
//            a TCP stream to the outside, both ends on one processor
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "bench/router.h"
#include "bench/streams.h"
#include "maps/counters.h"
#include "netns/agent_host.h"

namespace ocicat::bench {
namespace {

constexpr int kTurns = 16, kStreams = 9;
constexpr std::uint32_t kAtOnce = 64;  // flows that are answered together
constexpr int kRoom = 4 << 20;         // for those, at the socket: a page each
const IpAddress kHost = *IpAddress::parse("192.0.2.2");
const Prefix kPool = *Prefix::parse("10.65.0.0/16");

HostChanges with_pool(bool redirect) {
  auto changes = test::first_state(1);
  changes.settings->redirect = redirect;
  changes.settings->nat.sources = {kPool};
  changes.settings->nat.inside = {kPool};
  add_workload(changes, "a", test::kAllowAll, test::kAllowAll);
  return changes;
}

struct Arm {
  explicit Arm(const char* arm) : name(arm) {
    router->shell(fmt::format("ip addr add {}/32 dev uplink", kHost.to_string()));
  }
  const char* name;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::vector<std::uint16_t> ports{};  // by which the flows are seen outside
  std::vector<double> rounds{}, processor{};
};

struct Arms {
  Arms() {
    all[0].router->shell(fmt::format(
        "nft 'add table ip peer; add chain ip peer out {{ type nat hook postrouting priority srcnat; }};"
        "add rule ip peer out ip saddr {} masquerade'",
        kPool.to_string()));
    all[1].router->enforce(with_pool(true));
    all[2].router->enforce(with_pool(false));
  }
  std::array<Arm, 3> all{Arm{"kernel"}, Arm{"ours"}, Arm{"stack"}};
  Arm& kernel() { return all[0]; }
  Arm& ours() { return all[1]; }
  Arm& in_turn(int turn, std::size_t i) { return all[turn % 2 == 0 ? i : all.size() - 1 - i]; }
};

Flows out(std::uint32_t count) {
  return {.source = address_of_station("a"), .destination = address_of_station("outside"), .count = count};
}

// Answers each once, from outside, so that both directions become known, and notes by which ports they are seen.
std::vector<std::uint16_t> answered(Load& load, const Router& router, std::uint32_t count) {
  UniqueFd socket;
  router.at("outside").run([&] {
    socket = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_port = htons(LOAD_ASKED);
    const timeval patience{2, 0};
    CHECK(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
    CHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kRoom, sizeof kRoom) == 0);
  });
  std::vector<std::uint16_t> ports;
  for (std::uint32_t first = 0; first < count; first += kAtOnce) {
    router.host().run([&] {
      stay_on(0);
      load.aim(out(count), kRouterMac, first);
      load.send(static_cast<int>(::if_nametoindex("calia")), kAtOnce);
    });
    for (std::uint32_t i = 0; i < kAtOnce; ++i) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      char byte = 0;
      auto* peer = reinterpret_cast<sockaddr*>(&from);
      CHECK(::recvfrom(socket.get(), &byte, 1, 0, peer, &size) >= 0);
      CHECK(::sendto(socket.get(), &byte, 1, 0, peer, size) == 1);
      ports.push_back(ntohs(from.sin_port));
    }
  }
  return ports;
}

// To the host, by the ports that it is seen by.
Flows back(const std::vector<std::uint16_t>& ports) {
  return {.source = address_of_station("outside"),
          .destination = kHost,
          .count = static_cast<std::uint32_t>(ports.size()),
          .by_destination = true,
          .replies = true,
          .ports = ports};
}

struct Direction {
  std::uint32_t count;
  bool answers;
  const char* figure;
};

void packets(Load& load, Arms& arms, const Direction& how) {
  const auto* from = how.answers ? "outside" : "a";
  for (auto& arm : arms.all) arm.rounds.clear();
  const auto before = arms.ours().router->counters();
  std::uint32_t sent = 0;  // of ours
  for (int turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < arms.all.size(); ++i) {
      auto& arm = arms.in_turn(turn, i);
      auto flows = how.answers ? back(arm.ports) : out(how.count);
      flows.random = true;
      if (&arm == &arms.ours()) sent += Router::packets_a_turn(flows);
      if (how.answers) arm.router->open(load, "a", out(how.count));  // as nobody answers who is not asked
      arm.router->turn(load, from, flows, static_cast<std::uint32_t>(turn), Router::Fate::kArrive,
                       arm.rounds);
    }
  }
  const auto after = arms.ours().router->counters();
  std::fprintf(stderr, "%s: of %u translated past the stack %lu\n", how.figure, sent,
               after[bpf::COUNT_TRANSLATED] - before[bpf::COUNT_TRANSLATED]);
  const auto kernel = cost_of(arms.kernel().rounds);
  for (const auto& arm : arms.all) {
    const auto cost = cost_of(arm.rounds);
    std::fprintf(stderr, "%s %-7s %6.0f (%.0f) ns  %.3f (%.3f) x kernel\n", how.figure, arm.name, cost.least,
                 cost.quarter, cost.least / kernel.least, cost.quarter / kernel.quarter);
  }
  std::printf("%s %.3f x\n", how.figure, cost_of(arms.ours().rounds).least / kernel.least);
}

void packets(Load& load, std::uint32_t count, const char* out, const char* answers) {
  Arms arms;
  for (auto& arm : arms.all) {
    for (int i = 0; i < 2; ++i) arm.ports = answered(load, *arm.router, count);
    arm.router->count_at(load, "a");
    arm.router->count_at(load, "outside");
  }
  packets(load, arms, {count, false, out});
  packets(load, arms, {count, true, answers});
}

void streams() {
  Arms arms;
  for (int round = 0; round < kStreams; ++round) {
    for (std::size_t i = 0; i < arms.all.size(); ++i) {
      auto& arm = arms.in_turn(round, i);
      const auto taken =
          stream(arm.router->at("a"), arm.router->at("outside"), address_of_station("outside"), 1);
      arm.rounds.push_back(taken.rate);
      arm.processor.push_back(taken.processor);
    }
  }
  // Whatever else the machine does only ever takes away.
  const auto best = [](const Arm& arm) { return *std::ranges::max_element(arm.rounds); };
  const auto least = [](const Arm& arm) { return *std::ranges::min_element(arm.processor); };
  for (const auto& arm : arms.all)
    std::fprintf(stderr, "stream %-7s %.2f Gbit/s, %.4g ns a byte\n", arm.name, best(arm) * 8e-9,
                 least(arm) * 1e9);
  std::fprintf(stderr, "stream: translated past the stack %lu\n",
               arms.ours().router->counters()[bpf::COUNT_TRANSLATED]);
  std::printf("nat-outgoing-stream %.3f x\n", best(arms.ours()) / best(arms.kernel()));
  std::printf("nat-outgoing-stream-processor %.3f x\n", least(arms.ours()) / least(arms.kernel()));
}

int measure() {
  Load load;
  packets(load, 64, "nat-outgoing", "nat-outgoing-answers");
  packets(load, 4'096, "nat-outgoing-4k", "nat-outgoing-answers-4k");
  std::printf("nat-outgoing-delivered %.6f x\n", load.delivered());
  streams();
  return load.lost() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  return ocicat::bench::measure();
}
