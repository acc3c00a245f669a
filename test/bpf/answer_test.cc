// What is refused is answered where the setting says so.
#include "bpf/workload_programs.h"

namespace ocicat::test {
namespace {

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
      {"TCP in the middle of what nobody knows", At::kFromB, ethernet(v4(kB4, kFar4, 6, ack)),
       bpf::DROP_POLICY},
      {"the same over IPv6", At::kToA, ethernet(v6(kFar6, kA6, 6, ack)), bpf::DROP_POLICY},
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

TEST_F(WorkloadPrograms, AnswerWhereNoRouteLeadsWhateverTheSetting) {
  bed_.host().run([] { shell("ip route del default; ip -6 route del default"); });
  const auto answers = [&](const Bytes& packet, std::size_t type_at, std::uint8_t type) {
    const auto before = counters();
    const auto done = run_program(At::kFromB, ethernet(packet));
    const auto after = counters();
    EXPECT_EQ(done.answer, 7);  // TC_ACT_REDIRECT
    ASSERT_GT(done.frame.size(), type_at + 1);
    EXPECT_EQ(done.frame[type_at], type);
    EXPECT_EQ(done.frame[type_at + 1], 0);
    EXPECT_EQ(after[bpf::DROP_NO_ROUTE] - before[bpf::DROP_NO_ROUTE], 1U);
    EXPECT_EQ(after[bpf::COUNT_ANSWERED] - before[bpf::COUNT_ANSWERED], 1U);
  };
  const auto v4 = [](std::string_view to, const Bytes& payload, std::uint8_t protocol = 17) {
    return ipv4({.source = kB4, .destination = to, .protocol = protocol}, payload);
  };
  const auto v6 = [](std::string_view to, const Bytes& payload, std::uint8_t protocol = 17) {
    return ipv6({.source = kB6, .destination = to, .next = protocol}, payload);
  };
  constexpr std::string_view kNowhere4 = "198.51.100.9", kNowhere6 = "3fff::9";
  answers(v4(kNowhere4, udp(4000, 53)), 34, 3);
  answers(v4(kNowhere4, tcp(4000, 80, kSyn), 6), 34, 3);
  answers(v6(kNowhere6, udp(4000, 53)), 54, 1);
  answers(v6(kNowhere6, tcp(4000, 80, kSyn), 6), 54, 1);
  expect({
      {"the host", At::kFromB, ethernet(v4(kHost4, udp(4000, 53))), bpf::DROP_TO_HOST},
      {"the host over IPv6", At::kFromB, ethernet(v6("2001:db8::fe", udp(4000, 53))), bpf::DROP_TO_HOST},
      {"many", At::kFromB, ethernet(v4("224.0.0.9", udp(4000, 53))), bpf::DROP_TO_HOST},
      {"all", At::kFromB, ethernet(v4("255.255.255.255", udp(4000, 53))), bpf::DROP_TO_HOST},
      {"a reset, which nobody answers", At::kFromB, ethernet(v4(kNowhere4, tcp(4000, 80, kRst), 6)),
       bpf::DROP_INVALID},
      {"a first fragment, which nobody answers", At::kFromB,
       ethernet(ipv4({.source = kB4, .destination = kNowhere4, .fragment = 0x2000}, udp(4000, 53))),
       bpf::DROP_NO_ROUTE},
  });
  HostChanges open;
  open.settings.emplace().endpoint_to_host = HostSettings::ToHost::kAccept;
  change(open);
  expect({{"where the host takes what is for it, the stack answers", At::kFromB,
           ethernet(v4(kNowhere4, udp(4001, 53))), bpf::COUNT_FORWARDED}});
}

// What has been pushed out of the table waits for the side that may begin it, and is not ended by the other's packet.
TEST_F(WorkloadPrograms, EndATcpConnectionByAResetOnlyWhereItIsKnown) {
  HostChanges reject;
  reject.settings.emplace().reject = true;
  change(reject);
  const auto out = [](std::uint8_t flags) { return of_a4(6, tcp(4000, 80, flags)); };
  const auto in = [](std::uint8_t flags) { return to_a4(6, tcp(80, 4000, flags)); };
  expect({{"the beginning", At::kFromA, out(kSyn), bpf::COUNT_FORWARDED},
          {"the answer", At::kToA, in(kSyn | kAck), bpf::COUNT_FORWARDED}});
  pins_.forget_connections();
  expect({{"the other side first", At::kToA, in(kAck), bpf::DROP_POLICY},
          {"the side that may begin", At::kFromA, out(kAck), bpf::COUNT_FORWARDED},
          {"and now the other", At::kToA, in(kAck), bpf::COUNT_FORWARDED}});
  HostChanges closed;
  add_pod(closed, "a", a_, kDenyAll, kDenyAll);
  change(closed);
  const auto before = counters();
  EXPECT_EQ(run_program(At::kToA, in(kAck)).answer, 7);  // TC_ACT_REDIRECT: a reset
  const auto after = counters();
  EXPECT_EQ(after[bpf::COUNT_ANSWERED] - before[bpf::COUNT_ANSWERED], 1U);
  EXPECT_EQ(after[bpf::DROP_REVOKED] - before[bpf::DROP_REVOKED], 1U);
}

TEST_F(WorkloadPrograms, AnswerWithErrorsByTheShareOfAnInterface) {
  HostChanges reject;
  reject.settings.emplace().reject = true;
  change(reject);
  const auto frame = to_a4(17, udp(4000, 53));
  const auto before = counters();
  constexpr std::size_t kPackets = 10UL * bpf::EVENT_SHARE;
  run_program(At::kToA, frame, kPackets);
  const auto after = counters();
  EXPECT_EQ(after[bpf::DROP_POLICY] - before[bpf::DROP_POLICY], kPackets);
  const auto answered = after[bpf::COUNT_ANSWERED] - before[bpf::COUNT_ANSWERED];
  EXPECT_GE(answered, std::uint64_t{bpf::EVENT_SHARE});
  EXPECT_LT(answered, kPackets);
}

}  // namespace
}  // namespace ocicat::test
