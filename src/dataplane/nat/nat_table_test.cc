#include "dataplane/nat/nat_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/simulated_connections.h"
#include "kernel/simulated_nft.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::SimulatedKernel;
using testing::IsEmpty;
using testing::SizeIs;

Prefix net(std::string_view text) {
  return *Prefix::parse(text);
}
IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

class Nat : public testing::Test {
 protected:
  Nat() {
    nat_.sources = {net("10.65.0.0/16"), net("fd00:65::/64")};
    nat_.inside = {net("10.65.0.0/16"), net("10.66.0.0/16"), net("fd00:65::/64")};
  }
  // Nothing: there is no table.
  std::size_t rules() {
    const auto shape = kernel_.read_shape();
    EXPECT_TRUE(shape);
    return *shape ? (*shape)->rules_by_chain.at("nat_outgoing").size() : 0;
  }
  static Changes<IpAddress, network::Peer> come(std::initializer_list<std::string_view> hosts) {
    Changes<IpAddress, network::Peer> changes;
    for (const auto host : hosts) changes.update(address(host), {});
    return changes;
  }

  static Changes<IpAddress, IpAddress> floats(
      std::initializer_list<std::pair<std::string_view, std::string_view>> to) {
    Changes<IpAddress, IpAddress> changes;
    for (const auto& [floating, own] : to) {
      if (own.empty()) {
        changes.remove(address(floating));
      } else {
        changes.update(address(floating), address(own));
      }
    }
    return changes;
  }
  void begin(std::string_view asked, std::string_view destination) {
    connections_.connections.push_back({.source = address("192.0.2.7"),
                                        .destination = address(destination),
                                        .protocol = 17,
                                        .asked = address(asked)});
  }
  // To whom the connections that are still known were begun.
  std::vector<std::string> known() {
    std::vector<std::string> asked;
    for (const auto& connection : connections_.connections) asked.push_back(connection.asked.to_string());
    return asked;
  }

  SimulatedKernel kernel_;
  kernel::SimulatedConnections connections_;
  NatTable table_{kernel_, connections_};
  HostSettings::NatOutgoing nat_;
};

TEST_F(Nat, ThereIsATableOnlyWhereAPoolAsks) {
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(kernel_.commits(), 0);
  table_.want(nat_);
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(rules(), 5U);
  nat_.sources.clear();
  table_.want(nat_);
  ASSERT_TRUE(table_.sync());
  EXPECT_FALSE(*kernel_.read_shape());
}

TEST_F(Nat, WhatIsRightAfterARestartIsLeftAlone) {
  nat_.hosts_inside = true;
  table_.want(nat_);
  table_.want(come({"192.0.2.1", "2001:db8::1"}));
  ASSERT_TRUE(table_.sync());
  const auto commits = kernel_.commits();
  NatTable again(kernel_, connections_);
  again.want(come({"192.0.2.1", "2001:db8::1"}));
  again.want(nat_);
  ASSERT_TRUE(again.sync());
  EXPECT_EQ(kernel_.commits(), commits);
  EXPECT_EQ(again.writes(), 0U);
}

TEST_F(Nat, WhatIsNotWantedAfterARestartGoes) {
  table_.want(nat_);
  ASSERT_TRUE(table_.sync());
  NatTable again(kernel_, connections_);
  ASSERT_TRUE(again.sync());
  EXPECT_FALSE(*kernel_.read_shape());
}

TEST_F(Nat, AHostThatComesIsOneElement) {
  nat_.hosts_inside = true;
  table_.want(nat_);
  table_.want(come({"192.0.2.1"}));
  ASSERT_TRUE(table_.sync());
  const auto writes = table_.writes();
  table_.want(come({"192.0.2.2"}));
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(table_.writes(), writes + 1);
  EXPECT_THAT(kernel_.elements("hosts4"), SizeIs(2));
  EXPECT_THAT(kernel_.elements("hosts6"), IsEmpty());
  Changes<IpAddress, network::Peer> gone;
  gone.remove(address("192.0.2.1"));
  table_.want(gone);
  ASSERT_TRUE(table_.sync());
  EXPECT_THAT(kernel_.elements("hosts4"), SizeIs(1));
}

TEST_F(Nat, WhatSomebodyElseSpoiledIsMended) {
  nat_.hosts_inside = true;
  table_.want(nat_);
  table_.want(come({"192.0.2.1"}));
  ASSERT_TRUE(table_.sync());
  kernel_.elements("hosts4").clear();
  table_.distrust();
  ASSERT_TRUE(table_.sync());
  EXPECT_THAT(kernel_.elements("hosts4"), SizeIs(1));
  kernel_.drop_table();
  table_.distrust();
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(rules(), 7U);
}

TEST_F(Nat, WhatFailedIsTriedAgainAfterAReading) {
  for (const bool lose_answer : {false, true}) {
    nat_.ports = {20000, lose_answer ? std::uint16_t{30000} : std::uint16_t{29999}};
    table_.want(nat_);
    bool failing = true;
    kernel_.fail_when([&](int) -> std::optional<SimulatedKernel::Fault> {
      if (!failing) return std::nullopt;
      return SimulatedKernel::Fault{{ErrorCode::kExhausted, "no memory"}, lose_answer};
    });
    EXPECT_FALSE(table_.sync());
    failing = false;
    ASSERT_TRUE(table_.sync());
    EXPECT_EQ(rules(), 9U);  // from each source TCP, UDP and the rest
  }
}

