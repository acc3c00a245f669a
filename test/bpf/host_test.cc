// The programs at the host's netfilter hooks, packet by packet: what becomes of it, and which counter says
// so.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include <thread>

#include "bpf/counted.h"
#include "bpf/crowd.h"
#include "bpf/frames.h"
#include "dataplane/ebpf/host_hooks.h"
#include "dataplane/ebpf/objects.h"
#include "maps/counters.h"
#include "maps/events.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using namespace std::string_view_literals;
using dataplane::ebpf::AskedBy;
using kernel::bpf::NetfilterHook;
using policy::ChainId;
using policy::ChainKind;
using policy::Direction;

constexpr auto kHost4 = "192.0.2.254"sv, kFar4 = "203.0.113.7"sv, kHost6 = "2001:db8::fe"sv,
               kFar6 = "2001:db8:f::7"sv;
constexpr std::uint8_t kSyn = 2, kAck = 16, kFin = 1, kRst = 4;
constexpr std::uint8_t kData = 0, kInit = 1, kSack = 3;  // chunks of SCTP
constexpr ChainId kOpen{1}, kClosed{2};

struct Row {
  const char* what;
  NetfilterHook at;
  Bytes packet;
  bpf::counter fate;  // the counter that goes up by one
};
constexpr auto kIn = NetfilterHook::kInput, kOut = NetfilterHook::kOutput, kThrough = NetfilterHook::kForward;

// A host with a host endpoint for every interface: it may send anything and is sent nothing; so may what it
// forwards go out, and nothing come in. The kernel runs the programs as if packets came by the loopback
// interface: those that it asks by itself, or those that rules ask.
class HostPrograms : public testing::TestWithParam<AskedBy> {
 protected:
  HostPrograms() {
    bed_.silence_ipv6();
    auto changes = first_state(1);
    changes.tables.chains.update(kOpen, {policy::VocabularyId{1}, kAllowAll});
    changes.tables.chains.update(kClosed, {policy::VocabularyId{1}, kDenyAll});
    set_policy(changes, kClosed, kOpen);
    agent_.apply(changes);
    ring_ = pins_.open_events();
  }
  static void set_policy(HostChanges& changes, ChainId in, ChainId out, std::uint32_t id = 3,
                         const std::string& interface = "*", const std::string& name = "all") {
    HostEndpointState endpoint{.id = id, .interface_name = interface};
    for (auto& chains : endpoint.chains) {
      for (const auto kind : {ChainKind::kNormal, ChainKind::kForward}) {
        chains[policy::index_of({kind, Direction::kIngress})] = in;
        chains[policy::index_of({kind, Direction::kEgress})] = out;
      }
    }
    changes.host_endpoints.update({Kind::kHostEndpoint, "", name}, endpoint);
  }
  void change(HostChanges changes) { agent_.apply(std::move(changes)); }
  std::vector<std::uint64_t> counters() const { return pins_.counters(); }
  bool passes(NetfilterHook at, const Bytes& packet) const {
    bool passes = false;
    bed_.host().run([&] {
      const auto done = pins_.run_at_host(at, packet);
      if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
      CHECK(done);
      passes = *done;
    });
    return passes;
  }
  // One after the other: later rows see what earlier ones have left.
  void expect(const std::vector<Row>& rows) const {
    events();  // of before
    for (const auto& row : rows) {
      const auto before = counters();
      EXPECT_EQ(passes(row.at, row.packet), row.fate == bpf::COUNT_FORWARDED) << row.what;
      const auto after = counters();
      expect_told(row, events());
      expect_counted(before, after, row.fate, row.what);
    }
  }

  // What has been told since the last call.
  std::vector<bpf::event> events() const { return events_in(ring_); }
  std::uint32_t uplink() const {
    std::uint32_t index = 0;
    bed_.host().run([&] { index = ::if_nametoindex("uplink"); });
    return index;
  }
  static void expect_told(const Row& row, const std::vector<bpf::event>& told) {
    const bool passes = row.fate == bpf::COUNT_FORWARDED, out = row.at == kOut;
    if (!passes) {
      ASSERT_EQ(told.size(), 1U) << row.what;
    }
    EXPECT_LE(told.size(), 1U) << row.what;
    for (const auto& event : told) {
      EXPECT_EQ(event.reason, passes ? bpf::COUNT_JUDGED : row.fate) << row.what;
      EXPECT_EQ(event.size, row.packet.size()) << row.what;
      EXPECT_EQ(event.flags & ~bpf::EVENT_IS_REPLY,
                out ? bpf::EVENT_FROM_ENDPOINT | bpf::EVENT_FROM_HOST : bpf::EVENT_COMES_IN)
          << row.what;
      EXPECT_GT(event.time, 0U);
      // The tables of the testbed: outcome 1 allows, 2 denies.
      if (event.reason == bpf::DROP_POLICY) {
        EXPECT_EQ(event.outcome[!out], 2U) << row.what;
      }
    }
  }

