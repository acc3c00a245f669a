// What the API reference of Kubernetes says a NetworkPolicy means, sentence by sentence.
//
//   source   kubernetes.io: "Network Policies", and networking.k8s.io/v1 NetworkPolicySpec
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "policy/evaluator.h"
#include "resources/decode.h"
#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::packet;
using test::World;

constexpr std::string_view kDb = "10.0.0.1";     // shop/db, the pod that is selected
constexpr std::string_view kApi = "10.0.0.2";    // shop/api, role=api
constexpr std::string_view kOther = "10.0.1.1";  // lab/api, role=api, in a namespace env=test
constexpr std::string_view kStranger = "192.0.2.9";
constexpr std::string_view kSet = "198.51.100.1";  // of a network set with the label role=api

World with_policy(const std::string& spec) {
  World world;
  world.with_namespace("shop", {{"env", "prod"}}).with_namespace("lab", {{"env", "test"}});
  world.with_pod("shop/db", {std::string(kDb)}, {{"role", "db"}}, {{"sql", kTcp, 5432}, {"dns", kUdp, 53}});
  world.with_pod("shop/api", {std::string(kApi)}, {{"role", "api"}}, {{"sql", kTcp, 1433}});
  world.with_pod("lab/api", {std::string(kOther)}, {{"role", "api"}});
  world.with_network_set("shop", "net", {"198.51.100.0/24"}, {{"role", "api"}});
  const auto text = fmt::format(R"({{"metadata": {{"name": "p", "namespace": "shop"}}, "spec": {}}})", spec);
  auto policy = decode(Kind::kKubernetesNetworkPolicy, boost::json::parse(text).as_object());
  CHECK(policy.has_value());
  world.with_policy(std::get<NetworkPolicy>(*std::move(policy)));
  return world;
}

std::string ingress(std::string_view rules) {
  return fmt::format(R"({{"podSelector": {{"matchLabels": {{"role": "db"}}}}, "ingress": {}}})", rules);
}
std::string egress(std::string_view rules) {
  return fmt::format(R"({{"podSelector": {{}}, "policyTypes": ["Egress"], "egress": {}}})", rules);
}

Packet to_db(std::string_view from, std::uint16_t port = 80, Protocol protocol = kTcp) {
  return packet(protocol, from, kDb, port);
}
Packet from_api(std::string_view to, std::uint16_t port = 80, Protocol protocol = kTcp) {
  return packet(protocol, kApi, to, port);
}

bool allows(const std::string& spec, const Packet& packet, Direction direction = Direction::kIngress,
            std::string_view pod = "shop/db") {
  return Evaluator{with_policy(spec).snapshot}.evaluate(test::pod_key(pod), direction, packet).verdict ==
         Verdict::kAllow;
}

bool sends(const std::string& spec, const Packet& packet) {
  return allows(spec, packet, Direction::kEgress, "shop/api");
}

TEST(KubernetesPolicy, AnEmptyPodSelectorSelectsAllPodsOfItsNamespaceAndNoOther) {
  const std::string denies = R"({"podSelector": {}})";
  EXPECT_FALSE(allows(denies, to_db(kApi)));
  EXPECT_FALSE(allows(denies, packet(kTcp, kDb, kApi, 80), Direction::kIngress, "shop/api"));
  EXPECT_TRUE(allows(denies, packet(kTcp, kDb, kOther, 80), Direction::kIngress, "lab/api"));
}

TEST(KubernetesPolicy, WithoutRulesAllowsNothingAndWithAnEmptyRuleEverything) {
  EXPECT_FALSE(allows(ingress("[]"), to_db(kApi)));
  EXPECT_TRUE(allows(ingress("[{}]"), to_db(kStranger, 9, kSctp)));
  EXPECT_TRUE(allows(ingress(R"([{"from": [], "ports": []}])"), to_db(kStranger)));
}

TEST(KubernetesPolicy, PeersOfAPodSelectorAloneAreOfTheOwnNamespace) {
  const auto all = ingress(R"([{"from": [{"podSelector": {}}]}])");
  EXPECT_TRUE(allows(all, to_db(kApi)));
  EXPECT_FALSE(allows(all, to_db(kOther)));
  EXPECT_FALSE(allows(all, to_db(kStranger)));
  EXPECT_FALSE(allows(all, to_db(kSet)));
  EXPECT_FALSE(
      allows(ingress(R"([{"from": [{"podSelector": {"matchLabels": {"role": "db"}}}]}])"), to_db(kApi)));
}

