// TCP from workload to workload: with eBPF and 10 or 10,000 policies, against a kernel that forwards and
// nothing else. Streams, one and eight; connections of one request each. Needs root.
//
//   method   benchmarks.md 5, B12 and B3: both ends on one processor, arms in turn. Processor time is that of
//            the threads at both ends, what the kernel does for them on the way included
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <fmt/format.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/large_pages.h"
#include "bench/policies.h"
#include "bench/streams.h"

namespace ocicat::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 9;
constexpr int kRequests = 1'500;  // a round

Taken between_workloads(const Router& router, int streams) {
  return stream(router.at("a"), router.at("b"), address_of_station("b"), streams);
}

Taken requests(const Router& router) {
  std::atomic<double> seconds = 0;
  UniqueFd listening;
  router.at("b").run([&] { listening = listener_at(address_of_station("b")); });
  const auto begin = Clock::now();
  std::thread server([&] {
    stay_on(0);
    for (int i = 0; i < kRequests; ++i) {
      const auto socket = accepted(listening);
      char byte = 0;
      CHECK(::recv(socket.get(), &byte, 1, 0) == 1 && ::send(socket.get(), &byte, 1, 0) == 1);
    }
    seconds += thread_seconds();
  });
  std::thread client([&] {
    stay_on(0);
    CHECK(router.at("a").enter());
    for (int i = 0; i < kRequests; ++i) {
      const auto socket = connected_to(address_of_station("b"));
      char byte = 1;
      CHECK(::send(socket.get(), &byte, 1, 0) == 1 && ::recv(socket.get(), &byte, 1, 0) == 1);
    }
    seconds += thread_seconds();
  });
  server.join();
  client.join();
  const std::chrono::duration<double> took = Clock::now() - begin;
  return {kRequests / took.count(), seconds / kRequests};
}

struct Arm {
  const char* name;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::vector<double> rates{}, processor{};

  // Of the rounds, the best: whatever else the machine does only ever takes away.
  double rate() const { return *std::ranges::max_element(rates); }
  double cost() const { return *std::ranges::min_element(processor); }
};

template <class Round>
void compare(std::array<Arm, 3>& arms, const char* what, double unit, Round one) {
  for (auto& arm : arms) arm.rates = arm.processor = {};
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < arms.size(); ++i) {
      auto& arm = arms[round % 2 == 0 ? i : arms.size() - 1 - i];
      const auto taken = one(*arm.router);
      arm.rates.push_back(taken.rate);
      arm.processor.push_back(taken.processor);
    }
  }
  for (const auto& arm : arms) {
    std::fprintf(stderr, "%s %-6s %9.2f a second, %.4g ns each; %.3f and %.3f x bare\n", what, arm.name,
                 arm.rate() * unit, arm.cost() * 1e9, arm.rate() / arms[0].rate(),
                 arm.cost() / arms[0].cost());
  }
}

int measure() {
  std::array<Arm, 3> arms{Arm{"bare"}, Arm{"10"}, Arm{"10000"}};
  PolicyStates states({});
  arms[1].router->enforce(states.with(10));
  arms[2].router->enforce(states.with(10'000));
  const auto& many = arms[2];
  constexpr double kGigabits = 8e-9;
  compare(arms, "stream", kGigabits, [](const Router& router) { return between_workloads(router, 1); });
  std::printf("throughput %.3f x\n", many.rate() / arms[0].rate());
  std::printf("throughput-processor %.3f x\n", many.cost() / arms[0].cost());
  std::printf("throughput-policies %.3f x\n", many.cost() / arms[1].cost());
  compare(arms, "8 streams", kGigabits, [](const Router& router) { return between_workloads(router, 8); });
  std::printf("throughput-8 %.3f x\n", many.rate() / arms[0].rate());
  std::printf("throughput-8-processor %.3f x\n", many.cost() / arms[0].cost());
  compare(arms, "request", 1, requests);
  std::printf("new-connections-tcp %.3f x\n", many.rate() / arms[0].rate());
  return 0;
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::measure();
}