  dataplane::Options options() const {
    auto options = pins_.options(dataplane::Datapath::kEbpf);
    options.usable.netfilter = GetParam() == AskedBy::kKernel;
    return options;
  }

  Testbed bed_;
  PinFolder pins_;
  AgentHost agent_{bed_, options()};
  mutable kernel::bpf::Ring ring_;
};

Bytes in4(std::uint8_t protocol, const Bytes& payload) {
  return ipv4({.source = kFar4, .destination = kHost4, .protocol = protocol}, payload);
}
Bytes out4(std::uint8_t protocol, const Bytes& payload) {
  return ipv4({.source = kHost4, .destination = kFar4, .protocol = protocol}, payload);
}

TEST_P(HostPrograms, DropWhatIsMalformed) {
  Bytes short_ihl = in4(17, udp(1, 53)), long_ihl = in4(17, {});
  short_ihl[0] = 0x44;
  long_ihl[0] = 0x4f;
  Bytes nine;
  for (int i = 0; i < 9; ++i) nine = nine + extension(i < 8 ? 60 : 17);
  expect({
      {"IPv4 header length below the least", kIn, short_ihl, bpf::DROP_MALFORMED},
      {"IPv4 header longer than the packet", kIn, long_ihl, bpf::DROP_MALFORMED},
      {"longer than what is there", kThrough,
       ipv4({.source = kFar4, .destination = kHost4, .length_off_by = 1}, udp(1, 53)), bpf::DROP_MALFORMED},
      {"no room for ports", kIn, in4(17, Bytes(7)), bpf::DROP_MALFORMED},
      {"TCP header cut short", kIn, in4(6, Bytes(19)), bpf::DROP_MALFORMED},
      {"TCP header longer than its packet", kIn, in4(6, with(tcp(80, 4000, kSyn), 12, 0x60)),
       bpf::DROP_MALFORMED},
      {"UDP longer than its packet", kThrough, in4(17, with(udp(1, 53), 5, 17)), bpf::DROP_MALFORMED},
      {"UDP shorter than its header", kOut, out4(17, with(udp(1, 53), 5, 7)), bpf::DROP_MALFORMED},
      {"ICMP cut short", kOut, out4(1, Bytes(7)), bpf::DROP_MALFORMED},
      {"nine extension headers", kIn,
       ipv6({.source = kFar6, .destination = kHost6, .next = 60}, nine + udp(1, 53)), bpf::DROP_MALFORMED},
      {"extension header longer than the packet", kThrough,
       ipv6({.source = kFar6, .destination = kHost6, .next = 60},
            Bytes{17, 200, 0, 0, 0, 0, 0, 0} + udp(1, 53)),
       bpf::DROP_MALFORMED},
      {"a later fragment, which nobody has put together", kIn,
       ipv4({.source = kFar4, .destination = kHost4, .fragment = 2}, Bytes(16)), bpf::DROP_FRAGMENT},
      {"a jumbogram", kIn,
       ipv6({.source = kFar6, .destination = kHost6, .next = 0, .length_off_by = -24},
            Bytes{17, 0, 0xc2, 4, 0, 1, 0, 0} + udp(1, 53)),
       bpf::DROP_MALFORMED},
  });
}

TEST_P(HostPrograms, LetRepliesPassAndNothingElseComeIn) {
  expect({
      {"to the host", kIn, in4(17, udp(53, 4000)), bpf::DROP_POLICY},
      {"from it", kOut, out4(17, udp(4000, 53)), bpf::COUNT_FORWARDED},
      {"the answer", kIn, in4(17, udp(53, 4000)), bpf::COUNT_FORWARDED},
      {"an answer from another port", kIn, in4(17, udp(54, 4000)), bpf::DROP_POLICY},
      {"a question", kOut, out4(1, icmp(8, 0, 5)), bpf::COUNT_FORWARDED},
      {"its answer", kIn, in4(1, icmp(0, 0, 5)), bpf::COUNT_FORWARDED},
      {"another answer", kIn, in4(1, icmp(0, 0, 6)), bpf::DROP_INVALID},
      {"a question back with that number", kIn, in4(1, icmp(8, 0, 5)), bpf::DROP_POLICY},
  });
}

