// Every row of what upstream and Calico's conversion say of ClusterNetworkPolicy.
#include <map>

#include "resources/decode_test_support.h"

namespace ocicat {
namespace {

constexpr std::string_view kAnyPod = "projectcalico.org/orchestrator == 'k8s'";
constexpr std::string_view kPlace = R"("tier": "Admin", "priority": 7, "subject": {"namespaces": {}})";

std::string document(const std::string& spec) {
  return fmt::format(R"({{"metadata": {{"name": "x"}}, "spec": {{{}}}}})", spec);
}

NetworkPolicy cluster_policy(const std::string& spec) {
  return decoded<NetworkPolicy>(Kind::kClusterNetworkPolicy, document(spec));
}

NetworkPolicy with_ingress(const std::string& rules) {
  return cluster_policy(fmt::format(R"({}, "ingress": [{}])", kPlace, rules));
}
NetworkPolicy with_egress(const std::string& rules) {
  return cluster_policy(fmt::format(R"({}, "egress": [{}])", kPlace, rules));
}

// A rule from or to all namespaces, with these protocols.
std::string rule(std::string_view action, std::string_view protocols) {
  return fmt::format(R"({{"action": "{}", "from": [{{"namespaces": {{}}}}], "protocols": [{}]}})", action,
                     protocols);
}

TEST(ClusterNetworkPolicy, StandsInTheTierThatItsTierMeansWithItsPriorityAsOrder) {
  const std::pair<const char*, const char*> kCases[] = {{"Admin", "kube-admin"},
                                                        {"Baseline", "kube-baseline"}};
  for (const auto& [tier, expected] : kCases) {
    const auto policy = cluster_policy(
        fmt::format(R"("tier": "{}", "priority": 1000, "subject": {{"namespaces": {{}}}})", tier));
    EXPECT_EQ(policy.kind, Kind::kClusterNetworkPolicy);
    EXPECT_EQ(policy.tier, expected);
    EXPECT_EQ(policy.order, 1000);
    EXPECT_EQ(policy.broken, "");
    EXPECT_EQ(policy.unconverted, "");
  }
}

TEST(ClusterNetworkPolicy, SelectsPodsOfNamespacesOrSomePodsOfThem) {
  const struct {
    const char* subject;
    std::string namespaces;
    std::string pods;
  } kCases[] = {
      {R"({"namespaces": {}})", "all()", std::string(kAnyPod)},
      {R"({"namespaces": {"matchLabels": {"env": "prod"}}})", "env == 'prod'", std::string(kAnyPod)},
      {R"({"pods": {"podSelector": {}}})", "all()", std::string(kAnyPod)},
      {R"({"pods": {"namespaceSelector": {"matchLabels": {"env": "prod"}}, "podSelector": {"matchLabels": {"a": "b"}}}})",
       "env == 'prod'", fmt::format("{} && a == 'b'", kAnyPod)},
  };
  for (const auto& [subject, namespaces, pods] : kCases) {
    SCOPED_TRACE(subject);
    const auto policy =
        cluster_policy(fmt::format(R"("tier": "Admin", "priority": 0, "subject": {})", subject));
    EXPECT_EQ(policy.namespace_selector, namespaces);
    EXPECT_EQ(policy.selector, pods);
  }
}

TEST(ClusterNetworkPolicy, CannotBeReadWhereNobodyKnowsWhomItSelectsOrWhereItStands) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"("tier": "Admin", "priority": 1)", "spec.subject: must be there"},
      {R"("tier": "Admin", "priority": 1, "subject": {})", "spec.subject.peer: must have exactly one field"},
      {R"("tier": "Admin", "priority": 1, "subject": {"nodes": {}})",
       "spec.subject.nodes: is no peer that is known"},
      {R"("tier": "Middle", "priority": 1, "subject": {"namespaces": {}})",
       R"(spec.tier: "Middle": must be Admin or Baseline)"},
  };
  for (const auto& [spec, expected] : kCases) {
    EXPECT_EQ(error_of(Kind::kClusterNetworkPolicy, document(spec)), expected) << spec;
  }
}

TEST(ClusterNetworkPolicy, IsAboutTheDirectionsThatItHasRulesFor) {
  const auto none = cluster_policy(std::string(kPlace));
  EXPECT_FALSE(none.applies_to_ingress || none.applies_to_egress);
  const auto ingress = with_ingress(R"({"action": "Pass", "from": [{"namespaces": {}}]})");
  EXPECT_TRUE(ingress.applies_to_ingress && !ingress.applies_to_egress);
  const auto egress = with_egress(R"({"action": "Pass", "to": [{"namespaces": {}}]})");
  EXPECT_TRUE(!egress.applies_to_ingress && egress.applies_to_egress);
}

