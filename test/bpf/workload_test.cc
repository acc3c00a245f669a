// The programs at a workload's interface: what becomes of a frame, and which counter says so.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <ostream>

#include "bpf/workload_programs.h"

namespace ocicat::test {
namespace {

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
      {"one that would write over a TCP header", At::kFromA, fragment(1, Bytes(16), 6), bpf::DROP_FRAGMENT},
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

// In the maps, IPv4 addresses are IPv4-mapped ones.
TEST_F(WorkloadPrograms, TakeNoAddressOfIpv4ForOneOfANetOfIpv6) {
  HostChanges everybody;
  add_pod(everybody, "b", b_, kWebFromClass1, kAllowAll);
  everybody.tables.classes.update(*Prefix::parse("::/0"), policy::ClassId{1});
  change(everybody);
  const auto four = ethernet(ipv4({.source = kFar4, .destination = kB4, .protocol = 6}, tcp(9, 80, kSyn)));
  const auto six = ethernet(ipv6({.source = kFar6, .destination = kB6, .next = 6}, tcp(9, 80, kSyn)));
  expect({{"from a net of IPv6", At::kToB, six, bpf::COUNT_FORWARDED},
          {"from IPv4", At::kToB, four, bpf::DROP_POLICY}});
  HostChanges both;
  both.tables.classes.update(*Prefix::parse("0.0.0.0/0"), policy::ClassId{1});
  change(both);
  expect({{"from a net of IPv4", At::kToB, four, bpf::COUNT_FORWARDED}});
  HostChanges no_more;
  no_more.tables.classes.remove(*Prefix::parse("0.0.0.0/0"));
  change(no_more);
  expect({{"which is none any more", At::kToB, four, bpf::DROP_REVOKED}});
}

TEST_F(WorkloadPrograms, LetNobodySendFromIpv4WhoMaySendFromAllOfIpv6) {
  EndpointState sender{a_.interface(), {}};
  for (const auto family : kFamilies) sender.addresses.push_back({a_.address(family), kDenyAll, kAllowAll});
  sender.sources = {*Prefix::parse("10.99.0.0/16"), *Prefix::parse("::/0")};
  sender.source_chains = {policy::ChainId{1}, policy::ChainId{1}};
  HostChanges elsewhere;
  elsewhere.tables.chains.update(policy::ChainId{1}, {policy::VocabularyId{1}, kAllowAll});
  elsewhere.endpoints.update(pod_key("a"), sender);
  change(elsewhere);
  const auto four = [](std::string_view source) {
    return ethernet(ipv4({.source = source, .destination = kFar4}, udp(7, 53)));
  };
  expect(
      {{"from where it may", At::kFromA, four("10.99.0.1"), bpf::COUNT_FORWARDED},
       {"from all of IPv6", At::kFromA,
        ethernet(ipv6({.source = "2001:db8:77::1", .destination = kFar6}, udp(7, 53))), bpf::COUNT_FORWARDED},
       {"from elsewhere in IPv4", At::kFromA, four("10.98.0.1"), bpf::DROP_SPOOFED}});
}

// The sum of what a checksum covers: the part of an IP packet behind its header, with its pseudo header, from
// `at` on; all ones where it is right.
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

TEST_F(WorkloadPrograms, ForgetIdleConnectionsAfterTheTimesThatAreSetKnownOnesToo) {
  using namespace std::chrono_literals;
  const auto asked = of_a4(17, udp(4000, 53)), answer = to_a4(17, udp(53, 4000));
  expect({{"asked", At::kFromA, asked, bpf::COUNT_FORWARDED}});
  age_connections(50);
  expect({{"answered within a minute", At::kToA, answer, bpf::COUNT_FORWARDED}});
  HostChanges changes;
  changes.settings.emplace().timeouts.udp = 5s;
  change(changes);
  age_connections(3);
  expect({{"within five seconds", At::kToA, answer, bpf::COUNT_FORWARDED}});
  age_connections(7);
  expect({{"too late", At::kToA, answer, bpf::DROP_POLICY}});
}

HostChanges open_connections(OpenConnections what) {
  HostChanges changes;
  changes.settings.emplace().open_connections = what;
  return changes;
}

TEST_F(WorkloadPrograms, LetWhatIsOpenBeWhereItIsToStay) {
  const auto to_b = [](std::uint16_t port) {
    return ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(port, 53)));
  };
  const auto allow_b = [&](policy::ProgramId ingress) {
    HostChanges changes;
    add_pod(changes, "b", b_, ingress, kAllowAll);
    change(changes);
  };
  expect({{"open", At::kToB, to_b(1), bpf::COUNT_FORWARDED},
          {"another", At::kToB, to_b(2), bpf::COUNT_FORWARDED}});
  allow_b(kDenyAll);
  expect({{"the other one ends", At::kToB, to_b(2), bpf::DROP_REVOKED}});
  allow_b(kAllowAll);
  change(open_connections(OpenConnections::kStay));
  expect({{"open", At::kToB, to_b(1), bpf::COUNT_FORWARDED}});
  allow_b(kDenyAll);
  const auto before = judged(bpf::COUNT_REJUDGED);
  expect({{"it stays", At::kToB, to_b(1), bpf::COUNT_FORWARDED},
          {"and back", At::kFromB, ethernet(ipv4({.source = kB4, .destination = kFar4}, udp(53, 1))),
           bpf::COUNT_FORWARDED}});
  EXPECT_EQ(judged(bpf::COUNT_REJUDGED), before);
  expect({{"a new one", At::kToB, to_b(3), bpf::DROP_POLICY},
          {"one that has ended", At::kToB, to_b(2), bpf::DROP_REVOKED}});
  allow_b(kAllowAll);
  expect({{"which is allowed again", At::kToB, to_b(2), bpf::COUNT_FORWARDED}});
  allow_b(kDenyAll);
  expect({{"and stays", At::kToB, to_b(2), bpf::COUNT_FORWARDED}});
  change(open_connections(OpenConnections::kFollowPolicy));
  expect({{"until none is to", At::kToB, to_b(2), bpf::DROP_REVOKED},
          {"the same", At::kToB, to_b(1), bpf::DROP_REVOKED}});
}

