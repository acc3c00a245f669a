#include "policy/simulator.h"

#include <gtest/gtest.h>

namespace ocicat::policy {
namespace {

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

Outcome outcome(Verdict verdict) {
  return {verdict, {}};
}

// One program: everyone is denied; 10.0.0.0/8 may reach TCP 80, from source port 53 everything of TCP.
Tables tables() {
  Tables result;
  result.outcomes = {{OutcomeId{1}, outcome(Verdict::kDeny)}, {OutcomeId{2}, outcome(Verdict::kAllow)}};
  result.tables[TableId{1}] = {{{0, kLastTableKey, OutcomeId{1}, {}}}};
  result.tables[TableId{2}] = {{{table_key(kTcp, 0), table_key(kTcp, 79), {}, TableId{3}},
                                {table_key(kTcp, 80), table_key(kTcp, 80), OutcomeId{2}, {}}}};
  result.tables[TableId{3}] = {
      {{0, 52, OutcomeId{1}, {}}, {53, 53, OutcomeId{2}, {}}, {54, 0xffff, OutcomeId{1}, {}}}};
  result.programs[ProgramId{1}] = {VocabularyId{1}, TableId{1}};
  result.classes = {{*Prefix::parse("10.0.0.0/8"), ClassId{1}}, {*Prefix::parse("10.1.0.1/32"), ClassId{2}}};
  result.projections = {{{VocabularyId{1}, ClassId{1}}, ProjectionId{1}}};
  result.tables_by_projection = {{{ProgramId{1}, ProjectionId{1}}, TableId{2}}};
  return result;
}

Verdict look_up(std::string_view peer, std::uint16_t source_port, std::uint16_t port,
                Protocol protocol = kTcp) {
  const auto all = tables();
  const Packet packet{address(peer), address("10.9.9.9"), protocol, source_port, port};
  return Simulator(all).lookup(ProgramId{1}, packet.source, packet).verdict;
}

TEST(Simulator, AsksTheTableOfTheProjectionFirstAndThenTheBase) {
  EXPECT_EQ(look_up("10.0.0.1", 1000, 80), Verdict::kAllow);
  EXPECT_EQ(look_up("10.0.0.1", 1000, 81), Verdict::kDeny);
  EXPECT_EQ(look_up("10.0.0.1", 1000, 80, kUdp), Verdict::kDeny);
  EXPECT_EQ(look_up("192.0.2.1", 1000, 80), Verdict::kDeny);
}

TEST(Simulator, GoesOnToSourcePortsWhereTheIntervalLeadsThere) {
  EXPECT_EQ(look_up("10.0.0.1", 53, 7), Verdict::kAllow);
  EXPECT_EQ(look_up("10.0.0.1", 54, 7), Verdict::kDeny);
}

TEST(Simulator, TheLongestPrefixGivesTheClass) {
  const auto all = tables();
  const Simulator simulator(all);
  EXPECT_EQ(simulator.class_of(address("10.0.0.1")), ClassId{1});
  EXPECT_EQ(simulator.class_of(address("10.1.0.1")), ClassId{2});
  EXPECT_EQ(simulator.class_of(address("11.0.0.1")), ClassId{});
  EXPECT_EQ(simulator.class_of(address("::a00:1")), ClassId{});
}

TEST(Simulator, AProgramThatIsNotThereDenies) {
  const auto all = tables();
  const Packet packet{address("10.0.0.1"), address("10.9.9.9")};
  EXPECT_EQ(Simulator(all).lookup(ProgramId{9}, packet.source, packet), Outcome{});
}

TEST(TableKey, IsThePortTheIcmpTypeAndCodeOrNothing) {
  EXPECT_EQ(table_key(Packet{.protocol = kSctp, .destination_port = 7}), kSctp << 16 | 7U);
  EXPECT_EQ(table_key(Packet{.protocol = kUdpLite, .destination_port = 7}), kUdpLite << 16 | 7U);
  EXPECT_EQ(table_key(Packet{.protocol = kIcmp, .destination_port = 7, .icmp_type = 8, .icmp_code = 1}),
            0x010801U);
  EXPECT_EQ(table_key(Packet{.protocol = 47, .destination_port = 7}), 47U << 16);
}

}  // namespace
}  // namespace ocicat::policy
