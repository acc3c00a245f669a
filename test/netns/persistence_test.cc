// What stays as it is whatever others do: flushes, restarts, crashes, interfaces that come and go.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "dataplane/nftables/maps.h"
#include "dataplane/nftables/policy_table.h"
#include "kernel/nft_kernel.h"
#include "netns/agent_host.h"
#include "netns/policy_of_host.h"

namespace ocicat::test {
namespace {

std::string output_of(const Testbed& bed, const std::string& command) {
  std::string text;
  bed.host().run([&] {
    FILE* out = ::popen(command.c_str(), "r");
    CHECK(out != nullptr);
    std::array<char, 4096> buffer{};
    while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), out) != nullptr) text += buffer.data();
    CHECK(::pclose(out) == 0);
  });
  return text;
}

class Persistence : public testing::Test {
 protected:
  HostChanges whole() {
    auto changes = first_state(1);
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    add_pod(changes, "b", b_, kWebFromClass1, kAllowAll);
    changes.tables.classes.update(Prefix::host(a_.address(Family::kIpv4)), policy::ClassId{1});
    changes.tables.classes.update(*Prefix::parse("203.0.113.0/24"), policy::ClassId{1});
    changes.routes.update(*Prefix::parse("10.66.0.0/26"),
                          {Route::Kind::kHost, {}, IpAddress::parse("192.0.2.1")});
    changes.routes.update(*Prefix::parse("10.67.0.0/26"),
                          {Route::Kind::kHost, {}, IpAddress::parse("203.0.113.77")});
    changes.routes.update(*Prefix::parse("fd00:66::/122"),
                          {Route::Kind::kHost, {}, IpAddress::parse("2001:db8::1")});
    for (const auto* own : {"10.68.0.0/26", "fd00:68::/122"})
      changes.routes.update(*Prefix::parse(own), {Route::Kind::kNowhere, {}, {}});
    return changes;
  }
  dataplane::Report start() {
    agent_.emplace(bed_);
    agent_->put(whole());
    return agent_->await_revision(1);
  }
  bool passes(Protocol protocol, std::uint16_t port) {
    const auto packet = probe(a_.address(Family::kIpv4), b_.address(Family::kIpv4), protocol, port);
    return !bed_.arriving(a_, b_, {packet}).empty();
  }
  std::string routes() { return output_of(bed_, "ip route show proto 80; ip -6 route show proto 80"); }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  std::optional<AgentHost> agent_;
};

TEST_F(Persistence, RepairsWhateverSomebodyElseDoesToTheTable) {
  start();
  std::uint64_t repairs = 0;
  for (const auto* harm : {"flush ruleset", "delete table inet ocicat", "flush chain inet ocicat forward",
                           "insert rule inet ocicat forward accept", "flush map inet ocicat classes4",
                           "flush map inet ocicat cells",
                           "delete element inet ocicat ranges4 { 0xffffffffcb007100-0xffffffffcb0071ff }",
                           "add element inet ocicat classes4 { 10.65.0.9 : 7 }",
                           "add chain inet ocicat other", "flush map inet ocicat answers_egress4"}) {
    SCOPED_TRACE(harm);
    bed_.host().run([&] { shell(fmt::format("nft '{}'", harm)); });
    const auto report =
        agent_->await([&](const auto& now) { return now.repairs > repairs && now.error.empty(); });
    repairs = report.repairs;
    EXPECT_TRUE(passes(kTcp, 80));
    EXPECT_FALSE(passes(kTcp, 81));
  }
}

TEST_F(Persistence, LeavesTablesOfOthersAlone) {
  bed_.host().run([] {
    shell(
        "nft 'add table inet other; add chain inet other c { type filter hook forward priority 0; };"
        "add set inet other s { type ipv4_addr; }; add element inet other s { 192.0.2.7 }'");
  });
  const auto before = output_of(bed_, "nft list table inet other");
  start();
  agent_.reset();
  dataplane::Options options;
  bed_.host().run([&] { EXPECT_TRUE(dataplane::remove_all(options)); });
  EXPECT_EQ(output_of(bed_, "nft list table inet other"), before);
  EXPECT_EQ(output_of(bed_, "nft list tables"), "table inet other\n");
  EXPECT_EQ(routes(), "");
}

