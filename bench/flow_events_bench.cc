// Flow events: what one costs whom it tells of, how fast they are read into sums, whether any is lost. Needs
// root.
//
// Prints lines `figure value unit`.
#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "dataplane/ebpf/objects.h"
#include "flows/aggregator.h"
#include "flows/event.h"
#include "flows/recorder.h"
#include "maps/counters.h"
#include "netns/agent_host.h"
#include "netns/testbed.h"

namespace ocicat {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kInARound = 10'000;  // well below what the ring has for anybody
constexpr int kRounds = 40;

std::vector<std::uint8_t> datagram(const char* from, const char* to, std::uint16_t port) {
  std::vector<std::uint8_t> frame(14 + 20 + 8);
  frame[12] = 0x08;
  auto* ip = frame.data() + 14;
  ip[0] = 0x45;
  ip[3] = 28;
  ip[8] = 64;
  ip[9] = kUdp;
  const auto put = [](std::uint8_t* at, const IpAddress& address) {
    std::ranges::copy(std::span(address.bytes()).last(4), at);
  };
  put(ip + 12, *IpAddress::parse(from));
  put(ip + 16, *IpAddress::parse(to));
  ip[20] = 0x9c;
  ip[22] = static_cast<std::uint8_t>(port >> 8);
  ip[23] = static_cast<std::uint8_t>(port);
  ip[25] = 8;
  return frame;
}

class Host {
 public:
  Host() {
    auto state = test::first_state(1);
    test::add_pod(state, "a", pod_, test::kAllowAll, test::kDenyAll);
    agent_.put(state);
    agent_.await_revision(1);
    auto ring = dataplane::ebpf::open_events(pins_.path());
    auto program = kernel::bpf::open_pin(pins_.path() / "programs" / "from_workload");
    CHECK(ring && program);
    ring_ = *std::move(ring);
    program_ = *std::move(program);
    bed_.host().run([&] { interface_ = static_cast<int>(::if_nametoindex("calia")); });
  }
  // Refused packets; nanoseconds each.
  double send(int packets, std::uint16_t port) {
    double each = 0;
    bed_.host().run([&] {
      const auto done = kernel::bpf::run(program_.get(), datagram("10.65.0.2", "203.0.113.7", port),
                                         interface_, interface_, packets);
      CHECK(done);
      each = done->nanoseconds;
    });
    return each;
  }
  kernel::bpf::Ring& ring() { return ring_; }
  std::uint64_t lost() const {
    const auto counters = dataplane::ebpf::read_counters(pins_.path());
    CHECK(counters);
    return counters->at(bpf::COUNT_EVENTS_FULL) + counters->at(bpf::COUNT_EVENTS_SHARE);
  }

 private:
  test::Testbed bed_;
  test::Station& pod_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2");
  test::PinFolder pins_;
  test::AgentHost agent_{bed_, pins_.options(dataplane::Datapath::kEbpf)};
  kernel::bpf::Ring ring_;
  UniqueFd program_;
  int interface_ = 0;
};

// Of a cluster with so many pods, the first of which are groups of their own.
std::unique_ptr<flows::Recorder> recorder_of(std::uint32_t pods) {
  Changes<ResourceKey, Resource> parties;
  for (std::uint32_t i = 0; i < pods; ++i) {
    WorkloadEndpoint pod;
    pod.metadata.ns = "shop";
    pod.workload = fmt::format("pod-{}", i);
    pod.addresses = {IpAddress::v4(0x0a410000 + i)};
    parties.update({Kind::kPod, "shop", pod.workload}, pod);
  }
  Changes<policy::OutcomeId, policy::Outcome> outcomes;
  outcomes.update(policy::OutcomeId{1}, {policy::Verdict::kAllow, {}});
  outcomes.update(policy::OutcomeId{2}, {policy::Verdict::kDeny, {}});
  auto recorder = std::make_unique<flows::Recorder>();
  recorder->update(parties);
  recorder->update(outcomes);
  return recorder;
}

void measure_cost(Host& host) {
  double told = 1e9, lost = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    host.ring().read(1 << 20, [](auto) {});
    told = std::min(told, host.send(kInARound, 53));
  }
  host.send(1 << 17, 53);  // until there is no room
  for (int round = 0; round < kRounds; ++round) lost = std::min(lost, host.send(kInARound, 53));
  host.ring().read(1 << 20, [](auto) {});
  fmt::print("flow-event-cost {:.1f} ns\n", told - lost);
}

