// Routes into tunnels, which are by next hop objects: beside those of others, and whatever anybody does to them.
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <sstream>
#include <thread>

#include "base/command.h"
#include "dataplane/overlay/vxlan.h"
#include "dataplane/routes/hop_table.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using dataplane::kFirstHop;

class NextHops : public testing::TestWithParam<std::tuple<Datapath, Family>> {
 protected:
  Family family() const { return std::get<Family>(GetParam()); }
  bool v4() const { return family() == Family::kIpv4; }
  IpAddress of(const char* four, const char* six) const { return *IpAddress::parse(v4() ? four : six); }
  const std::string& vxlan() const { return dataplane::vxlan_name(family()); }

  // The host at the other end is `outside`.
  HostChanges all() {
    auto changes = first_state(1);
    (v4() ? changes.settings->overlays.vxlan4 : changes.settings->overlays.vxlan6) = true;
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    changes.vxlan.emplace()[v4() ? 0 : 1] =
        VxlanDevice{.end = here_, .host = Testbed::host_address(family()), .vni = 4096, .port = 4789};
    lead_by(there_, changes);
    return changes;
  }
  void lead_by(const network::Vtep& end, HostChanges& changes) {
    changes.peers.update(bed_.outside().address(family()), network::Peer{.vtep = end});
    changes.routes.update(Prefix::host(far_), Route{Route::Kind::kVxlan, "", end.address});
  }
  // Until that is in force.
  void move_to(const network::Vtep& end, std::uint64_t revision) {
    auto changes = at_revision(revision);
    lead_by(end, changes);
    agent_->put(std::move(changes));
    agent_->await_revision(revision);
  }
  void start() {
    agent_.emplace(bed_, pins_.options(std::get<Datapath>(GetParam())));
    agent_->put(all());
    agent_->await_revision(1);
  }
  void stop() { agent_.reset(); }

