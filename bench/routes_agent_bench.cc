// A whole agent beside 5,000 hosts with 20,000 blocks, from cold: what it takes of processors to read the server's
// lists, to compute the ways and to have them in its kernel. Needs root.
//
//   routes-cold-agent         nothing is in the kernel, which is written 22,000 routes and 5,000 ends of tunnels; what
//                             the kernel takes for them is another figure (routes-program-*), and not in this one
//   routes-cold-agent-again   killed, and started anew: all of it is read and found right; with the kernel's share
//   routes-host-change-agent  then ten times a second another host gets another address and tunnel end: what all threads
//                             of the agent take for each, from the server's event to the status, which in a cluster of
//                             that size is written once a second; with the kernel's share and without what they take
//                             when nothing happens
//   routes-host-label-agent   the same where a host only gets a label, which nothing selects
//
// Prints lines `figure value unit`; each start goes to the error output, and of each round of changes which thread of
// the agent took how much.
#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "bench/documents.h"
#include "bench/figures.h"
#include "bench/router.h"
#include "bench/served.h"
#include "test/support/shapes/block_cluster.h"

namespace ocicat::bench {
namespace {

constexpr int kRounds = 5;
constexpr int kLeastRoutes = 22'000;
constexpr unsigned kOthers = 5'000;
constexpr unsigned kChanges = 50;  // in a round
constexpr std::chrono::milliseconds kBetweenChanges{100};

class Host {
 public:
  explicit Host(unsigned others) : cluster_{.hosts = others + 1} {
    served_.load(cluster_);
    router_.shell(
        "ip link add here type veth peer name there; ip link set here up; ip link set there up; "
        "ip addr add 172.16.0.0/12 dev here");
  }

  // What an agent has taken once what the server has is in force.
  AgentProcess::ProcessorSeconds start() {
    agent_.kill();
    agent_.start();
    agent_.await_ready();
    const auto used = agent_.processor();
    std::fprintf(stderr, "%u other hosts: %.0f ms, and %.0f in the kernel\n", cluster_.hosts - 1,
                 used.user * 1e3, used.kernel * 1e3);
    return used;
  }
  // Milliseconds for each of a round's changes.
  double change(const std::function<test::Item(unsigned)>& item_of) {
    const auto idle = during([](unsigned) {});
    const auto busy = during([&](unsigned number) { served_.change(item_of(number)); });
    double sum = 0;
    for (const auto& [thread, milliseconds] : busy) {
      sum += milliseconds - idle.at(thread);
      std::fprintf(stderr, "%s %.3f (idle %.3f)  ", thread.c_str(), milliseconds - idle.at(thread),
                   idle.at(thread));
    }
    std::fprintf(stderr, "a change %.2f ms\n", sum);
    return sum;
  }
  void check_routes() const {
    router_.shell(fmt::format("test $(ip route show proto 80 | wc -l) -ge {}", kLeastRoutes));
  }

 private:
  // Milliseconds of each of the agent's threads for each of kChanges.
  std::map<std::string, double> during(const std::function<void(unsigned)>& change) const {
    const auto before = agent_.scheduled_seconds();
    for (unsigned number = 0; number < kChanges; ++number) {
      change(number);
      std::this_thread::sleep_for(kBetweenChanges);
    }
    auto taken = agent_.scheduled_seconds();
    for (auto& [thread, seconds] : taken) seconds = (seconds - before.at(thread)) * 1e3 / kChanges;
    return taken;
  }

  test::BlockCluster cluster_;
  Served served_;
  Router router_;
  AgentProcess agent_{served_, router_.host(), "nftables"};
};

// Another host in every change of a round, with an address and a tunnel end that none had before.
test::Item moved(unsigned round, unsigned number) {
  auto item = test::BlockCluster::host(1 + number * 7, 1 + round);
  std::get<Node>(item.resource).vxlan[0].address = IpAddress::v4(0x64500000U + round * kChanges + number);
  return item;
}

test::Item labelled(unsigned round, unsigned number) {
  auto item = test::BlockCluster::host(kOthers / 2 + number * 7);
  std::get<Node>(item.resource).metadata.labels["round"] = std::to_string(round);
  return item;
}

void change_hosts(Host& host) {
  std::vector<double> moves, labels;
  for (unsigned round = 0; round < unsigned{kRounds}; ++round) {
    moves.push_back(host.change([&](unsigned number) { return moved(round, number); }));
    labels.push_back(host.change([&](unsigned number) { return labelled(round, number); }));
  }
  std::printf("routes-host-change-agent %.2f ms\n", percentile(moves, 0.5));
  std::printf("routes-host-label-agent %.2f ms\n", percentile(labels, 0.5));
}

void measure() {
  std::fprintf(stderr, "the document of a block has %zu bytes\n",
               document_of(test::BlockCluster().block(1)).size());
  Host(0).start();  // what any start takes
  std::vector<double> first, again;
  for (int i = 0; i < kRounds; ++i) {
    Host host(kOthers);
    first.push_back(host.start().user * 1e3);
    host.check_routes();
    const auto used = host.start();
    again.push_back((used.user + used.kernel) * 1e3);
    if (i == kRounds - 1) change_hosts(host);
  }
  std::printf("routes-cold-agent %.0f ms\n", percentile(first, 0.5));
  std::printf("routes-cold-agent-again %.0f ms\n", percentile(again, 0.5));
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  ocicat::bench::measure();
}
