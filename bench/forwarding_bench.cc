// Packets of known connections through a host: with eBPF, against a kernel that forwards and nothing else,
// and against connection tracking by netfilter; and with eBPF while there is much to tell of others. Needs root.
//
//   method   benchmarks.md 5 and B2: UDP of 64 bytes as XDP live frames, arms in turn, each delivery counted
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <fmt/format.h>
#include <net/if.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "bench/router.h"
#include "dataplane/ebpf/objects.h"
#include "dataplane/ebpf/pinned_maps.h"
#include "flows/aggregator.h"
#include "flows/event.h"
#include "flows/recorder.h"
#include "maps/connections.h"
#include "maps/counters.h"
#include "netns/agent_host.h"

namespace ocicat::bench {
namespace {

constexpr int kTurns = 24;

struct Arm {
  const char* name;
  std::shared_ptr<Router> router;
  std::vector<double> rounds{};
};

HostChanges open_state(bool redirect) {
  auto changes = test::first_state(1);
  changes.settings->redirect = redirect;
  add_workload(changes, "a", test::kAllowAll, test::kAllowAll);
  add_workload(changes, "b", test::kAllowAll, test::kAllowAll);
  return changes;
}

std::vector<Arm> arms() {
  std::vector<Arm> arms;
  for (const auto* name : {"bare", "ours", "stack", "nft", "legacy"})
    arms.push_back({name, std::make_shared<Router>()});
  arms.push_back({"told", arms[1].router});  // the same memory, so that events alone make the difference
  arms[1].router->enforce(open_state(true));
  arms[2].router->enforce(open_state(false));
  arms[3].router->shell(
      "nft 'add table ip peer; add chain ip peer forward { type filter hook forward priority 0; };"
      "add rule ip peer forward ct state established accept'");
  arms[4].router->shell("iptables-legacy -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
  return arms;
}

// Half a million a second to tell of others, told and read on another processor than the packets': refused
// datagrams of the workload, and the agent's part.
class Events {
 public:
  explicit Events(const Router& router) {
    auto ring = dataplane::ebpf::open_events(router.pins());
    auto program = kernel::bpf::open_pin(router.pins() / "programs" / "from_workload");
    CHECK(ring && program);
    ring_ = *std::move(ring);
    program_ = *std::move(program);
    thread_ = std::thread([this, &router] { router.host().run([this] { tell_and_read(); }); });
  }
  ~Events() { end(); }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  // How many have been read.
  std::uint64_t end() {
    done_ = true;
    if (thread_.joinable()) thread_.join();
    return count_;
  }

 private:
  void tell_and_read() {
    stay_on(1);
    const auto interface = static_cast<int>(::if_nametoindex("calia"));
    const auto spoofed = frame_of(
        {.source = address_of_station("outside"), .destination = address_of_station("b")}, kRouterMac);
    flows::Recorder recorder;
    flows::Aggregator aggregator({});
    auto due = std::chrono::steady_clock::now();
    while (!done_) {
      std::this_thread::sleep_until(due += std::chrono::milliseconds(5));  // half a million a second
      CHECK(kernel::bpf::run(program_.get(), spoofed, interface, interface, 2'500));
      count_ += ring_.read(50'000, [&](auto record) {
        bpf::event told;
        std::memcpy(&told, record.data(), sizeof told);
        const auto event = flows::event_of(told, {});
        aggregator.add(recorder.sighting_of(event));
      });
    }
  }

  kernel::bpf::Ring ring_;
  UniqueFd program_;
  std::uint64_t count_ = 0;
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

// Packets that connections have counted, from whichever end.
std::uint64_t counted_packets(const Router& router) {
  const auto maps = dataplane::ebpf::PinnedMaps::open(router.pins());
  CHECK(maps);
  const auto connections = maps->array("connections");
  CHECK(connections);
  std::uint64_t packets = 0;
  for (const auto& one : connections->as<bpf::tracked>())
    packets += std::uint64_t{one.connection.packets[0]} + one.connection.packets[1];
  return packets;
}

// From workload a to workload b.
void established(Load& load, std::vector<Arm>& arms, std::uint32_t count, const std::string& figure) {
  Flows flows{.source = address_of_station("a"), .destination = address_of_station("b"), .count = count};
  for (auto& arm : arms) {
    arm.rounds.clear();
    for (int i = 0; i < 2; ++i) arm.router->open(load, "a", flows);  // all become known
  }
  flows.random = true;
  const auto before = arms[1].router->counters();
  const auto counted_before = counted_packets(*arms[1].router);
  std::uint64_t told = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < arms.size(); ++i) {
      auto& arm = arms[turn % 2 == 0 ? i : arms.size() - 1 - i];
      const auto number = static_cast<std::uint32_t>(turn);
      std::optional<Events> events;
      if (&arm == &arms[5]) events.emplace(*arm.router);
      arm.router->turn(load, "a", flows, number, Router::Fate::kArrive, arm.rounds);
      if (events) told += events->end();
    }
  }
  std::fprintf(stderr, "%s: %lu events were read meanwhile\n", figure.c_str(), told);
  CHECK(told > 0);
  const auto after = arms[1].router->counters();
  const std::uint64_t sent = 2ULL * kTurns * Router::packets_a_turn(flows);
  std::printf("%s-uncounted %ld packets\n", figure.c_str(),
              std::abs(static_cast<std::int64_t>(counted_before + sent - counted_packets(*arms[1].router))));
  const auto grown = [&](bpf::counter which) { return after[which] - before[which]; };
  std::fprintf(stderr, "%s: of %lu redirected %lu, judged %lu\n", figure.c_str(), sent,
               grown(bpf::COUNT_REDIRECTED), grown(bpf::COUNT_JUDGED));
  const auto bare = cost_of(arms[0].rounds);
  for (const auto& arm : arms) {
    const auto cost = cost_of(arm.rounds);
    std::fprintf(stderr, "%s %-7s %6.0f (%.0f) ns  %.2f (%.2f) x bare\n", figure.c_str(), arm.name,
                 cost.least, cost.quarter, cost.least / bare.least, cost.quarter / bare.quarter);
  }
  const auto ratio = [&](std::size_t arm, std::size_t other) {
    return cost_of(arms[arm].rounds).least / cost_of(arms[other].rounds).least;
  };
  std::printf("%s %.3f x\n", figure.c_str(), ratio(1, 0));
  std::printf("%s-stack %.3f x\n", figure.c_str(), ratio(2, 0));
  std::printf("%s-legacy %.3f x\n", figure.c_str(), ratio(1, 4));
  // By lower quartiles: what telling takes is in all rounds, and the least of each arm is that of a few.
  std::printf("%s-told %.3f x\n", figure.c_str(),
              cost_of(arms[5].rounds).quarter / cost_of(arms[1].rounds).quarter);
}

int measure() {
  Load load;
  auto all = arms();
  std::set<Router*> routers;
  for (auto& arm : all) {
    if (routers.insert(arm.router.get()).second) arm.router->count_at(load, "b");
  }
  established(load, all, 4'096, "established-4k");
  established(load, all, 65'536, "established-64k");
  std::printf("established-delivered %.6f x\n", load.delivered());
  return load.lost() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  return ocicat::bench::measure();
}