  void on_host(const std::string& command) const {
    bed_.host().run([&] { shell(command); });
  }
  std::string told(const std::string& command) const {
    std::string text;
    bed_.host().run([&] { text = run({"sh", "-c", command}).value(); });
    return text;
  }
  std::string ip() const { return fmt::format("ip -{}", v4() ? 4 : 6); }
  // What the kernel says of the route to the workload of the other host, and of all objects.
  std::string route() const {
    return told(fmt::format("{} route show {}", ip(), Prefix::host(far_).to_string()));
  }
  std::string objects() const { return told("ip nexthop show"); }
  // By what number the route is; 0: it is not there, or by none.
  std::uint32_t number() const {
    std::istringstream words(route());
    for (std::string word; words >> word;) {
      if (word == "nhid" && words >> word) return static_cast<std::uint32_t>(std::stoul(word));
    }
    return 0;
  }
  std::string object(std::uint32_t number, const IpAddress& gateway) const {
    return fmt::format("id {} via {} dev {} scope link proto 80 onlink", number, gateway.to_string(),
                       vxlan());
  }
  void expect_led_by(std::uint32_t number, const network::Vtep& end) const {
    EXPECT_EQ(this->number(), number) << route();
    EXPECT_NE(objects().find(object(number, end.address)), std::string::npos) << objects();
  }
  void await(const std::function<bool()>& holds) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(holds()) << route() << objects();
  }
  // The other host as it really is, with its end of the tunnel under both addresses.
  void connect_far_workload() {
    bed_.outside().ns().run([&] {
      const auto nodad = v4() ? "" : "nodad";
      shell(
          fmt::format("ip link add {0} address {1} type vxlan id 4096 local {2} dstport 4789 nolearning;"
                      "ip link set {0} up mtu 1400; ip addr add {3} dev {0} {9}; ip addr add {4} dev lo {9};"
                      "bridge fdb add {5} dev {0} dst {6}; ip neigh add {7} lladdr {5} dev {0} nud permanent;"
                      "ip route replace {8} via {7} dev {0} onlink",
                      vxlan(), there_.mac.to_string(), bed_.outside().address(family()).to_string(),
                      Prefix::host(there_.address).to_string(), Prefix::host(far_).to_string(),
                      here_.mac.to_string(), Testbed::host_address(family()).to_string(),
                      here_.address.to_string(), Prefix::host(a_.address(family())).to_string(), nodad));
    });
    for (const auto* station : {&a_, &bed_.outside()})
      station->ns().run([] { shell("nft delete table inet quiet"); });  // which keeps them from answering
    a_.ns().run([&] {
      shell(fmt::format("timeout 20 sh -c 'until ping -c 1 -W 1 {}; do sleep 0.05; done' > /dev/null 2>&1",
                        far_.to_string()));
    });
  }
  // Nothing of what the workload sends there meanwhile is lost, one packet each two milliseconds.
  void expect_no_loss(const std::function<void()>& meanwhile) {
    std::string told;
    std::thread pings([&] {
      a_.ns().run([&] {
        told = run_to_end({"ping", "-q", "-i", "0.002", "-c", "1500", "-W", "20", far_.to_string()})->printed;
      });
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    meanwhile();
    pings.join();
    EXPECT_NE(told.find(" 0% packet loss"), std::string::npos) << told;
  }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  PinFolder pins_;
  std::optional<AgentHost> agent_;
  network::Vtep here_{of("10.65.1.0", "fd00:65:1::"), *MacAddress::parse("66:00:00:00:00:01")};
  network::Vtep there_{of("10.65.2.0", "fd00:65:2::"), *MacAddress::parse("66:00:00:00:00:02")};
  network::Vtep moved_{of("10.65.3.0", "fd00:65:3::"), there_.mac};
  IpAddress far_ = of("10.65.2.7", "fd00:65:2::7");  // a workload there
};

TEST_P(NextHops, AreFoundByTheNextAgentAlsoWhereTheKernelDoesNotSayThemWithRoutes) {
  start();
  expect_led_by(kFirstHop, there_);
  for (const auto* mode : {"1", "0"}) {
    on_host(fmt::format("echo {} > /proc/sys/net/ipv4/nexthop_compat_mode", mode));
    const auto routes = route(), hops = objects();
    EXPECT_EQ(routes.find("via") != std::string::npos, *mode == '1') << routes;
    stop();
    start();
    EXPECT_EQ(route(), routes);
    EXPECT_EQ(objects(), hops);
  }
}

TEST_P(NextHops, OfOthersAndTheirNumbersAreLeftAlone) {
  const auto put = [&](const char* how, std::uint32_t number, int protocol) {
    on_host(fmt::format("{} nexthop {} id {} via {} dev uplink onlink proto {}", ip(), how, number,
                        of("192.0.2.99", "2001:db8::99").to_string(), protocol));
  };
  on_host(fmt::format("{} nexthop add id 7 blackhole", ip()));
  put("add", kFirstHop, RTPROT_STATIC);
  const auto others = objects();
  put("add", kFirstHop + 5, 80);  // of an agent before, to nobody that there still is
  start();
  expect_led_by(kFirstHop + 1, there_);
  EXPECT_EQ(objects(), others + object(kFirstHop + 1, there_.address) + " \n");
  // They may come and go.
  put("replace", kFirstHop, RTPROT_STATIC);
  on_host("ip nexthop del id 7");
  on_host(fmt::format("{} nexthop add id 7 blackhole", ip()));
  stop();
  bed_.host().run([&] {
    const auto removed = dataplane::remove_all(pins_.options(std::get<Datapath>(GetParam())));
    EXPECT_TRUE(removed) << removed.error().message;
  });
  EXPECT_EQ(objects(), others);
}

TEST_P(NextHops, StayAsLongAsOthersUseThem) {
  const auto to = v4() ? "198.51.100.0/24" : "2001:db8:5::/64";
  const auto is_there = [&] { return objects().find(fmt::format("id {} ", kFirstHop)) != std::string::npos; };
  struct Use {
    std::string by, table, group, no_group;
  };
  const auto object = std::to_string(kFirstHop);
  for (const auto& [by, table, group, no_group] :
       {Use{object, "main", "", ""}, Use{object, "77", "", ""},
        Use{"9", "main", "ip nexthop add id 9 group " + object, "ip nexthop del id 9"}}) {
    SCOPED_TRACE(fmt::format("a route of table {} by {}", table, by));
    const auto route = fmt::format("{} table {}", to, table);
    const auto others = [&] { return told(fmt::format("{} route show {}", ip(), route)); };
    start();
    expect_led_by(kFirstHop, there_);
    on_host(fmt::format("{}\n{} route add {} nhid {} proto static", group, ip(), route, by));
    const auto before = others();
    EXPECT_NE(before, "");
    move_to(moved_, 2);
    EXPECT_EQ(number(), kFirstHop + 1);
    EXPECT_EQ(others(), before);
    // So does what the next agent finds used.
    stop();
    start();
    expect_led_by(kFirstHop, there_);
    move_to(moved_, 2);
    EXPECT_EQ(others(), before);
    EXPECT_TRUE(is_there());
    on_host(fmt::format("{} route del {}\n{}", ip(), route, no_group));
    await([&] { return !is_there(); });
    expect_led_by(number(), moved_);
    stop();
    on_host("ip nexthop flush proto 80");
  }
}

TEST_P(NextHops, ThatSomebodyTakesAwayOrChangesAreMended) {
  start();
  on_host(fmt::format("ip nexthop del id {}", kFirstHop));
  await([&] { return number() > kFirstHop; });
  const auto second = number();
  expect_led_by(second, there_);
  on_host(fmt::format("{} nexthop replace id {} via {} dev uplink onlink", ip(), second,
                      of("192.0.2.99", "2001:db8::99").to_string()));
  await([&] { return number() > second && route().find(vxlan()) != std::string::npos; });
  on_host("ip nexthop flush proto 80");
  await([&] { return route().find(vxlan()) != std::string::npos; });
  on_host(fmt::format("ip link set {} down; ip link set {} up", vxlan(), vxlan()));
  await([&] { return number() != 0 && route().find(vxlan()) != std::string::npos; });
  expect_led_by(number(), there_);
}

TEST_P(NextHops, LoseNoPacketWhereTheEndOfTheTunnelIsAnother) {
  start();
  connect_far_workload();
  expect_no_loss([&] {
    for (std::uint64_t revision = 2; revision < 22; ++revision)
      move_to(revision % 2 == 0 ? moved_ : there_, revision);
  });
  expect_led_by(number(), there_);
  EXPECT_EQ(objects(), object(number(), there_.address) + " \n") << "and no other";
}

// As agents before had them, for which the route says itself where it leads.
TEST_P(NextHops, TakeThePlaceOfRoutesWithoutThemAndNoPacketIsLost) {
  start();
  connect_far_workload();
  stop();
  const auto words = fmt::format("{} via {} dev {} onlink proto 80 metric 1024",
                                 Prefix::host(far_).to_string(), there_.address.to_string(), vxlan());
  on_host(fmt::format("ip nexthop flush proto 80; {} route add {}", ip(), words));
  EXPECT_EQ(number(), 0U);
  expect_no_loss([&] { start(); });
  expect_led_by(number(), there_);
  EXPECT_EQ(std::ranges::count(route(), '\n'), 1) << route();
}

INSTANTIATE_TEST_SUITE_P(All, NextHops,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)));

}  // namespace
}  // namespace ocicat::test
