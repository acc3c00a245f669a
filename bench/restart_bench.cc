// An agent with eBPF that knows 200,000 endpoints and has 110 workloads is killed and started again, while
// packets come for each of the workloads; and what it takes while nothing happens, beside one that knows the
// 110 alone. Needs root.
//
//   method   benchmarks.md B15: to each workload a datagram every 10 ms from an endpoint whose flow policy
//            allows, and one from an endpoint that it refuses; each arrival is counted at the workload
//
// Prints lines `figure value unit`. With the argument `restarts` it ends after them, with `idle` it leaves
// them out.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <string_view>
#include <thread>

#include "bench/figures.h"
#include "bench/router.h"
#include "bench/served.h"
#include "bench/udp_source.h"
#include "test/support/shapes/tag_policies.h"

namespace ocicat::bench {
namespace {

constexpr int kRestarts = 7;
constexpr unsigned kWorkloads = 110;
constexpr unsigned kSources = test::TagPolicies::kMarkers;  // one remote endpoint of each marker
constexpr std::chrono::milliseconds kInterval{10};
constexpr std::chrono::seconds kIdle{60};
constexpr std::uint16_t kPort = 7'000;

IpAddress address_of(unsigned endpoint) {
  return IpAddress::v4(0x0a000001 + endpoint);
}

// Whether S1's policies let one endpoint in at another.
bool may(unsigned from, unsigned to) {
  using Shape = test::TagPolicies;
  for (unsigned policy = 0; policy < Shape::kMarkers; ++policy) {
    if (Shape::marker(policy) != Shape::marker(to + 1)) continue;
    for (unsigned i = 0; i < 5; ++i) {
      if (Shape::marker(policy + i) == Shape::marker(from + 1)) return true;
    }
  }
  return false;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Host {
 public:
  Host(const Load& load, unsigned remote) : remote_(remote) {
    served_.load(test::TagPolicies{.remote = remote, .local = kWorkloads, .policies = 2'000});
    for (unsigned i = 0; i < kWorkloads; ++i) {
      const auto station = fmt::format("w{}", i);
      router_.add_station(station, fmt::format("cali{}", remote + i), address_of(remote + i));
      router_.count_at(load, station);
      sources_.push_back({source(i, false), source(i, true)});
    }
  }

  // Sends to all workloads until it goes; at least once from each source.
  class Traffic {
   public:
    explicit Traffic(const Host& host)
        : thread_([this, &host](const std::stop_token& stop) {
            host.router_.at("outside").run([&] { send(host, stop); });
          }) {}
    // Ends it. How many packets it sent that are allowed, and as many that are not.
    std::uint64_t end() {
      thread_.request_stop();
      thread_.join();
      return sent_;
    }

   private:
    void send(const Host& host, const std::stop_token& stop) {
      stay_on(1);
      std::vector<UniqueFd> sources;
      for (unsigned i = 0; i < kSources; ++i) sources.push_back(socket_from(address_of(i)));
      auto next = Clock::now();
      while (!stop.stop_requested()) {
        for (unsigned i = 0; i < kWorkloads; ++i) {
          const auto to = socket_address(address_of(host.remote_ + i), kPort);
          const auto& [refused, allowed] = host.sources_.at(i);
          send_frame(sources.at(allowed), to, LOAD_FRAME);
          ++sent_;
          send_frame(sources.at(refused), to, LOAD_OTHERS);
        }
        next += kInterval;
        std::this_thread::sleep_until(next);
      }
    }

    std::uint64_t sent_ = 0;
    std::jthread thread_;
  };

  // Seconds until what the server has is in force.
  double start() {
    const auto begin = Clock::now();
    agent_.start();
    agent_.await_ready();
    return seconds_since(begin);
  }
  AgentProcess& agent() { return agent_; }

 private:
  // The first endpoint that policy lets in at a workload, or that it does not.
  unsigned source(unsigned workload, bool allowed) const {
    for (unsigned from = 0; from < kSources; ++from) {
      if (may(from, remote_ + workload) == allowed) return from;
    }
    CHECK(false);
  }

  unsigned remote_;
  std::vector<std::array<unsigned, 2>> sources_;  // of each workload: one that is refused, one that is let in
  Served served_;
  Router router_;
  AgentProcess agent_{served_, router_.host()};
};

void restarts(const Load& load, Host& host) {
  std::fprintf(stderr, "first start: ready after %.2f s\n", host.start());
  const auto arrived = load.arrived(), others = load.others_arrived();
  std::vector<double> times;
  std::uint64_t sent = 0;
  {
    // Traffic goes on for so long: with an agent, without one, and with the next.
    Host::Traffic traffic(host);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    for (int i = 0; i < kRestarts; ++i) {
      host.agent().kill();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      times.push_back(host.start());
      std::fprintf(stderr, "restart: ready after %.3f s, %.2f s of processor time\n", times.back(),
                   host.agent().processor_seconds());
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    sent = traffic.end();
  }
  std::fprintf(stderr, "%lu packets sent that policy allows, and as many that it refuses\n", sent);
  std::printf("restart %.3f s\n", percentile(times, 0.5));
  std::printf("restart-longest %.3f s\n", percentile(times, 1));
  std::printf("restart-lost %ld packets\n", static_cast<long>(sent - (load.arrived() - arrived)));
  std::printf("restart-leaked %lu packets\n", load.others_arrived() - others);
}

void idle(Host& many, Host& few) {
  std::this_thread::sleep_for(std::chrono::seconds(5));
  const auto before_many = many.agent().processor_seconds(), before_few = few.agent().processor_seconds();
  std::this_thread::sleep_for(kIdle);
  const auto seconds = std::chrono::duration<double>(kIdle).count();
  for (auto* host : {&many, &few}) {
    std::fprintf(stderr, "%s: resident %.1f MB: own %.1f, of files and maps %.1f; at most %.1f\n",
                 host == &many ? "many" : "few", host->agent().megabytes("VmRSS"),
                 host->agent().megabytes("RssAnon"), host->agent().megabytes("RssFile"),
                 host->agent().megabytes("VmHWM"));
  }
  std::printf("restart-idle %.4f core\n", (few.agent().processor_seconds() - before_few) / seconds);
  std::printf("restart-idle-memory %.1f MB\n", few.agent().megabytes("VmRSS"));
  std::printf("restart-idle-200k %.4f core\n", (many.agent().processor_seconds() - before_many) / seconds);
}

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  using namespace ocicat::bench;
  const Load load;
  Host many(load, 200'000);
  const std::string_view only = argc > 1 ? argv[1] : "";
  only == "idle" ? void(many.start()) : restarts(load, many);
  if (only == "restarts") return 0;
  Host few(load, kSources);
  few.start();
  idle(many, few);
}
