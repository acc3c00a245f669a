// What validation says of ClusterNetworkPolicy, Service and EndpointSlice.
#include <gtest/gtest.h>

#include "resources/validate_test_support.h"

namespace ocicat {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

std::vector<std::string> of_cluster_policy(const std::string& spec) {
  return complaints_about(
      document_of("ClusterNetworkPolicy", "x", spec, "policy.networking.k8s.io/v1alpha2"));
}

TEST(ClusterRules, OfClusterNetworkPolicies) {
  const RuleCase kCases[] = {
      {"{tier: Admin, priority: 0, subject: {namespaces: {}}}", {}},
      {"{tier: Baseline, priority: 1000, subject: {pods: {podSelector: {}}}}", {}},
      {"{tier: Middle, priority: 1001, subject: {}}",
       {R"(spec.tier: "Middle": must be one of Admin, Baseline)",
        "spec.priority: 1001: must be from 0 to 1000", "spec.subject: must have at least 1 fields"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}",
       {"spec.subject: must have at most 1 fields; it has 2"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {matchExpressions: [{key: a, operator: In}]}}}",
       {"spec.subject.namespaces.matchExpressions[0].values: must not be empty with the operator In"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Allow, from: []}]}",
       {R"(spec.ingress[0].action: "Allow": must be one of Accept, Deny, Pass)",
        "spec.ingress[0].from: must have at least 1 items"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: "
       "[10.0.0.1]}]}]}",
       {R"(spec.egress[0].to[0].networks[0]: "10.0.0.1": must be a CIDR such as 10.0.0.0/16)"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: "
       "[10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]}]}",
       {R"(spec.egress[0].protocols[0].destinationNamedPort: "http": cannot be combined with networks, which have no named ports)"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: "
       "{}}], protocols: [{tcp: {destinationPort: {range: {start: 9, end: 9}}}}]}]}",
       {"spec.ingress[0].protocols[0].tcp.destinationPort.range.end: 9: must be greater than start, 9"}},
      {"{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: "
       "{}}], protocols: [{tcp: {}}]}]}",
       {"spec.ingress[0].protocols[0].tcp: must have at least 1 fields"}},
  };
  for (const auto& [spec, complaints] : kCases) {
    EXPECT_THAT(of_cluster_policy(spec), ElementsAreArray(complaints)) << spec;
  }
}

TEST(ClusterRules, OfServicesAndTheirSlices) {
  EXPECT_THAT(complaints_about(document_of("Service", "shop/web", "{ports: [{port: 80}]}", "v1")), IsEmpty());
  EXPECT_THAT(
      complaints_about(document_of("Service", "shop/web", "{ports: [{port: 80}, {port: 70000}]}", "v1")),
      ElementsAre("spec.ports[1].port: 70000: must be from 1 to 65535",
                  "spec.ports[0].name: required where there are several ports",
                  "spec.ports[1].name: required where there are several ports"));
  const std::string slice =
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, namespace: shop}\n";
  EXPECT_THAT(complaints_about(slice + "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\n"
                                       "ports: [{name: http, port: 80}, {name: all}]\n"),
              IsEmpty());
  EXPECT_THAT(complaints_about(slice + "addressType: FQDN\nendpoints: [{addresses: [example.org]}]\n"),
              IsEmpty());
  EXPECT_THAT(complaints_about(slice + "addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]\n"
                                       "ports: [{name: a, port: 1}, {name: a, port: 2}]\n"),
              ElementsAre(R"(endpoints[0].addresses[0]: "fd00::1": must be an IPv4 address)",
                          R"(ports[1].name: "a": another port has it already)"));
}

TEST(ClusterRules, AServicePortIsTcpUnlessItSaysOtherwise) {
  const auto service = validated(document_of("Service", "shop/web", "{ports: [{port: 80}]}", "v1"));
  EXPECT_EQ(service.json.at("spec").at("ports").at(0).at("protocol"), "TCP");
}

}  // namespace
}  // namespace ocicat
