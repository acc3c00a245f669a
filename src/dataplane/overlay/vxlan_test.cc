#include "dataplane/overlay/vxlan.h"

#include <gtest/gtest.h>

#include <random>

#include "kernel/simulated_tunnels.h"
#include "test/support/random.h"

namespace ocicat::dataplane {
namespace {

IpAddress ip(const std::string& text) {
  return *IpAddress::parse(text);
}
IpAddress host(std::uint32_t number) {
  return IpAddress::v4(0xc0000200U + number);
}
network::Vtep vtep(std::uint32_t number, std::uint8_t mac = 0) {
  MacAddress address{{0x66, mac, 0, 0, 0, static_cast<std::uint8_t>(number)}};
  return {IpAddress::v4(0x0a410000U + number), address};
}

class VxlanTest : public testing::Test {
 protected:
  VxlanTest() {
    kernel_.parents[host(1)] = {.index = 7, .mtu = 1500};
    vxlan_.want(device_);
  }
  void set(std::uint32_t number, const network::Vtep& end) {
    Changes<IpAddress, network::Peer> changes;
    changes.update(host(number), network::Peer{.vtep = end});
    vxlan_.want(changes);
  }
  void remove(std::uint32_t number) {
    Changes<IpAddress, network::Peer> changes;
    changes.remove(host(number));
    vxlan_.want(changes);
  }
  // Around the routes, of which there are none here.
  Result<void> settle() {
    TRY_VOID(vxlan_.sync());
    return vxlan_.retire();
  }
  const kernel::SimulatedTunnels::Device& there() const { return kernel_.devices.begin()->second; }

