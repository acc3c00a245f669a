// What the API reference of network-policy-api says a ClusterNetworkPolicy means, sentence by sentence.
//
//   source   policy.networking.k8s.io/v1alpha2, ClusterNetworkPolicySpec and what it is made of
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "policy/evaluator.h"
#include "resources/decode.h"
#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::lines;
using test::packet;
using test::World;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kDb = "10.0.0.1";       // shop/db, the pod that is selected
constexpr std::string_view kApi = "10.0.0.2";      // shop/api
constexpr std::string_view kOther = "10.0.1.1";    // lab/api, in a namespace env=test
constexpr std::string_view kSet = "198.51.100.1";  // of a network set in shop
constexpr std::string_view kMachine = "10.0.0.9";  // an endpoint of shop that is no pod
constexpr std::string_view kStranger = "192.0.2.9";

World world() {
  World world;
  world.with_namespace("shop", {{"env", "prod"}}).with_namespace("lab", {{"env", "test"}});
  world.with_pod("shop/db", {std::string(kDb)}, {{"role", "db"}}, {{"sql", kTcp, 5432}});
  world.with_pod("shop/api", {std::string(kApi)}, {{"role", "api"}}, {{"sql", kTcp, 1433}});
  world.with_pod("lab/api", {std::string(kOther)}, {{"role", "api"}});
  world.with_network_set("shop", "net", {"198.51.100.0/24"}, {{"role", "api"}});
  world.with_pod("shop/machine", {std::string(kMachine)}, {{"role", "api"}});
  auto& machine = std::get<WorkloadEndpoint>(world.snapshot.at(test::pod_key("shop/machine")));
  machine.metadata.labels["projectcalico.org/orchestrator"] = machine.orchestrator = "openstack";
  return world;
}

NetworkPolicy decoded(Kind kind, const std::string& name, const std::string& spec) {
  const auto text =
      fmt::format(R"({{"metadata": {{"name": "{}", "namespace": "shop"}}, "spec": {{{}}}}})", name, spec);
  auto policy = decode(kind, boost::json::parse(text).as_object());
  CHECK(policy.has_value());
  return std::get<NetworkPolicy>(*std::move(policy));
}

constexpr std::string_view kDbs = R"("subject": {"pods": {"podSelector": {"matchLabels": {"role": "db"}}}})";

NetworkPolicy cluster_policy(const std::string& name, std::string_view tier, int priority,
                             std::string_view rules, std::string_view subject = kDbs) {
  return decoded(Kind::kClusterNetworkPolicy, name,
                 fmt::format(R"("tier": "{}", "priority": {}, {}, {})", tier, priority, subject, rules));
}
NetworkPolicy admin(std::string_view rules, std::string_view subject = kDbs) {
  return cluster_policy("p", "Admin", 10, rules, subject);
}
// A rule with this action from all pods.
std::string from_all(std::string_view action, std::string_view more = "") {
  return fmt::format(R"({{"action": "{}", "from": [{{"namespaces": {{}}}}]{}}})", action, more);
}
std::string ingress(std::string_view rules) {
  return fmt::format(R"("ingress": [{}])", rules);
}
std::string from_peer(std::string_view action, std::string_view peer) {
  return ingress(fmt::format(R"({{"action": "{}", "from": [{}]}})", action, peer));
}
std::string to_peer(std::string_view action, std::string_view peer, std::string_view more = "") {
  return fmt::format(R"("egress": [{{"action": "{}", "to": [{}]{}}}])", action, peer, more);
}
NetworkPolicy kubernetes_policy(std::string_view rules) {
  return decoded(Kind::kKubernetesNetworkPolicy, "own",
                 fmt::format(R"("podSelector": {{}}, "policyTypes": ["Ingress"], "ingress": [{}])", rules));
}

