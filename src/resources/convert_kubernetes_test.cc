#include <fstream>
#include <iterator>
#include <map>

#include "resources/decode_test_support.h"
#include "test/source_dir.h"

namespace ocicat {
namespace {

TEST(Namespace, BecomesAProfileThatAllowsAll) {
  const auto profile = decoded<Profile>(
      Kind::kNamespace, R"({"metadata": {"name": "shop", "labels": {"team": "a", "tier": "b"}}})");
  EXPECT_EQ(profile.metadata.name, "kns.shop");
  EXPECT_EQ(profile.labels_to_apply, (Labels{{"pcns.kubernetes.io/metadata.name", "shop"},
                                             {"pcns.projectcalico.org/name", "shop"},
                                             {"pcns.team", "a"},
                                             {"pcns.tier", "b"}}));
  EXPECT_EQ(profile.ingress, (std::vector<Rule>{{.action = Action::kAllow}}));
  EXPECT_EQ(profile.egress, (std::vector<Rule>{{.action = Action::kAllow}}));
}

TEST(ServiceAccount, BecomesAProfileOfLabelsAlone) {
  const auto profile = decoded<Profile>(
      Kind::kServiceAccount, R"({"metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}}})");
  EXPECT_EQ(profile.metadata.name, "ksa.shop.web");
  EXPECT_EQ(profile.metadata.ns, "");
  EXPECT_EQ(profile.labels_to_apply, (Labels{{"pcsa.a", "b"}, {"pcsa.projectcalico.org/name", "web"}}));
  EXPECT_TRUE(profile.ingress.empty() && profile.egress.empty());
}

// A pod shop/frontend with these fields in metadata, spec and status.
WorkloadEndpoint pod(const std::string& metadata, const std::string& spec, const std::string& status) {
  return decoded<WorkloadEndpoint>(
      Kind::kPod, fmt::format(R"({{"metadata": {{"name": "frontend", "namespace": "shop" {}}}, "spec": {{{}}},
                                   "status": {{{}}}}})",
                              metadata.empty() ? "" : ", " + metadata, spec, status));
}

std::vector<std::string> addresses_of(const WorkloadEndpoint& endpoint) {
  std::vector<std::string> texts;
  for (const auto& address : endpoint.addresses) texts.push_back(address.to_string());
  return texts;
}

TEST(Pod, BecomesAWorkloadEndpoint) {
  const auto endpoint = pod(R"("labels": {"app": "web", "pcns.team": "spoofed"})",
                            R"("nodeName": "host-1", "serviceAccountName": "web",
                               "containers": [{"ports": [{"name": "http", "containerPort": 80},
                                                         {"containerPort": 81, "hostPort": 81},
                                                         {"name": "odd", "containerPort": 82, "protocol": "ICMP"}]}],
                               "initContainers": [{"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}])",
                            R"("podIPs": [{"ip": "10.65.0.2"}, {"ip": "fd00::2"}], "podIP": "10.65.0.2")");
  const WorkloadEndpoint expected{.metadata = {.name = "host--1-k8s-frontend-eth0",
                                               .ns = "shop",
                                               .labels = {{"app", "web"},
                                                          {"projectcalico.org/namespace", "shop"},
                                                          {"projectcalico.org/orchestrator", "k8s"},
                                                          {"projectcalico.org/serviceaccount", "web"}}},
                                  .node = "host-1",
                                  .orchestrator = "k8s",
                                  .workload = "frontend",
                                  .interface_name = "cali1f52436dff8",
                                  .addresses = {*IpAddress::parse("10.65.0.2"), *IpAddress::parse("fd00::2")},
                                  .profiles = {"kns.shop", "ksa.shop.web"},
                                  .ports = {{"http", kTcp, 80}, {"dns", kUdp, 53}},
                                  .service_account = "web"};
  EXPECT_EQ(endpoint, expected);
}

TEST(Pod, HasTheAddressesOfTheFirstSourceThatSaysAny) {
  const std::string scheduled = R"("nodeName": "h")";
  using Texts = std::vector<std::string>;
  EXPECT_EQ(addresses_of(pod("", scheduled, R"("podIP": "10.0.0.1")")), (Texts{"10.0.0.1"}));
  EXPECT_EQ(addresses_of(pod(R"("annotations": {"cni.projectcalico.org/podIPs": "10.0.0.1/32, fd00::1/128",
                                                "cni.projectcalico.org/podIP": "10.0.0.9/32"})",
                             scheduled, "")),
            (Texts{"10.0.0.1", "fd00::1"}));
  EXPECT_EQ(
      addresses_of(pod(R"("annotations": {"cni.projectcalico.org/podIP": "10.0.0.9/32"})", scheduled, "")),
      (Texts{"10.0.0.9"}));
  EXPECT_EQ(addresses_of(pod(R"("annotations": {"vpc.amazonaws.com/pod-ips": "10.0.0.8"})", scheduled, "")),
            (Texts{"10.0.0.8"}));
}