TEST_P(HostPrograms, TellOnceOfWhatBeginsAndOfEachPacketThatIsRefused) {
  const auto out = out4(17, udp(4000, 53)), in = in4(17, udp(53, 4000));
  events();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(passes(kOut, out));
    EXPECT_TRUE(passes(kIn, in));
  }
  const auto began = events();
  ASSERT_EQ(began.size(), 1U);
  EXPECT_EQ(began[0].outcome[0], 1U);
  EXPECT_EQ(began[0].outcome[1], 0U) << "was not asked";
  EXPECT_EQ(began[0].source_port, htons(4000));
  EXPECT_EQ(began[0].destination.word[3], inet_addr("203.0.113.7"));
  HostChanges closed;
  set_policy(closed, kClosed, kClosed);
  change(closed);
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(passes(kIn, in));
  EXPECT_FALSE(passes(kOut, out));
  const auto refused = events();
  ASSERT_EQ(refused.size(), 3U);
  EXPECT_EQ(refused[0].outcome[0], 2U) << "is the connection's sender's, whoever speaks";
  EXPECT_TRUE(refused[1].flags & bpf::EVENT_IS_REPLY);
  EXPECT_FALSE(refused[2].flags & bpf::EVENT_IS_REPLY);
  for (const auto& event : refused) EXPECT_EQ(event.reason, bpf::DROP_REVOKED);
}

// Of no connection, so each packet might be one.
TEST_P(HostPrograms, TellOnceOfAFlowThatUntrackedPolicyAllows) {
  HostEndpointState edge{.id = 3, .interface_name = "*"};
  for (auto& chains : edge.chains) {
    for (const auto direction : {Direction::kIngress, Direction::kEgress})
      chains[policy::index_of({ChainKind::kUntracked, direction})] = kOpen;
  }
  HostChanges changes;
  changes.host_endpoints.update({Kind::kHostEndpoint, "", "all"}, edge);
  change(changes);
  events();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(passes(kIn, in4(17, udp(4000, 53))));
    EXPECT_TRUE(passes(kOut, out4(17, udp(53, 4000))));
  }
  EXPECT_TRUE(passes(kOut, out4(6, tcp(4001, 80, kSyn))));
  const auto told = events();
  ASSERT_EQ(told.size(), 2U);
  for (const auto& event : told) EXPECT_EQ(event.reason, bpf::COUNT_JUDGED);
  EXPECT_EQ(told[0].source_port, htons(4000));
  EXPECT_EQ(told[0].outcome[1], 1U);
  EXPECT_EQ(told[0].flags, bpf::EVENT_COMES_IN);
  EXPECT_EQ(told[1].source_port, htons(4001));
  EXPECT_EQ(told[1].outcome[0], 1U);
}

TEST_P(HostPrograms, TellOnceOfWhatIsJudgedAlone) {
  auto changes = first_state(1);
  changes.settings->drop_invalid = false;
  changes.tables = {};
  set_policy(changes, kOpen, kOpen);
  change(changes);
  events();
  for (const auto port : {80, 80, 80, 81})
    EXPECT_TRUE(passes(kIn, in4(6, tcp(static_cast<std::uint16_t>(port), 4000, kSyn | kAck))));
  const auto told = events();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].source_port, htons(80));
  EXPECT_EQ(told[1].source_port, htons(81));
  for (const auto& event : told) {
    EXPECT_EQ(event.reason, bpf::COUNT_JUDGED);
    EXPECT_EQ(event.outcome[1], 1U);
  }
}

TEST_P(HostPrograms, TellByWhichInterfaceAPacketComes) {
  events();
  const auto before = counters();
  const auto& outside = bed_.outside();
  outside.send({probe(outside.address(Family::kIpv4), Testbed::host_address(Family::kIpv4), kUdp, 53)});
  while (counters()[bpf::DROP_POLICY] == before[bpf::DROP_POLICY]) std::this_thread::yield();
  const auto told = events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].interface, uplink());
}