TEST(KubernetesPolicy, PeersOfANamespaceSelectorAreAllPodsOfTheseNamespaces) {
  const auto all = ingress(R"([{"from": [{"namespaceSelector": {}}]}])");
  EXPECT_TRUE(allows(all, to_db(kApi)));
  EXPECT_TRUE(allows(all, to_db(kOther)));
  EXPECT_FALSE(allows(all, to_db(kStranger)));
  const auto some = ingress(R"([{"from": [{"namespaceSelector": {"matchLabels": {"env": "test"}}}]}])");
  EXPECT_FALSE(allows(some, to_db(kApi)));
  EXPECT_TRUE(allows(some, to_db(kOther)));
}

TEST(KubernetesPolicy, BothSelectorsInOneEntryMustHoldAndEntriesAreAlternatives) {
  const auto both = ingress(
      R"([{"from": [{"namespaceSelector": {"matchLabels": {"env": "test"}}, "podSelector": {"matchLabels": {"role": "api"}}}]}])");
  EXPECT_TRUE(allows(both, to_db(kOther)));
  EXPECT_FALSE(allows(both, to_db(kApi)));
  const auto either = ingress(
      R"([{"from": [{"namespaceSelector": {"matchLabels": {"env": "test"}}}, {"podSelector": {"matchLabels": {"role": "api"}}}]}])");
  EXPECT_TRUE(allows(either, to_db(kOther)));
  EXPECT_TRUE(allows(either, to_db(kApi)));
  EXPECT_FALSE(allows(either, to_db(kStranger)));
}

TEST(KubernetesPolicy, AnIpBlockIsItsRangeWithoutItsExceptions) {
  const auto block = ingress(
      R"([{"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.8/30", "192.0.2.200/32"]}}]}])");
  EXPECT_TRUE(allows(block, to_db("192.0.2.0")));
  EXPECT_TRUE(allows(block, to_db("192.0.2.7")));
  EXPECT_FALSE(allows(block, to_db("192.0.2.8")));
  EXPECT_FALSE(allows(block, to_db("192.0.2.11")));
  EXPECT_TRUE(allows(block, to_db("192.0.2.12")));
  EXPECT_FALSE(allows(block, to_db("192.0.2.200")));
  EXPECT_FALSE(allows(block, to_db("192.0.3.0")));
  EXPECT_TRUE(allows(ingress(R"([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])"), to_db(kApi)));
}

TEST(KubernetesPolicy, PortsAreTcpUnlessTheySayOtherwise) {
  const auto port = ingress(R"([{"ports": [{"port": 80}]}])");
  EXPECT_TRUE(allows(port, to_db(kApi, 80)));
  EXPECT_FALSE(allows(port, to_db(kApi, 81)));
  EXPECT_FALSE(allows(port, to_db(kApi, 80, kUdp)));
  EXPECT_TRUE(allows(ingress(R"([{"ports": [{"protocol": "SCTP", "port": 7}]}])"), to_db(kApi, 7, kSctp)));
}

TEST(KubernetesPolicy, AProtocolWithoutAPortIsAllOfItsPorts) {
  const auto udp = ingress(R"([{"ports": [{"protocol": "UDP"}]}])");
  EXPECT_TRUE(allows(udp, to_db(kApi, 1, kUdp)));
  EXPECT_TRUE(allows(udp, to_db(kApi, 65535, kUdp)));
  EXPECT_FALSE(allows(udp, to_db(kApi, 1, kTcp)));
}

TEST(KubernetesPolicy, AnEndPortIncludesBothEnds) {
  const auto range = ingress(R"([{"ports": [{"port": 8000, "endPort": 8010}]}])");
  EXPECT_FALSE(allows(range, to_db(kApi, 7999)));
  EXPECT_TRUE(allows(range, to_db(kApi, 8000)));
  EXPECT_TRUE(allows(range, to_db(kApi, 8010)));
  EXPECT_FALSE(allows(range, to_db(kApi, 8011)));
  EXPECT_TRUE(allows(ingress(R"([{"ports": [{"port": 80, "endPort": 80}]}])"), to_db(kApi, 80)));
}