TEST(Pod, HasNoAddressesWhereItIsNotAnEndpoint) {
  const std::string ip = R"("podIP": "10.0.0.1")";
  EXPECT_TRUE(pod("", "", ip).addresses.empty()) << "not scheduled";
  EXPECT_TRUE(pod("", R"("nodeName": "h", "hostNetwork": true)", ip).addresses.empty());
  EXPECT_EQ(pod("", R"("nodeName": "h", "hostNetwork": true)", ip).interface_name, "");
  for (const auto* phase : {"Failed", "Succeeded", "Completed"}) {
    EXPECT_TRUE(
        pod("", R"("nodeName": "h")", ip + fmt::format(R"(, "phase": "{}")", phase)).addresses.empty());
  }
  const std::string deleted = R"("deletionTimestamp": "2026-01-01T00:00:00Z")";
  EXPECT_TRUE(
      pod(deleted + R"(, "annotations": {"cni.projectcalico.org/podIP": ""})", R"("nodeName": "h")", ip)
          .addresses.empty());
  EXPECT_FALSE(pod(deleted, R"("nodeName": "h")", ip).addresses.empty()) << "still shutting down";
}

TEST(Pod, CannotSayWhoseServiceAccountItHas) {
  const std::string spoofed = R"("labels": {"projectcalico.org/serviceaccount": "admin"})";
  EXPECT_FALSE(
      pod(spoofed, R"("nodeName": "h")", "").metadata.labels.contains("projectcalico.org/serviceaccount"));
  const std::string long_name(63, 'a');
  const auto endpoint = pod(spoofed, fmt::format(R"("serviceAccountName": "{}")", long_name), "");
  EXPECT_FALSE(endpoint.metadata.labels.contains("projectcalico.org/serviceaccount"));
  EXPECT_EQ(endpoint.profiles, (std::vector<std::string>{"kns.shop", "ksa.shop." + long_name}));
}

TEST(Pod, MaySendFromPrefixesOnlyWhereTheyCanBeRead) {
  const auto prefixes = [](std::string_view text) {
    return pod(fmt::format(R"("annotations": {{"cni.projectcalico.org/allowedSourcePrefixes": "{}"}})", text),
               R"("nodeName": "h")", "")
        .allowed_source_prefixes;
  };
  EXPECT_EQ(prefixes(R"([\"10.1.2.3/8\", \"fd00::/8\"])"),
            (std::vector{prefix("10.0.0.0/8"), prefix("fd00::/8")}));
  EXPECT_TRUE(prefixes(R"([\"10.1.2.3/8\", \"x\"])").empty());
  EXPECT_TRUE(prefixes("[").empty());
}

TEST(Pod, IsReachedUnderFloatingAddressesOfItsFamilies) {
  const auto floating = [](std::string_view text) {
    return pod(fmt::format(R"("annotations": {{"cni.projectcalico.org/floatingIPs": "{}"}})", text),
               R"("nodeName": "h")", R"("podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])")
        .floating;
  };
  const auto address = [](std::string_view text) { return *IpAddress::parse(text); };
  EXPECT_EQ(floating(R"([\"172.16.0.5\", \"fd00::5\", \"172.16.0.6\"])"),
            (std::vector<FloatingAddress>{{address("172.16.0.5"), address("10.0.0.1")},
                                          {address("172.16.0.6"), address("10.0.0.1")}}));
  EXPECT_TRUE(floating(R"([\"172.16.0.5\", \"x\"])").empty());
  EXPECT_TRUE(floating(R"([\"172.16.0.0/24\"])").empty());
}

TEST(Pod, HasTheLimitsThatItsAnnotationsAskFor) {
  const auto qos = pod(R"("annotations": {"kubernetes.io/ingress-bandwidth": "10M", "other": "1",
                          "qos.projectcalico.org/ingressBurst": "1M"})",
                       R"("nodeName": "h")", "")
                       .qos;
  EXPECT_EQ(qos.limits.ingress, (Bandwidth{.rate = 10'000'000, .burst = 1'000'000}));
  EXPECT_EQ(qos.limits.egress, Bandwidth{});
}

NetworkPolicy policy_of(const std::string& spec) {
  return decoded<NetworkPolicy>(Kind::kKubernetesNetworkPolicy, with_spec(spec));
}