TEST(ClusterNetworkPolicy, AcceptsDeniesAndPasses) {
  const std::pair<const char*, Action> kCases[] = {
      {"Accept", Action::kAllow}, {"Deny", Action::kDeny}, {"Pass", Action::kPass}};
  for (const auto& [action, expected] : kCases) {
    const auto policy = with_ingress(
        fmt::format(R"({{"action": "{}", "name": "why", "from": [{{"namespaces": {{}}}}]}})", action));
    ASSERT_EQ(policy.ingress.size(), 1U);
    EXPECT_EQ(policy.ingress[0].action, expected);
    EXPECT_EQ(policy.ingress[0].annotations, (Labels{{"name", "why"}}));
    EXPECT_EQ(policy.ingress[0].source.namespace_selector, "all()");
    EXPECT_EQ(policy.ingress[0].source.selector, kAnyPod);
    EXPECT_EQ(policy.ingress[0].protocol, std::nullopt);
  }
}

TEST(ClusterNetworkPolicy, HasPeersThatAreNamespacesPodsAndInEgressNetworks) {
  const auto policy = with_egress(
      R"({"action": "Accept", "to": [{"namespaces": {"matchLabels": {"env": "prod"}}},
                                     {"pods": {"podSelector": {"matchLabels": {"a": "b"}}}},
                                     {"networks": ["10.1.2.3/8", "fd00::/8"]}]})");
  ASSERT_EQ(policy.egress.size(), 3U);
  EXPECT_EQ(policy.egress[0].destination,
            (EntityRule{.selector = std::string(kAnyPod), .namespace_selector = "env == 'prod'"}));
  EXPECT_EQ(policy.egress[1].destination,
            (EntityRule{.selector = fmt::format("{} && a == 'b'", kAnyPod), .namespace_selector = "all()"}));
  EXPECT_EQ(policy.egress[2].destination, (EntityRule{.nets = {prefix("10.0.0.0/8"), prefix("fd00::/8")}}));
}

