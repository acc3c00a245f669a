// Packets between workloads of one host that know each other by floating addresses: as they come to the
// programs before the stack has translated them, and behind it.
#include "bpf/workload_programs.h"
#include "dataplane/ebpf/address_image.h"

namespace ocicat::test {
namespace {

constexpr auto kFloat4 = "172.16.0.5"sv, kFloatOfA4 = "172.16.0.6"sv, kFloat6 = "fd17::5"sv;

class FloatingPrograms : public WorkloadPrograms {
 protected:
  FloatingPrograms() {
    lead(kFloat4, kB4);
    lead(kFloatOfA4, kA4);
    lead(kFloat6, kB6);
  }
  void lead(std::string_view floating, std::string_view own) {
    HostChanges changes;
    changes.floating.update(*IpAddress::parse(floating), *IpAddress::parse(own));
    change(changes);
  }
  void take_back(std::string_view floating) {
    HostChanges changes;
    changes.floating.remove(*IpAddress::parse(floating));
    change(changes);
  }
  static Bytes tcp4(std::string_view from, std::string_view to, std::uint16_t source,
                    std::uint16_t destination, std::uint8_t flags) {
    return ethernet(
        ipv4({.source = from, .destination = to, .protocol = 6}, tcp(source, destination, flags)));
  }
};

TEST_F(FloatingPrograms, AreOneConnectionWithWhatTheStackMakesOfThem) {
  expect_noting({
      {{"SYN", At::kFromA, tcp4(kA4, kFloat4, 9, 80, kSyn), bpf::COUNT_FORWARDED}, {1, 0}},
      {{"at b, translated", At::kToB, tcp4(kA4, kB4, 9, 80, kSyn), bpf::COUNT_FORWARDED}, {}},
      {{"SYN, ACK of b", At::kFromB, tcp4(kB4, kA4, 80, 9, kSyn | kAck), bpf::COUNT_FORWARDED}, {}},
      {{"at a, translated back", At::kToA, tcp4(kFloat4, kA4, 80, 9, kSyn | kAck), bpf::COUNT_FORWARDED}, {}},
      {{"ACK", At::kFromA, tcp4(kA4, kFloat4, 9, 80, kAck), bpf::COUNT_FORWARDED}, {}},
      {{"ACK of b, which is not redirected", At::kFromB, tcp4(kB4, kA4, 80, 9, kAck), bpf::COUNT_FORWARDED},
       {}},
      {{"and at a", At::kToA, tcp4(kFloat4, kA4, 80, 9, kAck), bpf::COUNT_FORWARDED}, {}},
      {{"FIN", At::kFromA, tcp4(kA4, kFloat4, 9, 80, kFin | kAck), bpf::COUNT_FORWARDED}, {}},
  });
  const auto six = [](std::string_view from, std::string_view to, const Bytes& payload) {
    return ethernet(ipv6({.source = from, .destination = to}, payload));
  };
  expect_noting({
      {{"IPv6", At::kFromA, six(kA6, kFloat6, udp(7, 53)), bpf::COUNT_FORWARDED}, {1, 0}},
      {{"at b", At::kToB, six(kA6, kB6, udp(7, 53)), bpf::COUNT_FORWARDED}, {}},
      {{"back", At::kFromB, six(kB6, kA6, udp(53, 7)), bpf::COUNT_FORWARDED}, {}},
      {{"back at a", At::kToA, six(kFloat6, kA6, udp(53, 7)), bpf::COUNT_FORWARDED}, {}},
  });
}

TEST_F(FloatingPrograms, AreJudgedAndToldByTheOwnAddress) {
  events();
  EXPECT_EQ(run(At::kFromA, tcp4(kA4, kFloat4, 9, 80, kSyn)), -1);
  auto told = events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(dataplane::ebpf::address_of(told[0].destination), *IpAddress::parse(kB4));
  EXPECT_EQ(dataplane::ebpf::address_of(told[0].source), *IpAddress::parse(kA4));
  // Nobody may come to a.
  expect({{"to a", At::kFromB, tcp4(kB4, kFloatOfA4, 9, 80, kSyn), bpf::COUNT_FORWARDED},
          {"at a", At::kToA, tcp4(kB4, kA4, 9, 80, kSyn), bpf::DROP_POLICY}});
  HostChanges closed;
  add_pod(closed, "a", a_, kDenyAll, kDenyAll);
  change(closed);
  expect({{"once a may send nothing", At::kFromA, tcp4(kA4, kFloat4, 9, 80, kAck), bpf::DROP_REVOKED},
          {"and what is new", At::kFromA, tcp4(kA4, kFloat4, 10, 80, kSyn), bpf::DROP_POLICY}});
}

TEST_F(FloatingPrograms, ReachTheirOwnSender) {
  expect_noting({
      {{"b asks itself", At::kFromB, tcp4(kB4, kFloat4, 9, 80, kSyn), bpf::COUNT_FORWARDED}, {1, 0}},
      {{"seen by the floating address", At::kToB, tcp4(kFloat4, kB4, 9, 80, kSyn), bpf::COUNT_FORWARDED}, {}},
      {{"answers that", At::kFromB, tcp4(kB4, kFloat4, 80, 9, kSyn | kAck), bpf::COUNT_FORWARDED}, {}},
      {{"is answered from it", At::kToB, tcp4(kFloat4, kB4, 80, 9, kSyn | kAck), bpf::COUNT_FORWARDED}, {}},
  });
}

TEST_F(FloatingPrograms, LetErrorsAndFragmentsFindTheirConnection) {
  const auto error = [](std::string_view from, std::string_view to, const Bytes& about) {
    return ethernet(ipv4({.source = from, .destination = to, .protocol = 1}, icmp(3, 3, 0, about)));
  };
  const auto sent = ipv4({.source = kA4, .destination = kFloat4}, udp(7, 9));
  const auto answered = ipv4({.source = kFloat4, .destination = kA4}, udp(9, 7));
  const auto fragment = [](std::uint16_t flags_and_offset, const Bytes& payload) {
    return ethernet(ipv4({.source = kA4, .destination = kFloat4, .fragment = flags_and_offset}, payload));
  };
  expect({
      {"about nothing that is known", At::kToA, error(kFloat4, kA4, sent), bpf::DROP_INVALID},
      {"the packet", At::kFromA, ethernet(sent), bpf::COUNT_FORWARDED},
      {"an error about it", At::kToA, error(kFloat4, kA4, sent), bpf::COUNT_FORWARDED},
      {"from a router", At::kToA, error("192.0.2.7", kA4, sent), bpf::COUNT_FORWARDED},
      {"an error about the answer", At::kFromA, error(kA4, kFloat4, answered), bpf::COUNT_FORWARDED},
  });
  expect_noting({
      {{"a first fragment", At::kFromA, fragment(kMore << 8, udp(7, 9)), bpf::COUNT_FORWARDED}, {0, 1}},
      {{"one that follows", At::kFromA, fragment(2, Bytes(16)), bpf::COUNT_FORWARDED}, {}},
  });
  const auto echo = [](std::string_view from, std::string_view to, std::uint8_t type) {
    return ethernet(ipv4({.source = from, .destination = to, .protocol = 1}, icmp(type, 0, 5)));
  };
  expect_noting({
      {{"a ping", At::kFromA, echo(kA4, kFloat4, 8), bpf::COUNT_FORWARDED}, {1, 0}},
      {{"at b", At::kToB, echo(kA4, kB4, 8), bpf::COUNT_FORWARDED}, {}},
      {{"its answer", At::kFromB, echo(kB4, kA4, 0), bpf::COUNT_FORWARDED}, {}},
      {{"at a", At::kToA, echo(kFloat4, kA4, 0), bpf::COUNT_FORWARDED}, {}},
  });
}

// What was open to the address while it was anybody's.
TEST_F(FloatingPrograms, AreSoFromTheNextPacketOn) {
  constexpr auto kComes = "203.0.113.9"sv;
  expect_noting(
      {{{"to whom it was", At::kFromA, tcp4(kA4, kComes, 9, 80, kSyn), bpf::COUNT_FORWARDED}, {1, 0}}});
  lead(kComes, kB4);
  expect_noting({{{"to b", At::kFromA, tcp4(kA4, kComes, 9, 80, kAck), bpf::COUNT_FORWARDED}, {1, 0}},
                 {{"at b", At::kToB, tcp4(kA4, kB4, 9, 80, kAck), bpf::COUNT_FORWARDED}, {}}});
  take_back(kComes);
  expect_noting(
      {{{"to whom it was", At::kFromA, tcp4(kA4, kComes, 11, 80, kSyn), bpf::COUNT_FORWARDED}, {1, 0}},
       {{"and back", At::kToA, tcp4(kComes, kA4, 80, 11, kSyn | kAck), bpf::COUNT_FORWARDED}, {}}});
}

}  // namespace
}  // namespace ocicat::test
