// Filters and resources that change while BIRD runs.
#include <gmock/gmock.h>

#include <cstdio>

#include "dataplane/bird/bird_for_test.h"
#include "test/support/random.h"

namespace ocicat::dataplane {
namespace {

using testing::ElementsAre;
using testing::IsSupersetOf;

TEST_F(BirdTest, OnlyWhatPassesOtherFiltersIsToldAgain) {
  begin();
  const auto before = *host(1).look();
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true}};
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  EXPECT_THAT(host(1).reloaded(), ElementsAre("Mesh_10_0_0_2"));
  // Another agent knows what the BIRD that it finds has read.
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  EXPECT_THAT(host(1).reloaded(), ElementsAre("Mesh_10_0_0_2"));
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  EXPECT_THAT(host(1).reloaded(), ElementsAre("Mesh_10_0_0_2", "Mesh_10_0_0_2"));
  eventually([&] { return host(2).routes().contains("10.65.1.9/32"); });
  EXPECT_TRUE(same_sessions(before, *host(1).look()));
}

// As an agent leaves it that ends between the two, or one that knows nothing of this.
TEST_F(BirdTest, WhatABirdWithAnUnknownPastHasLetPassIsPassedAgain) {
  begin();
  const auto before = *host(1).look();
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true}};
  const auto file = host(1).folder() / "bird.conf";
  std::ofstream(file) << configuration(1, input);
  std::filesystem::remove(host(1).folder() / "bird.conf.in-force");
  ASSERT_TRUE(BirdControl::connect(host(1).folder() / "bird.ctl")->ask("configure soft"));
  host(1).forget();
  std::optional<kernel::RouteMonitor> monitor;
  host(1).network().run([&] { monitor.emplace(kernel::RouteMonitor::open(0).value()); });
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  eventually([&] { return !host(2).routes().contains("10.65.1.9/32"); });
  EXPECT_TRUE(same_sessions(before, *host(1).look()));
  EXPECT_THAT(monitor->read(0)->vacated, testing::IsEmpty()) << "what the kernel has stays meanwhile";
}

TEST_F(BirdTest, ANeighbourThatCannotSayItsRoutesAgainIsAskedInANewSession) {
  auto deaf = configuration(2, cluster(2));
  for (std::size_t at = 0; (at = deaf.find("  graceful restart on;", at)) != std::string::npos; at += 30)
    deaf.insert(at, "  enable route refresh no;\n");
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  ASSERT_TRUE(host(2).apply(deaf));
  eventually([&] { return host(1).routes().contains("10.65.2.9/32"); });
  auto refusing = configuration(1, cluster(1));
  const auto from = refusing.find("{ accept; }", refusing.find("protocol bgp Mesh_10_0_0_2"));
  ASSERT_NE(from, std::string::npos);
  refusing.replace(from, 11, "{ if net = 10.65.2.9/32 then reject; accept; }");
  ASSERT_TRUE(host(1).apply(refusing));
  eventually([&] { return host(1).all_established() && !host(1).routes().contains("10.65.2.9/32"); });
  EXPECT_TRUE(host(1).routes().contains("fd65::2:9/128"));
}

TEST_F(BirdTest, FiltersThatChangeWhileRoutesAreKeptForNeighboursCountOnceTheseHaveSpoken) {
  begin();
  const auto before = host(1).routes();
  const auto others = host(2).routes();
  const auto pid = host(1).kill();
  eventually([&] { return host(1).has_another_than(pid); });
  ASSERT_TRUE(host(1).look()->recovering);
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true}};
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  EXPECT_TRUE(host(1).look()->recovering);
  eventually([&] {
    EXPECT_THAT(host(1).routes(), IsSupersetOf(before));
    EXPECT_TRUE(host(2).routes().contains("10.65.1.9/32") || host(2).routes().contains("10.65.1.0/26"));
    return host(1).all_established() && host(2).routes().contains("10.65.1.0/26") &&
           !host(2).routes().contains("10.65.1.9/32");
  });
}

// What host 1 makes of resources, any of them, while host 2 and what both have in their kernels stay.
class RandomResources {
 public:
  explicit RandomResources(std::uint64_t seed) : random_(seed) {}