Rule allow(std::optional<Protocol> protocol, EntityRule source, EntityRule destination,
           std::uint32_t written_at = 0) {
  Rule rule{.action = Action::kAllow};
  if (protocol) rule.protocol = ProtocolMatch{*protocol, false};
  rule.source = std::move(source);
  rule.destination = std::move(destination);
  rule.written_at = written_at;
  return rule;
}

TEST(KubernetesNetworkPolicy, BecomesAPolicyOfTheDefaultTier) {
  const auto policy = policy_of(R"("podSelector": {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [
      {"key": "k", "operator": "In", "values": ["x", "y"]}, {"key": "l", "operator": "NotIn", "values": ["z"]},
      {"key": "m", "operator": "Exists"}, {"key": "n", "operator": "DoesNotExist"}]})");
  EXPECT_EQ(policy.kind, Kind::kKubernetesNetworkPolicy);
  EXPECT_EQ(policy.tier, "default");
  EXPECT_EQ(policy.order, 1000);
  EXPECT_EQ(policy.selector,
            "projectcalico.org/orchestrator == 'k8s' && a == '1' && b == '2' && k in { 'x', 'y' } && "
            "l not in { 'z' } && has(m) && ! has(n)");
  EXPECT_TRUE(policy.applies_to_ingress && !policy.applies_to_egress);
  EXPECT_EQ(policy_of("").selector, "projectcalico.org/orchestrator == 'k8s'");
}

TEST(KubernetesNetworkPolicy, MakesARuleOfEachProtocolAndPeer) {
  const auto policy = policy_of(R"("policyTypes": ["Ingress", "Egress"],
      "ingress": [{"from": [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"a": "b"}}},
                            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"c": "d"}}}],
                   "ports": [{"port": 90}, {"protocol": "UDP"}, {"port": "http"}, {"port": 80, "endPort": 89}]}],
      "egress": [{"to": [{"ipBlock": {"cidr": "10.1.2.3/8", "except": ["10.1.0.0/16"]}, "podSelector": {"x": 1}}],
                  "ports": [{"port": 53, "protocol": "SCTP"}]}, {}])");
  ASSERT_EQ(policy.broken, "");
  const std::string pods = "projectcalico.org/orchestrator == 'k8s'";
  const std::vector<EntityRule> peers{{.selector = pods},
                                      {.selector = pods, .namespace_selector = "a == 'b'"},
                                      {.selector = pods + " && c == 'd'", .namespace_selector = "all()"}};
  const EntityRule http{.ports = {std::string("http"), PortRange{80, 90}}};
  std::vector<Rule> ingress;
  for (const auto& peer : peers) ingress.push_back(allow(kTcp, peer, http));
  for (const auto& peer : peers) ingress.push_back(allow(kUdp, peer, {}));
  EXPECT_EQ(policy.ingress, ingress);
  EXPECT_EQ(policy.egress, (std::vector{allow(kSctp, {},
                                              {.nets = {prefix("10.0.0.0/8")},
                                               .not_nets = {prefix("10.1.0.0/16")},
                                               .ports = {PortRange{53, 53}}}),
                                        allow(std::nullopt, {}, {}, 1)}));
}

TEST(KubernetesNetworkPolicy, TakesAnEmptyPortForAllOfTcp) {
  const auto policy = policy_of(R"("ingress": [{"ports": [{}, {"port": 80}]}])");
  EXPECT_EQ(policy.ingress, (std::vector{allow(kTcp, {}, {})}));
}

TEST(KubernetesNetworkPolicy, AppliesToEgressWhereItHasEgressRules) {
  const auto policy = policy_of(R"("egress": [{}])");
  EXPECT_TRUE(policy.applies_to_ingress && policy.applies_to_egress);
  const auto inert = policy_of(R"("policyTypes": ["Ingress"], "egress": [{}])");
  EXPECT_TRUE(inert.applies_to_ingress && !inert.applies_to_egress);
}

TEST(KubernetesNetworkPolicy, LeavesOutARuleWhosePortIsNotUnderstood) {
  for (const auto* port : {R"({"port": 70000})", R"({"port": 0})", R"({"port": "a b"})",
                           R"({"protocol": "ICMP"})", R"({"port": 90, "endPort": 80})",
                           R"({"port": "http", "endPort": 80})", R"({"endPort": 80})", R"({"port": ""})"}) {
    const auto policy =
        policy_of(fmt::format(R"("ingress": [{{"ports": [{{"port": 1}}, {}]}}, {{}}])", port));
    EXPECT_EQ(policy.broken, "") << port;
    EXPECT_EQ(policy.ingress, (std::vector{allow(std::nullopt, {}, {}, 1)})) << port;
  }
}

