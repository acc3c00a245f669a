#include "dataplane/bird/bird.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <unistd.h>

#include "dataplane/bird/bird_for_test.h"

namespace ocicat::dataplane {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Key;
using testing::Not;

TEST_F(BirdTest, HostsTellEachOtherOfTheirWorkloadsAndThePreferenceIsTheSameEverywhere) {
  begin();
  EXPECT_EQ(host(1).routes(), (Routes{{"10.65.2.9/32", 1025}, {"fd65::2:9/128", 1025}}));
  host(2).ip("route del 10.65.2.9/32 dev cali1\nroute add 10.65.2.9/32 dev cali1 proto 80 metric 512\n");
  host(2).ip("route del fd65::2:9/128 dev cali1\nroute add fd65::2:9/128 dev cali1 proto 80 metric 512\n");
  // BIRD leaves the route of the other metric beside it.
  eventually([&] {
    EXPECT_TRUE(host(1).look());
    return host(1).routes() == Routes{{"10.65.2.9/32", 512}, {"fd65::2:9/128", 512}};
  });
  host(2).ip("route del 10.65.2.9/32 dev cali1\nroute del fd65::2:9/128 dev cali1\n");
  eventually([&] { return host(1).routes().empty(); });
}

// By a next hop that nobody here can reach, with another metric, whether the agent looks between the two or only after
// both. BIRD itself reads what the kernel has much later.
TEST_F(BirdTest, ARouteThatComesToLeadNowhereAndIsTakenBackLeavesNothingInTheKernel) {
  const auto telling = [&](const std::string& preference, const std::array<std::string, 2>& next_hops) {
    auto text = configuration(2, cluster(2));
    for (const auto& [session, next_hop] :
         {std::pair{"Mesh_10_0_0_1", next_hops[0]}, {"Mesh_fd00__1", next_hops[1]}}) {
      const std::string place = "export filter {";
      text.insert(text.find(place, text.find(session)) + place.size(),
                  fmt::format(" if source = RTS_INHERIT then {{ bgp_local_pref = {}; {} accept; }}",
                              preference, next_hop.empty() ? "" : "bgp_next_hop = " + next_hop + ";"));
    }
    return text;
  };
  ASSERT_TRUE(host(1).apply(
      std::regex_replace(configuration(1, cluster(1)), std::regex("scan time 10;\n"), "scan time 3600;\n")));
  const Routes by_host2{{"10.65.2.9/32", 700}, {"fd65::2:9/128", 700}};
  const Routes nowhere{{"10.65.2.9/32", 2147483547}, {"fd65::2:9/128", 2147483547}};
  const auto leads_nowhere = [&] {
    const auto text = host(1).ip_route("show proto bird");
    return text.find("unreachable 10.65.2.9") != std::string::npos &&
           text.find("unreachable fd65::2:9") != std::string::npos;
  };
  for (const bool looks : {true, false}) {
    ASSERT_TRUE(host(2).apply(telling("2147482947", {})));
    eventually([&] { return host(1).all_established() && host(1).routes() == by_host2; });
    ASSERT_TRUE(host(2).apply(telling("100", {"10.9.9.9", "fd09::9"})));
    eventually([&] {
      EXPECT_TRUE(!looks || host(1).look());
      return leads_nowhere() && (!looks || host(1).routes() == nowhere);
    });
    host(2).ip("route del 10.65.2.9/32 dev cali1\nroute del fd65::2:9/128 dev cali1\n");
    eventually([&] {
      EXPECT_TRUE(host(1).look());
      return host(1).routes().empty();
    });
    host(2).ip(
        "route add 10.65.2.9/32 dev cali1 proto 80 metric 1024\n"
        "route add fd65::2:9/128 dev cali1 proto 80 metric 1024\n");
  }
}

TEST_F(BirdTest, AWorkloadIsWhereItsHostSaysItIsWhateverOthersSay) {
  begin();
  host(1).ip("route append 10.65.2.9/32 dev cali1 proto 80 metric 1024\n");  // as the agent does
  eventually([&] { return !host(1).routes().contains("10.65.2.9/32"); });
  host(1).ip("route del 10.65.2.9/32 dev cali1 proto 80\n");
  eventually([&] { return host(1).routes().contains("10.65.2.9/32"); });
}

// As into a tunnel. IPv6 makes one route of two by gateways that have one metric, and removes both with either.
TEST_F(BirdTest, WhatTheAgentSendsAnotherWayStaysThatWayWhenBirdTakesBackItsOwn) {
  begin();
  const std::vector<std::string> ways{"10.65.2.9 via 10.0.0.77 dev wire0 proto 80 metric 1024",
                                      "fd65::2:9 via fd00::77 dev wire0 proto 80 metric 1024"};
  for (const auto& way : ways) host(1).ip("route append " + way + "\n");
  eventually([&] { return host(1).routes().empty(); });
  const auto ours = host(1).ip_route("show proto 80");
  for (const auto& way : ways) EXPECT_THAT(ours, testing::HasSubstr(way.substr(0, way.find(" proto"))));
}

// The end may be an address of another host's block; what leads into the tunnel others have of their agents.
TEST_F(BirdTest, ThisEndOfATunnelIsToldOfAndNothingThatLeadsIntoTheTunnel) {
  host(2).ip(
      "link add vxlan.calico type veth peer name end0\nlink set vxlan.calico up\nlink set end0 up\n"
      "addr add 10.65.7.1/32 dev vxlan.calico\naddr add fd65::7:1/128 dev vxlan.calico nodad\n"
      "route add 10.65.8.0/26 dev vxlan.calico proto 80 metric 1024\n"
      "route add fd65::8:0/122 dev vxlan.calico proto 80 metric 1024\n");
  begin();
  eventually([&] {
    return host(1).routes().contains("10.65.7.1/32") && host(1).routes().contains("fd65::7:1/128");
  });
  for (const auto* net : {"10.65.8.0/26", "fd65::8:0/122"})
    EXPECT_FALSE(host(1).routes().contains(net)) << net;
}

TEST_F(BirdTest, OneThatIsKilledIsStartedAgainAndNoRouteIsMissingMeanwhile) {
  begin();
  const auto before = host(1).routes();
  const auto others = host(2).routes();
  const auto pid = host(1).kill();
  eventually([&] {
    EXPECT_THAT(host(1).routes(), IsSupersetOf(before));
    EXPECT_THAT(host(2).routes(), IsSupersetOf(others));
    const auto status = host(1).look();
    return status && status->pid != pid && host(1).all_established() && host(2).all_established();
  });
  EXPECT_EQ(host(1).routes(), before);
  EXPECT_EQ(host(2).routes(), others);
  EXPECT_EQ(host(1).bird().starts(), 2U);
}

TEST_F(BirdTest, WhatADeadOneHasLeftGoesAlsoWhereAnotherAgentFindsItsSuccessor) {
  begin();
  const auto before = host(1).routes();
  const auto pid = host(1).kill();
  host(1).leave_routes();
  eventually([&] { return host(1).has_another_than(pid); });
  ASSERT_TRUE(host(1).look()->recovering);
  host(1).forget();
  EXPECT_TRUE(host(1).look()->recovering);
  EXPECT_TRUE(host(1).has_left_routes());
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  eventually([&] { return host(1).all_established() && !host(1).has_left_routes(); });
  EXPECT_EQ(host(1).bird().starts(), 0U);
  EXPECT_EQ(host(1).routes(), before);
}

TEST_F(BirdTest, WhatADeadOneHasLeftGoesAlsoWhereItsSuccessorIsSlowToStart) {
  host(1).forget(host(1).program_behind_gate());
  std::ofstream(host(1).gate()).close();
  begin();
  const auto before = host(1).routes();
  host(1).kill();
  host(1).leave_routes();
  std::filesystem::remove(host(1).gate());
  EXPECT_EQ(host(1).look().error().code, ErrorCode::kUnavailable);
  std::ofstream(host(1).gate()).close();
  eventually([&] { return BirdControl::connect(host(1).folder() / "bird.ctl").has_value(); });
  eventually([&] { return host(1).all_established() && !host(1).has_left_routes(); });
  EXPECT_EQ(host(1).bird().starts(), 2U);
  EXPECT_EQ(host(1).routes(), before);
}

// A neighbour without graceful restart says nowhere that it has said everything; here it says nothing for a while.
TEST_F(BirdTest, WhereANeighbourThatSaysNoEndHasLedPacketsTheyGoUntilItHasSpoken) {
  auto plain = configuration(2, cluster(2));
  for (std::size_t at = 0; (at = plain.find("graceful restart on;", at)) != std::string::npos; at += 21)
    plain.replace(at, 20, "graceful restart off;");
  auto mute = plain;
  for (std::size_t at = 0; (at = mute.find("export filter { export", at)) != std::string::npos; at += 24)
    mute.insert(at + 15, " reject;");
  ASSERT_NE(mute, plain);
  const auto is_told = [&] {
    return host(1).routes().contains("10.65.2.9/32") && host(1).routes().contains("fd65::2:9/128");
  };
  const auto kill = [&] {
    host(1).kill();
    ASSERT_TRUE(host(2).apply(mute));
    eventually([&] { return host(1).look().has_value(); });
    // Its routes go when the session is up, not when it says the same again.
    eventually([&] { return host(1).all_established() && host(1).routes().empty(); });
  };
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  ASSERT_TRUE(host(2).apply(plain));
  eventually([&] { return host(1).all_established() && is_told(); });
  EXPECT_EQ(host(1).copies(), "");

  kill();
  EXPECT_THAT(host(1).copies(), HasSubstr("10.65.2.9 via 10.0.0.2 dev wire0"));
  EXPECT_THAT(host(1).copies(), HasSubstr("fd65::2:9 via fd00::2 dev wire0"));
  ASSERT_TRUE(host(2).apply(plain));
  eventually([&] { return host(1).all_established() && is_told() && host(1).copies().empty(); });

  kill();
  EXPECT_THAT(host(1).copies(), HasSubstr("10.65.2.9 via 10.0.0.2 dev wire0"));
  host(1).forget();  // another agent goes on
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  eventually([&] { return host(1).all_established() && host(1).copies().empty(); });
  EXPECT_EQ(host(1).routes(), Routes()) << "it has never been told again";

  ASSERT_TRUE(host(2).apply(plain));
  eventually([&] { return is_told(); });
  auto input = cluster(2);
  input.blocks = {{*Prefix::parse("10.65.2.0/26"), "host2", true}};
  host(1).kill();
  ASSERT_TRUE(host(2).apply(configuration(2, input)));
  eventually([&] {
    const auto recovered = host(1).all_established();
    const bool has_net = host(1).routes().contains("10.65.2.0/26");
    if (recovered && has_net) {
      EXPECT_TRUE(host(1).look());
      EXPECT_THAT(host(1).copies(), Not(HasSubstr("10.65.2.9"))) << "it has the net around it";
    }
    return recovered && has_net;
  });
}

// What the kernel has is compared once there is a configuration of the agent's own.
TEST_F(BirdTest, ALookOfAnAgentThatHasAppliedNothingYetChangesNoRoute) {
  begin();
  host(1).leave_routes();
  host(1).forget();
  ASSERT_TRUE(host(1).look());
  EXPECT_TRUE(host(1).has_left_routes());
}

// Nothing in the kernel of a host that only tells is BIRD's.
TEST_F(BirdTest, NeighboursKeepTheRoutesToAHostThatLearnsNoneWhileItsBirdIsStartedAgain) {
  host(2).ip("route del 10.65.2.9/32 dev cali1\nroute del fd65::2:9/128 dev cali1\n");
  for (const int self : {1, 2}) ASSERT_TRUE(host(self).apply(configuration(self, cluster(self))));
  eventually([&] { return host(1).all_established() && host(2).all_established(); });
  const Routes told{{"10.65.1.9/32", 1025}, {"fd65::1:9/128", 1025}};
  eventually([&] { return host(2).routes() == told; });
  ASSERT_TRUE(host(1).routes().empty());
  std::optional<kernel::RouteMonitor> monitor;
  host(2).network().run([&] { monitor.emplace(kernel::RouteMonitor::open(0).value()); });
  for (const bool agent_too : {false, true}) {
    const auto pid = host(1).kill();
    if (agent_too) {
      host(1).forget();
      eventually([&] { return host(1).apply(configuration(1, cluster(1))).has_value(); });
    }
    eventually([&] {
      const auto status = host(1).look();
      return status && status->pid != pid && host(1).all_established() && host(2).all_established();
    });
    EXPECT_EQ(host(2).routes(), told);
    EXPECT_THAT(monitor->read(0)->vacated, testing::IsEmpty());
  }
}

TEST_F(BirdTest, TheFirstOneWaitsForNobodyAndItsSuccessorDoesUntilItIsRemoved) {
  // As an agent without BIRD leaves it.
  host(1).ip("route add blackhole 10.65.1.0/26 proto 80 metric 1024\n");
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  EXPECT_FALSE(host(1).look()->recovering);
  const auto pid = host(1).kill();
  eventually([&] { return host(1).has_another_than(pid); });
  EXPECT_TRUE(host(1).look()->recovering);
  host(1).network().run([&] { EXPECT_EQ(Bird::remove(host(1).folder()), Result<bool>(true)); });
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  EXPECT_FALSE(host(1).look()->recovering);
}

// As of a socket of the agent's: whoever waits for its end would wait as long as BIRD runs.
TEST_F(BirdTest, HoldsNothingOpenThatTheAgentCloses) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  begin();
  ::close(ends[1]);
  pollfd end{.fd = ends[0], .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&end, 1, 1000), 1);
  EXPECT_TRUE(end.revents & POLLHUP);
  ::close(ends[0]);
}

