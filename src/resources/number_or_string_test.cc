#include "resources/number_or_string.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <map>

namespace ocicat {
namespace {

TEST(ReadPort, TakesNumbersRangesAndNames) {
  const std::map<std::string, Port> ports{
      {"80", PortRange{80, 80}},          {"0", PortRange{0, 0}},
      {"65535", PortRange{65535, 65535}}, {R"("80")", PortRange{80, 80}},
      {R"("80:90")", PortRange{80, 90}},  {R"("0:65535")", PortRange{0, 65535}},
      {R"("http")", std::string("http")}, {R"("8080-tcp_x.y")", std::string("8080-tcp_x.y")},
  };
  for (const auto& [text, port] : ports) EXPECT_EQ(read_port(boost::json::parse(text)), port) << text;
}

TEST(ReadPort, RefusesAllElse) {
  for (const std::string text : {"-1", "65536", "80.0", "true", "null", "[]", "{}", R"("")", R"("65536")",
                                 R"("90:80")", R"("80:")", R"(":80")", R"("a:b")", R"("1:2:3")", R"("a b")",
                                 R"("http/1")", R"("99999999999999999999")", "18446744073709551615"}) {
    EXPECT_FALSE(read_port(boost::json::parse(text))) << text;
  }
  EXPECT_FALSE(read_port(boost::json::value(std::string(129, 'a'))));
  EXPECT_TRUE(read_port(boost::json::value(std::string(128, 'a'))));
}

TEST(ReadProtocol, TakesNumbersAndExactNames) {
  const std::map<std::string, ProtocolMatch> protocols{
      {"6", {6, false}},
      {"255", {255, false}},
      {R"("17")", {17, false}},
      {R"("TCP")", {6, false}},
      {R"("UDP")", {17, false}},
      {R"("SCTP")", {132, false}},
      {R"("UDPLite")", {136, false}},
  };
  for (const auto& [text, protocol] : protocols)
    EXPECT_EQ(read_protocol(boost::json::parse(text)), protocol) << text;
  for (const std::string text : {"0", "256", "-1", R"("tcp")", R"("")", R"("0")", R"("256")", "6.0", "[]"}) {
    EXPECT_FALSE(read_protocol(boost::json::parse(text))) << text;
  }
}

TEST(ReadProtocol, ImpliesAFamilyOnlyByName) {
  EXPECT_EQ(read_protocol("ICMP"), (ProtocolMatch{1, true}));
  EXPECT_EQ(read_protocol("ICMPv6"), (ProtocolMatch{58, true}));
  EXPECT_EQ(read_protocol(1), (ProtocolMatch{1, false}));
  EXPECT_EQ(read_protocol("58"), (ProtocolMatch{58, false}));
}

}  // namespace
}  // namespace ocicat