TEST_F(Persistence, CanBeLookedAtWithTheNftCommand) {
  start();
  const auto listing = output_of(bed_, "nft list ruleset 2>&1");
  EXPECT_EQ(listing.find("Error"), std::string::npos);
  EXPECT_NE(listing.find("table inet ocicat"), std::string::npos);
  EXPECT_NE(listing.find("chain ingress4_ports"), std::string::npos);
}

TEST_F(Persistence, RestartsWithoutASingleWrite) {
  start();
  agent_.reset();
  EXPECT_TRUE(passes(kTcp, 80));  // nobody is there, and policy is
  EXPECT_FALSE(passes(kTcp, 81));
  Result<policy::Dictionary> dictionary;
  bed_.host().run([&] { dictionary = dataplane::adopt_dictionary({}); });
  ASSERT_TRUE(dictionary);
  const policy::Dictionary expected{{{policy::IdSpace::kClass, Digest::of("class 1")}, 1}};
  EXPECT_EQ(*dictionary, expected);
  const auto report = start();
  EXPECT_EQ(report.kernel_writes, 0U);
  EXPECT_EQ(report.repairs, 0U);
}

TEST_F(Persistence, RestartsIntoAnotherStateWithWhatDiffers) {
  start();
  agent_.reset();
  agent_.emplace(bed_);
  auto changes = whole();
  changes.tables.classes.update(Prefix::host(a_.address(Family::kIpv4)), policy::ClassId{2});
  changes.routes.remove(*Prefix::parse("10.66.0.0/26"));
  agent_->put(changes);
  const auto report = agent_->await_revision(1);
  // Address and class go, both come, with the step's number for each family; one route goes.
  EXPECT_EQ(report.kernel_writes, 9U);
  EXPECT_FALSE(passes(kTcp, 80));
}

TEST_F(Persistence, HasNoDictionaryWhereNoAgentEverRan) {
  bed_.host().run([] {
    const auto dictionary = dataplane::adopt_dictionary({});
    ASSERT_TRUE(dictionary);
    EXPECT_TRUE(dictionary->empty());
  });
}