TEST_F(BirdTest, OneThatRunsIsTakenOverAsItIs) {
  begin();
  const auto before = *host(1).look();
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  const auto after = *host(1).look();
  EXPECT_EQ(after.pid, before.pid);
  for (std::size_t i = 0; i < before.sessions.size(); ++i)
    EXPECT_EQ(after.sessions[i].since, before.sessions[i].since);
  EXPECT_EQ(host(1).bird().starts(), 0U);
}

TEST_F(BirdTest, ABlockTakesThePlaceOfItsAddressesAndNoSessionIsTouched) {
  begin();
  const auto before = *host(2).look();
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true},
                  {*Prefix::parse("10.65.1.64/26"), "host1", false}};
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  eventually([&] {
    return host(2).routes().contains("10.65.1.0/26") && !host(2).routes().contains("10.65.1.9/32");
  });
  EXPECT_THAT(host(2).routes(), Not(Contains(Key("10.65.1.64/26"))));
  EXPECT_EQ(host(1).blackholes(), "") << "these are the agent's";
  host(1).ip("route del 10.65.1.9/32 dev cali1\nroute add 10.65.1.9/32 dev cali1 proto 80 metric 512\n");
  eventually([&] { return host(2).routes().contains("10.65.1.9/32"); });
  const auto after = *host(2).look();
  for (std::size_t i = 0; i < before.sessions.size(); ++i)
    EXPECT_EQ(after.sessions[i].since, before.sessions[i].since);
}

