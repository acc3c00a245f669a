// Two workloads behind a host, and the programs at their interfaces, one frame at a time.
#pragma once

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "bpf/counted.h"
#include "bpf/frames.h"
#include "dataplane/ebpf/objects.h"
#include "maps/connections.h"
#include "maps/counters.h"
#include "maps/events.h"
#include "netns/agent_host.h"

namespace ocicat::test {

using std::string_view_literals::operator""sv;

inline constexpr auto kA4 = "10.65.0.2"sv, kB4 = "10.65.0.3"sv, kFar4 = "203.0.113.7"sv,
                      kHost4 = "192.0.2.254"sv;
inline constexpr auto kA6 = "fd00:65::2"sv, kB6 = "fd00:65::3"sv, kFar6 = "2001:db8:f::7"sv;
inline constexpr std::uint8_t kFin = 1, kRst = 4;
// Of SCTP's chunks.
inline constexpr std::uint8_t kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kHeartbeat = 4, kAbort = 6,
                              kShutdown = 7, kShutdownAck = 8, kCookieEcho = 10, kCookieAck = 11,
                              kShutdownComplete = 14;
inline constexpr std::uint8_t kMore = 0x20;  // of a fragment's flags, in the first byte

enum class At { kFromA, kFromB, kToA, kToB, kHostToA };

// How many more of each the maps hold by a packet.
struct Noted {
  std::size_t connections = 0, fragments = 0;
  bool operator==(const Noted&) const = default;
};

struct Row {
  const char* what;
  At at;
  Bytes frame;
  bpf::counter fate;  // the counter that goes up by one
};

// Workloads a and b behind a host. a may send anything and receive nothing; b may do both; neither may reach
// the host.
class WorkloadPrograms : public testing::Test {
 protected:
  WorkloadPrograms() {
    bed_.silence_ipv6();
    auto changes = first_state(1);
    add_pod(changes, "a", a_, kDenyAll, kAllowAll);
    add_pod(changes, "b", b_, kAllowAll, kAllowAll);
    agent_.apply(changes);
    ring_ = pins_.open_events();
  }
  void change(HostChanges changes) { agent_.apply(std::move(changes)); }
  std::vector<std::uint64_t> counters() const { return pins_.counters(); }
  int run(At at, const Bytes& frame) const {
    const auto done = run_program(at, frame);
    EXPECT_EQ(done.frame, frame);  // nobody changes packets
    return done.answer;
  }
  // The last of so many runs, each over the frame as it is.
  kernel::bpf::Run run_program(At at, const Bytes& frame, std::size_t times = 1) const {
    const bool from = at == At::kFromA || at == At::kFromB;
    const bool at_b = at == At::kFromB || at == At::kToB;
    const auto program =
        kernel::bpf::open_pin(pins_.path() / "programs" / (from ? "from_workload" : "to_workload"));
    CHECK(program);
    kernel::bpf::Run result;
    bed_.host().run([&] {
      const auto index = [](const char* name) { return static_cast<int>(::if_nametoindex(name)); };
      const int came_in_by = at == At::kHostToA ? 0
                             : from             ? index(at_b ? "calib" : "calia")
                                                : index("uplink");
      const int interface = index(at_b ? "calib" : "calia");
      for (std::size_t i = 0; i < times; ++i) {
        auto done = kernel::bpf::run(program->get(), frame, interface, came_in_by);
        if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
        CHECK(done);
        result = std::move(*done);
      }
    });
    return result;
  }
  // One after the other: later rows see what earlier ones have left.
  void expect(const std::vector<Row>& rows) const {
    events();  // of before
    for (const auto& row : rows) {
      const auto before = counters();
      const int answer = run(row.at, row.frame);
      const auto after = counters();
      expect_told(row, events());
      const bool passes = row.fate == bpf::COUNT_FORWARDED;
      EXPECT_EQ(answer, passes ? -1 : 2) << row.what;
      expect_counted(before, after, row.fate, row.what);
    }
  }
  // The same, and what the maps hold more by the packet.
  void expect_noting(const std::vector<std::pair<Row, Noted>>& rows) const {
    auto before = noted();
    for (const auto& [row, more] : rows) {
      expect(std::vector{row});
      const auto after = noted();
      EXPECT_EQ(after.connections - before.connections, more.connections) << row.what;
      EXPECT_EQ(after.fragments - before.fragments, more.fragments) << row.what;
      before = after;
    }
  }
  Noted noted() const {
    if (!places_) places_ = pins_.connections();
    CHECK(places_);
    std::size_t taken = 0;
    for (const auto& place : places_->as<bpf::tracked>()) taken += place.version != 0 ? 1U : 0U;
    return {taken, pins_.count_elements("fragments")};
  }
  // What has been told since the last call.
  std::vector<bpf::event> events() const { return events_in(ring_); }
  void expect_told(const Row& row, const std::vector<bpf::event>& told) const {
    const bool passes = row.fate == bpf::COUNT_FORWARDED, from = row.at == At::kFromA || row.at == At::kFromB;
    if (!passes) {
      ASSERT_EQ(told.size(), 1U) << row.what;
    }
    EXPECT_LE(told.size(), 1U) << row.what;
    for (const auto& event : told) {
      EXPECT_EQ(event.reason, passes ? bpf::COUNT_JUDGED : row.fate) << row.what;
      EXPECT_EQ(event.size, row.frame.size() - 14) << row.what;
      EXPECT_EQ((event.flags & bpf::EVENT_FROM_ENDPOINT) != 0, from) << row.what;
      EXPECT_EQ((event.flags & bpf::EVENT_FROM_HOST) != 0, row.at == At::kHostToA) << row.what;
      EXPECT_GT(event.time, 0U);
      // The tables of the testbed: outcome 1 allows, 2 denies; the host is not asked about.
      if (event.reason == bpf::DROP_POLICY) {
        EXPECT_EQ(event.outcome[!from], 2U) << row.what;
      }
      if (passes && row.at != At::kHostToA) {
        EXPECT_EQ(event.outcome[!from], 1U) << row.what;
      }
    }
  }
  // As if nothing had come by for so long.
  void age_connections(int seconds) const {
    const auto connections = pins_.connections();
    CHECK(connections);
    for (auto& tracked : connections->as<bpf::tracked>())
      tracked.connection.seen -= static_cast<std::uint32_t>(std::uint64_t(seconds) * 1'000'000'000 >> 20);
  }
  std::uint64_t judged(bpf::counter which) const { return counters().at(which); }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(dataplane::Datapath::kEbpf)};
  mutable kernel::bpf::Ring ring_;
  mutable std::optional<kernel::bpf::MappedArray> places_;  // of connections, once they are counted
};

inline Bytes of_a4(std::uint8_t protocol, const Bytes& payload) {
  return ethernet(ipv4({.source = kA4, .destination = kFar4, .protocol = protocol}, payload));
}
inline Bytes to_a4(std::uint8_t protocol, const Bytes& payload) {
  return ethernet(ipv4({.source = kFar4, .destination = kA4, .protocol = protocol}, payload));
}

}  // namespace ocicat::test