TEST_F(Persistence, MakesRoutesToWorkloadsAndByNextHops) {
  start();
  const auto text = routes();
  for (const auto* line :
       {"10.65.0.2 dev calia scope link metric 1024", "10.65.0.3 dev calib scope link metric 1024",
        "10.66.0.0/26 via 192.0.2.1 dev uplink metric 1024",
        "10.67.0.0/26 via 192.0.2.1 dev uplink metric 1024",  // what leads to 203.0.113.77
        "fd00:65::2 dev calia metric 1024", "fd00:66::/122 via 2001:db8::1 dev uplink metric 1024",
        "blackhole 10.68.0.0/26 metric 1024", "blackhole fd00:68::/122 dev lo metric 1024"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << " in:\n" << text;
  }
}

TEST_F(Persistence, RestoresRoutesThatSomebodyElseRemoves) {
  start();
  const auto before = routes();
  bed_.host().run([] {
    shell(
        "ip route del 10.65.0.2; ip -6 route del fd00:66::/122; ip route add 10.99.0.0/24 dev uplink proto "
        "80");
  });
  agent_->await([&](const auto&) { return routes() == before; });
}

TEST_F(Persistence, LeavesRoutesOfOthersAlone) {
  bed_.host().run([] {
    shell("ip route add 10.66.0.0/26 via 192.0.2.9 metric 1024; ip route add 10.70.0.0/24 dev uplink");
  });
  start();
  HostChanges gone = at_revision(2);
  gone.routes.remove(*Prefix::parse("10.66.0.0/26"));
  agent_->put(gone);
  agent_->await_revision(2);
  const auto all = output_of(bed_, "ip route show");
  EXPECT_NE(all.find("10.66.0.0/26 via 192.0.2.9 dev uplink metric 1024"), std::string::npos) << all;
  EXPECT_EQ(all.find("10.66.0.0/26 via 192.0.2.1"), std::string::npos) << all;
  EXPECT_NE(all.find("10.70.0.0/24 dev uplink"), std::string::npos) << all;
}

// To IPv6 a route of the same metric and way is the same one, whoever's it is.
TEST_F(Persistence, WritesAnIpv6RouteOnceThatOfAnotherInItsPlaceHasGone) {
  const auto others = [&] { return output_of(bed_, "ip -6 route show proto 12"); };
  bed_.host().run([] { shell("ip -6 route add blackhole fd00:68::/122 proto 12 metric 1024"); });
  const auto before = others();
  ASSERT_NE(before, "");
  agent_.emplace(bed_);
  agent_->put(whole());
  const auto report = agent_->await([](const auto& now) { return !now.error.empty(); });
  EXPECT_NE(report.error.find("fd00:68::/122"), std::string::npos) << report.error;
  EXPECT_NE(report.error.find("another program"), std::string::npos) << report.error;
  EXPECT_EQ(report.endpoints_ready, 2U) << "whatever else is possible is done";
  EXPECT_EQ(others(), before);
  bed_.host().run([] { shell("ip -6 route del blackhole fd00:68::/122 proto 12"); });
  agent_->await_revision(1);
  EXPECT_NE(routes().find("blackhole fd00:68::/122 dev lo metric 1024"), std::string::npos) << routes();
}

TEST_F(Persistence, MovesARouteFromAnInterfaceToANextHopAndBack) {
  start();
  const auto prefix = Prefix::host(b_.address(Family::kIpv4));
  HostChanges moved = at_revision(2);
  remove_pod(moved, "b", b_);
  moved.routes.update(prefix, {Route::Kind::kHost, {}, IpAddress::parse("192.0.2.1")});
  agent_->put(moved);
  agent_->await_revision(2);
  EXPECT_NE(routes().find("10.65.0.3 via 192.0.2.1 dev uplink"), std::string::npos) << routes();
  EXPECT_EQ(routes().find("10.65.0.3 dev calib"), std::string::npos) << routes();
  HostChanges back = at_revision(3);
  add_pod(back, "b", b_, kAllowAll, kAllowAll);
  agent_->put(back);
  agent_->await_revision(3);
  EXPECT_EQ(routes().find("10.65.0.3 via"), std::string::npos) << routes();
  EXPECT_TRUE(passes(kTcp, 81));
}

TEST_F(Persistence, WaitsForAnInterfaceAndServesItWhenItComesAndComesBack) {
  agent_.emplace(bed_);
  auto changes = whole();
  EndpointState late{"calilate", {{*IpAddress::parse("10.65.0.7"), kAllowAll, kAllowAll}}};
  changes.endpoints.update(pod_key("late"), late);
  changes.routes.update(*Prefix::parse("10.65.0.7/32"), {Route::Kind::kInterface, "calilate", {}});
  agent_->put(changes);
  agent_->await([](const auto& report) {
    return report.error.empty() && report.endpoints == 3 && report.endpoints_ready == 2;
  });
  for (int time = 0; time < 2; ++time) {
    bed_.host().run([] {
      shell("ip link add calilate type veth peer name peer; ip link set calilate up; ip link set peer up");
    });
    agent_->await([](const auto& report) { return report.endpoints_ready == 3; });
    EXPECT_NE(routes().find("10.65.0.7 dev calilate"), std::string::npos);
    EXPECT_EQ(output_of(bed_,
                        "sysctl -n net.ipv4.conf.calilate.proxy_arp net.ipv4.conf.calilate.rp_filter "
                        "net.ipv4.conf.calilate.route_localnet net.ipv6.conf.calilate.proxy_ndp "
                        "net.ipv6.conf.calilate.accept_ra net.ipv4.conf.calilate.forwarding "
                        "net.ipv6.conf.calilate.forwarding net.ipv4.neigh.calilate.proxy_delay"),
              "1\n1\n1\n1\n0\n1\n1\n0\n");
    bed_.host().run([] { shell("ip link del calilate"); });
    agent_->await([](const auto& report) { return report.endpoints_ready == 2; });
  }
}

TEST_F(Persistence, WritesNothingBeforeTheFirstMessage) {
  agent_.emplace(bed_);
  bed_.host().run([] {
    shell("ip link add caliz type veth peer name peer; ip link set caliz up; nft add table inet other");
  });
  agent_.reset();
  EXPECT_EQ(output_of(bed_, "nft list tables"), "table inet other\n");
}

TEST_F(Persistence, IsNeverFoundHalfwayAfterAKill) {
  // A child moves 2,000 addresses from class to class and is killed in the middle of it.
  constexpr std::uint32_t kAddresses = 2000;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const auto path = bed_.host().path();
  const pid_t child = ::fork();
  if (child == 0) {
    bool entered = false;
    bed_.host().run([&] {
      auto nft = kernel::nft::NetlinkKernel::open("ocicat");
      CHECK(nft);
      dataplane::PolicyTable table(**nft);
      CHECK(table.apply(first_state(1)));
      CHECK(table.resync());
      for (std::uint32_t round = 1;; ++round) {
        HostChanges changes;
        for (std::uint32_t i = 0; i < kAddresses; ++i) {
          changes.tables.classes.update(Prefix::host(IpAddress::v4(0x0a000000 + i)), policy::ClassId{round});
        }
        CHECK(table.apply(changes));
        if (!entered) CHECK(::write(ready[1], "x", 1) == 1);
        entered = true;
      }
    });
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  bed_.host().run([&] {
    auto nft = kernel::nft::NetlinkKernel::open("ocicat");
    ASSERT_TRUE(nft);
    const auto elements = (*nft)->read_elements(dataplane::set_of(dataplane::Map::kClasses4));
    ASSERT_TRUE(elements);
    std::set<std::uint32_t> classes;
    for (const auto& element : *elements) {
      if (!element.key.empty()) classes.insert(element.data.be32_at(4));
    }
    EXPECT_EQ(elements->size(), kAddresses + 1);
    EXPECT_EQ(classes.size(), 1U);
  });
}

// Each packet opens a connection.
TEST(OlderLayout, GivesWayWithoutALostPacket) {
  constexpr int kRounds = 40;
  constexpr std::size_t kFlooded = 600;  // at least
  Testbed bed;
  Station& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2");
  Station& b = bed.add_pod("b", "10.65.0.3", "fd00:65::3");
  PolicyOfHost host(bed, dataplane::Datapath::kNftables);
  auto state = first_state(0);
  add_pod(state, "a", a, kAllowAll, kAllowAll);
  add_pod(state, "b", b, kWebFromClass1, kAllowAll);
  state.tables.classes.update(Prefix::host(a.address(Family::kIpv4)), policy::ClassId{1});
  host.apply(state);
  host.resync();
  std::atomic<bool> ended = false;
  std::set<std::uint32_t> sent, arrived;
  std::atomic<std::size_t> count = 0;
  const auto flood = [&] {
    for (std::uint16_t port = 1024; !ended;) {
      std::vector<RawPacket> packets(16);
      for (auto& packet : packets) {
        packet = probe(a.address(Family::kIpv4), b.address(Family::kIpv4), kTcp, 80);
        packet.packet.source_port = port++;
        sent.insert(packet.token);
      }
      a.send(packets);
      arrived.merge(b.received());  // at once, or there is no room for more
      count = sent.size();
    }
  };
  auto last = bed.arriving(b, [&] {
    std::thread flooding(flood);
    for (int i = 0; i < kRounds || count < kFlooded; ++i) {
      bed.host().run([] {
        shell(
            "nft 'add chain inet ocicat older; add map inet ocicat olders { type mark : verdict; };"
            " add element inet ocicat olders { 7 : goto older }'");
      });
      EXPECT_TRUE(host.resync());
    }
    ended = true;
    flooding.join();
  });
  arrived.merge(last);
  for (const auto token : arrived) sent.erase(token);
  EXPECT_EQ(sent.size(), 0U) << "lost of " << count;
  EXPECT_EQ(output_of(bed, "nft list table inet ocicat | grep -c older || true"), "0\n");
}

}  // namespace
}  // namespace ocicat::test
