// Maps of the eBPF datapath in words.
#include "views/bpf_maps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "dataplane/ebpf/address_image.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;

std::uint32_t key(std::uint32_t protocol, std::uint32_t detail) {
  return protocol << 16 | detail;
}

TEST(BpfMaps, NameTheKeysOfATableAsPeopleWriteThem) {
  EXPECT_EQ(keys_text(0, key(255, 0xffff)), "all");
  EXPECT_EQ(keys_text(key(6, 0), key(6, 0xffff)), "tcp");
  EXPECT_EQ(keys_text(key(6, 80), key(6, 80)), "tcp/80");
  EXPECT_EQ(keys_text(key(6, 80), key(6, 90)), "tcp/80-90");
  EXPECT_EQ(keys_text(key(7, 0), key(16, 0xffff)), "protocols 7-16");
  EXPECT_EQ(keys_text(key(6, 81), key(17, 52)), "tcp/81-udp/52");
}

TEST(BpfMaps, ListATableRowByRowToItsEnd) {
  const std::vector<bpf::cell> cells{{0, 0},
                                     {3, 0},
                                     {0, ANSWER_DENY | 7},
                                     {key(6, 80), ANSWER_LOG_ALLOW | 8},
                                     {key(6, 81), ANSWER_SOURCE_PORTS | 5},
                                     {1, 0},
                                     {0, ANSWER_ALLOW | 9}};
  const auto rows = rows_of_table(cells, 1);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(json::serialize(rows[0]), R"({"table":1,"keys":"0/0-tcp/79","answer":"deny","outcome":7})");
  EXPECT_EQ(json::serialize(rows[1]), R"({"table":1,"keys":"tcp/80","answer":"log and allow","outcome":8})");
  EXPECT_EQ(json::serialize(rows[2]),
            R"({"table":1,"keys":"tcp/81-255/65535","answer":"by source port: table 5"})");
  EXPECT_EQ(json::serialize(rows_of_table(cells, 5, true)[0]),
            R"({"table":5,"keys":"from port 0-65535","answer":"allow","outcome":9})");
}

TEST(BpfMaps, ShowAnAnswerThatStandsInTheTablesPlace) {
  const auto rows = rows_of_table({}, ANSWER_DENY | 7);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(json::serialize(rows[0]), R"({"keys":"all","answer":"deny","outcome":7})");
  EXPECT_EQ(table_named(ANSWER_DENY | 7), "deny");
  EXPECT_EQ(table_named(7), 7);
}

TEST(BpfMaps, ListATableOfOneKeyAsAnyOther) {
  const std::vector<bpf::cell> cells{{0, 0}, {key(6, 80), ANSWER_ALLOW | 8}, {9, ANSWER_DENY | 3}};
  const auto rows = rows_of_table(cells, TABLE_ONE_KEY | 1);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(json::serialize(rows[0]), R"({"table":1,"keys":"0/0-tcp/79","answer":"ask the base table"})");
  EXPECT_EQ(json::serialize(rows[1]), R"({"table":1,"keys":"tcp/80","answer":"allow","outcome":8})");
  EXPECT_EQ(json::serialize(rows[2]),
            R"({"table":1,"keys":"tcp/81-255/65535","answer":"ask the base table"})");
  EXPECT_EQ(json::serialize(rows_of_table(cells, TABLE_ONE_KEY | 2, true)[1]),
            R"({"table":2,"keys":"from port 9","answer":"deny","outcome":3})");
  EXPECT_EQ(answer_text(ANSWER_SOURCE_PORTS | TABLE_ONE_KEY | 2), "by source port: table 2");
  EXPECT_EQ(table_named(TABLE_ONE_KEY | 1), 1);
  EXPECT_TRUE(rows_of_table(cells, TABLE_ONE_KEY | 3).empty());
}

TEST(BpfMaps, ShowNothingOfATableThatRunsOutOfTheCells) {
  const std::vector<bpf::cell> cells{{0, 0}, {9, 0}, {0, ANSWER_ALLOW}};
  EXPECT_TRUE(rows_of_table(cells, 0).empty());
  EXPECT_TRUE(rows_of_table(cells, 1).empty());
  EXPECT_TRUE(rows_of_table(cells, 3).empty());
}

TEST(BpfMaps, SayOfAConnectionWhoBeganItAndWhereItStands) {
  bpf::connection_key ends{};
  ends.address[0] = dataplane::ebpf::address_of(*IpAddress::parse("10.65.0.2"));
  ends.address[1] = dataplane::ebpf::address_of(*IpAddress::parse("10.65.0.3"));
  ends.port[0] = __builtin_bswap16(80);
  ends.port[1] = __builtin_bswap16(40000);
  ends.protocol = kTcp;
  bpf::connection connection{};
  connection.flags = bpf::CONNECTION_BEGUN_BY_SECOND;
  connection.endpoint[0] = 7;
  connection.endpoint[1] = END_OUTSIDE | 3;
  connection.packets[1] = 2;
  connection.tcp[0] = connection.tcp[1] = bpf::TCP_SEEN_ACK;
  auto told = to_json(ends, connection, 2000);
  EXPECT_EQ(told.at("traffic"), "tcp/80");
  EXPECT_EQ(json::serialize(told.at("source")), R"({"address":"10.65.0.3","port":40000,"way":3})");
  EXPECT_EQ(json::serialize(told.at("destination")), R"({"address":"10.65.0.2","port":80,"endpoint":7})");
  EXPECT_EQ(told.at("state"), "established");
  EXPECT_EQ(told.at("sent"), 2);
  EXPECT_EQ(told.at("idle"), "2.1 s");
  EXPECT_EQ(object_table({told}, {"traffic", "source", "destination"}),
            "TRAFFIC   SOURCE                  DESTINATION\n"
            "tcp/80    10.65.0.3:40000 way 3   10.65.0.2:80 endpoint 7\n");
  connection.flags |= bpf::CONNECTION_DENIED;
  EXPECT_EQ(to_json(ends, connection, 0).at("state"), "denied");
}

TEST(BpfMaps, SayForWhomPlacesAreTaken) {
  const auto told = [](std::uint32_t owner) { return json::serialize(owner_to_json(owner, 4097)); };
  EXPECT_EQ(told(0), R"({"holder":"no workload","places":4097,"many":true})");
  EXPECT_EQ(told(7), R"({"holder":"workload","slot":7,"places":4097,"many":true})");
  EXPECT_EQ(told(bpf::OWNER_AT_HOST | 7),
            R"({"holder":"workload, at host endpoints","slot":7,"places":4097,"many":true})");
  EXPECT_EQ(told(bpf::OWNER_HOST_ENDPOINT | 3),
            R"({"holder":"host endpoint","hostEndpoint":3,"places":4097,"many":true})");
  EXPECT_EQ(told(bpf::OWNER_HOST_FOR_OTHERS),
            R"({"holder":"others, forwarded at host endpoints","places":4097,"many":true})");
  EXPECT_EQ(owner_to_json(7, 4096).at("many"), false);
}

TEST(BpfMaps, KeepTheSlotOfAWorkloadBesideTheFlagsOfAConnectionAtAHost) {
  for (const std::uint32_t slot : {0U, 1U, 255U, 256U, 0xabcU, 4095U}) {
    bpf::connection connection{.flags = 0xf6};
    bpf::set_workload_at_host(&connection, slot);
    EXPECT_EQ(bpf::workload_at_host(&connection), slot);
    EXPECT_EQ(connection.flags & 0x0f, 6);
  }
}

}  // namespace
}  // namespace ocicat::views