TEST_F(BirdTest, AConfigurationThatIsRefusedLeavesTheLastOneInForce) {
  begin();
  const auto refused = host(1).apply("this is no configuration;\n");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("the last configuration stays"));
  EXPECT_TRUE(host(1).all_established());
  host(1).kill();
  eventually([&] { return host(1).all_established(); });
}

TEST_F(BirdTest, WhatIsRemovedTakesItsRoutesAlong) {
  begin();
  eventually([&] { return !host(1).routes().empty(); });
  host(1).ip("route add 10.65.77.7/32 via 10.0.0.2 proto 81 metric 4000000001\n");
  host(1).network().run([&] { EXPECT_EQ(Bird::remove(host(1).folder()), Result<bool>(true)); });
  EXPECT_TRUE(host(1).routes().empty());
  EXPECT_EQ(host(1).copies(), "");
  EXPECT_EQ(BirdControl::connect(host(1).folder() / "bird.ctl").error().code, ErrorCode::kNotFound);
  host(1).network().run([&] { EXPECT_EQ(Bird::remove(host(1).folder()), Result<bool>(false)); });
}

TEST(Bird, ThatIsNotInstalledIsNamedWithTheNextStep) {
  const auto found = Bird::find({.folder = "/tmp/ocicat-no-bird", .program = "no-such-bird"});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(found.error().message, HasSubstr("apt-get install bird2"));
}

}  // namespace
}  // namespace ocicat::dataplane