Outcome arriving(const World& world, std::string_view from = kApi, std::uint16_t port = 80,
                 Protocol protocol = kTcp) {
  return Evaluator{world.snapshot}.evaluate(test::pod_key("shop/db"), Direction::kIngress,
                                            packet(protocol, from, kDb, port));
}
bool arrives(const World& world, std::string_view from = kApi, std::uint16_t port = 80,
             Protocol protocol = kTcp) {
  return arriving(world, from, port, protocol).verdict == Verdict::kAllow;
}
bool arrives(const NetworkPolicy& policy, std::string_view from = kApi, std::uint16_t port = 80,
             Protocol protocol = kTcp) {
  return arrives(world().with_policy(policy), from, port, protocol);
}
bool leaves(const NetworkPolicy& policy, std::string_view to, std::uint16_t port = 80,
            Protocol protocol = kTcp) {
  const auto w = world().with_policy(policy);
  return Evaluator{w.snapshot}
             .evaluate(test::pod_key("shop/db"), Direction::kEgress, packet(protocol, kDb, to, port))
             .verdict == Verdict::kAllow;
}

// --- tiers, priorities, actions ---

TEST(ClusterPolicy, OfTheAdminTierIsAskedBeforeThatOfNamespaces) {
  auto w = world();
  w.with_policy(kubernetes_policy("{}")).with_policy(admin(ingress(from_all("Deny"))));
  EXPECT_THAT(lines(arriving(w)), ElementsAre("kube-admin|ClusterNetworkPolicy p|rule 0|deny"));
  w.with_policy(kubernetes_policy("")).with_policy(admin(ingress(from_all("Accept"))));
  EXPECT_THAT(lines(arriving(w)), ElementsAre("kube-admin|ClusterNetworkPolicy p|rule 0|allow"));
}

TEST(ClusterPolicy, OfTheBaselineTierIsAskedOnlyAboutPodsThatNoOtherSelects) {
  auto w = world();
  w.with_policy(cluster_policy("p", "Baseline", 10, ingress(from_all("Deny"))));
  EXPECT_THAT(lines(arriving(w)), ElementsAre("kube-baseline|ClusterNetworkPolicy p|rule 0|deny"));
  w.with_policy(kubernetes_policy("{}"));
  EXPECT_TRUE(arrives(w));
}

TEST(ClusterPolicy, WhereNoTierDecidesAllPodsMayTalk) {
  const auto w = world().with_policy(
      admin(ingress(from_all("Deny", R"(, "protocols": [{"udp": {"destinationPort": {"number": 53}}}])"))));
  EXPECT_THAT(lines(arriving(w)),
              ElementsAre("kube-admin|-|end of tier|pass", "__PROFILE__|Profile kns.shop|rule 0|allow"));
}

TEST(ClusterPolicy, OfLowerPriorityValueIsAskedFirst) {
  auto w = world();
  w.with_policy(cluster_policy("a", "Admin", 20, ingress(from_all("Deny"))));
  w.with_policy(cluster_policy("b", "Admin", 3, ingress(from_all("Accept"))));
  EXPECT_TRUE(arrives(w));
  w.with_policy(cluster_policy("b", "Admin", 21, ingress(from_all("Accept"))));
  EXPECT_FALSE(arrives(w));
}

TEST(ClusterPolicy, RulesAreAskedInTheOrderInWhichTheyAreWritten) {
  EXPECT_TRUE(arrives(admin(ingress(from_all("Accept") + "," + from_all("Deny")))));
  EXPECT_FALSE(arrives(admin(ingress(from_all("Deny") + "," + from_all("Accept")))));
}

TEST(ClusterPolicy, PassSkipsTheRestOfTheTier) {
  auto w = world();
  w.with_policy(cluster_policy("a", "Admin", 1, ingress(from_all("Pass") + "," + from_all("Deny"))));
  w.with_policy(cluster_policy("b", "Admin", 2, ingress(from_all("Deny"))));
  w.with_policy(kubernetes_policy("{}"));
  EXPECT_THAT(lines(arriving(w)), ElementsAre("kube-admin|ClusterNetworkPolicy a|rule 0|pass",
                                              "default|KubernetesNetworkPolicy shop/own|rule 0|allow"));
}

