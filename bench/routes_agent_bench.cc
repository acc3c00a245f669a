// A whole agent beside 5,000 hosts with 20,000 blocks, from cold: what it takes of processors to read the server's
// lists, to compute the ways and to have them in its kernel. Needs root.
//
//   routes-cold-agent         nothing is in the kernel, which is written 22,000 routes and 5,000 ends of tunnels; what
//                             the kernel takes for them is another figure (routes-program-*), and not in this one
//   routes-cold-agent-again   killed, and started anew: all of it is read and found right; with the kernel's share
//
// Prints lines `figure value unit`; each start goes to the error output.
#include <fmt/format.h>

#include <cstdio>
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
  void check_routes() const {
    router_.shell(fmt::format("test $(ip route show proto 80 | wc -l) -ge {}", kLeastRoutes));
  }

 private:
  test::BlockCluster cluster_;
  Served served_;
  Router router_;
  AgentProcess agent_{served_, router_.host(), "nftables"};
};

void measure() {
  std::fprintf(stderr, "the document of a block has %zu bytes\n",
               document_of(test::BlockCluster().block(1)).size());
  Host(0).start();  // what any start takes
  std::vector<double> first, again;
  for (int i = 0; i < kRounds; ++i) {
    Host host(5'000);
    first.push_back(host.start().user * 1e3);
    host.check_routes();
    const auto used = host.start();
    again.push_back((used.user + used.kernel) * 1e3);
  }
  std::printf("routes-cold-agent %.0f ms\n", percentile(first, 0.5));
  std::printf("routes-cold-agent-again %.0f ms\n", percentile(again, 0.5));
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  ocicat::bench::measure();
}