  bgp::Input make() {
    auto input = cluster(1);
    for (const auto* cidr : {"10.66.0.0/16", "fd66::/48"}) input.pools[cidr].cidr = *Prefix::parse(cidr);
    for (auto& [name, pool] : input.pools) {
      pool.exported = random_.percent(80);
      if (random_.percent(30)) pool.vxlan = IpPool::Encapsulation::kAlways;
    }
    for (const auto* block :
         {"10.65.1.0/26", "10.65.1.64/26", "10.66.1.0/26", "fd65::1:0/122", "fd66::1:0/122"}) {
      if (random_.percent(40)) input.blocks.push_back({*Prefix::parse(block), "host1", random_.percent(70)});
    }
    for (const auto* name : {"a", "b"}) {
      if (random_.percent(60)) input.filters[name] = filter(name);
    }
    for (const auto* address : {"10.0.0.2", "fd00::2"}) {
      auto& peer = input.peers[address];
      peer.metadata.name = address;
      peer.address = IpAddress::parse(address);
      peer.as_number = bgp::kDefaultAsNumber;
      for (const auto& [name, filter] : input.filters) {
        if (random_.percent(60)) peer.filters.push_back(name);
      }
      if (random_.percent(30)) peer.next_hop = BgpPeer::NextHop::kSelf;
      if (random_.percent(15)) peer.keepalive_time = std::chrono::seconds(31);  // another session
    }
    auto& settings = input.configurations["default"];
    if (random_.percent(40))
      settings.advertisements = {{*Prefix::parse("10.65.0.0/16"), {*Community::parse("65000:1")}}};
    if (random_.percent(30)) settings.service_cluster_nets = {*Prefix::parse("10.66.2.0/24")};
    return input;
  }

 private:
  BgpFilterRule rule(Family family, bool exports) {
    BgpFilterRule made;
    made.accept = random_.percent(60);
    made.match = BgpFilterRule::Match::kIn;
    const std::string nets = family == Family::kIpv4 ? "10.6{}.{}.0/25" : "fd6{}::{}:0/112";
    made.cidr = *Prefix::parse(fmt::format(fmt::runtime(nets), 5 + random_.below(2), exports ? 1 : 2));
    if (!made.accept) return made;
    if (random_.percent(40))
      made.operations.emplace_back(BgpFilterRule::AddCommunity{*Community::parse("65000:7")});
    if (random_.percent(40)) made.operations.emplace_back(BgpFilterRule::SetPriority{700});
    return made;
  }
  BgpFilter filter(const std::string& name) {
    BgpFilter made;
    made.metadata.name = name;
    for (const auto family : kFamilies) {
      const std::size_t i = family == Family::kIpv4 ? 0 : 1;
      for (auto n = random_.below(3); n > 0; --n) made.export_rules[i].push_back(rule(family, true));
      for (auto n = random_.below(3); n > 0; --n) made.import_rules[i].push_back(rule(family, false));
    }
    return made;
  }

  test::Random random_;
};

TEST_F(BirdTest, RoutesAfterAChangeAreThoseOfABirdThatHasBegunWithIt) {
  const auto seed = test::any_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  for (const int n : {1, 2}) {
    host(n).ip(
        fmt::format("route add 10.65.{0}.70/32 dev cali1 proto 80 metric 512\n"
                    "route add 10.66.{0}.9/32 dev cali1 proto 80 metric 1024\n"
                    "route add fd66::{0}:9/128 dev cali1 proto 80 metric 1024\n",
                    n));
  }
  ASSERT_TRUE(host(2).apply(configuration(2, cluster(2))));
  struct Case {
    std::string configuration;
    std::string routes;
  };
  std::vector<Case> cases;
  RandomResources resources(seed);
  for (int i = 0; i < 5; ++i) {
    host(1).network().run([&] { EXPECT_TRUE(Bird::remove(host(1).folder())); });
    host(1).forget();
    auto& begun = cases.emplace_back(configuration(1, resources.make()), "");
    ASSERT_TRUE(host(1).apply(begun.configuration));
    eventually([&] { return host(1).all_established() && host(2).all_established(); });
    // What there is to hear has been heard when nothing more comes for a second.
    int same = 0;
    eventually([&] {
      for (const int self : {1, 2}) EXPECT_TRUE(host(self).look());
      same = begun.routes == all_routes() ? same + 1 : 0;
      begun.routes = all_routes();
      return same == 50;
    });
  }
  test::Random random(seed);
  for (int i = 0; i < 25; ++i) {
    const auto& next = random.pick(cases);
    if (random.percent(20)) host(1).forget();
    ASSERT_TRUE(host(1).apply(next.configuration));
    if (random.percent(20)) continue;  // the next comes at once
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (all_routes() != next.routes) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "step " << i << "\nit has\n"
                                                            << all_routes() << "\nand begins with\n"
                                                            << next.routes << "\nby\n"
                                                            << next.configuration;
      for (const int self : {1, 2}) ASSERT_TRUE(host(self).look());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

}  // namespace
}  // namespace ocicat::dataplane
