// Frames that somebody has made to be misread: what becomes of each, and what the maps hold afterwards.
#include <netpacket/packet.h>
#include <sys/socket.h>

#include <thread>

#include "bpf/workload_programs.h"

namespace ocicat::test {
namespace {

constexpr Noted kNothing{}, kConnection{1, 0}, kFirstFragment{0, 1}, kBoth{1, 1};
constexpr std::uint16_t kMoreFollow = kMore << 8;
constexpr std::uint8_t kDestinationOptions = 60, kFragmentHeader = 44, kIcmp4 = 1, kIcmp6 = 58;

// Workload b lets in TCP port 80 from kFar4 and kFar6.
class HostileFrames : public WorkloadPrograms {
 protected:
  HostileFrames() {
    HostChanges web;
    add_pod(web, "b", b_, kWebFromClass1, kAllowAll);
    for (const auto far : {kFar4, kFar6})
      web.tables.classes.update(Prefix::host(*IpAddress::parse(far)), policy::ClassId{1});
    change(web);
  }
};

Bytes from_a(const Ipv4& more, const Bytes& payload) {
  auto header = more;
  header.source = kA4;
  header.destination = kFar4;
  return ethernet(ipv4(header, payload));
}
Bytes from_a(std::uint8_t next, const Bytes& payload, int length_off_by = 0) {
  return ethernet(
      ipv6({.source = kA6, .destination = kFar6, .next = next, .length_off_by = length_off_by}, payload));
}
Bytes to_b(const Ipv4& more, const Bytes& payload) {
  auto header = more;
  header.source = kFar4;
  header.destination = kB4;
  return ethernet(ipv4(header, payload));
}
Bytes to_b(std::uint8_t next, const Bytes& payload) {
  return ethernet(ipv6({.source = kFar6, .destination = kB6, .next = next}, payload));
}
Bytes first(const Bytes& bytes, std::size_t size) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

TEST_F(HostileFrames, HaveTheirPortsReadBehindOptionsOfAnyKind) {
  const Bytes port_80{0, 80, 0, 80, 0, 80, 0, 80}, port_81{0, 81, 0, 81, 0, 81, 0, 81};
  const auto options = [](Bytes given, std::uint16_t port) {
    return from_a({.options = std::move(given)}, udp(port, 53));
  };
  const auto web = [](Bytes given, std::uint16_t source, std::uint16_t port) {
    return to_b({.protocol = 6, .options = std::move(given)}, tcp(source, port, kSyn));
  };
  using enum At;
  expect_noting({
      {{"the longest header", kFromA, options(Bytes(40, 1), 1), bpf::COUNT_FORWARDED}, kConnection},
      {{"an end of the list, and more behind it", kFromA, options({0, 255, 255, 255}, 2),
        bpf::COUNT_FORWARDED},
       kConnection},
      {{"an option without its length", kFromA, options({1, 1, 1, 7}, 3), bpf::COUNT_FORWARDED}, kConnection},
      {{"an option longer than the header", kFromA, options({7, 200, 4, 0}, 4), bpf::COUNT_FORWARDED},
       kConnection},
      {{"ports of the options are none", kToB, web(port_80, 5, 81), bpf::DROP_POLICY}, kNothing},
      {{"neither for those who may", kToB, web(port_81, 6, 80), bpf::COUNT_FORWARDED}, kConnection},
      {{"a source route that begins with who may", kToB, web({131, 7, 4, 203, 0, 113, 7, 0}, 7, 81),
        bpf::DROP_POLICY},
       kNothing},
      {{"a source route by the workload to the outside", kToA,
        ethernet(ipv4({.source = kFar4, .destination = kA4, .options = {131, 7, 4, 203, 0, 113, 7, 0}},
                      udp(8, 53))),
        bpf::DROP_POLICY},
       kNothing},
  });
}

TEST_F(HostileFrames, PassOnlyWhereLengthsFit) {
  const Bytes plain = from_a(Ipv4{}, udp(1, 53));
  const auto udp_of = [](std::uint8_t length) { return from_a(Ipv4{}, with(udp(2, 53), 5, length)); };
  const Bytes long_tcp = tcp(3, 80, kSyn, 15);
  using enum At;
  expect_noting({
      {{"a header length that takes the transport header for options", kFromA, with(plain, 14, 0x47),
        bpf::DROP_MALFORMED},
       kNothing},
      {{"one that leaves too little for ports", kFromA, with(plain, 14, 0x48), bpf::DROP_MALFORMED},
       kNothing},
      {{"a packet of no length", kFromA, from_a({.length_off_by = -36}, udp(1, 53)), bpf::DROP_MALFORMED},
       kNothing},
      {{"a packet shorter than its header", kFromA, from_a({.length_off_by = -17}, udp(1, 53)),
        bpf::DROP_MALFORMED},
       kNothing},
      {{"UDP shorter than its header", kFromA, udp_of(7), bpf::DROP_MALFORMED}, kNothing},
      {{"UDP longer than its packet", kFromA, udp_of(17), bpf::DROP_MALFORMED}, kNothing},
      {{"UDP longer than its packet, but not than the frame", kFromA, udp_of(17) + Bytes(8),
        bpf::DROP_MALFORMED},
       kNothing},
      {{"UDP shorter than its packet", kFromA, udp_of(8), bpf::COUNT_FORWARDED}, kConnection},
      {{"a frame with padding behind the packet", kFromA, plain + Bytes(18), bpf::COUNT_FORWARDED},
       kConnection},
      {{"a TCP header longer than its packet", kFromA, from_a({.protocol = 6}, first(long_tcp, 59)),
        bpf::DROP_MALFORMED},
       kNothing},
      {{"the longest TCP header", kFromA, from_a({.protocol = 6}, long_tcp), bpf::COUNT_FORWARDED},
       kConnection},
  });
}

// The kernel does not run programs over these by itself: they are sent.
TEST_F(HostileFrames, CutOffWithinTheirIpHeaderAreDroppedAtTheInterface) {
  const Bytes four = from_a(Ipv4{}, udp(1, 53)), six = from_a(17, udp(1, 53));
  const auto before = counters()[bpf::DROP_MALFORMED];
  std::size_t sent = 0;
  a_.ns().run([&] {
    const UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
    for (const auto& [frame, header] : {std::pair(four, 20U), std::pair(six, 40U)}) {
      for (std::size_t size = 15; size < 14 + header; ++size, ++sent) {
        ASSERT_EQ(
            ::sendto(socket.get(), frame.data(), size, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
            static_cast<ssize_t>(size));
      }
    }
  });
  while (counters()[bpf::DROP_MALFORMED] < before + sent) std::this_thread::yield();
  EXPECT_EQ(sent, 19U + 39U);
}

TEST_F(HostileFrames, AreFollowedAlongExtensionHeadersAsFarAsHonestPacketsHaveThem) {
  const auto chain = [](int count, const Bytes& payload) {
    Bytes bytes;
    for (int i = 1; i <= count; ++i) bytes = bytes + extension(i < count ? kDestinationOptions : 17);
    return from_a(kDestinationOptions, bytes + payload);
  };
  const Bytes three_thousand = extension(kDestinationOptions, 255) + extension(6, 118);
  const auto web = [&](std::uint16_t source, std::uint16_t port) {
    return to_b(kDestinationOptions, three_thousand + tcp(source, port, kSyn));
  };
  const Bytes jumbo = Bytes{17, 0, 0xc2, 4, 0, 1, 0, 0} + udp(8, 53);
  const Bytes authentication = Bytes{17, 4} + Bytes(22);
  const Bytes routing = Bytes{6, 2, 0, 1} + Bytes(20);
  using enum At;
  expect_noting({
      {{"seven headers", kFromA, chain(7, udp(1, 53)), bpf::COUNT_FORWARDED}, kConnection},
      {{"eight", kFromA, chain(8, udp(2, 53)), bpf::DROP_MALFORMED}, kNothing},
      {{"a chain of three thousand bytes before a port that is open", kToB, web(3, 80), bpf::COUNT_FORWARDED},
       kConnection},
      {{"and before one that is not", kToB, web(4, 81), bpf::DROP_POLICY}, kNothing},
      {{"a chain that ends in nothing", kFromA, from_a(kDestinationOptions, extension(59)),
        bpf::COUNT_FORWARDED},
       kConnection},
      {{"the same to who lets in web alone", kToB, to_b(kDestinationOptions, extension(59)),
        bpf::DROP_POLICY},
       kNothing},
      {{"a jumbogram", kFromA, from_a(0, jumbo, -static_cast<int>(jumbo.size())), bpf::DROP_MALFORMED},
       kNothing},
      {{"an authentication header, which is a protocol of its own", kFromA,
        from_a(51, authentication + udp(9, 53)), bpf::COUNT_FORWARDED},
       kConnection},
      {{"the same to who lets in web alone", kToB, to_b(51, with(authentication, 0, 6) + tcp(9, 80, kSyn)),
        bpf::DROP_POLICY},
       kNothing},
      {{"behind options", kToB,
        to_b(kDestinationOptions, extension(51) + with(authentication, 0, 6) + tcp(9, 80, kSyn)),
        bpf::DROP_POLICY},
       kNothing},
      {{"a mobility header that web follows", kToB, to_b(135, extension(6) + tcp(9, 80, kSyn)),
        bpf::DROP_POLICY},
       kNothing},
      {{"a source route, to a port that is not open", kToB, to_b(43, routing + tcp(10, 81, kSyn)),
        bpf::DROP_POLICY},
       kNothing},
      {{"hop by hop in the middle", kFromA,
        from_a(kDestinationOptions, extension(0) + extension(17) + udp(11, 53)), bpf::COUNT_FORWARDED},
       kConnection},
      {{"a fragment header that ends its chain", kFromA,
        from_a(kFragmentHeader, fragment_header(kDestinationOptions, 1, 7) + extension(17)),
        bpf::DROP_MALFORMED},
       kNothing},
      {{"IPv6 in IPv6, that speaks of web within", kToB,
        to_b(41, ipv6({.source = kFar6, .destination = kB6, .next = 6}, tcp(12, 80, kSyn))),
        bpf::DROP_POLICY},
       kNothing},
  });
}

TEST_F(HostileFrames, OfOverlappingFragmentsChangeNothingThatWasJudged) {
  const auto four = [](std::uint16_t flags_and_offset, const Bytes& payload) {
    return to_b({.protocol = 6, .fragment = flags_and_offset}, payload);
  };
  const auto six = [](std::uint16_t offset_and_more, const Bytes& payload, std::uint8_t next = 6) {
    return to_b(kFragmentHeader, fragment_header(next, offset_and_more, 9) + payload);
  };
  const Bytes open = tcp(1, 80, kSyn) + Bytes(4), closed = tcp(1, 81, kSyn) + Bytes(4);
  const auto behind_options = [](std::uint16_t offset_and_more, const Bytes& payload) {
    return to_b(kFragmentHeader, fragment_header(kDestinationOptions, offset_and_more, 11) + payload);
  };
  const auto of_a = [](std::uint8_t protocol, std::uint16_t flags_and_offset, const Bytes& payload) {
    return from_a({.protocol = protocol, .fragment = flags_and_offset}, payload);
  };
  using enum At;
  expect_noting({
      {{"the first, to a port that is open", kToB, four(kMoreFollow, open), bpf::COUNT_FORWARDED}, kBoth},
      {{"another first, to one that is not", kToB, four(kMoreFollow, closed), bpf::DROP_POLICY}, kNothing},
      {{"over sequence numbers and flags", kToB, four(1, Bytes(16, 0xff)), bpf::DROP_FRAGMENT}, kNothing},
      {{"over the checksum", kToB, four(2, Bytes(16, 0xff)), bpf::DROP_FRAGMENT}, kNothing},
      {{"behind the header, over what the first carries", kToB, four(3, Bytes(16)), bpf::COUNT_FORWARDED},
       kNothing},
      {{"over that again", kToB, four(3 | kMoreFollow, Bytes(24)), bpf::COUNT_FORWARDED}, kNothing},
      {{"beyond the largest packet", kToB, four(0x1fff, Bytes(64)), bpf::COUNT_FORWARDED}, kNothing},
      {{"the first again", kToB, four(kMoreFollow, open), bpf::COUNT_FORWARDED}, kNothing},
      {{"IPv6: the first, to a port that is open", kToB, six(1, open), bpf::COUNT_FORWARDED}, kBoth},
      {{"IPv6: another first, to one that is not", kToB, six(1, closed), bpf::DROP_POLICY}, kNothing},
      {{"IPv6: over sequence numbers and flags", kToB, six(8, Bytes(16, 0xff)), bpf::DROP_FRAGMENT},
       kNothing},
      {{"IPv6: over the checksum", kToB, six(16 | 1, Bytes(16, 0xff)), bpf::DROP_FRAGMENT}, kNothing},
      {{"IPv6: behind the header", kToB, six(24, Bytes(16)), bpf::COUNT_FORWARDED}, kNothing},
      {{"IPv6: beyond the largest packet", kToB, six(0xfff8, Bytes(64)), bpf::COUNT_FORWARDED}, kNothing},
      {{"IPv6: over the ports, as if of another protocol", kToB, six(8, Bytes(16), 17), bpf::DROP_FRAGMENT},
       kNothing},
      {{"options before the header", kToB, behind_options(1, extension(6) + open), bpf::COUNT_FORWARDED},
       kFirstFragment},
      {{"over the ports behind them", kToB, behind_options(8, closed), bpf::DROP_FRAGMENT}, kNothing},
      {{"over the checksum behind them", kToB, behind_options(24, Bytes(16)), bpf::DROP_FRAGMENT}, kNothing},
      {{"behind it all", kToB, behind_options(32, Bytes(16)), bpf::COUNT_FORWARDED}, kNothing},
      {{"another first without options", kToB, to_b(kFragmentHeader, fragment_header(6, 1, 11) + open),
        bpf::COUNT_FORWARDED},
       kNothing},
      {{"which makes none shorter", kToB, behind_options(24, Bytes(16)), bpf::DROP_FRAGMENT}, kNothing},
      {{"SCTP", kFromA, of_a(132, kMoreFollow, sctp(1, 2, {kData, kSack})), bpf::COUNT_FORWARDED}, kBoth},
      {{"over its first chunk", kFromA, of_a(132, 1, Bytes(16)), bpf::DROP_FRAGMENT}, kNothing},
      {{"over its second", kFromA, of_a(132, 2, Bytes(16)), bpf::DROP_FRAGMENT}, kNothing},
      {{"behind it", kFromA, of_a(132, 3, Bytes(16)), bpf::COUNT_FORWARDED}, kNothing},
      {{"UDP", kFromA, of_a(17, kMoreFollow, udp(1, 53)), bpf::COUNT_FORWARDED}, kBoth},
      {{"behind its header", kFromA, of_a(17, 1, Bytes(16)), bpf::COUNT_FORWARDED}, kNothing},
  });
}

TEST_F(HostileFrames, OfIcmpInIcmpPassOnlyForWhatIsOpen) {
  const Bytes sent4 = ipv4({.source = kA4, .destination = kFar4}, udp(4000, 53));
  const Bytes sent6 = ipv6({.source = kA6, .destination = kFar6, .next = 60}, extension(17) + udp(4000, 53));
  const auto error4 = [](const Bytes& about, std::uint16_t fragment = 0) {
    return ethernet(
        ipv4({.source = "198.51.100.1", .destination = kA4, .protocol = kIcmp4, .fragment = fragment},
             icmp(3, 3, 0, about)));
  };
  const auto error6 = [](const Bytes& about) {
    return ethernet(
        ipv6({.source = "2001:db8:e::1", .destination = kA6, .next = kIcmp6}, icmp(1, 4, 0, about)));
  };
  const auto from4 = [](const Bytes& message) {
    return ipv4({.source = kA4, .destination = kFar4, .protocol = kIcmp4}, message);
  };
  const auto from6 = [](const Bytes& message) {
    return ipv6({.source = kA6, .destination = kFar6, .next = kIcmp6}, message);
  };
  const Bytes later = ipv4({.source = kA4, .destination = kFar4, .fragment = 2}, Bytes(16));
  const Bytes got4 = ipv4({.source = kFar4, .destination = kA4}, udp(53, 4000));
  const Bytes got6 = ipv6({.source = kFar6, .destination = kA6}, udp(53, 4000));
  const auto of_a4_to = [](std::string_view to, const Bytes& about) {
    return ethernet(ipv4({.source = kA4, .destination = to, .protocol = kIcmp4}, icmp(3, 3, 0, about)));
  };
  const auto of_a6_to = [](std::string_view to, const Bytes& about) {
    return ethernet(ipv6({.source = kA6, .destination = to, .next = kIcmp6}, icmp(1, 4, 0, about)));
  };
  using enum At;
  expect_noting({
      {{"a packet", kFromA, ethernet(sent4), bpf::COUNT_FORWARDED}, kConnection},
      {{"an error about it", kToA, error4(sent4), bpf::COUNT_FORWARDED}, kNothing},
      {{"an error about its answer, to who sends that", kFromA, of_a4_to(kFar4, got4), bpf::COUNT_FORWARDED},
       kNothing},
      {{"the same to somebody else", kFromA, of_a4_to("203.0.113.8", got4), bpf::DROP_INVALID}, kNothing},
      {{"an error about an error about it", kToA, error4(from4(icmp(3, 3, 0, sent4))), bpf::DROP_INVALID},
       kNothing},
      {{"an error about a question that nobody has asked", kToA, error4(from4(icmp(8, 0, 5))),
        bpf::DROP_INVALID},
       kNothing},
      {{"a question", kFromA, ethernet(from4(icmp(8, 0, 5))), bpf::COUNT_FORWARDED}, kConnection},
      {{"an error about it", kToA, error4(from4(icmp(8, 0, 5))), bpf::COUNT_FORWARDED}, kNothing},
      {{"an error about an answer", kToA, error4(from4(icmp(0, 0, 5))), bpf::DROP_INVALID}, kNothing},
      {{"an error about a later fragment", kToA, error4(later), bpf::DROP_INVALID}, kNothing},
      {{"an error about a packet of the other family", kToA, error4(sent6), bpf::DROP_INVALID}, kNothing},
      {{"the first fragment of an error", kToA, error4(sent4, kMoreFollow), bpf::COUNT_FORWARDED}, kNothing},
      {{"which nothing follows", kToA,
        ethernet(ipv4({.source = "198.51.100.1", .destination = kA4, .protocol = kIcmp4, .fragment = 5},
                      Bytes(8))),
        bpf::DROP_FRAGMENT},
       kNothing},
      {{"IPv6: a packet", kFromA, ethernet(sent6), bpf::COUNT_FORWARDED}, kConnection},
      {{"IPv6: an error about it, extension headers and all", kToA, error6(sent6), bpf::COUNT_FORWARDED},
       kNothing},
      {{"IPv6: an error about its answer, to who sends that", kFromA, of_a6_to(kFar6, got6),
        bpf::COUNT_FORWARDED},
       kNothing},
      {{"IPv6: the same to somebody else", kFromA, of_a6_to("2001:db8:f::8", got6), bpf::DROP_INVALID},
       kNothing},
      {{"IPv6: to one whose address ends as that one's", kFromA, of_a6_to("2001:db8:e::7", got6),
        bpf::DROP_INVALID},
       kNothing},
      {{"IPv6: quoted no further than those", kToA, error6(first(sent6, 48)), bpf::DROP_INVALID}, kNothing},
      {{"IPv6: an error about an error about it", kToA, error6(from6(icmp(1, 4, 0, sent6))),
        bpf::DROP_INVALID},
       kNothing},
      {{"IPv6: an error about a packet of the other family", kToA, error6(sent4), bpf::DROP_INVALID},
       kNothing},
      {{"an error of IPv4 in IPv6, as of any other protocol", kToA,
        ethernet(ipv6({.source = kFar6, .destination = kA6, .next = kIcmp4}, icmp(3, 3, 0, sent6))),
        bpf::DROP_POLICY},
       kNothing},
  });
}

// Whoever receives a packet refuses it for a wrong checksum: programs neither trust one nor mend it.
TEST_F(HostileFrames, WithWrongChecksumsAreJudgedAsAnyAndStayWrong) {
  HostChanges open;
  add_pod(open, "b", b_, kAllowAll, kAllowAll);
  change(open);
  const Ipv4 to_b_of_a{.source = kA4, .destination = kB4};
  const Bytes right = summed_up(ethernet(ipv4(to_b_of_a, udp(7, 53))));
  const Bytes wrong_header = with(right, 24, right[24] ^ 0x55), wrong_udp = with(right, 41, right[41] ^ 0x55);
  EXPECT_TRUE(is_summed_up(right));
  using enum At;
  expect_noting({
      {{"a wrong header checksum", kFromA, wrong_header, bpf::COUNT_FORWARDED}, kConnection},
      {{"at the receiver", kToB, wrong_header, bpf::COUNT_FORWARDED}, kNothing},
  });
  for (const auto& frame : {right, wrong_header, wrong_udp}) {
    const auto done = run_program(kFromA, frame);
    EXPECT_EQ(done.answer, 7);  // TC_ACT_REDIRECT: past the stack, which would have looked
    EXPECT_EQ(is_summed_up(done.frame), frame == right);
  }
  const auto far = [](std::uint8_t flags) { return to_b({.protocol = 6}, tcp(80, 4000, flags)); };
  EXPECT_FALSE(is_summed_up(far(kRst)));
  expect_noting({
      {{"an answer with a wrong checksum to nothing", kToA, to_a4(6, tcp(80, 4000, kSyn | kAck)),
        bpf::DROP_INVALID},
       kNothing},
      {{"a reset with a wrong checksum of nothing", kToB, far(kRst), bpf::DROP_INVALID}, kNothing},
  });
}

}  // namespace
}  // namespace ocicat::test