TEST_F(WorkloadPrograms, JudgeWhatIsOpenAtAnAddressThatSomebodyElseHasByNow) {
  const auto to_b = ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(1, 53)));
  change(open_connections(OpenConnections::kStay));
  expect({{"open", At::kToB, to_b, bpf::COUNT_FORWARDED}});
  HostChanges gone, come;
  remove_pod(gone, "b", b_);
  change(gone);
  add_pod(come, "other", b_, kDenyAll, kAllowAll);
  change(come);
  expect({{"and not the other's", At::kToB, to_b, bpf::DROP_REVOKED}});
}

struct Sent {
  std::uint32_t packets = 0;
  std::uint64_t bytes = 0;
  bool operator==(const Sent&) const = default;
};

// What the only connection's ends have sent.
struct Counted {
  Sent beginner, other;
  bool operator==(const Counted&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Counted& counted) {
    const auto& [first, back] = counted;
    return out << fmt::format("{} packets of {} bytes, {} back of {}", first.packets, first.bytes,
                              back.packets, back.bytes);
  }
};

class WorkloadCounts : public WorkloadPrograms {
 protected:
  Counted counted() const {
    const auto places = pins_.connections();
    CHECK(places);
    const auto all = places->as<bpf::tracked>();
    const auto known = std::ranges::find_if(all, [](const auto& place) { return place.version != 0; });
    CHECK(known != all.end());
    const auto& connection = known->connection;
    const bool second = (connection.flags & bpf::CONNECTION_BEGUN_BY_SECOND) != 0;
    return {{connection.packets[second], connection.bytes[second]},
            {connection.packets[!second], connection.bytes[!second]}};
  }
  // From a, as one of so many pieces of that size.
  int send_large(const Bytes& frame, std::uint32_t size, std::uint32_t pieces) const {
    const auto program = kernel::bpf::open_pin(pins_.path() / "programs/from_workload");
    CHECK(program);
    __sk_buff context{};
    context.gso_size = size;
    context.gso_segs = pieces;
    bed_.host().run([&] { context.ifindex = context.ingress_ifindex = ::if_nametoindex("calia"); });
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                .data_size_in = static_cast<std::uint32_t>(frame.size()), .ctx_in = &context,
                .ctx_size_in = sizeof context);
    bed_.host().run([&] { EXPECT_EQ(::bpf_prog_test_run_opts(program->get(), &options), 0); });
    return static_cast<int>(options.retval);
  }
};