TEST_F(Nat, AFloatingAddressThatComesOrGoesIsTwoElements) {
  table_.want(floats({{"172.16.0.5", "10.65.0.1"}, {"fd00:172::5", "fd00:65::1"}}));
  ASSERT_TRUE(table_.sync());
  auto writes = table_.writes();
  table_.want(floats({{"172.16.0.6", "10.65.0.2"}}));
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(table_.writes(), writes + 2);
  EXPECT_THAT(kernel_.elements("floating4"), SizeIs(2));
  EXPECT_THAT(kernel_.elements("hairpin4"), SizeIs(2));
  EXPECT_THAT(kernel_.elements("floating6"), SizeIs(1));
  writes = table_.writes();
  table_.want(floats({{"172.16.0.5", ""}}));
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(table_.writes(), writes + 2);
  EXPECT_THAT(kernel_.elements("floating4"), SizeIs(1));
}

TEST_F(Nat, AWorkloadWithSeveralSeesItselfByTheFirst) {
  table_.want(floats({{"172.16.0.6", "10.65.0.1"}, {"172.16.0.5", "10.65.0.1"}}));
  ASSERT_TRUE(table_.sync());
  ASSERT_THAT(kernel_.elements("hairpin4"), SizeIs(1));
  EXPECT_EQ(kernel_.elements("hairpin4").begin()->data.be32_at(0), 0xac100005U);
}

TEST_F(Nat, TheTableGoesWithTheLastFloatingAddress) {
  table_.want(floats({{"172.16.0.5", "10.65.0.1"}}));
  ASSERT_TRUE(table_.sync());
  table_.want(floats({{"172.16.0.5", ""}}));
  ASSERT_TRUE(table_.sync());
  EXPECT_FALSE(*kernel_.read_shape());
}

TEST_F(Nat, WhatLeavesThePoolsIsTranslatedWhereNoInterfaceDecides) {
  const auto translates = [&](std::string_view source, std::string_view destination) {
    return table_.translates(address(source), address(destination));
  };
  nat_.hosts_inside = true;
  table_.want(nat_);
  table_.want(come({"192.0.2.1"}));
  EXPECT_TRUE(translates("10.65.0.1", "192.0.2.7"));
  EXPECT_FALSE(translates("10.65.0.1", "10.66.0.1"));
  EXPECT_FALSE(translates("10.65.0.1", "192.0.2.1"));
  EXPECT_FALSE(translates("10.66.0.1", "192.0.2.7"));
  nat_.interface = "eth0";
  table_.want(nat_);
  EXPECT_FALSE(translates("10.65.0.1", "192.0.2.7"));
}

TEST_F(Nat, FloatingAddressesLeadWhereTheyDoWhilePoolsComeAndGo) {
  table_.want(floats({{"172.16.0.5", "10.65.0.1"}}));
  ASSERT_TRUE(table_.sync());
  table_.want(nat_);
  ASSERT_TRUE(table_.sync());
  EXPECT_EQ(rules(), 5U);
  nat_.sources.clear();
  table_.want(nat_);
  ASSERT_TRUE(table_.sync());
  EXPECT_FALSE((*kernel_.read_shape())->chains.contains("nat_outgoing"));
  EXPECT_THAT(kernel_.elements("floating4"), SizeIs(1));
  EXPECT_THAT(kernel_.pulled_away(), IsEmpty());
}

TEST_F(Nat, ConnectionsThatLeadElsewhereByNowBeginAnew) {
  begin("172.16.0.5", "10.65.0.1");
  begin("172.16.0.6", "10.65.0.2");
  begin("172.16.0.7", "172.16.0.7");   // from before it was anybody's
  begin("198.51.100.1", "10.65.0.1");  // by somebody else's port mapping
  table_.want(
      floats({{"172.16.0.5", "10.65.0.1"}, {"172.16.0.6", "10.65.0.2"}, {"172.16.0.7", "10.65.0.3"}}));
  ASSERT_TRUE(table_.sync());
  EXPECT_THAT(known(), testing::ElementsAre("172.16.0.5", "172.16.0.6", "198.51.100.1"));
  table_.want(floats({{"172.16.0.5", "10.65.0.9"}, {"172.16.0.6", ""}}));
  ASSERT_TRUE(table_.sync());
  EXPECT_THAT(known(), testing::ElementsAre("198.51.100.1"));
}

TEST_F(Nat, WhatHasMovedWhileNobodyLookedIsForgottenAsWell) {
  table_.want(
      floats({{"172.16.0.5", "10.65.0.1"}, {"172.16.0.6", "10.65.0.2"}, {"fd00:172::5", "fd00:65::1"}}));
  ASSERT_TRUE(table_.sync());
  begin("172.16.0.5", "10.65.0.1");
  begin("172.16.0.6", "10.65.0.2");
  begin("fd00:172::5", "fd00:65::1");
  NatTable again(kernel_, connections_);
  again.want(floats({{"172.16.0.5", "10.65.0.1"}}));
  ASSERT_TRUE(again.sync());
  EXPECT_THAT(known(), testing::ElementsAre("172.16.0.5"));
}

TEST_F(Nat, WhatCouldNotBeForgottenIsTriedAgain) {
  begin("172.16.0.5", "10.65.0.9");
  connections_.error = Error{ErrorCode::kExhausted, "no memory"};
  table_.want(floats({{"172.16.0.5", "10.65.0.1"}}));
  EXPECT_FALSE(table_.sync());
  connections_.error.reset();
  ASSERT_TRUE(table_.sync());
  EXPECT_THAT(known(), IsEmpty());
}

}  // namespace
}  // namespace ocicat::dataplane