TEST_P(HostPrograms, TellOfWhatEndsInTheDriverByTheShareOfItsInterface) {
  HostEndpointState edge{.id = 4, .interface_name = "uplink"};
  for (auto& chains : edge.chains)
    chains[policy::index_of({ChainKind::kUntracked, Direction::kIngress})] = kClosed;
  HostChanges changes;
  changes.host_endpoints.remove({Kind::kHostEndpoint, "", "all"});
  changes.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, edge);
  change(changes);
  events();
  const auto before = counters();
  constexpr std::size_t kPackets = 10UL * bpf::EVENT_SHARE;
  const auto& outside = bed_.outside();
  const auto& to = Testbed::host_address(Family::kIpv4);
  outside.send(std::vector(kPackets, probe(outside.address(Family::kIpv4), to, kUdp, 53)));
  std::vector<std::uint64_t> after;
  do {
    std::this_thread::yield();
    after = counters();
  } while (after[bpf::DROP_POLICY] - before[bpf::DROP_POLICY] < kPackets);
  const auto told = events();
  EXPECT_GE(told.size(), std::size_t{bpf::EVENT_SHARE});
  EXPECT_EQ(told.size() + after[bpf::COUNT_EVENTS_SHARE] - before[bpf::COUNT_EVENTS_SHARE], kPackets);
  for (const auto& event : told) {
    EXPECT_EQ(event.interface, uplink());
    EXPECT_EQ(event.reason, bpf::DROP_POLICY);
    EXPECT_EQ(event.outcome[1], 2U);
    EXPECT_EQ(event.flags, bpf::EVENT_COMES_IN);
    EXPECT_EQ(event.destination_port, htons(53));
  }
}

TEST_P(HostPrograms, FollowATcpConnectionFromItsBeginningToItsEnd) {
  const auto out = [](std::uint8_t flags) { return out4(6, tcp(4000, 80, flags)); };
  const auto in = [](std::uint8_t flags) { return in4(6, tcp(80, 4000, flags)); };
  expect({
      {"an answer to nothing", kIn, in(kSyn | kAck), bpf::DROP_INVALID},
      {"SYN", kOut, out(kSyn), bpf::COUNT_FORWARDED},
      {"SYN, ACK", kIn, in(kSyn | kAck), bpf::COUNT_FORWARDED},
      {"ACK", kOut, out(kAck), bpf::COUNT_FORWARDED},
      {"SYN and FIN at once", kIn, in(kSyn | kFin), bpf::DROP_INVALID},
      {"a bare SYN the other way is a connection of its own", kIn, in(kSyn), bpf::DROP_POLICY},
      {"which disturbs nobody", kIn, in(kAck), bpf::COUNT_FORWARDED},
      {"FIN", kOut, out(kFin | kAck), bpf::COUNT_FORWARDED},
      {"FIN back", kIn, in(kFin | kAck), bpf::COUNT_FORWARDED},
      {"a bare SYN after the end", kIn, in(kSyn), bpf::DROP_POLICY},
      {"and from the one who may", kOut, out(kSyn), bpf::COUNT_FORWARDED},
      {"RST", kIn, in(kRst | kAck), bpf::COUNT_FORWARDED},
  });
}

TEST_P(HostPrograms, TakeUpATcpConnectionFromEitherEndThatMayHaveBegunIt) {
  expect({
      {"the other end's SYN", kIn, in4(6, tcp(80, 4000, kSyn)), bpf::DROP_POLICY},
      {"in the middle, from the other end", kIn, in4(6, tcp(80, 4000, kAck)), bpf::COUNT_FORWARDED},
      {"the host's own words in it", kOut, out4(6, tcp(4000, 80, kAck)), bpf::COUNT_FORWARDED},
      {"the other end's SYN still", kIn, in4(6, tcp(80, 4000, kSyn)), bpf::DROP_POLICY},
  });
  HostChanges closed;
  set_policy(closed, kClosed, kClosed);
  change(closed);
  expect({{"another one, that neither end may begin", kIn, in4(6, tcp(80, 4001, kAck)), bpf::DROP_POLICY}});
}

