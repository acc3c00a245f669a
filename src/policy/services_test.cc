// Rules that name services: what their EndpointSlices put behind them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/evaluator.h"
#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::packet;
using test::World;

NetworkPolicy egress_to(const ServiceMatch& service, std::optional<ProtocolMatch> protocol = {}) {
  return test::global_egress("p", {Rule{.protocol = protocol, .destination = {.services = service}}});
}

World world() {
  World world;
  world.with_namespace("shop").with_pod("shop/api", {"10.65.0.1", "fd00::1"});
  return world;
}

Verdict egress(const World& world, const Packet& packet) {
  return Evaluator{world.snapshot}.evaluate(test::pod_key("shop/api"), Direction::kEgress, packet).verdict;
}
Verdict ingress(const World& world, const Packet& packet) {
  return Evaluator{world.snapshot}.evaluate(test::pod_key("shop/api"), Direction::kIngress, packet).verdict;
}

TEST(Services, OfADestinationAreAddressesWithProtocolsAndPorts) {
  auto w = world();
  w.with_policy(egress_to({"db", "data"}));
  w.with_slice("data", "db", {"10.65.0.9", "192.0.2.9"}, {{kTcp, 5432}, {kUdp, 53}});
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 5432)), Verdict::kAllow);
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "192.0.2.9", 5432)), Verdict::kAllow);
  EXPECT_EQ(egress(w, packet(kUdp, "10.65.0.1", "10.65.0.9", 53)), Verdict::kAllow);
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 5433)), Verdict::kDeny);
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 53)), Verdict::kDeny);
  EXPECT_EQ(egress(w, packet(kSctp, "10.65.0.1", "10.65.0.9", 5432)), Verdict::kDeny);
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.8", 5432)), Verdict::kDeny);
}

TEST(Services, OfADestinationAreLimitedByTheProtocolOfTheRule) {
  auto w = world();
  w.with_policy(egress_to({"db", "data"}, ProtocolMatch{kUdp}));
  w.with_slice("data", "db", {"10.65.0.9"}, {{kTcp, 53}, {kUdp, 53}});
  EXPECT_EQ(egress(w, packet(kUdp, "10.65.0.1", "10.65.0.9", 53)), Verdict::kAllow);
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 53)), Verdict::kDeny);
}

TEST(Services, OfASourceAreAddressesWhateverThePort) {
  auto w = world();
  w.with_policy(test::global_ingress("p", {Rule{.source = {.services = ServiceMatch{"web", "front"}}}}));
  w.with_slice("front", "web", {"10.65.0.9"}, {{kTcp, 80}});
  EXPECT_EQ(ingress(w, packet(kTcp, "10.65.0.9", "10.65.0.1", 9)), Verdict::kAllow);
  EXPECT_EQ(ingress(w, packet(kIcmp, "10.65.0.9", "10.65.0.1")), Verdict::kAllow);
  EXPECT_EQ(ingress(w, packet(kTcp, "10.65.0.8", "10.65.0.1", 80)), Verdict::kDeny);
}

TEST(Services, WithoutANumberedPortHaveNothingBehindThemAsADestination) {
  auto w = world();
  w.with_policy(egress_to({"db", "data"}));
  w.with_slice("data", "db", {"10.65.0.9"}, {});
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 5432)), Verdict::kDeny);
}

TEST(Services, WithoutSlicesHaveNothingBehindThem) {
  auto w = world();
  w.with_policy(egress_to({"db", "data"}));
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 5432)), Verdict::kDeny);
}

TEST(Services, OfNoNamespaceAreOfThePolicysOwn) {
  auto w = world();
  auto policy = test::ingress_in("shop", "p", {Rule{.source = {.services = ServiceMatch{"web", ""}}}});
  w.with_policy(policy);
  w.with_slice("shop", "web", {"10.65.0.9"}, {});
  w.with_slice("front", "web", {"10.65.0.8"}, {});
  EXPECT_EQ(ingress(w, packet(kTcp, "10.65.0.9", "10.65.0.1", 80)), Verdict::kAllow);
  EXPECT_EQ(ingress(w, packet(kTcp, "10.65.0.8", "10.65.0.1", 80)), Verdict::kDeny);
}

TEST(Services, EverySliceOfOneCounts) {
  auto w = world();
  w.with_policy(egress_to({"db", "data"}));
  w.with_slice("data", "db", {"10.65.0.9"}, {{kTcp, 80}});
  EndpointSlice second{.metadata = {.name = "db-2", .ns = "data"}, .service = "db"};
  second.addresses = {test::address("fd00::9")};
  second.ports = {{kTcp, 81}};
  w.snapshot[{Kind::kEndpointSlice, "data", "db-2"}] = second;
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 80)), Verdict::kAllow);
  EXPECT_EQ(egress(w, packet(kTcp, "fd00::1", "fd00::9", 81)), Verdict::kAllow);
  EXPECT_EQ(egress(w, packet(kTcp, "10.65.0.1", "10.65.0.9", 81)), Verdict::kDeny);
}

TEST(Services, NearMissesSayThatTheAddressAndPortAreNotBehindThem) {
  auto w = world();
  w.with_policy(egress_to({"db", "data"}));
  w.with_slice("data", "db", {"10.65.0.9"}, {{kTcp, 5432}});
  const auto explanation = Evaluator{w.snapshot}.explain(test::pod_key("shop/api"), Direction::kEgress,
                                                         packet(kTcp, "10.65.0.1", "10.65.0.9", 80));
  ASSERT_EQ(explanation.near_misses.size(), 1U);
  EXPECT_EQ(
      explanation.near_misses[0].why,
      "destination 10.65.0.9 (no endpoint or network set that is known), TCP port 80, is not behind service "
      "data/db");
}

}  // namespace
}  // namespace ocicat::policy
