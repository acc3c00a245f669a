#include "dataplane/overlay/ipip.h"

#include <gtest/gtest.h>

#include <random>

#include "kernel/simulated_tunnels.h"

namespace ocicat::dataplane {
namespace {

class IpipTest : public testing::Test {
 protected:
  IpipTest() {
    kernel_.parents[device_.host] = {.index = 7, .mtu = 1500};
    ipip_.want(device_);
  }
  kernel::SimulatedTunnels::Device& there() { return kernel_.devices.begin()->second; }

  IpipDevice device_{
      .host = *IpAddress::parse("192.0.2.1"), .address = IpAddress::parse("10.65.1.0"), .mtu = 0};
  kernel::SimulatedTunnels kernel_;
  Ipip ipip_{kernel_};
};

TEST_F(IpipTest, ComesUpWithTheMtuThatTheHostLeavesAndItsNodesAddress) {
  ASSERT_TRUE(ipip_.sync());
  ASSERT_EQ(kernel_.devices.size(), 1);
  EXPECT_EQ(there().name, "tunl0");
  EXPECT_TRUE(there().link.up);
  EXPECT_EQ(there().link.mtu, 1480);
  EXPECT_EQ(there().addresses, std::set{*device_.address});
  device_.mtu = 1300;
  device_.address.reset();
  ipip_.want(device_);
  ASSERT_TRUE(ipip_.sync());
  EXPECT_EQ(there().link.mtu, 1300);
  EXPECT_TRUE(there().addresses.empty());
}

TEST_F(IpipTest, IsLeftAloneAsLongAsItIsAsItShouldBe) {
  ASSERT_TRUE(ipip_.sync());
  const auto changes = kernel_.changes;
  Ipip restarted(kernel_);
  restarted.want(device_);
  ASSERT_TRUE(restarted.sync());
  ASSERT_TRUE(restarted.retire());
  EXPECT_EQ(kernel_.changes, changes);
}

TEST_F(IpipTest, IsTakenDownOnceNobodyWantsItEvenByAnotherAgentThanTheOneThatBroughtItUp) {
  ASSERT_TRUE(ipip_.sync());
  Ipip restarted(kernel_);
  ASSERT_TRUE(restarted.sync());
  EXPECT_TRUE(there().link.up) << "routes may still lead through it";
  ASSERT_TRUE(restarted.retire());
  EXPECT_FALSE(there().link.up);
  EXPECT_TRUE(there().addresses.empty());
  restarted.want(device_);
  ASSERT_TRUE(restarted.sync());
  EXPECT_TRUE(there().link.up);
}

TEST_F(IpipTest, ThatSomebodyElseHasBroughtUpStaysUpWithItsAddresses) {
  ASSERT_TRUE(kernel_.create_ipip("tunl0"));
  ASSERT_TRUE(kernel_.raise(there().link.index, 1400));
  const auto theirs = *IpAddress::parse("198.51.100.1");
  there().addresses = {theirs};
  ASSERT_TRUE(ipip_.sync());
  EXPECT_EQ(there().link.mtu, 1480);
  ipip_.want(std::nullopt);
  ASSERT_TRUE(ipip_.retire());
  EXPECT_TRUE(there().link.up);
  EXPECT_EQ(there().addresses, std::set{theirs});
}

TEST_F(IpipTest, IsMendedWhereSomebodyHasTakenItDown) {
  ASSERT_TRUE(ipip_.sync());
  there().link.up = false;
  ipip_.distrust();
  ASSERT_TRUE(ipip_.sync());
  EXPECT_TRUE(there().link.up);
}

// Whatever fails, it is as wanted once failures end.
TEST_F(IpipTest, PropertyEndsAsWantedAfterAnyFailures) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 generator(seed);
  const auto random = [&] { return static_cast<std::uint32_t>(generator()); };
  for (int round = 0; round < 200; ++round) {
    const bool wanted = random() % 3 != 0;
    device_.mtu = 1300 + random() % 3;
    device_.address = IpAddress::v4(0x0a410000U + random() % 3);
    ipip_.want(wanted ? std::optional(device_) : std::nullopt);
    kernel_.fail_when = [&](int) {
      return random() % 4 == 0 ? std::optional(Error{ErrorCode::kInternal, "as told"}) : std::nullopt;
    };
    (void)ipip_.sync();
    (void)ipip_.retire();
    kernel_.fail_when = {};
    ASSERT_TRUE(ipip_.sync());
    ASSERT_TRUE(ipip_.retire());
    ASSERT_EQ(!kernel_.devices.empty() && there().link.up, wanted);
    if (!wanted) continue;
    ASSERT_EQ(there().link.mtu, device_.mtu);
    ASSERT_EQ(there().addresses, std::set{*device_.address});
  }
}

}  // namespace
}  // namespace ocicat::dataplane