TEST_P(HostPrograms, TakeUpAnAssociationLikewise) {
  expect({
      {"the other end's INIT", kIn, in4(132, sctp(80, 4000, {kInit})), bpf::DROP_POLICY},
      {"in the middle of an association", kIn, in4(132, sctp(80, 4000, {kData})), bpf::COUNT_FORWARDED},
      {"the host's own words in that", kOut, out4(132, sctp(4000, 80, {kSack})), bpf::COUNT_FORWARDED},
      {"the other end's INIT still", kIn, in4(132, sctp(80, 4000, {kInit})), bpf::DROP_POLICY},
      {"where neither end may begin one", kThrough, in4(132, sctp(80, 4001, {kData})), bpf::DROP_POLICY},
      {"but where one is known", kThrough, in4(132, sctp(80, 4000, {kData})), bpf::COUNT_FORWARDED},
  });
}

TEST_P(HostPrograms, LetErrorsShareTheLotOfTheirConnection) {
  const Bytes sent = out4(17, udp(4000, 53));
  const Bytes sent6 = ipv6({.source = kHost6, .destination = kFar6}, udp(4000, 53));
  const auto error = [](const Bytes& about, std::string_view to = kHost4) {
    return ipv4({.source = "198.51.100.1", .destination = to, .protocol = 1}, icmp(3, 3, 0, about));
  };
  const auto error6 = [](const Bytes& about, std::string_view to = kHost6) {
    return ipv6({.source = "2001:db8:e::1", .destination = to, .next = 58}, icmp(1, 4, 0, about));
  };
  expect({
      {"about nothing that is known", kIn, error(sent), bpf::DROP_INVALID},
      {"the packet", kOut, sent, bpf::COUNT_FORWARDED},
      {"an error about it", kIn, error(sent), bpf::COUNT_FORWARDED},
      {"to somebody else, through the host", kThrough, error(sent, "198.51.100.9"), bpf::DROP_INVALID},
      {"cut too short", kIn, error({sent.begin(), sent.begin() + 27}), bpf::DROP_INVALID},
      {"about an error", kIn,
       error(ipv4({.source = kHost4, .destination = kFar4, .protocol = 1}, icmp(3, 3, 0, sent))),
       bpf::DROP_INVALID},
      {"IPv6: the packet", kOut, sent6, bpf::COUNT_FORWARDED},
      {"IPv6: an error about it", kIn, error6(sent6), bpf::COUNT_FORWARDED},
      {"IPv6: to somebody else, through the host", kThrough, error6(sent6, "2001:db8::9"), bpf::DROP_INVALID},
  });
  HostChanges closed;
  set_policy(closed, kClosed, kClosed);
  change(closed);
  expect({{"once its connection is denied", kIn, error(sent), bpf::DROP_REVOKED}});
}

TEST_P(HostPrograms, ReachOpenConnectionsByANewDenyInBothDirectionsAndByANewAllow) {
  const auto out = out4(17, udp(4000, 53)), in = in4(17, udp(53, 4000));
  expect({{"from the host", kOut, out, bpf::COUNT_FORWARDED}, {"the answer", kIn, in, bpf::COUNT_FORWARDED}});
  HostChanges closed;
  set_policy(closed, kClosed, kClosed);
  change(closed);
  expect({{"an answer", kIn, in, bpf::DROP_REVOKED}, {"from the host", kOut, out, bpf::DROP_REVOKED}});
  HostChanges open;
  set_policy(open, kClosed, kOpen);
  change(open);
  expect({{"an answer again", kIn, in, bpf::COUNT_FORWARDED},
          {"and from the host", kOut, out, bpf::COUNT_FORWARDED}});
}

// Here no interface is known by which packets come and go: they have what all others have.
class HostInterfacesThatChange : public HostPrograms {
 protected:
  // Nothing is new at the one that they have had.
  void exchange_endpoint(ChainId in, ChainId out) {
    HostChanges changes;
    set_policy(changes, kOpen, kOpen, 3, "nowhere", "all");
    set_policy(changes, in, out, 7, "*", "others");
    change(changes);
  }
  // How many of the packets were judged, and how many of these again.
  std::pair<std::uint64_t, std::uint64_t> judged(const std::vector<Row>& rows) {
    const auto before = counters();
    expect(rows);
    const auto after = counters();
    return {after[bpf::COUNT_JUDGED] - before[bpf::COUNT_JUDGED],
            after[bpf::COUNT_REJUDGED] - before[bpf::COUNT_REJUDGED]};
  }
  using Judged = std::pair<std::uint64_t, std::uint64_t>;