TEST(KubernetesNetworkPolicy, IsBrokenWhereAPeerCannotBeRead) {
  const std::map<std::string, std::string> broken{
      {R"({"ipBlock": {"cidr": "10.0.0.0"}})", R"(ipBlock.cidr: "10.0.0.0": must be a CIDR)"},
      {R"({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x"]}})",
       R"(ipBlock.except[0]: "x": must be a CIDR or an IP address)"},
      {R"({"podSelector": {"matchLabels": {"a": 1}}})", "podSelector.matchLabels.a: 1: must be a string"},
      {R"({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})",
       R"(podSelector.matchExpressions[0].operator: "Is": must be In, NotIn, Exists or DoesNotExist)"},
      {R"({"namespaceSelector": []})", "namespaceSelector: a list: must be an object"},
  };
  for (const auto& [peer, reason] : broken) {
    const auto policy =
        policy_of(fmt::format(R"("egress": [{{"to": [{{"podSelector": {{}}}}, {}]}}])", peer));
    EXPECT_EQ(policy.broken, "spec.egress[0].to[1]." + reason);
    EXPECT_TRUE(policy.egress.empty() && policy.applies_to_ingress && policy.applies_to_egress);
  }
  EXPECT_NE(policy_of(R"("ingress": [{"from": [{}]}])").broken, "");
}

TEST(KubernetesNetworkPolicy, IsBrokenWhereItWouldFillTheMemory) {
  std::string peers;
  std::string ports;
  for (int i = 0; i < 1000; ++i) {
    peers += R"({"podSelector": {}},)";
    ports += fmt::format(R"({{"port": {}}},)", 2 * i + 1);
  }
  peers.pop_back();
  ports.pop_back();
  const auto policy = policy_of(fmt::format(R"("ingress": [{{"from": [{}], "ports": [{}]}}])", peers, ports));
  EXPECT_EQ(policy.broken, "spec.ingress[0].ports: peers times ports must not exceed 200000");
}

TEST(KubernetesNetworkPolicy, CannotSmuggleASelectorInALabel) {
  const auto policy = policy_of(
      R"("ingress": [{"from": [{"podSelector": {"matchLabels": {"a": "x' || all() || a == 'y"}}}]}])");
  ASSERT_EQ(policy.broken, "");
  EXPECT_EQ(policy.ingress.at(0).source.selector,
            R"(projectcalico.org/orchestrator == 'k8s' && a == "x' || all() || a == 'y")");
  EXPECT_EQ(
      error_of(Kind::kKubernetesNetworkPolicy, with_spec(R"("podSelector": {"matchLabels": {"a": "'\""}})")),
      R"(spec.podSelector.matchLabels: "a": must be the name of a label with a value it can have)");
  EXPECT_EQ(
      error_of(Kind::kKubernetesNetworkPolicy,
               with_spec(R"("podSelector": {"matchLabels": {"all() || a": "b"}})")),
      R"(spec.podSelector.matchLabels: "all() || a": must be the name of a label with a value it can have)");
}

TEST(KubernetesNetworkPolicy, OfEveryVectorIsRead) {
  std::ifstream file(test::source_dir() / "test/conformance/kubernetes-networkpolicy.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto cases = boost::json::parse(text);
  std::size_t policies = 0;
  for (const auto& one : cases.as_array()) {
    for (const auto& step : one.at("steps").as_array()) {
      for (const auto& policy : step.at("policies").as_array()) {
        const auto resource = decode(Kind::kKubernetesNetworkPolicy, policy.as_object());
        ASSERT_TRUE(resource) << resource.error().message;
        EXPECT_EQ(std::get<NetworkPolicy>(*resource).broken, "");
        ++policies;
      }
    }
  }
  EXPECT_GT(policies, 112u);
}

TEST(StagedKubernetesNetworkPolicy, IsConvertedAndNeverEnforced) {
  const auto policy = decoded<NetworkPolicy>(Kind::kStagedKubernetesNetworkPolicy,
                                             with_spec(R"("stagedAction": "Delete", "podSelector": {})"));
  EXPECT_TRUE(policy.staged() && policy.staged_delete);
  EXPECT_EQ(policy.order, 1000);
  const auto unknown = decoded<NetworkPolicy>(Kind::kStagedKubernetesNetworkPolicy,
                                              with_spec(R"("stagedAction": "Perhaps", "podSelector": {})"));
  EXPECT_EQ(unknown.broken, R"(spec.stagedAction: "Perhaps": must be Set, Delete, Learn or Ignore)");
}

}  // namespace
}  // namespace ocicat
