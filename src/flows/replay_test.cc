// What nftables logs, and what the decision tables say of it.
#include <gtest/gtest.h>
#include <linux/netfilter.h>

#include <random>

#include "flows/headers.h"
#include "flows/replay.h"

namespace ocicat::flows {
namespace {

using policy::Direction;
using policy::OutcomeId;
using policy::Verdict;

std::vector<std::uint8_t> udp4(const char* from, const char* to, std::uint16_t port) {
  std::vector<std::uint8_t> packet(28);
  packet[0] = 0x45;
  packet[3] = 28;
  packet[9] = kUdp;
  const auto put = [&](std::size_t at, const char* address) {
    const auto bytes = IpAddress::parse(address)->bytes();
    std::copy(bytes.end() - 4, bytes.end(), packet.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(12, from);
  put(16, to);
  packet[20] = 0x9c;
  packet[22] = static_cast<std::uint8_t>(port >> 8);
  packet[23] = static_cast<std::uint8_t>(port);
  return packet;
}

TEST(Headers, AreReadAsFarAsTheyGo) {
  auto packet = udp4("10.65.0.2", "10.65.0.3", 53);
  const auto whole = headers_of(packet);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->packet.source, IpAddress::parse("10.65.0.2"));
  EXPECT_EQ(whole->packet.destination_port, 53);
  EXPECT_EQ(whole->size, 28U);
  packet.resize(22);
  EXPECT_EQ(headers_of(packet)->packet.destination_port, 0);
  packet.resize(19);
  EXPECT_FALSE(headers_of(packet));

  std::vector<std::uint8_t> six(40 + 8 + 4);
  six[0] = 0x60;
  six[6] = 0;  // hop-by-hop options, then ICMPv6
  six[40] = kIcmpV6;
  six[48] = 128;
  ASSERT_TRUE(headers_of(six));
  EXPECT_EQ(headers_of(six)->packet.protocol, kIcmpV6);
  EXPECT_EQ(headers_of(six)->packet.icmp_type, 128);
}

TEST(Headers, TakeAnyBytes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 100'000; ++i) {
    std::vector<std::uint8_t> bytes(random() % 128);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    if (!bytes.empty() && random() % 2 == 0)
      bytes[0] = static_cast<std::uint8_t>((random() % 2 == 0 ? 0x40 : 0x60) | bytes[0] % 16);
    headers_of(bytes);
  }
}

// Two workloads: `a` may send anywhere, `b` is sent to by nobody and may send nowhere.
class Replayed : public testing::Test {
 protected:
  Replayed() {
    using namespace policy;
    HostChanges changes;
    auto& tables = changes.tables;
    tables.outcomes.update(OutcomeId{1}, {Verdict::kAllow, {}});
    tables.outcomes.update(OutcomeId{2}, {Verdict::kDeny, {}});
    tables.tables.update(TableId{1}, {{{0, kLastTableKey, OutcomeId{1}, {}}}});
    tables.tables.update(TableId{2}, {{{0, kLastTableKey, OutcomeId{2}, {}}}});
    tables.programs.update(ProgramId{1}, {VocabularyId{1}, TableId{1}});
    tables.programs.update(ProgramId{2}, {VocabularyId{1}, TableId{2}});
    const auto add = [&](const char* name, const char* address, ProgramId ingress, ProgramId egress) {
      changes.endpoints.update({Kind::kPod, "shop", name},
                               {name, {{*IpAddress::parse(address), ingress, egress}}});
    };
    add("a", "10.65.0.2", ProgramId{1}, ProgramId{1});
    add("b", "10.65.0.3", ProgramId{2}, ProgramId{2});
    replay_.update(changes);
  }
  std::vector<Event> events(const char* prefix, const std::vector<std::uint8_t>& packet,
                            std::uint8_t hook = NF_INET_FORWARD) const {
    std::vector<Event> events;
    const kernel::LoggedPacket logged{prefix, hook, 7, 8, {}, packet};
    replay_.events_of(logged, [&](const Event& event) { events.push_back(event); });
    return events;
  }
  Replay replay_{[](std::uint32_t index) { return fmt::format("eth{}", index); }};
};

OutcomeId outcome(Event event, Direction end) {
  return event.outcome(end);
}

TEST_F(Replayed, ARefusalIsToldByTheEndThatRefuses) {
  const auto at_receiver = events("policy", udp4("10.65.0.2", "10.65.0.3", 53));
  ASSERT_EQ(at_receiver.size(), 1U);
  EXPECT_EQ(at_receiver[0].end, Direction::kIngress);
  EXPECT_EQ(outcome(at_receiver[0], Direction::kIngress), OutcomeId{2});
  EXPECT_EQ(outcome(at_receiver[0], Direction::kEgress), OutcomeId{});
  EXPECT_EQ(at_receiver[0].reason, Reason::kPolicy);
  const auto at_sender = events("policy", udp4("10.65.0.3", "10.65.0.2", 53));
  ASSERT_EQ(at_sender.size(), 1U);
  EXPECT_EQ(at_sender[0].end, Direction::kEgress);
  EXPECT_EQ(outcome(at_sender[0], Direction::kEgress), OutcomeId{2});
}

TEST_F(Replayed, AFlowThatBeginsIsToldAtEachEndHere) {
  const auto far = events("allowed", udp4("10.65.0.2", "203.0.113.1", 53));
  ASSERT_EQ(far.size(), 1U);
  EXPECT_EQ(outcome(far[0], Direction::kEgress), OutcomeId{1});
  EXPECT_EQ(events("allowed", udp4("10.65.0.2", "10.65.0.3", 53)).size(), 2U);
}

TEST_F(Replayed, WhereTheTablesSayOtherwiseByNowNoOutcomeIsNamed) {
  const auto refused = events("policy", udp4("10.65.0.2", "203.0.113.1", 53));
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].outcomes, (std::array<OutcomeId, 2>{}));
  const auto begun = events("allowed", udp4("10.65.0.2", "10.65.0.3", 53));
  EXPECT_EQ(outcome(begun[1], Direction::kIngress), OutcomeId{});
}

