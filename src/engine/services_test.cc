// What a change of an EndpointSlice costs, and that the tables follow it.
#include <gtest/gtest.h>

#include <array>

#include "engine/engine.h"
#include "policy/simulator.h"
#include "test/support/world.h"

namespace ocicat {
namespace {

using policy::Direction;
using policy::Verdict;
using test::packet;
using test::World;

class ServiceTables : public testing::Test {
 protected:
  ServiceTables() {
    world_.with_namespace("shop").with_pod("shop/api", {"10.65.0.1"});
    world_.with_policy(
        test::global_egress("p", {Rule{.destination = {.services = ServiceMatch{"db", "data"}}}}));
  }

  // What the step changed.
  HostChanges step() {
    auto changes = ResourceChanges::between(seen_, world_.snapshot);
    seen_ = world_.snapshot;
    auto out = engine_.update(changes);
    out.apply_to(state_);
    return out;
  }

  Verdict egress(std::string_view to, std::uint16_t port) const {
    const auto program = state_.endpoints.at(test::pod_key("shop/api")).addresses.at(0).egress;
    const auto asked = packet(kTcp, "10.65.0.1", to, port);
    return policy::Simulator(state_.tables).lookup(program, asked.destination, asked).verdict;
  }

  World world_;
  policy::Snapshot seen_;
  Engine engine_{Engine::Options{}};
  HostState state_;
};

TEST_F(ServiceTables, FollowTheSlices) {
  step();
  EXPECT_EQ(egress("10.65.0.9", 5432), Verdict::kDeny);
  world_.with_slice("data", "db", {"10.65.0.9"}, {{kTcp, 5432}});
  step();
  EXPECT_EQ(egress("10.65.0.9", 5432), Verdict::kAllow);
  EXPECT_EQ(egress("10.65.0.8", 5432), Verdict::kDeny);
  world_.with_slice("data", "db", {"10.65.0.8"}, {{kTcp, 5433}});
  step();
  EXPECT_EQ(egress("10.65.0.9", 5432), Verdict::kDeny);
  EXPECT_EQ(egress("10.65.0.8", 5433), Verdict::kAllow);
  world_.snapshot.erase({Kind::kEndpointSlice, "data", "db-1"});
  step();
  EXPECT_EQ(egress("10.65.0.8", 5433), Verdict::kDeny);
  EXPECT_TRUE(state_.tables.classes.empty());
}

// The set of that name and number goes with the one and comes with the other, under another number of its
// own.
TEST_F(ServiceTables, ANamedPortThatGoesAndComesInOneStepLeadsToWhoHasItNow) {
  world_.with_policy(test::global_egress("p", {Rule{.protocol = ProtocolMatch{.number = kTcp},
                                                    .destination = {.ports = {std::string("http")}}}}));
  constexpr std::array kNames{"shop/d", "shop/e", "shop/f", "shop/c", "shop/b", "shop/a"};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (i > 0) world_.snapshot.erase(test::pod_key(kNames[i - 1]));
    world_.with_pod(kNames[i], {fmt::format("10.65.0.{}", 10 + i)}, {{"n", fmt::format("{}", i)}},
                    {EndpointPort{.name = "http", .protocol = kTcp, .port = 8080}});
    step();
    EXPECT_EQ(egress(fmt::format("10.65.0.{}", 10 + i), 8080), Verdict::kAllow) << i;
    EXPECT_EQ(egress(fmt::format("10.65.0.{}", 9 + i), 8080), Verdict::kDeny) << i;
  }
}

// Without an address nothing but the endpoint itself holds the set.
TEST_F(ServiceTables, ANamedPortKeepsItsSetWhenTheOnlyOneThatHasItGivesWayToAnother) {
  world_.with_policy(test::global_egress("p", {Rule{.protocol = ProtocolMatch{.number = kTcp},
                                                    .destination = {.ports = {std::string("http")}}}}));
  const std::vector<EndpointPort> http{{.name = "http", .protocol = kTcp, .port = 8080}};
  world_.with_host("first", "", {}, {}, {}, http);
  step();
  world_.snapshot.erase(test::host_key("first"));
  world_.with_host("second", "", {}, {}, {}, http);
  step();
  world_.with_pod("shop/web", {"10.65.0.10"}, {}, http);
  step();
  EXPECT_EQ(egress("10.65.0.10", 8080), Verdict::kAllow);
}

TEST_F(ServiceTables, OneAddressMoreIsOneClassEntry) {
  world_.with_slice("data", "db", {"10.65.0.8", "10.65.0.9"}, {{kTcp, 5432}});
  step();
  world_.with_slice("data", "db", {"10.65.0.7", "10.65.0.8", "10.65.0.9"}, {{kTcp, 5432}});
  const auto changes = step();
  EXPECT_EQ(changes.tables.classes.entries().size(), 1U);
  EXPECT_TRUE(changes.tables.programs.empty() && changes.tables.tables.empty() && changes.endpoints.empty());
}

TEST_F(ServiceTables, ASliceOfAServiceThatNoRuleNamesWritesNothing) {
  step();
  world_.with_slice("data", "cache", {"10.65.0.9"}, {{kTcp, 5432}});
  EXPECT_TRUE(step().empty());
}

}  // namespace
}  // namespace ocicat
