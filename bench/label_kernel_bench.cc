// From a label change at the server to the first packet that eBPF judges by it: agents that know 200,000 and
// 2,000 endpoints, idle and while 1,000 others change a second; and what `nft add element` takes. Needs root.
//
//   method   benchmarks.md 5 and B4: a datagram every 20 µs from the endpoint whose label changes, on a
//            processor of its own; from the moment at which the store takes the change up to the first packet
//            with the new verdict after the last with the old one
//
// Prints lines `figure value unit`; each distribution goes to the error output.
#include <fmt/format.h>

#include <cstdio>
#include <list>
#include <thread>

#include "base/command.h"
#include "bench/figures.h"
#include "bench/router.h"
#include "bench/served.h"
#include "bench/udp_source.h"
#include "test/support/shapes/tag_policies.h"

namespace ocicat::bench {
namespace {

constexpr int kBlocks = 10, kEventsABlock = 100;
constexpr int kSureAfter = 50;  // packets in a row
constexpr std::chrono::microseconds kInterval{20};
constexpr std::chrono::seconds kPatience{5};
constexpr int kUpdatesASecond = 1'000;
constexpr unsigned kChanging = 7;  // the number of the endpoint
constexpr std::uint16_t kPort = 7'000;

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

void say(const char* what, std::vector<double> times) {
  std::fprintf(stderr, "%-12s %zu events: p25 %.0f, p50 %.0f, p90 %.0f, p99 %.0f, max %.0f us\n", what,
               times.size(), percentile(times, 0.25), percentile(times, 0.5), percentile(times, 0.9),
               percentile(times, 0.99), percentile(times, 1));
}

class Lab {
 public:
  Lab(const Load& load, unsigned remote)
      : load_(load), shape_{.remote = remote, .local = 110, .policies = 2'000} {
    served_.load(shape_);
    NetworkPolicy policy;
    policy.kind = Kind::kGlobalNetworkPolicy;
    policy.metadata.name = "b-takes";
    policy.selector = "name == 'b'";
    policy.applies_to_ingress = true;
    policy.ingress.emplace_back();
    policy.ingress[0].source.selector = "may == 'yes'";
    served_.add(test::item(Kind::kGlobalNetworkPolicy, std::move(policy)));
    auto b = test::workload(test::kShapeNode, "namespace-0", remote + shape_.local, 0);
    b.metadata.labels["name"] = "b";
    b.interface_name = "calib";
    b.addresses = {address_of_station("b")};
    served_.add(test::item(Kind::kWorkloadEndpoint, std::move(b)));
    served_.await_added();
    router_.count_at(load_, "b");
    const auto begin = Clock::now();
    agent_.start();
    agent_.await_ready();
    std::fprintf(stderr, "%u endpoints: ready after %.2f s, %.0f MB\n", remote,
                 microseconds(Clock::now() - begin) / 1e6, agent_.megabytes("VmRSS"));
  }

  // So many changes, one after the other; microseconds each.
  void events(int count, std::vector<double>& times) {
    router_.at("outside").run([&] {
      stay_on(1);
      const auto socket = socket_from(address());
      for (int i = 0; i < count; ++i) times.push_back(event(socket, i));
    });
  }

  // Other endpoints, at random, for as long as it lives.
  class Churn {
   public:
    explicit Churn(Lab& lab)
        : thread_([this, &lab](const std::stop_token& stop) {
            auto next = Clock::now();
            for (; !stop.stop_requested(); ++made_) {
              const auto number = 100 + test::mixed(5, made_) % (lab.shape_.remote - 100);
              lab.served_.change(
                  lab.shape_.endpoint(static_cast<unsigned>(number), test::mixed(6, made_) % 31));
              next += std::chrono::microseconds(1'000'000 / kUpdatesASecond);
              std::this_thread::sleep_until(next);
            }
          }) {}
    double a_second() const {
      return static_cast<double>(made_) / std::chrono::duration<double>(Clock::now() - begun_).count();
    }