  const Bytes out_ = out4(17, udp(4000, 53)), in_ = in4(17, udp(53, 4000));
  const Bytes through_ = ipv4({.source = kFar4, .destination = "198.51.100.9", .protocol = 17}, udp(7, 53));
  const Bytes back_ = ipv4({.source = "198.51.100.9", .destination = kFar4, .protocol = 17}, udp(53, 7));
};

TEST_P(HostInterfacesThatChange, JudgeNothingAgainWhereThatIsElsewhere) {
  const auto& pod = bed_.add_pod("a", "10.65.0.2", "2001:db8:41::2");
  const std::vector<Row> both{{"from the host", kOut, out_, bpf::COUNT_FORWARDED},
                              {"the answer", kIn, in_, bpf::COUNT_FORWARDED}};
  EXPECT_EQ(judged(both), Judged(1, 0));
  HostChanges comes, goes;
  add_pod(comes, "a", pod, kAllowAll, kAllowAll);
  change(comes);
  EXPECT_EQ(judged(both), Judged(0, 0)) << "a workload has come";
  remove_pod(goes, "a", pod);
  change(goes);
  EXPECT_EQ(judged(both), Judged(0, 0)) << "and gone";
  HostChanges another;
  set_policy(another, kClosed, kClosed, 7, "nowhere", "another");
  change(another);
  EXPECT_EQ(judged(both), Judged(0, 0)) << "another host endpoint has come";
  HostChanges closed;
  set_policy(closed, kClosed, kClosed);
  change(closed);
  EXPECT_EQ(judged({{"from the host", kOut, out_, bpf::DROP_REVOKED}}), Judged(0, 1));
}

TEST_P(HostInterfacesThatChange, HaveWhatPassesThereJudgedByAnotherHostEndpoint) {
  HostChanges open;
  set_policy(open, kOpen, kOpen);
  change(open);
  expect({{"through the host", kThrough, through_, bpf::COUNT_FORWARDED},
          {"back", kThrough, back_, bpf::COUNT_FORWARDED}});
  exchange_endpoint(kOpen, kClosed);
  EXPECT_EQ(judged({{"back", kThrough, back_, bpf::DROP_REVOKED},
                    {"through the host", kThrough, through_, bpf::DROP_REVOKED}}),
            Judged(0, 1));
}

TEST_P(HostInterfacesThatChange, HaveAnErrorJudgedByItselfAndThenTheConnection) {
  HostChanges open;
  set_policy(open, kOpen, kOpen);
  change(open);
  const Bytes error =
      ipv4({.source = "198.51.100.1", .destination = kFar4, .protocol = 1}, icmp(3, 3, 0, in_));
  expect({{"to the host", kIn, in_, bpf::COUNT_FORWARDED}, {"back", kOut, out_, bpf::COUNT_FORWARDED}});
  exchange_endpoint(kClosed, kOpen);
  EXPECT_EQ(judged({{"an error about it", kOut, error, bpf::DROP_REVOKED}}), Judged(0, 1));
  EXPECT_EQ(judged({{"the answer", kOut, out_, bpf::DROP_REVOKED}}), Judged(0, 1));
  EXPECT_EQ(judged({{"and again", kOut, out_, bpf::DROP_REVOKED}}), Judged(0, 0));
}

TEST_P(HostInterfacesThatChange, HaveBothEndsJudgedOfWhatGoesOutAndComesInThere) {
  HostChanges open;
  set_policy(open, kOpen, kOpen);
  change(open);
  const auto own = ipv4({.source = kHost4, .destination = kHost4, .protocol = 17}, udp(7, 53));
  const auto answer = ipv4({.source = kHost4, .destination = kHost4, .protocol = 17}, udp(53, 7));
  EXPECT_EQ(judged({{"out", kOut, own, bpf::COUNT_FORWARDED},
                    {"in", kIn, own, bpf::COUNT_FORWARDED},
                    {"the answer, out", kOut, answer, bpf::COUNT_FORWARDED},
                    {"and in", kIn, answer, bpf::COUNT_FORWARDED}}),
            Judged(2, 0));
  exchange_endpoint(kClosed, kOpen);
  EXPECT_EQ(judged({{"out", kOut, own, bpf::DROP_REVOKED}}), Judged(0, 1));
}