TEST(ClusterPolicy, WithoutRulesOfADirectionDoesNotAffectIt) {
  const auto only_in = admin(ingress(from_all("Deny")));
  EXPECT_FALSE(arrives(only_in));
  EXPECT_TRUE(leaves(only_in, kApi));
  const auto only_out = admin(to_peer("Deny", R"({"namespaces": {}})"));
  EXPECT_TRUE(arrives(only_out));
  EXPECT_FALSE(leaves(only_out, kApi));
}

// --- subjects and peers ---

TEST(ClusterPolicy, SubjectsAreThePodsOfNamespacesAndNothingElse) {
  const auto denies = ingress(from_all("Deny"));
  EXPECT_FALSE(arrives(admin(denies, R"("subject": {"namespaces": {}})")));
  EXPECT_FALSE(arrives(admin(denies, R"("subject": {"namespaces": {"matchLabels": {"env": "prod"}}})")));
  EXPECT_TRUE(arrives(admin(denies, R"("subject": {"namespaces": {"matchLabels": {"env": "test"}}})")));
  EXPECT_FALSE(arrives(admin(
      denies,
      R"("subject": {"pods": {"namespaceSelector": {"matchLabels": {"env": "prod"}}, "podSelector": {}}})")));
  EXPECT_TRUE(
      arrives(admin(denies, R"("subject": {"pods": {"podSelector": {"matchLabels": {"role": "api"}}}})")));
  const auto w = world().with_policy(admin(denies, R"("subject": {"namespaces": {}})"));
  EXPECT_EQ(
      Evaluator{w.snapshot}
          .evaluate(test::pod_key("shop/machine"), Direction::kIngress, packet(kTcp, kApi, kMachine, 80))
          .verdict,
      Verdict::kAllow)
      << "an endpoint of the namespace that is no pod";
}

TEST(ClusterPolicy, PeersOfNamespacesAreTheirPodsAndNothingElse) {
  const auto all = admin(from_peer("Deny", R"({"namespaces": {}})"));
  EXPECT_FALSE(arrives(all, kApi));
  EXPECT_FALSE(arrives(all, kOther));
  for (const auto from : {kSet, kMachine, kStranger}) EXPECT_TRUE(arrives(all, from)) << from;
  const auto some = admin(from_peer("Deny", R"({"namespaces": {"matchLabels": {"env": "test"}}})"));
  EXPECT_TRUE(arrives(some, kApi));
  EXPECT_FALSE(arrives(some, kOther));
}

TEST(ClusterPolicy, PeersThatArePodsGoByTheirLabelsAndTheirNamespaces) {
  const auto both = admin(from_peer(
      "Deny",
      R"({"pods": {"namespaceSelector": {"matchLabels": {"env": "test"}}, "podSelector": {"matchLabels": {"role": "api"}}}})"));
  EXPECT_FALSE(arrives(both, kOther));
  EXPECT_TRUE(arrives(both, kApi));
  const auto anywhere =
      admin(from_peer("Deny", R"({"pods": {"podSelector": {"matchLabels": {"role": "api"}}}})"));
  EXPECT_FALSE(arrives(anywhere, kOther));
  EXPECT_FALSE(arrives(anywhere, kApi));
  EXPECT_TRUE(arrives(anywhere, kSet));
}

TEST(ClusterPolicy, OneOfSeveralPeersIsEnough) {
  const auto either = admin(from_peer(
      "Deny",
      R"({"namespaces": {"matchLabels": {"env": "test"}}}, {"pods": {"podSelector": {"matchLabels": {"role": "api"}}}})"));
  EXPECT_FALSE(arrives(either, kOther));
  EXPECT_FALSE(arrives(either, kApi));
  EXPECT_TRUE(arrives(either, kStranger));
}