void measure_reading(Host& host) {
  const auto recorder = recorder_of(10'000);
  flows::Aggregator aggregator({});
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    for (std::uint16_t port = 0; port < 100; ++port) host.send(kInARound / 100, port);
    const auto begin = Clock::now();
    const auto count = host.ring().read(1 << 20, [&](auto record) {
      bpf::event told;
      std::memcpy(&told, record.data(), sizeof told);
      const auto event = flows::event_of(told, {});
      aggregator.add(recorder->sighting_of(event));
    });
    const std::chrono::duration<double> took = Clock::now() - begin;
    CHECK(count >= kInARound);  // the interfaces themselves send something now and then
    least = std::min(least, took.count() / static_cast<double>(count));
  }
  fmt::print("flow-events-read {:.2f} M/s\n", 1e-6 / least);
}

// Half a million a second for three seconds, read as the agent reads them.
void measure_loss(Host& host) {
  const auto recorder = recorder_of(10'000);
  flows::Aggregator aggregator({});
  std::uint64_t read = 0, sent = 0;
  const auto before = host.lost();
  std::atomic<bool> done = false;
  std::thread reader([&] {
    while (true) {
      const bool last = done;
      read += host.ring().read(50'000, [&](auto record) {
        bpf::event told;
        std::memcpy(&told, record.data(), sizeof told);
        const auto event = flows::event_of(told, {});
        aggregator.add(recorder->sighting_of(event));
      });
      if (last) return;
      std::this_thread::sleep_for(milliseconds(20));  // as often as the agent looks
    }
  });
  const auto begin = Clock::now();
  for (int tick = 0; tick < 600; ++tick) {
    host.send(2'500, static_cast<std::uint16_t>(tick % 100));
    sent += 2'500;
    std::this_thread::sleep_until(begin + tick * milliseconds(5));
  }
  const std::chrono::duration<double> took = Clock::now() - begin;
  done = true;
  reader.join();
  const auto lost = host.lost() - before;
  flows::Counts sums = aggregator.running().others;
  for (const auto& one : aggregator.running().aggregates) sums += one.counts;
  fmt::print("flow-events-rate {:.0f} k/s\n", static_cast<double>(sent) / took.count() / 1e3);
  fmt::print("flow-events-lost {} events\n", lost);
  fmt::print("flow-events-unaccounted {} events\n",
             static_cast<std::int64_t>(sent) - static_cast<std::int64_t>(sums.refused + lost));
}

// Many keys, in no order.
void measure_sums(std::string_view name, std::uint32_t keys) {
  const auto recorder = recorder_of(keys / 100);
  std::vector<flows::Event> events(keys);
  for (std::uint32_t i = 0; i < keys; ++i) {
    const std::uint32_t key = static_cast<std::uint32_t>(std::uint64_t{i} * 7919 % keys);
    events[i].source = IpAddress::v4(0x0a410000 + key / 100);
    events[i].destination = IpAddress::v4(0xcb007107);
    events[i].destination_port = static_cast<std::uint16_t>(key % 100);
    events[i].protocol = kTcp;
    events[i].reason = flows::Reason::kAllowed;
    events[i].outcome(policy::Direction::kEgress) = policy::OutcomeId{1};
  }
  flows::Aggregator aggregator({}, keys);
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    const int times = static_cast<int>(std::max(1U, 100'000 / keys));
    for (int i = 0; i < times; ++i) {
      for (const auto& event : events) aggregator.add(recorder->sighting_of(event));
    }
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    least = std::min(least, took.count() / times / keys);
  }
  fmt::print("{} {:.0f} ns\n", name, least);
}

}  // namespace
}  // namespace ocicat

int main() {
  ocicat::Host host;
  ocicat::measure_cost(host);
  ocicat::measure_reading(host);
  ocicat::measure_loss(host);
  ocicat::measure_sums("flow-sums-100", 100);
  ocicat::measure_sums("flow-sums-100k", 100'000);
}