// Host endpoint `first` denies all, `second`, which has the interface, allows what it sends and denies what it is sent.
class ReplayedAtHosts : public Replayed {
 protected:
  ReplayedAtHosts() {
    using namespace policy;
    HostChanges changes;
    changes.tables.outcomes.update(OutcomeId{3}, {Verdict::kDeny, {}});
    changes.tables.tables.update(TableId{3}, {{{0, kLastTableKey, OutcomeId{3}, {}}}});
    changes.tables.programs.update(ProgramId{3}, {VocabularyId{1}, TableId{3}});
    for (std::uint32_t i = 1; i <= 3; ++i)
      changes.tables.chains.update(ChainId{i}, {VocabularyId{1}, ProgramId{i}});
    const auto add = [&](const char* name, std::uint32_t ingress, std::uint32_t egress) {
      HostEndpointState state;
      for (auto& chains : state.chains) {
        chains[index_of(Hook{ChainKind::kNormal, Direction::kIngress})] = ChainId{ingress};
        chains[index_of(Hook{ChainKind::kNormal, Direction::kEgress})] = ChainId{egress};
      }
      changes.host_endpoints.update(key(name), state);
    };
    add("first", 2, 2);
    add("second", 3, 1);
    replay_.update(changes);
    dataplane::HostInterfaces interfaces;
    interfaces.by_name = {{"eth0", key("first")}, {"eth1", key("second")}};
    replay_.update(interfaces);
  }
  static ResourceKey key(const char* name) { return {Kind::kHostEndpoint, "", name}; }
  std::vector<Event> events_at(const char* prefix, std::uint8_t hook, std::uint32_t came_by,
                               std::uint32_t leaves_by, const char* to = "203.0.113.1") const {
    std::vector<Event> events;
    const auto packet = udp4("192.0.2.1", to, 53);
    replay_.events_of({prefix, hook, came_by, leaves_by, {}, packet},
                      [&](const Event& event) { events.push_back(event); });
    return events;
  }
};