TEST(ClusterPolicy, NetworksAreAddressesPodsIncludedAndIcmpToo) {
  const auto nets = admin(to_peer("Deny", R"({"networks": ["192.0.2.0/24", "10.0.1.0/24"]})"));
  EXPECT_FALSE(leaves(nets, kStranger));
  EXPECT_FALSE(leaves(nets, kOther));
  EXPECT_FALSE(leaves(nets, kStranger, 0, kIcmp));
  EXPECT_TRUE(leaves(nets, kApi));
}

// --- protocols ---

TEST(ClusterPolicy, WithoutProtocolsIsAboutAllOfThem) {
  const auto all = admin(ingress(from_all("Deny")));
  for (const Protocol protocol : {kTcp, kUdp, kSctp, kIcmp, Protocol{47}}) {
    EXPECT_FALSE(arrives(all, kApi, 9, protocol)) << int{protocol};
  }
}

TEST(ClusterPolicy, ProtocolsAreAlternativesWithPortsAndRangesOfBothEnds) {
  const auto some = admin(ingress(from_all(
      "Deny",
      R"(, "protocols": [{"tcp": {"destinationPort": {"number": 80}}}, {"udp": {"destinationPort": {"range": {"start": 50, "end": 60}}}},
          {"sctp": {"destinationPort": {"number": 7}}}])")));
  EXPECT_FALSE(arrives(some, kApi, 80));
  EXPECT_TRUE(arrives(some, kApi, 81));
  EXPECT_TRUE(arrives(some, kApi, 80, kUdp));
  for (const auto port : std::vector<std::uint16_t>{50, 55, 60})
    EXPECT_FALSE(arrives(some, kApi, port, kUdp)) << port;
  for (const auto port : std::vector<std::uint16_t>{49, 61})
    EXPECT_TRUE(arrives(some, kApi, port, kUdp)) << port;
  EXPECT_FALSE(arrives(some, kApi, 7, kSctp));
  EXPECT_TRUE(arrives(some, kApi, 0, kIcmp));
}

TEST(ClusterPolicy, ANamedPortIsThatOfThePodThatIsAsked) {
  const auto in = admin(ingress(from_all("Deny", R"(, "protocols": [{"destinationNamedPort": "sql"}])")));
  EXPECT_FALSE(arrives(in, kApi, 5432));
  EXPECT_TRUE(arrives(in, kApi, 1433));
  const auto out =
      admin(to_peer("Deny", R"({"namespaces": {}})", R"(, "protocols": [{"destinationNamedPort": "sql"}])"));
  EXPECT_FALSE(leaves(out, kApi, 1433));
  EXPECT_TRUE(leaves(out, kApi, 5432));
  EXPECT_TRUE(leaves(out, kStranger, 1433));
}

// --- what cannot be understood ---

TEST(ClusterPolicy, WithAPeerThatIsNotKnownFailsClosed) {
  for (const auto* peer :
       {"{}", R"({"futurePeer": {}})", R"({"nodes": {}})", R"({"domainNames": ["a.example"]})"}) {
    SCOPED_TRACE(peer);
    for (const auto* action : {"Deny", "Pass"}) {
      const auto w = world().with_policy(
          admin(fmt::format(R"("egress": [{{"action": "{}", "to": [{}]}}])", action, peer)));
      const Evaluator evaluator{w.snapshot};
      EXPECT_EQ(
          evaluator.evaluate(test::pod_key("shop/db"), Direction::kEgress, packet(kUdp, kDb, kStranger, 53))
              .verdict,
          Verdict::kDeny);
      ASSERT_EQ(evaluator.problems().size(), 1U);
      EXPECT_THAT(evaluator.problems()[0].message, HasSubstr("the rule denies all"));
    }
    const auto accepts = fmt::format(
        R"("egress": [{{"action": "Accept", "to": [{}]}}, {{"action": "Deny", "to": [{{"namespaces": {{}}}}]}}])",
        peer);
    EXPECT_FALSE(leaves(admin(accepts), kApi)) << "it matches nothing";
    EXPECT_TRUE(leaves(admin(accepts), kStranger)) << "and denies nothing";
  }
}

}  // namespace
}  // namespace ocicat::policy