// Where both ends are workloads here, a packet is counted once, whether it goes past the stack or comes by twice.
TEST_F(WorkloadCounts, CountThePacketsAndBytesOfAConnection) {
  const auto sent = [](std::string_view to, std::size_t size) {
    return ethernet(ipv4({.source = kA4, .destination = to}, udp(4000, 53, size)));
  };
  const auto answered = [](std::string_view from, std::size_t size) {
    return ethernet(ipv4({.source = from, .destination = kA4}, udp(53, 4000, size)));
  };
  constexpr int kPass = -1;
  const auto pass = [&](At from, At to, bool is_here, const Bytes& frame) {
    if (run_program(from, frame).answer == kPass && is_here) {
      EXPECT_EQ(run_program(to, frame).answer, kPass);
    }
  };
  for (const auto peer : {kB4, kFar4}) {
    SCOPED_TRACE(peer);
    pins_.forget_connections();
    std::uint64_t bytes_out = 0, bytes_back = 0;
    for (const std::size_t size : {8U, 100U, 1000U}) {
      pass(At::kFromA, At::kToB, peer == kB4, sent(peer, size));
      bytes_out += sent(peer, size).size();
    }
    for (const std::size_t size : {50U, 500U}) {
      if (peer == kB4) {
        pass(At::kFromB, At::kToA, true, answered(peer, size));
      } else {
        EXPECT_EQ(run_program(At::kToA, answered(peer, size)).answer, kPass);
      }
      bytes_back += answered(peer, size).size();
    }
    EXPECT_EQ(counted(), (Counted{{3, bytes_out}, {2, bytes_back}}));
  }
}

// Where the first one counts, and for the same connection; not for one that has its place since.
TEST_F(WorkloadCounts, CountFragmentsForTheConnectionOfTheirFirstOne) {
  struct Datagram {
    At at;
    std::string_view source, destination;
    bool counts;
  };
  const Datagram sent[] = {
      {At::kFromA, kA4, kFar4, true}, {At::kFromA, kA6, kFar6, true},    {At::kToB, kFar4, kB4, true},
      {At::kToB, kFar6, kB6, true},   {At::kHostToA, kHost4, kA4, true}, {At::kHostToA, kFar6, kA6, true},
      {At::kFromA, kA4, kB4, true},   {At::kToB, kA4, kB4, false},       {At::kFromB, kB6, kA6, true}};
  std::uint32_t id = 0;
  for (const auto& [at, source, destination, counts] : sent) {
    SCOPED_TRACE(fmt::format("{} to {}, at {}", source, destination, static_cast<int>(at)));
    const auto fragment = [&, six = source.contains(':'), id = ++id](std::uint16_t eights, bool more,
                                                                     const Bytes& payload) {
      return six ? ethernet(ipv6(
                       {.source = source, .destination = destination, .next = 44},
                       fragment_header(17, static_cast<std::uint16_t>(eights << 3 | more), id) + payload))
                 : ethernet(ipv4({.source = source,
                                  .destination = destination,
                                  .fragment = static_cast<std::uint16_t>((more ? kMore << 8 : 0) | eights)},
                                 payload));
    };
    const Bytes frames[] = {fragment(0, true, udp(4000, 53, 1'192)), fragment(150, true, Bytes(1'200)),
                            fragment(300, false, Bytes(77))};
    if (counts) pins_.forget_connections();
    const auto before = counts ? Counted{} : counted();
    std::uint64_t bytes = 0;
    for (const auto& frame : frames) {
      EXPECT_EQ(run(at, frame), -1);
      bytes += frame.size();
    }
    EXPECT_EQ(counted(), counts ? (Counted{{3, bytes}, {}}) : before);
    if (!counts) continue;
    const auto places = pins_.connections();
    CHECK(places);
    for (auto& place : places->as<bpf::tracked>()) {
      if (place.version != 0) place.version += 2;
    }
    EXPECT_EQ(run(at, frames[2]), -1);
    EXPECT_EQ(counted(), (Counted{{3, bytes}, {}})) << "of another connection";
  }
}

// As the kernel cuts it; a virtual machine says how large the pieces are, and not how many.
TEST_F(WorkloadCounts, CountALargePacketAsThoseThatItIsCutInto) {
  constexpr std::size_t kHeaders = 14 + 20 + 20, kSize = 1'000;
  for (const std::uint32_t said : {3U, 0U}) {
    pins_.forget_connections();
    const Bytes frame = of_a4(6, tcp(4000, 80, kSyn) + Bytes(2 * kSize + 1));
    EXPECT_EQ(send_large(frame, kSize, said), -1);
    EXPECT_EQ(counted(), (Counted{{3, frame.size() + 2 * kHeaders}, {}})) << said;
  }
  pins_.forget_connections();
  const Bytes full = of_a4(6, tcp(4000, 80, kSyn) + Bytes(kSize));
  EXPECT_EQ(send_large(full, kSize, 0), -1);
  EXPECT_EQ(counted(), (Counted{{1, full.size()}, {}})) << "as large as one piece";
}

}  // namespace
}  // namespace ocicat::test
