#include "dataplane/ebpf/handover.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include "dataplane/ebpf/address_image.h"
#include "kernel/simulated_bpf.h"
#include "kernel/simulated_connections.h"
#include "policy/model.h"

namespace ocicat::dataplane::ebpf {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint32_t kBatch = 7, kRevoked = 0x20000, kNow = 1'000'000, kTick = 953;  // a second
constexpr std::uint16_t kSlotA = 3, kSlotB = 4;

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

// Workloads a (slot 3) and b (slot 4) are here, as is the host; everybody else is outside.
const IpAddress kA = address("10.65.0.2"), kB = address("10.65.0.3"), kHost = address("192.0.2.1"),
                kOutside = address("10.9.9.9"), kService = address("10.96.0.1");

LocalEnds local_ends() {
  const auto slot = [](const IpAddress& one) -> std::uint32_t {
    return one == kA ? kSlotA : one == kB ? kSlotB : 0;
  };
  return {slot, [](const IpAddress& one) { return one == kHost; }};
}
TakeOver how() {
  return {.now = kNow, .judged = long_before(kBatch), .revoked_mark = kRevoked, .timeouts = timeouts_of({})};
}

GiveBack giving(std::uint32_t now = kNow) {
  return {.now = now, .revoked_mark = kRevoked, .timeouts = timeouts_of({})};
}

kernel::Connection open_tcp(const IpAddress& from, const IpAddress& to) {
  kernel::Connection connection;
  connection.source = connection.seen = from;
  connection.destination = connection.asked = to;
  connection.protocol = kTcp;
  connection.source_port = connection.seen_port = 40000;
  connection.destination_port = connection.asked_port = 80;
  connection.tcp_state = TCP_CONNTRACK_ESTABLISHED;
  connection.answered = connection.assured = true;
  connection.timeout = 400'000;
  return connection;
}

int beginner(const NotedConnection& noted) {
  return (noted.value.flags & bpf::CONNECTION_BEGUN_BY_SECOND) != 0 ? 1 : 0;
}

NotedConnection only(const kernel::Connection& connection) {
  const auto noted = noted_at_workloads(connection, local_ends(), how());
  EXPECT_THAT(noted, SizeIs(1));
  return noted.at(0);
}

TEST(TakingOver, AConnectionIsNotedAtTheWorkloadsThatAreHereAndAsWhoBeganIt) {
  for (const auto& [from, to] : {std::pair{kA, kOutside}, {kOutside, kA}, {kA, kB}, {kB, kA}}) {
    SCOPED_TRACE(from.to_string() + " to " + to.to_string());
    const auto noted = only(open_tcp(from, to));
    const auto by = beginner(noted);
    EXPECT_EQ(address_of(noted.key.address[by]), from);
    EXPECT_EQ(noted.value.endpoint[by], local_ends().slot(from));
    EXPECT_EQ(noted.value.endpoint[by ^ 1], local_ends().slot(to));
    EXPECT_EQ(noted.value.seen, kNow);
  }
}

TEST(TakingOver, WhatHasNothingToDoWithWorkloadsHereIsNotNotedThere) {
  EXPECT_THAT(noted_at_workloads(open_tcp(kOutside, kHost), local_ends(), how()), IsEmpty());
}

TEST(TakingOver, EveryConnectionIsOlderThanAnyChange) {
  const auto noted = only(open_tcp(kA, kOutside));
  for (const std::uint32_t changed : {0U, 1U, kBatch, kBatch + 1'000'000})
    EXPECT_GT(static_cast<std::int32_t>(changed - noted.value.judged), 0) << changed;
}

TEST(TakingOver, OfATranslatedConnectionEachEndKnowsWhatItSees) {
  auto connection = open_tcp(kA, kB);
  connection.asked = kService;
  connection.asked_port = 443;
  const auto noted = noted_at_workloads(connection, local_ends(), how());
  ASSERT_THAT(noted, SizeIs(2));
  EXPECT_EQ(address_of(noted[0].key.address[beginner(noted[0]) ^ 1]), kService);
  EXPECT_EQ(noted[0].value.endpoint[beginner(noted[0])], kSlotA);
  EXPECT_EQ(noted[0].value.endpoint[beginner(noted[0]) ^ 1], 0);
  EXPECT_EQ(address_of(noted[1].key.address[beginner(noted[1])]), kA);
  EXPECT_EQ(noted[1].value.endpoint[beginner(noted[1]) ^ 1], kSlotB);
}

TEST(TakingOver, WhatTheHostSaysAndHearsIsKnownAsThat) {
  EXPECT_TRUE(only(open_tcp(kHost, kA)).value.flags & bpf::CONNECTION_FROM_HOST);
  auto masqueraded = open_tcp(kOutside, kA);
  masqueraded.seen = kHost;
  EXPECT_FALSE(only(masqueraded).value.flags & bpf::CONNECTION_FROM_HOST) << "policy is asked about it";
  EXPECT_TRUE(only(open_tcp(kA, kHost)).value.flags & bpf::CONNECTION_TO_HOST);
  const auto at_host = [](const IpAddress& from, const IpAddress& to) {
    return noted_at_host(open_tcp(from, to), local_ends(), how()).value.flags;
  };
  EXPECT_TRUE(at_host(kOutside, kA) & bpf::HOST_CONNECTION_FORWARDED);
  EXPECT_FALSE(at_host(kOutside, kHost) & bpf::HOST_CONNECTION_FORWARDED);
  EXPECT_TRUE(at_host(kA, kHost) & bpf::HOST_CONNECTION_FROM_WORKLOAD);
  EXPECT_TRUE(at_host(kA, kOutside) & bpf::HOST_CONNECTION_FROM_WORKLOAD);
  EXPECT_FALSE(at_host(kOutside, kA) & bpf::HOST_CONNECTION_FROM_WORKLOAD);
}

TEST(TakingOver, AtHostEndpointsItIsKnownWhichWorkloadItIsOf) {
  const auto of = [](const IpAddress& from, const IpAddress& to) {
    const auto noted = noted_at_host(open_tcp(from, to), local_ends(), how());
    return std::pair(bpf::workload_at_host(&noted.value), bpf::begun_by(&noted.key, &noted.value));
  };
  const auto slot = local_ends().slot(kA);
  EXPECT_EQ(of(kA, kOutside), std::pair(slot, slot));
  EXPECT_EQ(of(kOutside, kA), std::pair(slot, 0U));
  EXPECT_EQ(of(kOutside, kHost), std::pair(0U, 0U));
}

TEST(TakingOver, AnAssociationIsAsFarAsTheKernelSays) {
  auto association = open_tcp(kA, kOutside);
  association.protocol = kSctp;
  association.tcp_state = 0;
  const auto left = [&](kernel::SctpState state) {
    association.sctp_state = state;
    return seconds_left(only(association).value, kSctp, kNow, timeouts_of({}));
  };
  EXPECT_EQ(left(kernel::SctpState::kCookieWait), 20);
  EXPECT_EQ(left(kernel::SctpState::kCookieEchoed), 20);
  EXPECT_EQ(left(kernel::SctpState::kEstablished), 3600);
  EXPECT_EQ(left(kernel::SctpState::kShutdownAckSent), 40);
}

TEST(TakingOver, ADeniedConnectionStaysDenied) {
  auto connection = open_tcp(kA, kOutside);
  connection.mark = kRevoked | 1;
  EXPECT_TRUE(only(connection).value.flags & bpf::CONNECTION_DENIED);
}

TEST(TakingOver, WhoBeganItIsCorrectedAndWhatHasBeenCountedStays) {
  const auto heard = only(open_tcp(kA, kB)).value;
  EXPECT_FALSE(corrected(heard, heard));
  auto mistaken = heard;
  mistaken.flags ^= bpf::CONNECTION_BEGUN_BY_SECOND;
  mistaken.flags |= bpf::CONNECTION_DENIED;
  mistaken.judged = kBatch;
  mistaken.packets[0] = 5;
  const auto right = corrected(mistaken, heard);
  ASSERT_TRUE(right);
  EXPECT_EQ(right->flags, heard.flags);
  EXPECT_EQ(right->judged, heard.judged);
  EXPECT_EQ(right->packets[0], 5U);
  auto opening = heard;
  opening.tcp[0] = bpf::SEEN_ANYTHING | bpf::TCP_SEEN_ACK;
  opening.tcp[1] = 0;
  EXPECT_EQ(corrected(opening, heard)->tcp[1], heard.tcp[1]);
}

kernel::Connection udp(const IpAddress& from, const IpAddress& to) {
  auto connection = open_tcp(from, to);
  connection.protocol = kUdp;
  connection.tcp_state = 0;
  connection.timeout = 30;
  return connection;
}

kernel::Connection ping(const IpAddress& from, const IpAddress& to, std::uint8_t type) {
  auto connection = udp(from, to);
  connection.protocol = from.is_v4() ? kIcmp : kIcmpV6;
  connection.source_port = connection.destination_port = connection.asked_port = connection.seen_port = 0;
  connection.icmp_type = type;
  connection.icmp_id = 0x1234;
  return connection;
}

TEST(GivingBack, TheKernelHearsWhatItHasSaid) {
  const auto a6 = address("fd00::2"), b6 = address("fd00::3");
  const auto ends = LocalEnds{[](const auto&) { return 3U; }, [](const auto&) { return false; }};
  for (const auto& connection : {open_tcp(kA, kOutside), open_tcp(kOutside, kA), udp(kB, kA), ping(kA, kB, 8),
                                 ping(kB, kA, 13), open_tcp(a6, b6), ping(b6, a6, 128)}) {
    const auto noted = noted_at_workloads(connection, ends, how());
    ASSERT_THAT(noted, SizeIs(1));
    const auto back = tracked(noted[0], giving());
    ASSERT_TRUE(back);
    EXPECT_EQ(back->source, connection.source);
    EXPECT_EQ(back->destination, connection.destination);
    EXPECT_EQ(back->source_port, connection.source_port);
    EXPECT_EQ(back->destination_port, connection.destination_port);
    EXPECT_EQ(back->tcp_state, connection.tcp_state);
    EXPECT_EQ(back->icmp_type, connection.icmp_type);
    EXPECT_EQ(back->icmp_id, connection.icmp_id);
    EXPECT_EQ(back->mark, 0U);
  }
}

TEST(GivingBack, ItCountsForAsLongAsItWouldHaveCounted) {
  auto noted = only(udp(kA, kB));
  EXPECT_EQ(tracked(noted, giving(kNow + 20 * kTick))->timeout, 40U);
  EXPECT_FALSE(tracked(noted, giving(kNow + 61 * kTick)));
  noted.value.flags |= bpf::CONNECTION_DENIED;
  EXPECT_EQ(tracked(noted, giving())->mark, kRevoked);
}

class Planning : public testing::Test {
 protected:
  TrackingPlan plan(const std::vector<kernel::Connection>& wanted,
                    const std::vector<kernel::Connection>& there) {
    TrackingPlanner planner;
    for (const auto& connection : wanted) planner.want(only(connection), giving());
    for (const auto& connection : there) planner.hear(connection);
    return planner.take();
  }
  static void expect_nothing(const TrackingPlan& plan) {
    EXPECT_THAT(plan.put, IsEmpty());
    EXPECT_THAT(plan.remove, IsEmpty());
    EXPECT_THAT(plan.mark, IsEmpty());
  }
};

TEST_F(Planning, WhatTheKernelKnowsIsLeftAlone) {
  auto closing = open_tcp(kA, kOutside);
  closing.tcp_state = TCP_CONNTRACK_FIN_WAIT;
  closing.timeout = 10;
  expect_nothing(plan({open_tcp(kA, kOutside)}, {open_tcp(kA, kOutside)}));
  expect_nothing(plan({open_tcp(kA, kOutside)}, {closing}));
  expect_nothing(plan({}, {open_tcp(kA, kOutside)}));
}

TEST_F(Planning, WhatItHasForgottenItIsTold) {
  EXPECT_THAT(plan({open_tcp(kA, kOutside), udp(kA, kB)}, {}).put, SizeIs(2));
}

// It would go on as it is, and not be translated.
TEST_F(Planning, WhatItTranslatesAndHasForgottenBeginsAnew) {
  auto floating = only(udp(kA, kB));
  floating.value.flags |= bpf::CONNECTION_FLOATING;
  auto how = giving();
  how.translates = [](const kernel::Connection& connection) { return connection.source == kA; };
  TrackingPlanner planner;
  planner.want(floating, giving());
  planner.want(only(udp(kA, kOutside)), how);
  expect_nothing(planner.take());
  planner.want(only(udp(kA, kHost)), how);  // not forwarded
  planner.want(only(udp(kOutside, kA)), how);
  EXPECT_THAT(planner.take().put, SizeIs(2));
}

TEST_F(Planning, WhatItIsAboutToForgetItKeeps) {
  auto opening = open_tcp(kA, kB);
  opening.tcp_state = TCP_CONNTRACK_SYN_RECV;
  opening.timeout = 50;
  auto put = plan({open_tcp(kA, kB)}, {opening}).put;
  ASSERT_THAT(put, SizeIs(1));
  EXPECT_EQ(put[0].tcp_state, TCP_CONNTRACK_ESTABLISHED);
  auto fading = udp(kA, kB);
  fading.timeout = 3;
  put = plan({udp(kA, kB)}, {fading}).put;
  ASSERT_THAT(put, SizeIs(1));
  EXPECT_EQ(put[0].timeout, 60U);
}

TEST_F(Planning, WhatItTakesForTheOtherSidesIsMadeAnew) {
  auto mistaken = open_tcp(kB, kA);
  std::swap(mistaken.source_port, mistaken.destination_port);
  std::swap(mistaken.seen_port, mistaken.asked_port);
  const auto made = plan({open_tcp(kA, kB)}, {mistaken});
  EXPECT_THAT(made.remove, SizeIs(1));
  ASSERT_THAT(made.put, SizeIs(1));
  EXPECT_EQ(made.put[0].source, kA);
}

TEST_F(Planning, OfTranslatedOnesTheKernelKnowsBetter) {
  auto translated = open_tcp(kA, kOutside);
  translated.seen = kHost;
  translated.tcp_state = TCP_CONNTRACK_SYN_RECV;
  translated.timeout = 1;
  expect_nothing(plan({open_tcp(kA, kOutside)}, {translated}));
}

TEST_F(Planning, WhatIsDeniedIsMarked) {
  auto denied = open_tcp(kA, kOutside);
  denied.mark = kRevoked;
  EXPECT_THAT(plan({denied}, {open_tcp(kA, kOutside)}).mark, SizeIs(1));
  expect_nothing(plan({denied}, {denied}));
}

// Of one that passes a workload and a host endpoint. At the host, a packet of the middle came first.
TEST_F(Planning, AWorkloadKnowsBetterThanAHostEndpointWhoBeganAndOfTheSameKindTheLater) {
  const auto told = [&](const std::vector<NotedConnection>& noted) {
    TrackingPlanner planner;
    for (const auto& one : noted) planner.want(one, giving(kNow + 2 * kTick));
    const auto put = planner.take().put;
    EXPECT_THAT(put, SizeIs(1));
    return put.empty() ? kernel::Connection{} : put[0];
  };
  const auto at_workload = only(open_tcp(kA, kB));
  auto at_host = at_workload;
  at_host.key.at_host = 1;
  at_host.value.flags ^= bpf::CONNECTION_BEGUN_BY_SECOND;
  at_host.value.seen += kTick;
  for (const auto& noted : {std::vector{at_workload, at_host}, std::vector{at_host, at_workload}})
    EXPECT_EQ(told(noted).source, kA);
  at_host.value.flags |= bpf::CONNECTION_DENIED;
  for (const auto& noted : {std::vector{at_workload, at_host}, std::vector{at_host, at_workload}}) {
    EXPECT_EQ(told(noted).source, kA);
    EXPECT_EQ(told(noted).mark, kRevoked);
  }
  auto later = at_workload;
  later.value.flags ^= bpf::CONNECTION_BEGUN_BY_SECOND;
  later.value.seen += kTick;
  for (const auto& noted : {std::vector{at_workload, later}, std::vector{later, at_workload}})
    EXPECT_EQ(told(noted).source, kB);
}

// Both ways, over a kernel and a map in memory.
TEST(HandOver, SettlesAndThenWritesNothing) {
  kernel::SimulatedConnections kernel;
  kernel.connections = {open_tcp(kA, kOutside), udp(kB, kA), open_tcp(kOutside, kHost)};
  kernel::bpf::SimulatedMap map;
  auto with_host = how();
  with_host.at_host = true;
  EXPECT_EQ(take_connections(kernel, map, local_ends(), with_host).value(), 5U);
  EXPECT_EQ(take_connections(kernel, map, local_ends(), with_host).value(), 0U);
}

TEST(HandOver, AnErrorOfTheKernelIsToldAndNothingIsTakenForDone) {
  kernel::SimulatedConnections kernel;
  kernel.error = Error{ErrorCode::kExhausted, "no memory"};
  kernel::bpf::SimulatedMap map;
  EXPECT_FALSE(take_connections(kernel, map, local_ends(), how()));
  EXPECT_FALSE(give_connections(kernel, map, giving()));
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