TEST_F(ReplayedAtHosts, TheHostEndpointOfTheInterfaceSaysWhy) {
  const auto in = events_at("policy", NF_INET_LOCAL_IN, 1, 0);
  ASSERT_EQ(in.size(), 1U);
  EXPECT_EQ(outcome(in[0], Direction::kIngress), OutcomeId{3});
  EXPECT_FALSE(in[0].from_host);
  const auto elsewhere = events_at("policy", NF_INET_LOCAL_IN, 5, 0);
  ASSERT_EQ(elsewhere.size(), 1U);
  EXPECT_EQ(elsewhere[0].outcomes, (std::array<OutcomeId, 2>{}));
}

TEST_F(ReplayedAtHosts, WhatTheHostBeginsIsToldByItsEnd) {
  for (const auto hook : {NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING}) {
    const auto out = events_at("allowed", static_cast<std::uint8_t>(hook), 0, 1);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_TRUE(out[0].from_host);
    EXPECT_EQ(out[0].end, Direction::kEgress);
    EXPECT_EQ(out[0].interface, 1U);
    EXPECT_EQ(outcome(out[0], Direction::kEgress), OutcomeId{1});
  }
  const auto to_workload = events_at("allowed", NF_INET_LOCAL_OUT, 0, 7, "10.65.0.2");
  ASSERT_EQ(to_workload.size(), 1U);
  EXPECT_EQ(to_workload[0].end, Direction::kIngress);
  EXPECT_EQ(to_workload[0].outcomes, (std::array<OutcomeId, 2>{}));
}

TEST_F(ReplayedAtHosts, WhatPolicyBeforeTranslationHasAllowedIsNamedByWhatWasAskedFor) {
  using namespace policy;
  std::optional<kernel::Asked> asked;
  Replay replay([](std::uint32_t) { return std::string("eth0"); }, [&](const Packet&) { return asked; });
  HostChanges changes;
  changes.settings = HostSettings{};
  changes.tables.outcomes.update(OutcomeId{1}, {Verdict::kAllow, {}});
  changes.tables.outcomes.update(OutcomeId{2}, {Verdict::kDeny, {}});
  constexpr auto kPort = std::uint32_t{kUdp} << 16 | 5300;
  changes.tables.tables.update(TableId{1}, {{{0, kPort - 1, OutcomeId{2}, {}},
                                             {kPort, kPort, OutcomeId{1}, {}},
                                             {kPort + 1, kLastTableKey, OutcomeId{2}, {}}}});
  changes.tables.programs.update(ProgramId{1}, {VocabularyId{1}, TableId{1}});
  changes.tables.chains.update(ChainId{1}, {VocabularyId{1}, ProgramId{1}});
  HostEndpointState state;
  for (auto& chains : state.chains)
    chains[index_of(Hook{ChainKind::kPreDnat, Direction::kIngress})] = ChainId{1};
  changes.host_endpoints.update(key("first"), state);
  replay.update(changes);
  dataplane::HostInterfaces interfaces;
  interfaces.by_name = {{"eth0", key("first")}};
  replay.update(interfaces);
  const auto packet = udp4("192.0.2.1", "203.0.113.1", 53);
  const auto told = [&](std::uint32_t mark) {
    OutcomeId of{};
    replay.events_of({"allowed", NF_INET_LOCAL_IN, 1, 0, {}, packet, mark},
                     [&](const Event& event) { of = outcome(event, Direction::kIngress); });
    return of;
  };
  EXPECT_EQ(told(changes.settings->accept_mark), OutcomeId{});
  asked = {.address = *IpAddress::parse("203.0.113.1"), .port = 5300};
  EXPECT_EQ(told(changes.settings->accept_mark), OutcomeId{1});
  EXPECT_EQ(told(0), OutcomeId{});
}

TEST_F(Replayed, OtherReasonsNameNoOutcome) {
  const auto spoofed = events("spoofed", udp4("10.0.0.1", "10.65.0.3", 53), NF_INET_PRE_ROUTING);
  ASSERT_EQ(spoofed.size(), 1U);
  EXPECT_EQ(spoofed[0].reason, Reason::kSpoofed);
  EXPECT_EQ(spoofed[0].end, Direction::kEgress);
  EXPECT_EQ(spoofed[0].outcomes, (std::array<OutcomeId, 2>{}));
  EXPECT_TRUE(events("spoofed", {}).empty());
}

}  // namespace
}  // namespace ocicat::flows