  VxlanDevice device_{.end = vtep(1), .host = host(1), .vni = 4096, .port = 4789, .mtu = 0};
  kernel::SimulatedTunnels kernel_;
  Vxlan vxlan_{kernel_, Family::kIpv4};
};

TEST_F(VxlanTest, IsMadeWithTheMtuThatItsParentLeaves) {
  ASSERT_TRUE(vxlan_.sync());
  ASSERT_EQ(kernel_.devices.size(), 1);
  EXPECT_EQ(there().name, "vxlan.calico");
  EXPECT_TRUE(there().link.up);
  EXPECT_EQ(there().link.mtu, 1450);
  EXPECT_EQ(
      there().link.config,
      (kernel::VxlanConfig{.mac = vtep(1).mac, .local = host(1), .parent = 7, .vni = 4096, .port = 4789}));
  EXPECT_EQ(there().addresses, std::set{vtep(1).address});
}

TEST_F(VxlanTest, LeavesChecksumsToNobodyWhereTheKernelMakesWrongOnes) {
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_TRUE(there().offloads);
  EXPECT_EQ(vxlan_.note(), "");
  kernel_.is_old = true;
  vxlan_.distrust_device();
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_FALSE(there().offloads);
  EXPECT_EQ(vxlan_.note(), "vxlan.calico does not offload checksums: this kernel makes wrong ones");
  // Whoever knows better says so.
  device_.checksum_offload_broken = false;
  vxlan_.want(device_);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_TRUE(there().offloads);
  kernel_.is_old = false;
  device_.checksum_offload_broken = true;
  vxlan_.want(device_);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_FALSE(there().offloads);
  EXPECT_EQ(vxlan_.note(), "vxlan.calico does not offload checksums: featureDetectOverride asks for it");
  device_.checksum_offload_broken.reset();
  vxlan_.want(device_);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_TRUE(there().offloads);
  // What somebody has turned off by hand stays so.
  kernel_.devices.begin()->second.offloads = false;
  vxlan_.distrust_device();
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_FALSE(there().offloads);
  EXPECT_EQ(vxlan_.note(), "vxlan.calico does not offload checksums: somebody has turned it off");
}

TEST_F(VxlanTest, ThatIsAsItShouldBeIsLeftAlone) {
  set(2, vtep(2));
  ASSERT_TRUE(vxlan_.sync());
  const auto changes = kernel_.changes;
  Vxlan restarted(kernel_, Family::kIpv4);
  restarted.want(device_);
  Changes<IpAddress, network::Peer> peers;
  peers.update(host(2), network::Peer{.vtep = vtep(2)});
  restarted.want(peers);
  ASSERT_TRUE(restarted.sync());
  EXPECT_EQ(kernel_.changes, changes);
  EXPECT_EQ(restarted.writes(), 0);
}

TEST_F(VxlanTest, LearnsOfEndsThatComeMoveAndGoByTwoWritesEach) {
  for (std::uint32_t i = 2; i < 100; ++i) set(i, vtep(i));
  ASSERT_TRUE(settle());
  EXPECT_EQ(there().host_by_mac.size(), 98);
  EXPECT_EQ(vxlan_.hosts(), 98U);
  EXPECT_EQ(vxlan_.ends(), 98U);
  auto before = vxlan_.writes();
  set(5, vtep(105));
  ASSERT_TRUE(settle());
  EXPECT_EQ(vxlan_.writes() - before, 4);  // the old one goes, the new one comes
  EXPECT_FALSE(there().host_by_mac.contains(vtep(5).mac));
  EXPECT_EQ(there().host_by_mac.at(vtep(105).mac), host(5));
  EXPECT_EQ(there().mac_by_address.at(vtep(105).address), vtep(105).mac);
  before = vxlan_.writes();
  remove(6);
  ASSERT_TRUE(settle());
  EXPECT_EQ(vxlan_.writes() - before, 2);
  // The same end at another host: what leads there is replaced, at no moment missing.
  before = vxlan_.writes();
  remove(7);
  set(200, vtep(7));
  ASSERT_TRUE(settle());
  EXPECT_EQ(vxlan_.writes() - before, 1);
  EXPECT_EQ(there().host_by_mac.at(vtep(7).mac), host(200));
  Changes<IpAddress, network::Peer> without;
  without.update(host(8), network::Peer{});
  vxlan_.want(without);
  ASSERT_TRUE(settle());
  EXPECT_EQ(vxlan_.hosts(), 97U);
  EXPECT_EQ(vxlan_.ends(), 96U) << "one has none any more";
}

TEST_F(VxlanTest, IsMadeAnewWhereItCannotBeChangedAndGoesWhenNobodyWantsIt) {
  set(2, vtep(2));
  ASSERT_TRUE(vxlan_.sync());
  device_.vni = 5000;
  vxlan_.want(device_);
  ASSERT_TRUE(settle());
  EXPECT_TRUE(kernel_.devices.empty());
  EXPECT_TRUE(vxlan_.comes_anew());
  ASSERT_TRUE(settle());
  EXPECT_FALSE(vxlan_.comes_anew());
  ASSERT_EQ(kernel_.devices.size(), 1);
  EXPECT_EQ(there().link.config.vni, 5000);
  EXPECT_EQ(there().host_by_mac.size(), 1);
  vxlan_.want(std::nullopt);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_EQ(kernel_.devices.size(), 1) << "routes may still lead through it";
  ASSERT_TRUE(vxlan_.retire());
  EXPECT_TRUE(kernel_.devices.empty());
  vxlan_.want(device_);
  ASSERT_TRUE(vxlan_.sync());
  ASSERT_EQ(kernel_.devices.size(), 1);
  EXPECT_EQ(there().host_by_mac.size(), 1);
}

TEST_F(VxlanTest, ForgetsAddressesThatItHadBefore) {
  ASSERT_TRUE(vxlan_.sync());
  device_.end.address = ip("10.65.9.9");
  vxlan_.want(device_);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_EQ(there().addresses, std::set{ip("10.65.9.9")});
}

TEST_F(VxlanTest, SaysWhichAddressNoInterfaceHas) {
  device_.host = host(9);
  vxlan_.want(device_);
  const auto done = vxlan_.sync();
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("192.0.2.9"), std::string::npos);
}

// Whatever fails, and whatever somebody else does to it, it is as wanted once failures end.
TEST_F(VxlanTest, PropertyEndsAsWantedAfterAnyFailures) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  std::mt19937 generator(static_cast<std::uint32_t>(seed));
  const auto random = [&] { return static_cast<std::uint32_t>(generator()); };
  std::map<IpAddress, network::Vtep> wanted;
  OpenTunnels open;
  for (int round = 0; round < 200; ++round) {
    const auto number = 2 + random() % 20;
    if (random() % 3 == 0) {
      remove(number);
      wanted.erase(host(number));
    } else {
      const auto end = vtep(2 + random() % 20, static_cast<std::uint8_t>(random() % 2));
      set(number, end);
      wanted[host(number)] = end;
    }
    if (random() % 10 == 0) {
      device_.mtu = 1300 + random() % 3;
      device_.vni = 4096 + random() % 2;
      vxlan_.want(device_);
    }
    kernel_.fail_when = [&](int) {
      return random() % 8 == 0 ? std::optional(Error{ErrorCode::kInternal, "as told"}) : std::nullopt;
    };
    if (vxlan_.sync() || random() % 4 == 0) (void)vxlan_.retire();
    kernel_.fail_when = {};
    if (const auto news = vxlan_.news()) open.apply(*news);
    if (random() % 10 == 0) {
      kernel_.devices.clear();
      vxlan_.distrust_device();
    }
    if (random() % 2 == 0) continue;
    ASSERT_TRUE(settle());
    if (vxlan_.comes_anew()) {
      ASSERT_TRUE(settle());
    }
    std::map<IpAddress, MacAddress> macs;
    std::map<MacAddress, IpAddress> hosts;
    for (const auto& [at, end] : wanted) {
      macs.try_emplace(end.address, end.mac);
      hosts.try_emplace(end.mac, at);
    }
    ASSERT_EQ(there().mac_by_address, macs);
    ASSERT_EQ(there().host_by_mac, hosts);
    if (const auto news = vxlan_.news()) open.apply(*news);
    std::map<IpAddress, TunnelEnd> ends;
    for (const auto& [vtep, mac] : macs) ends[vtep] = {mac, hosts.at(mac)};
    ASSERT_EQ(open.ends, ends);
    ASSERT_EQ(open.interface.link, there().link.index);
    ASSERT_EQ(vxlan_.ends(), hosts.size());
    ASSERT_EQ(there().link.mtu, device_.mtu == 0 ? 1450 : device_.mtu);
    ASSERT_EQ(there().link.config.vni, device_.vni);
  }
}