TEST(ClusterNetworkPolicy, HasPortsByNumberRangeAndName) {
  const auto policy = with_ingress(rule("Accept", R"({"tcp": {"destinationPort": {"number": 443}}},
                        {"udp": {"destinationPort": {"range": {"start": 50, "end": 60}}}},
                        {"tcp": {"destinationPort": {"range": {"start": 80, "end": 90}}}},
                        {"sctp": {"destinationPort": {"number": 7}}},
                        {"destinationNamedPort": "http"})"));
  ASSERT_EQ(policy.ingress.size(), 4U);  // one for each protocol
  EXPECT_EQ(policy.ingress[0].protocol, std::nullopt);
  EXPECT_EQ(policy.ingress[0].destination.ports, (std::vector<Port>{"http"}));
  EXPECT_EQ(policy.ingress[1].protocol, (ProtocolMatch{kSctp, false}));
  EXPECT_EQ(policy.ingress[1].destination.ports, (std::vector<Port>{PortRange{7, 7}}));
  EXPECT_EQ(policy.ingress[2].protocol, (ProtocolMatch{kTcp, false}));
  EXPECT_EQ(policy.ingress[2].destination.ports, (std::vector<Port>{PortRange{80, 90}, PortRange{443, 443}}));
  EXPECT_EQ(policy.ingress[3].protocol, (ProtocolMatch{kUdp, false}));
  EXPECT_EQ(policy.ingress[3].destination.ports, (std::vector<Port>{PortRange{50, 60}}));
}

TEST(ClusterNetworkPolicy, RulesThatCannotBeConvertedDenyAllUnlessTheyAccept) {
  const char* kPeers[] = {
      R"([])",
      R"([{}])",
      R"([{"nodes": {}}])",
      R"([{"networks": ["10.0.0.0/33"]}])",
      R"([{"networks": []}])",
      R"([{"domainNames": ["example.org"]}])",
      R"([{"namespaces": {}, "pods": {"podSelector": {}}}])",
      R"([{"namespaces": {}}, {"namespaces": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}])"};
  const char* kProtocols[] = {R"([])",
                              R"([{}])",
                              R"([{"icmp": {}}])",
                              R"([{"tcp": {}}])",
                              R"([{"tcp": {"destinationPort": {}}}])",
                              R"([{"tcp": {"destinationPort": {"number": 70000}}}])",
                              R"([{"tcp": {"destinationPort": {"range": {"start": 9, "end": 8}}}}])",
                              R"([{"tcp": {"sourcePort": {"number": 1}}}])",
                              R"([{"destinationNamedPort": "no name"}])"};
  std::vector<std::string> bodies;
  for (const auto* peers : kPeers) bodies.push_back(fmt::format(R"("to": {})", peers));
  for (const auto* protocols : kProtocols) {
    bodies.push_back(fmt::format(R"("to": [{{"namespaces": {{}}}}], "protocols": {})", protocols));
  }
  for (const auto& body : bodies) {
    SCOPED_TRACE(body);
    for (const auto* action : {"Deny", "Pass", "Drop"}) {
      const auto policy = with_egress(fmt::format(R"({{"action": "{}", {}}})", action, body));
      EXPECT_EQ(policy.egress, (std::vector<Rule>{{.action = Action::kDeny, .written_at = 0}}));
      EXPECT_TRUE(policy.applies_to_egress);
      EXPECT_TRUE(policy.unconverted.starts_with("spec.egress[0].")) << policy.unconverted;
      EXPECT_TRUE(policy.unconverted.ends_with(": the rule denies all")) << policy.unconverted;
    }
    const auto accepts = with_egress(fmt::format(R"({{"action": "Accept", {}}})", body));
    EXPECT_TRUE(accepts.egress.empty() && !accepts.applies_to_egress);
    EXPECT_TRUE(accepts.unconverted.ends_with(": the rule is left out")) << accepts.unconverted;
  }
}

TEST(ClusterNetworkPolicy, RulesKeepTheNumbersThatTheyHaveAsWritten) {
  const auto policy = with_egress(
      R"({"action": "Accept", "to": [{"namespaces": {}}, {"networks": ["10.0.0.0/8"]}]},
         {"action": "Accept", "to": [{}]}, {"action": "Deny", "to": [{}]},
         {"action": "Pass", "to": [{"namespaces": {}}]})");
  std::vector<int> numbers;
  for (std::size_t i = 0; i < policy.egress.size(); ++i) numbers.push_back(policy.egress[i].index_at(i));
  EXPECT_EQ(numbers, (std::vector{0, 0, 2, 3}));
}

TEST(ClusterNetworkPolicy, NetworksAreNoPeersOfIngress) {
  const auto policy = with_ingress(R"({"action": "Deny", "from": [{"networks": ["10.0.0.0/8"]}]})");
  EXPECT_EQ(policy.ingress, (std::vector<Rule>{{.action = Action::kDeny, .written_at = 0}}));
}

TEST(ClusterNetworkPolicy, WhoseListsCannotBeReadDeniesAll) {
  EXPECT_EQ(with_ingress("1").broken, "spec.ingress[0]: 1: must be an object");
  EXPECT_EQ(cluster_policy(R"("tier": "Admin", "subject": {"namespaces": {}})").broken,
            "spec.priority: must be there");
}

TEST(EndpointSlice, HasTheAddressesAndNumberedPortsOfItsService) {
  const auto slice = decoded<EndpointSlice>(
      Kind::kEndpointSlice,
      R"({"metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
          "addressType": "IPv4",
          "endpoints": [{"addresses": ["10.0.0.2", "not-an-address"], "conditions": {"ready": false}},
                        {"addresses": ["10.0.0.1"]}],
          "ports": [{"name": "a", "port": 80}, {"name": "b", "protocol": "UDP", "port": 53},
                    {"name": "c", "protocol": "SCTP", "port": 7}, {"name": "every"}]})");
  EXPECT_EQ(slice.service, "web");
  EXPECT_EQ(slice.metadata.ns, "shop");
  EXPECT_EQ(slice.addresses, (std::vector{*IpAddress::parse("10.0.0.1"), *IpAddress::parse("10.0.0.2")}));
  EXPECT_EQ(slice.ports, (std::vector<EndpointSlice::Port>{{kTcp, 80}, {kUdp, 53}, {kSctp, 7}}));
}

TEST(EndpointSlice, WithoutTheLabelIsOfNoService) {
  const auto slice = decoded<EndpointSlice>(Kind::kEndpointSlice, named(R"("endpoints": null)"));
  EXPECT_EQ(slice.service, "");
  EXPECT_TRUE(slice.addresses.empty() && slice.ports.empty());
}

}  // namespace
}  // namespace ocicat
