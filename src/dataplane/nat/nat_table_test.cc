#include "dataplane/nat/nat_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

  SimulatedKernel kernel_;
  NatTable table_{kernel_};
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
  NatTable again(kernel_);
  again.want(come({"192.0.2.1", "2001:db8::1"}));
  again.want(nat_);
  ASSERT_TRUE(again.sync());
  EXPECT_EQ(kernel_.commits(), commits);
  EXPECT_EQ(again.writes(), 0U);
}

TEST_F(Nat, WhatIsNotWantedAfterARestartGoes) {
  table_.want(nat_);
  ASSERT_TRUE(table_.sync());
  NatTable again(kernel_);
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

}  // namespace
}  // namespace ocicat::dataplane
