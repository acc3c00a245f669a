// The programs at a workload's interface, frame by frame: what becomes of it, and which counter says so.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "bpf/frames.h"
#include "dataplane/ebpf/objects.h"
#include "maps/connections.h"
#include "maps/counters.h"
#include "maps/events.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using namespace std::string_view_literals;

constexpr auto kA4 = "10.65.0.2"sv, kB4 = "10.65.0.3"sv, kFar4 = "203.0.113.7"sv, kHost4 = "192.0.2.254"sv;
constexpr auto kA6 = "fd00:65::2"sv, kB6 = "fd00:65::3"sv, kFar6 = "2001:db8:f::7"sv;
constexpr std::uint8_t kSyn = 2, kAck = 16, kFin = 1, kRst = 4;
// Of SCTP's chunks.
constexpr std::uint8_t kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kHeartbeat = 4, kAbort = 6,
                       kShutdown = 7, kShutdownAck = 8, kCookieEcho = 10, kCookieAck = 11,
                       kShutdownComplete = 14;
constexpr std::uint8_t kMore = 0x20;  // of a fragment's flags, in the first byte

enum class At { kFromA, kFromB, kToA, kToB, kHostToA };

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
    agent_.put(changes);
    agent_.await_revision(1);
    auto ring = dataplane::ebpf::open_events(pins_.path());
    CHECK(ring);
    ring_ = *std::move(ring);
  }
  void change(HostChanges changes) {
    changes.revisions = at_revision(++revision_).revisions;
    agent_.put(std::move(changes));
    agent_.await_revision(revision_);
  }
  std::vector<std::uint64_t> counters() const {
    auto counters = dataplane::ebpf::read_counters(pins_.path());
    CHECK(counters);
    return *counters;
  }
  int run(At at, const Bytes& frame) const {
    const auto done = run_program(at, frame);
    EXPECT_EQ(done.frame, frame);  // nobody changes packets
    return done.answer;
  }
  kernel::bpf::Run run_program(At at, const Bytes& frame) const {
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
      const auto done = kernel::bpf::run(program->get(), frame, index(at_b ? "calib" : "calia"), came_in_by);
      if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
      CHECK(done);
      result = *done;
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
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (i == bpf::COUNT_JUDGED || i == bpf::COUNT_REJUDGED || i == bpf::COUNT_RETRIED) continue;
        EXPECT_EQ(after[i] - before[i], i == static_cast<std::size_t>(row.fate) ? 1U : 0U)
            << row.what << ": counter " << i;
      }
    }
  }
  // What has been told since the last call.
  std::vector<bpf::event> events() const {
    std::vector<bpf::event> events;
    ring_.read(1000, [&](auto record) {
      ASSERT_EQ(record.size(), sizeof(bpf::event));
      std::memcpy(&events.emplace_back(), record.data(), sizeof(bpf::event));
    });
    return events;
  }
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

  std::uint64_t revision_ = 1;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(dataplane::Datapath::kEbpf)};
  mutable kernel::bpf::Ring ring_;
};

Bytes of_a4(std::uint8_t protocol, const Bytes& payload) {
  return ethernet(ipv4({.source = kA4, .destination = kFar4, .protocol = protocol}, payload));
}
Bytes to_a4(std::uint8_t protocol, const Bytes& payload) {
  return ethernet(ipv4({.source = kFar4, .destination = kA4, .protocol = protocol}, payload));
}

