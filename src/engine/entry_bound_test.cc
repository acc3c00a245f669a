// Where policy would take more entries than there may be, the endpoint that came last is denied, and nobody
// else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "policy/simulator.h"
#include "test/support/world.h"

namespace ocicat {
namespace {

using policy::Verdict;
using test::pod_key;
using test::World;
using testing::HasSubstr;

// Pods in namespaces of their own, each with a policy of that many ports and selectors; peers in all of them.
class EntryBound : public testing::Test {
 protected:
  void add_pod(int number, int rules) {
    const auto ns = fmt::format("tenant{}", number);
    world_.with_namespace(ns).with_pod(ns + "/pod", {fmt::format("10.65.0.{}", number)});
    put_here(ns + "/pod");
    std::vector<Rule> ingress;
    for (int i = 0; i < rules; ++i) {
      const auto port = static_cast<std::uint16_t>(1'000 + 2 * i);
      Rule rule{.protocol = ProtocolMatch{.number = kTcp}};
      rule.source.namespace_selector = "all()";
      rule.source.selector = fmt::format("has(label-{})", i);
      rule.destination.ports = {PortRange{port, port}};
      ingress.push_back(rule);
    }
    world_.with_policy(test::ingress_in(ns, "ports", ingress));
  }
  void put_here(const std::string& pod) {
    auto& endpoint = std::get<WorkloadEndpoint>(world_.snapshot.at(pod_key(pod)));
    endpoint.node = "host1";
    endpoint.interface_name = "cali" + pod;
  }
  void add_peers(int count) {
    for (int i = 0; i < count; ++i) {
      world_.with_pod(fmt::format("tenant1/peer{}", i), {fmt::format("10.66.0.{}", i)},
                      {{fmt::format("label-{}", i), ""}, {"remote", "true"}});
      std::get<WorkloadEndpoint>(world_.snapshot.at(pod_key(fmt::format("tenant1/peer{}", i)))).node =
          "other";
    }
  }
  HostChanges step() {
    auto changes = ResourceChanges::between(seen_, world_.snapshot);
    seen_ = world_.snapshot;
    auto out = engine_->update(changes);
    out.apply_to(state_);
    return out;
  }
  bool denied(int number) const {
    const auto& endpoint = state_.endpoints.at(pod_key(fmt::format("tenant{}/pod", number)));
    const auto own = *IpAddress::parse(fmt::format("10.65.0.{}", number));
    EXPECT_EQ(endpoint.denied, endpoint.addresses.empty() ? std::vector{own} : std::vector<IpAddress>{});
    return endpoint.addresses.empty();
  }
  Verdict ingress(int number, int peer) const {
    const auto& own = state_.endpoints.at(pod_key(fmt::format("tenant{}/pod", number))).addresses.front();
    const auto packet = test::packet(kTcp, fmt::format("10.66.0.{}", peer), own.address.to_string(),
                                     static_cast<std::uint16_t>(1'000 + 2 * peer));
    return policy::Simulator(state_.tables).lookup(own.ingress, packet.source, packet).verdict;
  }
  // What an engine without a bound needs.
  std::size_t needed() const {
    Engine engine({.node = "host1", .dictionary = {}});
    engine.update(ResourceChanges::between({}, world_.snapshot));
    return engine.counters().entries;
  }
  void bound(std::size_t most) {
    engine_.emplace(Engine::Options{.node = "host1", .dictionary = {}, .most_entries = most});
  }

  World world_;
  policy::Snapshot seen_;
  std::optional<Engine> engine_;
  HostState state_;
};

TEST_F(EntryBound, DeniesTheEndpointThatCameLastAndSaysSo) {
  add_peers(8);
  add_pod(1, 8);
  const auto one = needed();
  bound(one + one / 2);
  step();
  EXPECT_FALSE(denied(1));
  add_pod(2, 7);
  const auto changes = step();
  EXPECT_FALSE(denied(1));
  EXPECT_TRUE(denied(2));
  EXPECT_EQ(ingress(1, 3), Verdict::kAllow);
  EXPECT_THAT(changes.refused.entries().at(pod_key("tenant2/pod")).value(), HasSubstr("--most-entries"));
  EXPECT_LE(engine_->counters().entries, one + one / 2);
  EXPECT_EQ(engine_->counters().denied_endpoints, 1U);
}

TEST_F(EntryBound, LetsItInWhenAnotherGoesOrItsPolicyIsSmaller) {
  add_peers(8);
  add_pod(1, 8);
  const auto one = needed();
  bound(one + one / 2);
  step();
  add_pod(2, 7);
  step();
  ASSERT_TRUE(denied(2));
  add_pod(2, 1);
  auto changes = step();
  EXPECT_FALSE(denied(2));
  EXPECT_EQ(ingress(2, 0), Verdict::kAllow);
  EXPECT_EQ(changes.refused.entries().at(pod_key("tenant2/pod")), std::nullopt);
  add_pod(2, 7);
  step();
  ASSERT_TRUE(denied(2));
  world_.snapshot.erase(pod_key("tenant1/pod"));
  step();
  EXPECT_FALSE(denied(2));
  EXPECT_EQ(ingress(2, 6), Verdict::kAllow);
}

TEST_F(EntryBound, HoldsWhenPeersComeToBeToldApart) {
  add_peers(2);
  for (int pod = 1; pod <= 4; ++pod) {
    add_pod(pod, 8);
    std::get<NetworkPolicy>(world_.snapshot.at({Kind::kNetworkPolicy, fmt::format("tenant{}", pod), "ports"}))
        .ingress.resize(static_cast<std::size_t>(4 + pod));
  }
  bound(needed() + 10);
  step();
  for (int pod = 1; pod <= 4; ++pod) EXPECT_FALSE(denied(pod));
  add_peers(8);
  step();
  EXPECT_LE(engine_->counters().entries, needed());
  EXPECT_FALSE(denied(1));
  EXPECT_TRUE(denied(4));
  EXPECT_EQ(ingress(1, 4), Verdict::kAllow);
  for (int peer = 2; peer < 8; ++peer) world_.snapshot.erase(pod_key(fmt::format("tenant1/peer{}", peer)));
  step();
  for (int pod = 1; pod <= 4; ++pod) EXPECT_FALSE(denied(pod)) << pod;
}

// Of pods 1 to 3, in this order, the second has grown until the third is denied as well.
TEST_F(EntryBound, LetsThoseInThatWereDeniedForTheSakeOfOneThatShrinksOrGoes) {
  add_peers(8);
  for (int pod = 1; pod <= 3; ++pod) add_pod(pod, pod);
  const auto small = needed();
  const auto grow = [&] {
    add_pod(2, 8);
    step();
    EXPECT_FALSE(denied(1));
    EXPECT_TRUE(denied(2));
    EXPECT_TRUE(denied(3));
  };
  bound(small);
  step();
  for (int pod = 1; pod <= 3; ++pod) EXPECT_FALSE(denied(pod)) << pod;
  grow();
  add_pod(2, 2);
  step();
  for (int pod = 1; pod <= 3; ++pod) EXPECT_FALSE(denied(pod)) << pod;
  EXPECT_EQ(ingress(3, 2), Verdict::kAllow);
  grow();
  world_.snapshot.erase(pod_key("tenant2/pod"));
  step();
  EXPECT_FALSE(denied(3));
  EXPECT_EQ(ingress(3, 2), Verdict::kAllow);
  EXPECT_EQ(engine_->counters().denied_endpoints, 0U);
}

TEST_F(EntryBound, IsNotReachedByManyEndpointsWithOnePolicy) {
  add_peers(8);
  add_pod(1, 8);
  bound(needed());
  for (int i = 0; i < 50; ++i)
    world_.with_pod(fmt::format("tenant1/more{}", i), {fmt::format("10.67.0.{}", i)});
  step();
  EXPECT_EQ(engine_->counters().denied_endpoints, 0U);
}

}  // namespace
}  // namespace ocicat
