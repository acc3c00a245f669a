#include "lab/ports.h"

#include <gtest/gtest.h>

namespace ocicat::lab {
namespace {

TEST(Ports, AreReadWithAndWithoutNames) {
  const auto ports = parse_ports("http=tcp/80, udp/53,sctp/81,icmp");
  ASSERT_TRUE(ports.has_value()) << ports.error().message;
  EXPECT_EQ(*ports,
            (std::vector<NamedPort>{{"http", kTcp, 80}, {"", kUdp, 53}, {"", kSctp, 81}, {"", kIcmp, 0}}));
  EXPECT_EQ((*ports)[0].to_string(), "tcp/80");
  EXPECT_EQ((*ports)[3].to_string(), "icmp");
  EXPECT_EQ(ports_text(*ports), "http=tcp/80,udp/53,sctp/81,icmp");
}

TEST(Ports, NonsenseIsRefusedByName) {
  for (const auto* text :
       {"tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/80x", "ftp/21", "80", "tcp/-1", "x=icmp"}) {
    const auto ports = parse_ports(text);
    ASSERT_FALSE(ports.has_value()) << text;
    EXPECT_NE(ports.error().message.find(text), std::string::npos);
  }
}

TEST(Ports, AnEmptyTextIsAnEmptyList) {
  EXPECT_TRUE(parse_ports("")->empty());
}

TEST(Labels, AreReadAndAKeyIsNeeded) {
  EXPECT_EQ(*parse_labels("app=db, pci=true,empty="),
            (Labels{{"app", "db"}, {"pci", "true"}, {"empty", ""}}));
  EXPECT_FALSE(parse_labels("app").has_value());
  EXPECT_FALSE(parse_labels("=x").has_value());
  EXPECT_FALSE(parse_labels("a=1,a=2").has_value());
}

TEST(PodAddresses, AreOneAFamilyOfThoseThatAPodCanHave) {
  EXPECT_TRUE(parse_pod_addresses("")->empty());
  EXPECT_EQ(parse_pod_addresses("10.65.0.9, fd65::9")->size(), 2U);
  EXPECT_EQ(parse_pod_addresses("192.0.2.1")->front().to_string(), "192.0.2.1");
  for (const char* text :
       {"10.65.0.300", "10.65.0.9,10.65.0.10", "fd65::1,fd65::2", "127.0.0.1", "0.0.0.0", "224.0.0.1",
        "169.254.1.1", "172.31.0.1", "::", "::1", "fe80::1", "ff02::1", "fd31::1"}) {
    EXPECT_FALSE(parse_pod_addresses(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace ocicat::lab