TEST_F(WorkloadPrograms, DropWhatIsMalformed) {
  const Ipv4 v4{.source = kA4, .destination = kFar4};
  const Ipv6 v6{.source = kA6, .destination = kFar6};
  auto headers = [](std::uint8_t next, int count, const Bytes& payload) {
    Bytes chain;
    for (int i = 0; i < count; ++i) chain = chain + extension(i + 1 < count ? 60 : next);
    return chain + payload;
  };
  Bytes short_ihl = ethernet(ipv4(v4, udp(1, 53)));
  short_ihl[14] = 0x44;
  Bytes long_ihl = ethernet(ipv4(v4, {}));
  long_ihl[14] = 0x4f;
  expect({
      {"IPv4 header length below the least", At::kFromA, short_ihl, bpf::DROP_MALFORMED},
      {"IPv4 header longer than the packet", At::kFromA, long_ihl, bpf::DROP_MALFORMED},
      {"version 5", At::kFromA,
       ethernet(0x0800, ipv4({.source = kA4, .destination = kFar4, .version = 5}, udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"IPv6 where the frame says IPv4", At::kFromA, ethernet(0x0800, ipv6(v6, udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"longer than the frame", At::kFromA,
       ethernet(ipv4({.source = kA4, .destination = kFar4, .length_off_by = 1}, udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"no room for ports", At::kFromA, ethernet(ipv4(v4, Bytes(7))), bpf::DROP_MALFORMED},
      {"ports beyond the packet's own end", At::kFromA,
       ethernet(ipv4({.source = kA4, .destination = kFar4, .length_off_by = -9}, udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"TCP header cut short", At::kFromA, of_a4(6, Bytes(19)), bpf::DROP_MALFORMED},
      {"TCP header length below the least", At::kFromA, of_a4(6, tcp(1, 80, kSyn, 4)), bpf::DROP_MALFORMED},
      {"ICMP cut short", At::kFromA, of_a4(1, Bytes(7)), bpf::DROP_MALFORMED},
      {"IPv6 payload longer than the frame", At::kFromA,
       ethernet(ipv6({.source = kA6, .destination = kFar6, .length_off_by = 1}, udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"extension header cut short", At::kFromA,
       ethernet(ipv6({.source = kA6, .destination = kFar6, .next = 60}, Bytes(7))), bpf::DROP_MALFORMED},
      {"extension header longer than the packet", At::kFromA,
       ethernet(ipv6({.source = kA6, .destination = kFar6, .next = 60},
                     Bytes{17, 200, 0, 0, 0, 0, 0, 0} + udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"nine extension headers", At::kFromA,
       ethernet(ipv6({.source = kA6, .destination = kFar6, .next = 60}, headers(17, 9, udp(1, 53)))),
       bpf::DROP_MALFORMED},
      {"two fragment headers", At::kFromA,
       ethernet(ipv6({.source = kA6, .destination = kFar6, .next = 44},
                     fragment_header(44, 1, 7) + fragment_header(17, 1, 7) + udp(1, 53))),
       bpf::DROP_MALFORMED},
      {"an IPv4 address in IPv6 clothes", At::kFromA,
       ethernet(0x86dd,
                [] {
                  auto packet = ipv6({.source = "::1", .destination = kFar6}, udp(1, 53));
                  const Bytes mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 65, 0, 2};
                  std::ranges::copy(mapped, packet.begin() + 8);
                  return packet;
                }()),
       bpf::DROP_MALFORMED},
      {"neither IP nor ARP", At::kFromA, ethernet(0x8847, Bytes(40)), bpf::DROP_NOT_IP},
  });
}

TEST_F(WorkloadPrograms, ReadPastOptionsAndExtensionHeaders) {
  Bytes chain = extension(60) + extension(60) + extension(17) + udp(1, 53);
  expect({
      {"IPv4 options", At::kFromA,
       ethernet(ipv4({.source = kA4, .destination = kFar4, .options = Bytes(40, 1)}, udp(1, 53))),
       bpf::COUNT_FORWARDED},
      {"three extension headers", At::kFromA,
       ethernet(ipv6({.source = kA6, .destination = kFar6, .next = 0}, chain)), bpf::COUNT_FORWARDED},
      {"its reply, without any", At::kToA, ethernet(ipv6({.source = kFar6, .destination = kA6}, udp(53, 1))),
       bpf::COUNT_FORWARDED},
      {"not its reply", At::kToA, ethernet(ipv6({.source = kFar6, .destination = kA6}, udp(54, 1))),
       bpf::DROP_POLICY},
  });
}

TEST_F(WorkloadPrograms, LetNobodySpeakForOthers) {
  const auto udp_from = [](std::string_view source) {
    return ethernet(ipv4({.source = source, .destination = kFar4}, udp(7, 53)));
  };
  const auto neighbour = [](std::string_view source, std::string_view to, std::uint8_t type) {
    return ethernet(ipv6({.source = source, .destination = to, .next = 58}, icmp(type, 0, 0, Bytes(16))));
  };
  expect({
      {"own address", At::kFromA, udp_from(kA4), bpf::COUNT_FORWARDED},
      {"the neighbour's address", At::kFromA, udp_from(kB4), bpf::DROP_SPOOFED},
      {"in the middle of the neighbour's connection", At::kFromB, udp_from(kB4), bpf::COUNT_FORWARDED},
      {"the same from the wrong interface", At::kFromA, udp_from(kB4), bpf::DROP_SPOOFED},
      {"a reply to the wrong interface", At::kToA,
       ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(53, 7))), bpf::DROP_NOT_OURS},
      {"link-local that is no discovery", At::kFromA,
       ethernet(ipv6({.source = "fe80::1", .destination = kFar6}, udp(7, 53))), bpf::DROP_SPOOFED},
      {"router advertisement", At::kFromA, neighbour("fe80::1", "ff02::1", 134), bpf::DROP_SPOOFED},
  });
  EXPECT_EQ(run(At::kFromA, neighbour("fe80::1", "ff02::1:ff00:1", 135)), -1);
  EXPECT_EQ(run(At::kFromA, neighbour("::", "ff02::1:ff00:1", 135)), -1);
  EXPECT_EQ(run(At::kFromA, ethernet(0x0806, Bytes(28))), -1);
}

TEST_F(WorkloadPrograms, FollowATcpConnectionFromItsBeginningToItsEnd) {
  const auto out = [](std::uint8_t flags) { return of_a4(6, tcp(4000, 80, flags)); };
  const auto in = [](std::uint8_t flags) { return to_a4(6, tcp(80, 4000, flags)); };
  expect({
      {"an answer to nothing", At::kToA, in(kSyn | kAck), bpf::DROP_INVALID},
      {"SYN", At::kFromA, out(kSyn), bpf::COUNT_FORWARDED},
      {"SYN, ACK", At::kToA, in(kSyn | kAck), bpf::COUNT_FORWARDED},
      {"ACK", At::kFromA, out(kAck), bpf::COUNT_FORWARDED},
      {"SYN and FIN at once", At::kFromA, out(kSyn | kFin), bpf::DROP_INVALID},
      {"no flags", At::kToA, in(0), bpf::DROP_INVALID},
      {"a bare SYN the other way is a connection of its own", At::kToA, in(kSyn), bpf::DROP_POLICY},
      {"which disturbs nobody", At::kToA, in(kAck), bpf::COUNT_FORWARDED},
      {"FIN", At::kFromA, out(kFin | kAck), bpf::COUNT_FORWARDED},
      {"half closed", At::kToA, in(kAck), bpf::COUNT_FORWARDED},
      {"FIN back", At::kToA, in(kFin | kAck), bpf::COUNT_FORWARDED},
      {"the last ACK", At::kFromA, out(kAck), bpf::COUNT_FORWARDED},
      {"a bare SYN after the end", At::kToA, in(kSyn), bpf::DROP_POLICY},
      {"and from the one who may", At::kFromA, out(kSyn), bpf::COUNT_FORWARDED},
      {"RST", At::kToA, in(kRst | kAck), bpf::COUNT_FORWARDED},
  });
}

TEST_F(WorkloadPrograms, FollowAnAssociationFromItsBeginningToItsEnd) {
  const auto out = [](std::initializer_list<std::uint8_t> chunks) {
    return of_a4(132, sctp(4000, 80, chunks));
  };
  const auto in = [](std::initializer_list<std::uint8_t> chunks) {
    return to_a4(132, sctp(80, 4000, chunks));
  };
  expect({
      {"an answer to nothing", At::kToA, in({kInitAck}), bpf::DROP_INVALID},
      {"a cookie for nobody", At::kToA, in({kCookieEcho}), bpf::DROP_INVALID},
      {"an end of nothing", At::kFromA, out({kShutdown}), bpf::DROP_INVALID},
      {"INIT", At::kFromA, out({kInit}), bpf::COUNT_FORWARDED},
      {"INIT ACK", At::kToA, in({kInitAck}), bpf::COUNT_FORWARDED},
      {"COOKIE ECHO with data", At::kFromA, out({kCookieEcho, kData}), bpf::COUNT_FORWARDED},
      {"COOKIE ACK with SACK", At::kToA, in({kCookieAck, kSack}), bpf::COUNT_FORWARDED},
      {"data", At::kToA, in({kData}), bpf::COUNT_FORWARDED},
      {"INIT the other way is an association of its own", At::kToA, in({kInit}), bpf::DROP_POLICY},
      {"which disturbs nobody", At::kToA, in({kHeartbeat}), bpf::COUNT_FORWARDED},
      {"SHUTDOWN behind SACK", At::kFromA, out({kSack, kShutdown}), bpf::COUNT_FORWARDED},
      {"SHUTDOWN ACK", At::kToA, in({kShutdownAck}), bpf::COUNT_FORWARDED},
      {"SHUTDOWN COMPLETE", At::kFromA, out({kShutdownComplete}), bpf::COUNT_FORWARDED},
      {"INIT after the end", At::kToA, in({kInit}), bpf::DROP_POLICY},
      {"and from the one who may", At::kFromA, out({kInit}), bpf::COUNT_FORWARDED},
      {"ABORT", At::kToA, in({kAbort}), bpf::COUNT_FORWARDED},
      {"in the middle of one that is older", At::kFromA, of_a4(132, sctp(4001, 80, {kData})),
       bpf::COUNT_FORWARDED},
      {"of the other end, which may begin none", At::kToA, to_a4(132, sctp(80, 4002, {kData})),
       bpf::DROP_POLICY},
  });
}

TEST_F(WorkloadPrograms, LetNoPacketPassThatMakesNoSenseToSctp) {
  const auto common = sctp(4000, 80, {}), opening = sctp(4000, 80, {kInit});
  Bytes tagged = opening, untagged = common + sctp_chunk(kData);
  tagged[7] = 7;
  untagged[7] = 0;
  const auto row = [](const char* what, const Bytes& packet, bpf::counter fate) {
    return Row{what, At::kFromA, of_a4(132, packet), fate};
  };
  expect({
      row("cut short", Bytes(11), bpf::DROP_MALFORMED),
      row("no chunk", common, bpf::DROP_INVALID),
      row("half a chunk's header", common + Bytes{0, 0}, bpf::DROP_INVALID),
      row("a chunk shorter than its header", common + sctp_chunk(kData, 3), bpf::DROP_INVALID),
      row("a chunk longer than the packet", common + sctp_chunk(kData, 5), bpf::DROP_INVALID),
      row("INIT that is not alone", opening + sctp_chunk(kData), bpf::DROP_INVALID),
      row("INIT behind another", common + sctp_chunk(kData) + sctp_chunk(kInit), bpf::DROP_INVALID),
      row("INIT with a tag", tagged, bpf::DROP_INVALID),
      row("others without", untagged, bpf::DROP_INVALID),
      row("a jumble of chunks", sctp(4000, 80, {kData, kSack, kData, kSack, kData, kData}),
          bpf::COUNT_FORWARDED),
  });
}

// By protocol and state: known just before its time is over, and not just after.
TEST_F(WorkloadPrograms, ForgetAConnectionWhenItsTimeIsOver) {
  struct Case {
    const char* what;
    std::uint8_t protocol;
    std::vector<std::pair<At, Bytes>> history;  // of what is over IP
    Bytes answer;
    int seconds;
  };
  const auto from = At::kFromA, to = At::kToA;
  const auto tcp_out = [](std::uint8_t flags) { return tcp(4000, 80, flags); };
  const auto tcp_in = [](std::uint8_t flags) { return tcp(80, 4000, flags); };
  const auto sctp_out = [](std::uint8_t type) { return sctp(4000, 80, {type}); };
  const auto sctp_in = [](std::uint8_t type) { return sctp(80, 4000, {type}); };
  const std::vector<Case> cases{
      {"TCP opening", 6, {{from, tcp_out(kSyn)}}, tcp_in(kSyn | kAck), 20},
      {"TCP open",
       6,
       {{from, tcp_out(kSyn)}, {to, tcp_in(kSyn | kAck)}, {from, tcp_out(kAck)}},
       tcp_in(kAck),
       3600},
      {"TCP closed",
       6,
       {{from, tcp_out(kSyn)},
        {to, tcp_in(kSyn | kAck)},
        {from, tcp_out(kFin | kAck)},
        {to, tcp_in(kFin | kAck)}},
       tcp_in(kAck),
       40},
      {"TCP reset", 6, {{from, tcp_out(kSyn)}, {to, tcp_in(kRst | kAck)}}, tcp_in(kRst | kAck), 40},
      {"SCTP opening", 132, {{from, sctp_out(kInit)}}, sctp_in(kInitAck), 20},
      {"SCTP, cookie on its way",
       132,
       {{from, sctp_out(kInit)}, {to, sctp_in(kInitAck)}, {from, sctp_out(kCookieEcho)}},
       sctp_in(kCookieAck),
       20},
      {"SCTP open",
       132,
       {{from, sctp_out(kInit)},
        {to, sctp_in(kInitAck)},
        {from, sctp_out(kCookieEcho)},
        {to, sctp_in(kCookieAck)}},
       sctp_in(kData),
       3600},
      {"SCTP closed",
       132,
       {{from, sctp_out(kInit)},
        {to, sctp_in(kInitAck)},
        {from, sctp_out(kCookieEcho)},
        {to, sctp_in(kCookieAck)},
        {from, sctp_out(kShutdown)},
        {to, sctp_in(kShutdownAck)}},
       sctp_in(kShutdownAck),
       40},
      {"SCTP aborted", 132, {{from, sctp_out(kInit)}, {to, sctp_in(kAbort)}}, sctp_in(kAbort), 40},
      {"UDP", 17, {{from, udp(4000, 80)}}, udp(80, 4000), 60},
      {"UDP-Lite", 136, {{from, udp(4000, 80)}}, udp(80, 4000), 600},
      {"ICMP", 1, {{from, icmp(8, 0, 4000)}}, icmp(0, 0, 4000), 5},
      {"another protocol", 99, {{from, Bytes(8)}}, Bytes(8), 600},
  };
  for (const auto& [what, protocol, history, answer, seconds] : cases) {
    for (const int late : {0, 1}) {
      SCOPED_TRACE(fmt::format("{}, {} s", what, seconds + late));
      pins_.forget_connections();
      for (const auto& [at, packet] : history)
        ASSERT_EQ(run(at, at == from ? of_a4(protocol, packet) : to_a4(protocol, packet)), -1);
      age_connections(seconds - 1 + 2 * late);
      EXPECT_EQ(run(to, to_a4(protocol, answer)), late ? 2 : -1);
    }
  }
}

TEST_F(WorkloadPrograms, TellQueriesFromAnswers) {
  const auto echo = [](std::string_view from, std::string_view to, std::uint8_t type, std::uint16_t id) {
    return ethernet(ipv4({.source = from, .destination = to, .protocol = 1}, icmp(type, 0, id)));
  };
  expect({
      {"an answer nobody asked for", At::kToA, echo(kFar4, kA4, 0, 5), bpf::DROP_INVALID},
      {"a question", At::kFromA, echo(kA4, kFar4, 8, 5), bpf::COUNT_FORWARDED},
      {"its answer", At::kToA, echo(kFar4, kA4, 0, 5), bpf::COUNT_FORWARDED},
      {"an answer with another number", At::kToA, echo(kFar4, kA4, 0, 6), bpf::DROP_INVALID},
      {"a question back with the same number", At::kToA, echo(kFar4, kA4, 8, 5), bpf::DROP_POLICY},
      {"with a number that looks like a type", At::kFromA, echo(kA4, kFar4, 8, 0x0800), bpf::COUNT_FORWARDED},
      {"and back", At::kToA, echo(kFar4, kA4, 8, 0x0800), bpf::DROP_POLICY},
  });
}

TEST_F(WorkloadPrograms, LetErrorsShareTheLotOfTheirConnection) {
  const Bytes sent = ipv4({.source = kA4, .destination = kFar4}, udp(4000, 53));
  const auto error = [](std::string_view from, std::string_view to, const Bytes& about) {
    return ethernet(ipv4({.source = from, .destination = to, .protocol = 1}, icmp(3, 3, 0, about)));
  };
  const Bytes first_bytes(sent.begin(), sent.begin() + 28);
  expect({
      {"about nothing that is known", At::kToA, error("198.51.100.1", kA4, first_bytes), bpf::DROP_INVALID},
      {"the packet", At::kFromA, ethernet(sent), bpf::COUNT_FORWARDED},
      {"an error about it, from a router", At::kToA, error("198.51.100.1", kA4, first_bytes),
       bpf::COUNT_FORWARDED},
      {"quoted whole", At::kToA, error("198.51.100.1", kA4, sent), bpf::COUNT_FORWARDED},
      {"cut too short", At::kToA, error("198.51.100.1", kA4, {sent.begin(), sent.begin() + 27}),
       bpf::DROP_INVALID},
      {"to somebody else", At::kToB, error("198.51.100.1", kB4, first_bytes), bpf::DROP_INVALID},
      {"about an error", At::kToA,
       error("198.51.100.1", kA4,
             ipv4({.source = kA4, .destination = kFar4, .protocol = 1}, icmp(3, 3, 0, first_bytes))),
       bpf::DROP_INVALID},
      {"about its reply, the wrong way round", At::kToA,
       error("198.51.100.1", kA4, ipv4({.source = kFar4, .destination = kA4}, udp(53, 4000))),
       bpf::DROP_INVALID},
  });
  HostChanges closed;
  add_pod(closed, "a", a_, kDenyAll, kDenyAll);
  change(closed);
  expect({{"once its connection is denied", At::kToA, error("198.51.100.1", kA4, first_bytes),
           bpf::DROP_REVOKED}});
}

TEST_F(WorkloadPrograms, LetFragmentsFollowTheirFirstOneOrDropThem) {
  const auto fragment = [](std::uint16_t flags_and_offset, const Bytes& payload, std::uint8_t protocol = 17) {
    return ethernet(ipv4(
        {.source = kA4, .destination = kFar4, .protocol = protocol, .fragment = flags_and_offset}, payload));
  };
  constexpr std::uint16_t kMoreFragments = kMore << 8;
  const auto of_six = [](std::uint16_t offset_and_more, const Bytes& payload, std::uint32_t id = 9) {
    return ethernet(ipv6({.source = kA6, .destination = kFar6, .next = 44},
                         fragment_header(17, offset_and_more, id) + payload));
  };
  expect({
      {"a later one first", At::kFromA, fragment(2, Bytes(16)), bpf::DROP_FRAGMENT},
      {"a first one without its ports", At::kFromA, fragment(kMoreFragments, Bytes(7)), bpf::DROP_MALFORMED},
      {"a first one without all of its TCP header", At::kFromA, fragment(kMoreFragments, Bytes(16), 6),
       bpf::DROP_MALFORMED},
      {"one that writes over a TCP header", At::kFromA, fragment(1, Bytes(16), 6), bpf::DROP_MALFORMED},
      {"the first", At::kFromA, fragment(kMoreFragments, udp(1, 53)), bpf::COUNT_FORWARDED},
      {"one that follows", At::kFromA, fragment(2, Bytes(16)), bpf::COUNT_FORWARDED},
      {"one that overlaps", At::kFromA, fragment(1, Bytes(16)),
       bpf::COUNT_FORWARDED},  // the receiver's to refuse
      {"at another workload", At::kFromB, fragment(2, Bytes(16)), bpf::DROP_FRAGMENT},
      {"of another protocol", At::kFromA, fragment(2, Bytes(16), 132), bpf::DROP_FRAGMENT},
      {"IPv6: a later one first", At::kFromA, of_six(16, Bytes(16)), bpf::DROP_FRAGMENT},
      {"IPv6: the first", At::kFromA, of_six(1, udp(1, 53)), bpf::COUNT_FORWARDED},
      {"IPv6: one that follows", At::kFromA, of_six(16, Bytes(16)), bpf::COUNT_FORWARDED},
      {"IPv6: of another packet", At::kFromA, of_six(16, Bytes(16), 10), bpf::DROP_FRAGMENT},
      {"IPv6: whole, with a fragment header", At::kFromA, of_six(0, udp(1, 54), 11), bpf::COUNT_FORWARDED},
      {"IPv6: which nothing follows", At::kFromA, of_six(16, Bytes(16), 11), bpf::DROP_FRAGMENT},
  });
  HostChanges closed;
  add_pod(closed, "a", a_, kDenyAll, kDenyAll);
  change(closed);
  expect({{"after a new deny", At::kFromA, fragment(2, Bytes(16)), bpf::DROP_FRAGMENT}});
}

TEST_F(WorkloadPrograms, LetTheHostReachItsWorkloadsAndNotBeReached) {
  const auto to_host = ethernet(ipv4({.source = kA4, .destination = kHost4}, udp(7, 53)));
  expect({
      {"to the host", At::kFromA, to_host, bpf::DROP_TO_HOST},
      {"from the host", At::kHostToA, ethernet(ipv4({.source = kHost4, .destination = kA4}, udp(53, 8))),
       bpf::COUNT_FORWARDED},
      {"the answer to that", At::kFromA, ethernet(ipv4({.source = kA4, .destination = kHost4}, udp(8, 53))),
       bpf::COUNT_FORWARDED},
      {"from elsewhere", At::kToA, ethernet(ipv4({.source = kHost4, .destination = kA4}, udp(53, 9))),
       bpf::DROP_POLICY},
  });
}

// What becomes of frames of a connection that is known at both ends. Answer 7 is TC_ACT_REDIRECT.
TEST_F(WorkloadPrograms, SendPastTheStackWhatItWouldOnlyForward) {
  const Ipv4 v4{.source = kA4, .destination = kB4};
  const Ipv6 v6{.source = kA6, .destination = kB6};
  const Bytes plain4 = ethernet(ipv4(v4, udp(7, 53))), plain6 = ethernet(ipv6(v6, udp(7, 53)));
  const auto tcp_frame = [&](std::uint8_t flags) {
    return ethernet(ipv4({.source = kA4, .destination = kB4, .protocol = 6}, tcp(9, 80, flags)));
  };
  const auto tcp_back = [&](std::uint8_t flags) {
    return ethernet(ipv4({.source = kB4, .destination = kA4, .protocol = 6}, tcp(80, 9, flags)));
  };
  for (const auto& frame : {plain4, plain6})
    expect({{"first", At::kFromA, frame, bpf::COUNT_FORWARDED},
            {"at b", At::kToB, frame, bpf::COUNT_FORWARDED}});
  expect({{"SYN", At::kFromA, tcp_frame(kSyn), bpf::COUNT_FORWARDED},
          {"SYN at b", At::kToB, tcp_frame(kSyn), bpf::COUNT_FORWARDED},
          {"SYN, ACK", At::kFromB, tcp_back(kSyn | kAck), bpf::COUNT_FORWARDED},
          {"SYN, ACK at a", At::kToA, tcp_back(kSyn | kAck), bpf::COUNT_FORWARDED}});
  const auto changed = [](Bytes frame, std::size_t at, std::uint8_t value) {
    frame.at(at) = value;
    return frame;
  };
  struct Case {
    const char* what;
    Bytes frame;
    bool past;
  };
  const Case cases[] = {
      {"plain", plain4, true},
      {"plain, IPv6", plain6, true},
      {"TCP that is under way", tcp_frame(kAck), true},
      {"its end", tcp_frame(kFin | kAck), false},
      {"two hops left", changed(plain4, 22, 2), true},
      {"the last hop", changed(plain4, 22, 1), false},
      {"no hop", changed(plain4, 22, 0), false},
      {"the last hop, IPv6", changed(plain6, 21, 1), false},
      {"options", ethernet(ipv4({.source = kA4, .destination = kB4, .options = Bytes(4, 1)}, udp(7, 53))),
       false},
      {"an extension header",
       ethernet(ipv6({.source = kA6, .destination = kB6, .next = 60}, extension(17) + udp(7, 53))), false},
      {"a first fragment",
       ethernet(ipv4({.source = kA4, .destination = kB4, .fragment = kMore << 8}, udp(7, 53))), false},
      {"a frame for somebody else", changed(plain4, 5, 0x77), false},
      {"as large as the way takes", ethernet(ipv4(v4, udp(7, 53, 1'472))), true},
      {"larger", ethernet(ipv4(v4, udp(7, 53, 1'473))), false},
      {"larger, IPv6", ethernet(ipv6(v6, udp(7, 53, 1'453))), false},
  };
  for (const auto& test : cases) {
    const auto done = run_program(At::kFromA, test.frame);
    EXPECT_EQ(done.answer, test.past ? 7 : -1) << test.what;
    if (!test.past) {
      EXPECT_EQ(done.frame, test.frame) << test.what;
      continue;
    }
    Bytes expected = test.frame;
    std::ranges::copy(Bytes{2, 0, 0, 0, 0, 1, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee}, expected.begin());
    const bool six = expected[12] == 0x86;
    --expected[six ? 21 : 22];
    if (!six) expected[24] = 1;  // the sum, which was 0, has one more where the hops have one less
    EXPECT_EQ(done.frame, expected) << test.what;
  }
}

// The sum of what a checksum covers: the part of an IP packet behind its header, with its pseudo header, from
// `at` on; all ones where it is right.
std::uint32_t sum_of(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += std::uint32_t{bytes[i]} << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0U);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

TEST_F(WorkloadPrograms, AnswerWhatPolicyRefusesWhereTheSettingSaysSo) {
  HostChanges reject;
  reject.settings.emplace().reject = true;
  add_pod(reject, "b", b_, kAllowAll, kDenyAll);
  change(reject);
  struct Case {
    const char* what;
    At at;
    Bytes packet;
    Bytes transport;  // of the answer, its checksum and what balances it zero
  };
  const auto syn = [] {
    auto bytes = tcp(4000, 80, kSyn);
    bytes[7] = 41;
    return bytes + Bytes(5);
  }();
  const auto ack = [] {
    auto bytes = tcp(4000, 80, kAck);
    bytes[11] = 77;
    return bytes;
  }();
  const auto reset = [](std::uint8_t flags, std::uint8_t sequence, std::uint8_t acknowledged) {
    auto bytes = tcp(80, 4000, flags);
    bytes[7] = sequence;
    bytes[11] = acknowledged;
    return bytes;
  };
  const auto error = [](std::uint8_t type, std::uint8_t code, const Bytes& about, std::size_t quoted) {
    auto bytes =
        icmp(type, code, 0, Bytes(about.begin(), about.begin() + static_cast<std::ptrdiff_t>(quoted)));
    bytes[7] = 0;
    return bytes;
  };
  const auto v4 = [](std::string_view from, std::string_view to, std::uint8_t protocol,
                     const Bytes& payload) {
    return ipv4({.source = from, .destination = to, .protocol = protocol}, payload);
  };
  const auto v6 = [](std::string_view from, std::string_view to, std::uint8_t protocol,
                     const Bytes& payload) {
    return ipv6({.source = from, .destination = to, .next = protocol}, payload);
  };
  const auto udp4 = v4(kFar4, kA4, 17, udp(4000, 53, 1)), udp6 = v6(kB6, kFar6, 17, udp(4000, 53, 999));
  const auto other4 = v4(kB4, kFar4, 99, Bytes(100)), sctp4 = v4(kFar4, kA4, 132, sctp(4000, 80, {kInit}));
  const auto ping4 = v4(kFar4, kA4, 1, icmp(8, 0, 7));
  const std::vector<Case> cases{
      {"TCP's first packet, with data", At::kToA, v4(kFar4, kA4, 6, syn), reset(kRst | kAck, 0, 47)},
      {"in the middle", At::kFromB, v4(kB4, kFar4, 6, ack), reset(kRst, 77, 0)},
      {"TCP over IPv6", At::kToA, v6(kFar6, kA6, 6, syn), reset(kRst | kAck, 0, 47)},
      {"from the workload", At::kFromB, v6(kB6, kFar6, 6, syn), reset(kRst | kAck, 0, 47)},
      {"UDP", At::kToA, udp4, error(3, 3, udp4, 28)},
      {"UDP over IPv6", At::kFromB, udp6, error(1, 4, udp6, 48)},
      {"a protocol without ports", At::kFromB, other4, error(3, 3, other4, 28)},
      {"SCTP", At::kToA, sctp4, error(3, 3, sctp4, 28)},
      {"a question", At::kToA, ping4, error(3, 3, ping4, 28)},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.what);
    const auto before = counters();
    const auto done = run_program(test.at, ethernet(test.packet));
    EXPECT_EQ(done.answer, 7);  // TC_ACT_REDIRECT
    const bool six = test.packet[0] >> 4 == 6;
    const std::size_t header = six ? 40 : 20, sources = six ? 8 : 12, size = six ? 16 : 4;
    ASSERT_EQ(done.frame.size(), 14 + header + test.transport.size());
    const std::span<const std::uint8_t> packet = std::span(done.frame).subspan(14);
    EXPECT_TRUE(std::ranges::equal(packet.subspan(sources, size),
                                   std::span(test.packet).subspan(sources + size, size)));
    EXPECT_TRUE(std::ranges::equal(packet.subspan(sources + size, size),
                                   std::span(test.packet).subspan(sources, size)));
    const auto protocol = packet[six ? 6 : 9];
    const bool is_tcp = test.packet[six ? 6 : 9] == 6;
    EXPECT_EQ(protocol, is_tcp ? 6 : six ? 58 : 1);
    if (!six) {
      EXPECT_EQ(sum_of(packet.first(20)), 0xffff);
    }
    const auto transport = packet.subspan(header);
    const auto pseudo = protocol == 1 ? 0
                                      : sum_of(packet.subspan(sources, 2 * size),
                                               protocol + static_cast<std::uint32_t>(transport.size()));
    EXPECT_EQ(sum_of(transport, pseudo), 0xffff);
    // Where a device fills in the checksum of the packet that was, it does not spoil the answer.
    const std::size_t filled = is_tcp ? 16 : 6, balance = is_tcp ? 14 : 2;
    Bytes there(transport.begin(), transport.end());
    const auto by_device = ~sum_of(there) & 0xffff;
    there[filled] = static_cast<std::uint8_t>(by_device >> 8);
    there[filled + 1] = static_cast<std::uint8_t>(by_device);
    EXPECT_EQ(sum_of(there, pseudo), 0xffff);
    for (const auto at : {filled, balance}) there[at] = there[at + 1] = 0;
    EXPECT_EQ(there, test.transport);
    const auto after = counters();
    EXPECT_EQ(after[bpf::DROP_POLICY] - before[bpf::DROP_POLICY], 1U);
    EXPECT_EQ(after[bpf::COUNT_ANSWERED] - before[bpf::COUNT_ANSWERED], 1U);
  }

  const auto to_a = [](std::uint8_t protocol, const Bytes& payload) { return to_a4(protocol, payload); };
  expect({
      {"a reset", At::kFromB, ethernet(v4(kB4, kFar4, 6, tcp(4000, 80, kRst))), bpf::DROP_INVALID},
      {"an error", At::kToA, to_a(1, icmp(3, 3, 0, udp4)), bpf::DROP_INVALID},
      {"a first fragment", At::kToA,
       ethernet(ipv4({.source = kFar4, .destination = kA4, .fragment = 0x2000}, udp(4000, 53))),
       bpf::DROP_POLICY},
      {"options", At::kToA,
       ethernet(ipv4({.source = kFar4, .destination = kA4, .options = Bytes(4, 1)}, udp(4000, 53))),
       bpf::DROP_POLICY},
      {"an extension header", At::kToA,
       ethernet(ipv6({.source = kFar6, .destination = kA6, .next = 60}, extension(17) + udp(4000, 53))),
       bpf::DROP_POLICY},
      {"to many", At::kFromB, ethernet(v4(kB4, "224.0.0.9", 17, udp(4000, 53))), bpf::DROP_POLICY},
      {"to all", At::kFromB, ethernet(v4(kB4, "255.255.255.255", 17, udp(4000, 53))), bpf::DROP_POLICY},
      {"to many over IPv6", At::kFromB, ethernet(v6(kB6, "ff02::1", 17, udp(4000, 53))), bpf::DROP_POLICY},
      {"a stranger's", At::kFromB, ethernet(v4(kFar4, kA4, 17, udp(4000, 53))), bpf::DROP_SPOOFED},
  });
}

TEST_F(WorkloadPrograms, AnswerWithErrorsByTheShareOfAnInterface) {
  HostChanges reject;
  reject.settings.emplace().reject = true;
  change(reject);
  const auto frame = to_a4(17, udp(4000, 53));
  const auto program = kernel::bpf::open_pin(pins_.path() / "programs" / "to_workload");
  CHECK(program);
  const auto before = counters();
  constexpr std::size_t kPackets = 10UL * bpf::EVENT_SHARE;
  for (std::size_t i = 0; i < kPackets; ++i) run_program(At::kToA, frame);
  const auto after = counters();
  EXPECT_EQ(after[bpf::DROP_POLICY] - before[bpf::DROP_POLICY], kPackets);
  const auto answered = after[bpf::COUNT_ANSWERED] - before[bpf::COUNT_ANSWERED];
  EXPECT_GE(answered, std::uint64_t{bpf::EVENT_SHARE});
  EXPECT_LT(answered, kPackets);
}

TEST_F(WorkloadPrograms, TellOfAFlowOnceAtEachWorkload) {
  const auto syn = ethernet(ipv4({.source = kA4, .destination = kB4, .protocol = 6}, tcp(1000, 80, kSyn)));
  const auto answer =
      ethernet(ipv4({.source = kB4, .destination = kA4, .protocol = 6}, tcp(80, 1000, kSyn | kAck)));
  events();
  for (const auto at : {At::kFromA, At::kToB, At::kFromA, At::kToB}) run(at, syn);
  for (const auto at : {At::kFromB, At::kToA}) run(at, answer);
  const auto told = events();
  ASSERT_EQ(told.size(), 2U);
  const auto port = [](std::uint16_t number) { return htons(number); };
  for (std::size_t end = 0; end < 2; ++end) {
    EXPECT_EQ(told[end].source_port, port(1000));
    EXPECT_EQ(told[end].destination_port, port(80));
    EXPECT_EQ(told[end].source.word[3], inet_addr("10.65.0.2"));
    EXPECT_EQ(told[end].destination.word[3], inet_addr("10.65.0.3"));
    EXPECT_EQ(told[end].protocol, 6);
    EXPECT_EQ(told[end].outcome[end], 1U);
    EXPECT_EQ(told[end].outcome[1 - end], 0U) << "was not asked here";
    EXPECT_EQ(told[end].flags, end == 0 ? bpf::EVENT_FROM_ENDPOINT | bpf::EVENT_COMES_IN : 0);
  }
}

TEST_F(WorkloadPrograms, TellOfThoseWhoAreModestWhileOneFloods) {
  const auto flood = [&](At at, std::string_view source, std::uint16_t packets) {
    for (std::uint16_t i = 0; i < packets; ++i) {
      run(at, ethernet(ipv4({.source = kFar4, .destination = source}, udp(i, 53))));  // spoofed
    }
  };
  const auto room = [](std::size_t bytes) { return bytes / (sizeof(bpf::event) + 8); };
  // Fill what is anybody's, in the kernel: one at a time takes too long.
  const auto first = counters();
  const auto frame = ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(1, 53)));
  const auto program = kernel::bpf::open_pin(pins_.path() / "programs" / "from_workload");
  CHECK(program);
  const int times = static_cast<int>(room(bpf::EVENTS_BYTES));
  bed_.host().run([&] {
    const int interface = static_cast<int>(::if_nametoindex("calia"));
    CHECK(kernel::bpf::run(program->get(), frame, interface, interface, times));
  });
  const auto flooded = counters();
  EXPECT_GT(flooded[bpf::COUNT_EVENTS_SHARE] - first[bpf::COUNT_EVENTS_SHARE], room(bpf::EVENTS_BYTES) / 3);
  flood(At::kFromB, kA4, 10);
  const auto after = counters();
  EXPECT_EQ(after[bpf::COUNT_EVENTS_SHARE], flooded[bpf::COUNT_EVENTS_SHARE]);
  EXPECT_EQ(after[bpf::COUNT_EVENTS_FULL], 0U);

  // All that was refused is told or counted.
  std::size_t of_a = 0, of_b = 0;
  const auto b = [&] {
    std::uint32_t index = 0;
    bed_.host().run([&] { index = ::if_nametoindex("calib"); });
    return index;
  }();
  ring_.read(1 << 20, [&](auto record) {
    bpf::event event;
    std::memcpy(&event, record.data(), sizeof event);
    ++(event.interface == b ? of_b : of_a);
  });
  EXPECT_EQ(of_b, 10U);
  EXPECT_EQ(of_a + after[bpf::COUNT_EVENTS_SHARE] - first[bpf::COUNT_EVENTS_SHARE],
            static_cast<std::size_t>(times));
}

TEST_F(WorkloadPrograms, JudgeAgainOnlyWhatAChangeConcerns) {
  const auto of_b = [](std::uint16_t port) {
    return ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(port, 53)));
  };
  const auto back_to = [](std::uint16_t port) {
    return ethernet(ipv4({.source = kB4, .destination = kFar4}, udp(53, port)));
  };
  expect({{"of a", At::kFromA, of_a4(17, udp(4000, 53)), bpf::COUNT_FORWARDED},
          {"to b", At::kToB, of_b(5000), bpf::COUNT_FORWARDED}});
  HostChanges closed;
  add_pod(closed, "b", b_, kDenyAll, kAllowAll);
  change(closed);
  const auto before = judged(bpf::COUNT_REJUDGED);
  expect({{"of a", At::kFromA, of_a4(17, udp(4000, 53)), bpf::COUNT_FORWARDED}});
  EXPECT_EQ(judged(bpf::COUNT_REJUDGED), before);
  expect({{"b's own words in it", At::kFromB, back_to(5000), bpf::DROP_REVOKED},
          {"to b", At::kToB, of_b(5000), bpf::DROP_REVOKED}});
  EXPECT_EQ(judged(bpf::COUNT_REJUDGED), before + 1);
  HostChanges open;
  add_pod(open, "b", b_, kAllowAll, kAllowAll);
  change(open);
  expect({{"to b again", At::kToB, of_b(5000), bpf::COUNT_FORWARDED},
          {"and back", At::kFromB, back_to(5000), bpf::COUNT_FORWARDED}});
}

}  // namespace
}  // namespace ocicat::test