   private:
    const Clock::time_point begun_ = Clock::now();
    std::atomic<unsigned> made_ = 0;
    std::jthread thread_;
  };

 private:
  static IpAddress address() { return IpAddress::v4(0x0a000001 + kChanging); }

  bool passes(const UniqueFd& socket) const {
    const auto before = load_.arrived();
    send_frame(socket, b_, LOAD_FRAME);
    return load_.arrived() != before;
  }

  double event(const UniqueFd& socket, int number) {
    const bool old = passes(socket);
    auto item = shape_.endpoint(kChanging);
    std::get<WorkloadEndpoint>(item.resource).metadata.labels["may"] = old ? "no" : "yes";
    std::optional<Clock::time_point> begin;
    const auto begins_at =
        Clock::now() +
        std::chrono::microseconds(500 + test::mixed(7, static_cast<std::uint64_t>(number)) % 2'000);
    std::jthread changer([&] {
      std::this_thread::sleep_until(begins_at);
      begin = served_.change(item);
    });
    Clock::time_point first_new{};
    auto next = Clock::now();
    for (int sure = 0; sure < kSureAfter;) {
      const auto now = Clock::now();
      CHECK(now < begins_at + kPatience);
      if (now < next) continue;
      next = now + kInterval;
      if (passes(socket) == old) {
        sure = 0;
      } else if (++sure == 1) {
        first_new = now;
      }
    }
    changer.join();
    return microseconds(first_new - *begin);
  }

  const Load& load_;
  test::TagPolicies shape_;
  Served served_;
  Router router_;
  AgentProcess agent_{served_, router_.host()};
  const sockaddr_in b_ = socket_address(address_of_station("b"), kPort);
};

// Microseconds from the start of nft to its end.
std::vector<double> nft_elements(int count) {
  Router router;
  router.rules("table ip peer {\nset known { type ipv4_addr; }\n}\n");
  std::vector<double> times;
  router.host().run([&] {
    for (int i = 0; i < count; ++i) {
      const auto element =
          fmt::format("{{ {} }}", IpAddress::v4(0x0a000001 + static_cast<unsigned>(i)).to_string());
      const auto begin = Clock::now();
      CHECK(ocicat::run({"nft", "add", "element", "ip", "peer", "known", element}));
      times.push_back(microseconds(Clock::now() - begin));
    }
  });
  return times;
}

int measure() {
  const Load load;
  Lab many(load, 200'000), few(load, 2'000);
  std::vector<double> idle, small, loaded;
  for (int block = 0; block < kBlocks; ++block) {
    many.events(kEventsABlock, idle);
    few.events(kEventsABlock, small);
  }
  double rate = 0;
  {
    const Lab::Churn churn(many);
    many.events(kBlocks * kEventsABlock, loaded);
    rate = churn.a_second();
  }
  const auto nft = nft_elements(60);
  say("200k idle", idle);
  say("2k idle", small);
  say("200k loaded", loaded);
  say("nft", nft);
  std::fprintf(stderr, "%.0f other updates a second\n", rate);
  std::printf("label-to-kernel %.0f us\n", percentile(idle, 0.5));
  std::printf("label-to-kernel-p99 %.2f ms\n", percentile(idle, 0.99) / 1e3);
  std::printf("label-to-kernel-loaded-p99 %.2f ms\n", percentile(loaded, 0.99) / 1e3);
  std::printf("label-to-kernel-endpoints %.2f x\n", percentile(idle, 0.5) / percentile(small, 0.5));
  std::printf("label-to-kernel-nft %.1f x\n", percentile(nft, 0.5) / percentile(idle, 0.5));
  std::printf("label-to-kernel-loaded-updates %.0f /s\n", rate);
  return 0;
}

}  // namespace
}  // namespace ocicat::bench

int main() {
  return ocicat::bench::measure();
}
