#include "views/traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ocicat::views {
namespace {

TEST(Traffic, ReadsAProtocolAndAPortInAnyCase) {
  const auto traffic = parse_traffic("TCP/8080");
  ASSERT_TRUE(traffic) << traffic.error().message;
  EXPECT_EQ(traffic->protocol, kTcp);
  EXPECT_EQ(traffic->port, 8080);
  EXPECT_EQ(traffic->family, std::nullopt);
}

TEST(Traffic, IcmpByNameIsAnEchoRequestOfItsFamily) {
  const auto v4 = parse_traffic("icmp");
  const auto v6 = parse_traffic("icmpv6");
  ASSERT_TRUE(v4 && v6);
  EXPECT_EQ(v4->icmp_type, 8);
  EXPECT_EQ(v4->family, Family::kIpv4);
  EXPECT_EQ(v6->icmp_type, 128);
  EXPECT_EQ(v6->family, Family::kIpv6);
}

TEST(Traffic, IcmpByNumberImpliesNoFamily) {
  const auto traffic = parse_traffic("1/3/1");
  ASSERT_TRUE(traffic) << traffic.error().message;
  EXPECT_EQ(traffic->icmp_type, 3);
  EXPECT_EQ(traffic->icmp_code, 1);
  EXPECT_EQ(traffic->family, std::nullopt);
}

TEST(Traffic, TextParsesBackToTheSame) {
  for (const char* text : {"tcp/80", "udp/53", "sctp/1", "udplite/65535", "icmp/8/0", "icmp/3/4",
                           "icmpv6/128/0", "1/8/0", "58/1/0", "47", "255", "tcp", "sctp"}) {
    const auto traffic = parse_traffic(text);
    ASSERT_TRUE(traffic) << text;
    EXPECT_EQ(traffic->to_string(), text);
    EXPECT_EQ(*parse_traffic(traffic->to_string()), *traffic) << text;
  }
}

TEST(Traffic, RefusesWhatIsNoTraffic) {
  for (const char* text : {"", "/", "6/", "tcp/", "tcp/0", "tcp/65536", "tcp/80/1", "tcp/http", "0", "256",
                           "gre", "47/1", "icmp/256", "icmp/8/0/0", "icmp/-1", "tcp/80 "}) {
    const auto traffic = parse_traffic(text);
    ASSERT_FALSE(traffic) << text;
    EXPECT_EQ(traffic.error().code, ErrorCode::kInvalid);
    EXPECT_NE(traffic.error().message.find(text), std::string::npos) << "the message names what was typed";
  }
}

TEST(Traffic, AProtocolAloneMeansEveryPortWhereItHasPorts) {
  for (const char* text : {"6", "tcp", "17", "udp", "132", "136"}) {
    const auto traffic = parse_traffic(text);
    ASSERT_TRUE(traffic) << traffic.error().message;
    EXPECT_TRUE(traffic->every_port()) << text;
  }
  EXPECT_EQ(*parse_traffic("6"), *parse_traffic("tcp"));
  EXPECT_EQ(*parse_traffic("6/80"), *parse_traffic("tcp/80"));
  for (const char* text : {"tcp/80", "47", "1", "icmp"})
    EXPECT_FALSE(parse_traffic(text)->every_port()) << text;
}

TEST(Traffic, AListIsOfPacketsSoEachNeedsItsPort) {
  EXPECT_THAT(parse_traffic_list("tcp/80,udp").error().message, testing::HasSubstr("udp/80"));
}

TEST(Traffic, AListHoldsEachOnce) {
  const auto list = parse_traffic_list("tcp/80,udp/53,TCP/80");
  ASSERT_TRUE(list);
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ((*list)[1].protocol, kUdp);
  EXPECT_FALSE(parse_traffic_list("tcp/80,"));
}

TEST(Traffic, APacketHasPortsOnlyWhereTheProtocolHas) {
  const IpAddress a = *IpAddress::parse("10.0.0.1");
  const IpAddress b = *IpAddress::parse("10.0.0.2");
  const policy::Packet tcp = parse_traffic("tcp/80")->packet(a, b, 1234);
  EXPECT_EQ(tcp.source_port, 1234);
  EXPECT_EQ(tcp.destination_port, 80);
  const policy::Packet gre = parse_traffic("47")->packet(a, b, 1234);
  EXPECT_EQ(gre.source_port, 0);
  EXPECT_EQ(gre.protocol, 47);
}

}  // namespace
}  // namespace ocicat::views