TEST_F(VxlanTest, TellsHowTunnelsHaveChangedAndNothingElse) {
  OpenTunnels open;
  EXPECT_FALSE(vxlan_.news()) << "nobody has looked";
  set(2, vtep(2));
  ASSERT_TRUE(vxlan_.sync());
  if (const auto news = vxlan_.news()) open.apply(*news);
  EXPECT_EQ(open.interface.link, there().link.index);
  EXPECT_EQ(open.interface.config, there().link.config);
  EXPECT_EQ(open.ends, (std::map<IpAddress, TunnelEnd>{{vtep(2).address, {vtep(2).mac, host(2)}}}));
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_TRUE(vxlan_.news()->empty());
  set(3, vtep(3));
  ASSERT_TRUE(vxlan_.sync());
  auto news = *vxlan_.news();
  EXPECT_FALSE(news.interface);
  EXPECT_EQ(news.ends.size(), 1U);
  set(2, vtep(2, 1));
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_EQ(vxlan_.news()->ends.entries().at(vtep(2).address)->mac, vtep(2, 1).mac);
  // Nobody knows what there is of the interface.
  kernel_.fail_when = [](int) { return Error{ErrorCode::kUnavailable, "no"}; };
  vxlan_.distrust_device();
  ASSERT_FALSE(vxlan_.sync());
  EXPECT_EQ(vxlan_.news()->interface, TunnelInterface());
  kernel_.fail_when = {};
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_EQ(vxlan_.news()->interface, open.interface);
  vxlan_.want(std::nullopt);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_EQ(vxlan_.news()->interface, TunnelInterface()) << "before routes leave";
}

TEST_F(VxlanTest, TellsThatAnEndGoesBeforeItDoes) {
  set(2, vtep(2));
  ASSERT_TRUE(vxlan_.sync());
  (void)vxlan_.news();
  remove(2);
  ASSERT_TRUE(vxlan_.sync());
  const auto news = *vxlan_.news();
  ASSERT_EQ(news.ends.size(), 1U);
  EXPECT_FALSE(news.ends.entries().at(vtep(2).address));
  EXPECT_EQ(there().mac_by_address.size(), 1U);
  EXPECT_EQ(vxlan_.ends(), 0U);
  ASSERT_TRUE(vxlan_.retire());
  EXPECT_TRUE(there().mac_by_address.empty());
  EXPECT_TRUE(there().host_by_mac.empty());
}

TEST_F(VxlanTest, WritesTheOtherEndsWhereOneFails) {
  for (std::uint32_t i = 2; i < 12; ++i) set(i, vtep(i));
  ASSERT_TRUE(vxlan_.sync());
  for (std::uint32_t i = 12; i < 22; ++i) set(i, vtep(i));
  int calls = 0;
  kernel_.fail_when = [&](int) {
    return ++calls == 3 ? std::optional(Error{ErrorCode::kExhausted, "no room"}) : std::nullopt;
  };
  EXPECT_FALSE(vxlan_.sync());
  EXPECT_EQ(vxlan_.ends(), 19U);
  EXPECT_EQ(vxlan_.news()->ends.entries().at(vtep(14).address), std::nullopt);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_EQ(vxlan_.ends(), 20U);
  EXPECT_EQ(vxlan_.news()->ends.entries().at(vtep(14).address)->host, host(14));
}

TEST_F(VxlanTest, LeavesTunnelsToTheInterfaceWhereThatHasChecksumsToMake) {
  set(2, vtep(2));
  device_.checksum_offload_broken = true;
  vxlan_.want(device_);
  ASSERT_TRUE(vxlan_.sync());
  EXPECT_FALSE(vxlan_.news()->interface);
}

}  // namespace
}  // namespace ocicat::dataplane