TEST(KubernetesPolicy, AnEndPortThatCannotBeLeavesItsRuleOut) {
  for (const auto* ports : {R"([{"port": "sql", "endPort": 5432}])", R"([{"endPort": 80}])",
                            R"([{"port": 90, "endPort": 80}])"}) {
    const auto spec = ingress(fmt::format(R"([{{"ports": {}}}, {{"ports": [{{"port": 9}}]}}])", ports));
    EXPECT_FALSE(allows(spec, to_db(kApi, 5432))) << ports;
    EXPECT_FALSE(allows(spec, to_db(kApi, 80))) << ports;
    EXPECT_TRUE(allows(spec, to_db(kApi, 9))) << ports;
    const Evaluator evaluator{with_policy(spec).snapshot};
    ASSERT_EQ(evaluator.problems().size(), 1U) << ports;
    EXPECT_EQ(evaluator.problems()[0].message,
              "spec.ingress[0].ports: one cannot be understood: the rule is left out");
  }
}

TEST(KubernetesPolicy, ANamedPortIsThatOfTheReceivingPodWithTheProtocol) {
  const auto named = ingress(R"([{"ports": [{"port": "sql"}]}])");
  EXPECT_TRUE(allows(named, to_db(kApi, 5432)));
  EXPECT_FALSE(allows(named, to_db(kApi, 1433)));
  EXPECT_FALSE(allows(ingress(R"([{"ports": [{"port": "dns"}]}])"), to_db(kApi, 53)));
  EXPECT_TRUE(allows(ingress(R"([{"ports": [{"protocol": "UDP", "port": "dns"}]}])"), to_db(kApi, 53, kUdp)));
  const auto out = egress(R"([{"to": [{"podSelector": {}}], "ports": [{"port": "sql"}]}])");
  EXPECT_TRUE(sends(out, from_api(kDb, 5432)));
  EXPECT_FALSE(sends(out, from_api(kDb, 1433)));
  EXPECT_FALSE(sends(out, from_api(kStranger, 5432)));
}

TEST(KubernetesPolicy, PeersAndPortsOfOneRuleMustBothHoldAndRulesAreAlternatives) {
  const auto spec =
      ingress(R"([{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}, {"ports": [{"port": 443}]}])");
  EXPECT_TRUE(allows(spec, to_db(kApi, 80)));
  EXPECT_FALSE(allows(spec, to_db(kStranger, 80)));
  EXPECT_TRUE(allows(spec, to_db(kStranger, 443)));
}

TEST(KubernetesPolicy, IsolatesInTheDirectionsOfItsTypes) {
  const std::string neither = R"({"podSelector": {}})";
  EXPECT_FALSE(allows(neither, to_db(kApi)));
  EXPECT_TRUE(sends(neither, from_api(kDb)));
  const std::string with_egress = R"({"podSelector": {}, "egress": [{}]})";
  EXPECT_FALSE(allows(with_egress, to_db(kApi)));
  EXPECT_TRUE(sends(with_egress, from_api(kDb)));
  EXPECT_TRUE(allows(egress("[]"), to_db(kApi)));
  EXPECT_FALSE(sends(egress("[]"), from_api(kDb)));
  EXPECT_FALSE(
      sends(R"({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}]})", from_api(kDb)));
}

TEST(KubernetesPolicy, ExpressionsAllHaveToHold) {
  const auto with = [](std::string_view expressions) {
    return ingress(fmt::format(
        R"([{{"from": [{{"podSelector": {{"matchLabels": {{"role": "api"}}, "matchExpressions": {}}}}}]}}])",
        expressions));
  };
  EXPECT_TRUE(allows(with("[]"), to_db(kApi)));
  EXPECT_TRUE(allows(with(R"([{"key": "role", "operator": "In", "values": ["api", "x"]}])"), to_db(kApi)));
  EXPECT_FALSE(allows(with(R"([{"key": "role", "operator": "NotIn", "values": ["api"]}])"), to_db(kApi)));
  EXPECT_TRUE(allows(with(R"([{"key": "missing", "operator": "NotIn", "values": ["x"]}])"), to_db(kApi)));
  EXPECT_FALSE(allows(with(R"([{"key": "missing", "operator": "Exists"}])"), to_db(kApi)));
  EXPECT_TRUE(allows(with(R"([{"key": "missing", "operator": "DoesNotExist"}])"), to_db(kApi)));
}

}  // namespace
}  // namespace ocicat::policy
