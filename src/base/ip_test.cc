#include "base/ip.h"

#include <gtest/gtest.h>

namespace ocicat {
namespace {

TEST(IpAddress, ReadsAndPrintsBothFamilies) {
  for (const auto* text :
       {"0.0.0.0", "10.65.0.1", "255.255.255.255", "::", "fd00::1", "fe80::ecee:eeff:feee:eeee"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
}

TEST(IpAddress, RefusesWhatIsNotAnAddress) {
  for (const auto* text : {"", "10.0.0", "10.0.0.256", "010.0.0.1 ", "fe80::1%eth0", "1.2.3.4/32", "::g"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(IpAddress, TakesAMappedAddressForTheIpv4AddressItIs) {
  EXPECT_EQ(IpAddress::parse("::ffff:10.0.0.1"), IpAddress::v4(0x0a000001));
  EXPECT_EQ(Prefix::parse("::ffff:10.0.0.0/104"), Prefix::parse("10.0.0.0/8"));
}

TEST(IpAddress, HasNoNextAfterTheLastOfItsFamily) {
  EXPECT_EQ(IpAddress::parse("10.0.0.255")->next(), IpAddress::parse("10.0.1.0"));
  EXPECT_FALSE(IpAddress::parse("255.255.255.255")->next());
  EXPECT_FALSE(IpAddress::parse("0.0.0.0")->previous());
  EXPECT_FALSE(IpAddress::parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")->next());
}

TEST(Prefix, KnowsItsFirstAndLastAddress) {
  const auto prefix = *Prefix::parse("10.1.2.3/22");
  EXPECT_EQ(prefix.first().to_string(), "10.1.0.0");
  EXPECT_EQ(prefix.last().to_string(), "10.1.3.255");
  EXPECT_EQ(prefix.masked().to_string(), "10.1.0.0/22");
  EXPECT_EQ(Prefix::parse("fd00::1/64")->last().to_string(), "fd00::ffff:ffff:ffff:ffff");
  EXPECT_EQ(Prefix::parse("0.0.0.0/0")->last().to_string(), "255.255.255.255");
}

TEST(Prefix, ContainsNothingOfTheOtherFamily) {
  EXPECT_FALSE(Prefix::parse("::/0")->contains(*IpAddress::parse("10.0.0.1")));
  EXPECT_TRUE(Prefix::parse("::/0")->contains(*IpAddress::parse("fd00::1")));
  EXPECT_TRUE(Prefix::parse("10.0.0.0/8")->contains(*Prefix::parse("10.2.0.0/16")));
  EXPECT_FALSE(Prefix::parse("10.2.0.0/16")->contains(*Prefix::parse("10.0.0.0/8")));
}

TEST(Prefix, RefusesBadLengths) {
  for (const auto* text :
       {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "fd00::/129", "10.0.0.0"}) {
    EXPECT_FALSE(Prefix::parse(text)) << text;
  }
  EXPECT_EQ(Prefix::parse("10.0.0.1", true)->length, 32);
}

}  // namespace
}  // namespace ocicat
