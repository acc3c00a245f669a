// Associations of SCTP, and for how long connections of all protocols are known.
#include "bpf/workload_programs.h"

namespace ocicat::test {
namespace {

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
      SCOPED_TRACE(fmt::format("{}, {} s, {}", what, seconds, late ? "over" : "nearly"));
      pins_.forget_connections();
      for (const auto& [at, packet] : history)
        ASSERT_EQ(run(at, at == from ? of_a4(protocol, packet) : to_a4(protocol, packet)), -1);
      // Or so early that a slow machine makes no difference.
      age_connections(late ? seconds + 1 : seconds - std::min(seconds / 2, 30));
      EXPECT_EQ(run(to, to_a4(protocol, answer)), late ? 2 : -1);
    }
  }
}

}  // namespace
}  // namespace ocicat::test