// Of connections of UDP that have the same eight places.
class HostFlood : public HostPrograms {
 protected:
  HostFlood() {
    HostChanges open;
    set_policy(open, kOpen, kOpen);
    change(open);
  }
  Flow open(NetfilterHook at, std::string_view source, std::string_view destination) {
    auto flow = crowd_.between(std::string(source), std::string(destination));
    EXPECT_TRUE(passes(at, flow.request()));
    return flow;
  }
  Flow open_answered(NetfilterHook at, std::string_view source, std::string_view destination) {
    auto flow = open(at, source, destination);
    EXPECT_TRUE(passes(back_from(at), flow.answer()));
    return flow;
  }
  static NetfilterHook back_from(NetfilterHook at) { return at == kIn ? kOut : at == kOut ? kIn : at; }
  static std::string far(int number) { return fmt::format("203.0.113.{}", 100 + number); }

  Crowd crowd_{pins_, true};
};

constexpr int kMany = 24;  // for eight places

TEST_P(HostFlood, OfWhatIsForwardedAndAnsweredPushesOutNothingOfTheHostsOwn) {
  const auto own = open_answered(kOut, kHost4, kFar4);
  for (int i = 0; i < kMany; ++i) open_answered(kThrough, far(i), kFar4);
  EXPECT_TRUE(crowd_.knows(own));
}

TEST_P(HostFlood, OfWhatOneForwardsAndIsAnsweredPushesOutNothingThatIsForwardedForOthers) {
  const auto others = open_answered(kThrough, far(1), kFar4);
  for (int i = 0; i < kMany; ++i) open_answered(kThrough, far(2), kFar4);
  EXPECT_TRUE(crowd_.knows(others));
}

// What is forwarded goes out, here, by the interface of that workload.
TEST_P(HostFlood, OfAWorkloadByManyAddressesPushesOutNothingThatIsForwardedForOthers) {
  HostChanges comes;
  comes.endpoints.update(pod_key("a"),
                         EndpointState{"lo", {{*IpAddress::parse("10.65.0.2"), kAllowAll, kAllowAll}}});
  change(comes);
  const auto others = open_answered(kThrough, "198.51.100.1", "198.51.100.2");
  std::vector<Flow> flood;
  for (int i = 0; i < kMany; ++i) flood.push_back(open_answered(kThrough, far(i), "10.65.0.2"));
  EXPECT_TRUE(crowd_.knows(others));
  EXPECT_EQ(crowd_.count_known(flood), bpf::CONNECTION_WAYS - 1);
}

TEST_P(HostFlood, ThatTheHostDoesNotAnswerPushesOutNothingThatIsAnswered) {
  const auto own = open_answered(kOut, kHost4, kFar4);
  for (int i = 0; i < kMany; ++i) open(kIn, far(i), kHost4);
  EXPECT_TRUE(crowd_.knows(own));
}

TEST_P(HostFlood, ByOneThatTheHostAnswersPushesOutItsOwn) {
  const auto own = open_answered(kOut, kHost4, kFar4), others = open_answered(kIn, far(1), kHost4);
  for (int i = 0; i < kMany; ++i) open_answered(kIn, far(2), kHost4);
  EXPECT_TRUE(crowd_.knows(own));
  EXPECT_TRUE(crowd_.knows(others));
}

// Whoever has most of the places gives way: here the host itself.
TEST_P(HostFlood, FromManyAddressesThatTheHostAnswersPushesOutItsOwnWhichGoOnAsPolicySaysOfThem) {
  const auto own = open_answered(kOut, kHost4, kFar4);
  for (int i = 0; i < kMany; ++i) open_answered(kIn, far(i), kHost4);
  EXPECT_FALSE(crowd_.knows(own));
  EXPECT_TRUE(passes(kIn, own.answer()));
}

const auto kNameOfAsker = [](const auto& one) {
  return one.param == AskedBy::kRules ? "by_rules" : "by_kernel";
};
INSTANTIATE_TEST_SUITE_P(All, HostPrograms, testing::Values(AskedBy::kKernel, AskedBy::kRules), kNameOfAsker);
INSTANTIATE_TEST_SUITE_P(All, HostInterfacesThatChange, testing::Values(AskedBy::kKernel, AskedBy::kRules),
                         kNameOfAsker);
// Whoever asks, it is noted the same way; and there are no routes where programs are run as rules ask them.
INSTANTIATE_TEST_SUITE_P(All, HostFlood, testing::Values(AskedBy::kKernel), kNameOfAsker);

}  // namespace
}  // namespace ocicat::test
