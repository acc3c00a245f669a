#include <gtest/gtest.h>

#include "resources/validate_test_support.h"

namespace ocicat {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

TEST(KubernetesRules, OfNetworkPoliciesAndTheirStagedTwin) {
  const RuleCase kCases[] = {
      {"{podSelector: {}}", {}},
      {"{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{ports: [{}]}]}", {}},
      {"{podSelector: {matchLabels: {app: x}, matchExpressions: [{key: a/b, operator: In, values: [c]}]}}",
       {}},
      {"{podSelector: {matchLabels: {'a b': x}}}",
       {R"(spec.podSelector.matchLabels["a b"]: "x": the key must be a name of at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit, optionally after a DNS name and a slash)"}},
      {"{podSelector: {matchLabels: {a: 'x y'}}}",
       {R"(spec.podSelector.matchLabels.a: "x y": must be empty or at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit)"}},
      {"{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}",
       {R"(spec.podSelector.matchExpressions[0].operator: "in": must be one of In, NotIn, Exists, DoesNotExist)"}},
      {"{podSelector: {matchExpressions: [{key: a, operator: NotIn}]}}",
       {"spec.podSelector.matchExpressions[0].values: must not be empty with the operator NotIn"}},
      {"{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
       {R"(spec.podSelector.matchExpressions[0].values: ["b"]: must be empty with the operator Exists)"}},
      {"{podSelector: {matchExpressions: [{operator: Exists}]}}",
       {"spec.podSelector.matchExpressions[0].key: required, and missing"}},
      {"{podSelector: {}, policyTypes: [Inbound]}",
       {R"(spec.policyTypes[0]: "Inbound": must be one of Ingress, Egress)"}},

      {"{podSelector: {}, ingress: [{from: [{podSelector: {}, namespaceSelector: {}}]}]}", {}},
      {"{podSelector: {}, ingress: [{from: [{}]}]}",
       {"spec.ingress[0].from[0]: must have a podSelector, a namespaceSelector or an ipBlock"}},
      {"{podSelector: {}, egress: [{to: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
       {R"(spec.egress[0].to[0].ipBlock: {"cidr":"10.0.0.0/8"}: cannot be combined with podSelector or namespaceSelector; write another entry)"}},
      {"{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}", {}},
      {"{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.1}}]}]}",
       {R"(spec.egress[0].to[0].ipBlock.cidr: "10.0.0.1": must be a CIDR such as 10.0.0.0/16)"}},
      {"{podSelector: {}, egress: [{to: [{ipBlock: {}}]}]}",
       {"spec.egress[0].to[0].ipBlock.cidr: required, and missing"}},
      {"{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8, 11.0.0.0/16, "
       "x]}}]}]}",
       {R"(spec.ingress[0].from[0].ipBlock.except[0]: "10.0.0.0/8": must lie within 10.0.0.0/8, and be smaller)",
        R"(spec.ingress[0].from[0].ipBlock.except[1]: "11.0.0.0/16": must lie within 10.0.0.0/8, and be smaller)",
        R"(spec.ingress[0].from[0].ipBlock.except[2]: "x": must be a CIDR such as 10.0.1.0/24)"}},

      {"{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90, protocol: UDP}, {port: http}]}]}", {}},
      {"{podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]}",
       {R"(spec.ingress[0].ports[0].protocol: "ICMP": must be one of TCP, UDP, SCTP)"}},
      {"{podSelector: {}, ingress: [{ports: [{port: 0}, {port: 65536}]}]}",
       {"spec.ingress[0].ports[0].port: 0: must be from 1 to 65535",
        "spec.ingress[0].ports[1].port: 65536: must be from 1 to 65535"}},
      {"{podSelector: {}, ingress: [{ports: [{port: '80'}]}]}",
       {R"(spec.ingress[0].ports[0].port: "80": must be the name of a port: at most 15 of a-z 0-9 -, at least one letter, no - at the ends or doubled)"}},
      {"{podSelector: {}, ingress: [{ports: [{endPort: 90}, {port: http, endPort: 90}, {port: 80, endPort: "
       "79}]}]}",
       {"spec.ingress[0].ports[0].endPort: 90: needs a port that is a number",
        "spec.ingress[0].ports[1].endPort: 90: needs a port that is a number",
        "spec.ingress[0].ports[2].endPort: 79: must be from the port, 80, to 65535"}},
      {"{podSelector: {}, ingress: [{form: []}]}",
       {"spec.ingress[0].form: []: unknown field; did you mean from?"}},
  };
  for (const auto& [spec, complaints] : kCases) {
    const auto yaml = document_of("NetworkPolicy", "shop/p", spec, "networking.k8s.io/v1");
    EXPECT_THAT(complaints_about(yaml), ElementsAreArray(complaints)) << yaml;
    const auto staged = document_of("StagedKubernetesNetworkPolicy", "shop/p", spec);
    EXPECT_THAT(complaints_about(staged), ElementsAreArray(complaints)) << staged;
  }
}

TEST(KubernetesRules, OfPods) {
  const std::pair<const char*, std::vector<std::string>> kCases[] = {
      {"spec: {containers: [{name: a, image: x}]}", {}},
      {"spec: {nodeName: host1, serviceAccountName: api, containers: [{name: a, ports: [{containerPort: 80, "
       "name: http}]}]}\n"
       "status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}",
       {}},
      {"spec: {}", {"spec.containers: required, and missing"}},
      {"spec: {containers: []}", {"spec.containers: must have at least 1 items"}},
      {"spec: {containers: [{image: x}]}", {"spec.containers[0].name: required, and missing"}},
      {"spec: {containers: [{name: a}, {name: a}]}",
       {R"(spec.containers[1].name: "a": another container has it already)"}},
      {"spec: {initContainers: [{name: a}], containers: [{name: a}]}",
       {R"(spec.containers[0].name: "a": another container has it already)"}},
      {"spec: {containers: [{name: a, ports: [{containerPort: 0}]}]}",
       {"spec.containers[0].ports[0].containerPort: 0: must be from 1 to 65535"}},
      {"spec: {containers: [{name: a, ports: [{containerPort: 1, name: p}, {containerPort: 2, name: p}]}]}",
       {R"(spec.containers[0].ports[1].name: "p": another port of the container has it already)"}},
      {"spec: {hostNetwork: true, containers: [{name: a, ports: [{containerPort: 1, hostPort: 2}]}]}",
       {"spec.containers[0].ports[0].hostPort: 2: must be the containerPort in a pod on the host's network"}},
      {"spec: {containers: [{name: a, ports: [{containerPort: 1, protocol: ICMP}]}]}",
       {R"(spec.containers[0].ports[0].protocol: "ICMP": must be one of TCP, UDP, SCTP)"}},
      {"spec: {containers: [{name: a}], volumes: [{name: v, anything: {goes: [here]}}], affinity: {}}", {}},
      {"spec: {containers: [{name: a}], nodName: h}",
       {"spec.nodName: \"h\": unknown field; did you mean nodeName?"}},
      {"spec: {containers: [{name: a}]}\nstatus: {podIP: ten}",
       {R"(status.podIP: "ten": must be an IP address)"}},
      {"spec: {containers: [{name: a}]}\nstatus: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.3}]}",
       {R"(status.podIPs[0].ip: "10.0.0.1": the first of podIPs must be podIP)",
        R"(status.podIPs[1].ip: "10.0.0.3": a pod has one address of each family)"}},
  };
  for (const auto& [rest, complaints] : kCases) {
    const auto yaml =
        fmt::format("apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: shop}}\n{}\n", rest);
    EXPECT_THAT(complaints_about(yaml), ElementsAreArray(complaints)) << yaml;
  }
}

TEST(KubernetesRules, OfNamespacesAndServiceAccounts) {
  EXPECT_THAT(complaints_about("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {a/b: c}}\n"
                               "spec: {finalizers: [kubernetes]}\nstatus: {phase: Active}\n"),
              IsEmpty());
  EXPECT_THAT(
      complaints_about("apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n"),
      ElementsAre(
          R"(metadata.name: "a.b": must be at most 63 of a-z 0-9 -, beginning and ending with a letter or digit)"));
  EXPECT_THAT(
      complaints_about("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: api.v1, namespace: shop}\n"
                       "automountServiceAccountToken: false\nsecrets: [{name: x}]\n"),
      IsEmpty());
  EXPECT_THAT(
      complaints_about("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: api}\n"),
      ElementsAre("metadata.namespace: required, and missing: a ServiceAccount belongs to a namespace"));
}

TEST(KubernetesRules, APolicySaysWhatTheApiServerWouldAdd) {
  const auto types_of = [](std::string_view spec, std::string_view kind, std::string_view version) {
    const auto result = validated(document_of(kind, "shop/p", spec, version));
    EXPECT_TRUE(result.ok());
    return result.json.at("spec").at("policyTypes");
  };
  for (const auto& [kind, version] : {std::pair("NetworkPolicy", "networking.k8s.io/v1"),
                                      std::pair("StagedKubernetesNetworkPolicy", "projectcalico.org/v3")}) {
    EXPECT_EQ(types_of("{podSelector: {}}", kind, version), (boost::json::array{"Ingress"}));
    EXPECT_EQ(types_of("{podSelector: {}, egress: [{}]}", kind, version),
              (boost::json::array{"Ingress", "Egress"}));
    EXPECT_EQ(types_of("{podSelector: {}, policyTypes: [Egress]}", kind, version),
              (boost::json::array{"Egress"}));
  }
  const auto bare = validated(
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\n");
  EXPECT_TRUE(bare.ok());
  EXPECT_EQ(bare.json.at("spec").at("policyTypes"), (boost::json::array{"Ingress"}));
}

}  // namespace
}  // namespace ocicat
