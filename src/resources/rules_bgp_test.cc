#include <gtest/gtest.h>

#include "resources/validate_test_support.h"

namespace ocicat {
namespace {

using testing::ElementsAreArray;

void expect_specs(std::string_view kind, std::string_view name, std::span<const RuleCase> cases) {
  for (const auto& [spec, complaints] : cases) {
    const auto yaml = document_of(kind, name, spec);
    EXPECT_THAT(complaints_about(yaml), ElementsAreArray(complaints)) << yaml;
  }
}

TEST(BgpRules, OfTheClustersConfiguration) {
  const RuleCase kCases[] = {
      {"{}", {}},
      {"{asNumber: 64513, nodeToNodeMeshEnabled: true, nodeMeshMaxRestartTime: 120s}", {}},
      {"{nodeToNodeMeshEnabled: false, nodeMeshMaxRestartTime: 120s}",
       {R"(spec.nodeMeshMaxRestartTime: "120s": is for the mesh of nodes, which is not enabled)"}},
      {"{communities: [{name: gold, value: '65000:1'}], prefixAdvertisements: "
       "[{cidr: 10.65.0.0/16, communities: [gold, '65000:1:2']}]}",
       {}},
      {"{communities: [{name: gold, value: '65000:1'}]}",
       {R"(spec.communities: [{"name":"gold","value":"65000:1"}]: needs prefixAdvertisements, which say what carries them)"}},
      {"{prefixAdvertisements: [{cidr: 10.65.0.0/16, communities: [silver]}]}",
       {R"(spec.prefixAdvertisements[0].communities[0]: "silver": must be aa:nn with both parts up to 65535, or aa:nn:mm with all parts up to 4294967295, or the name of one of communities)"}},
      {"{listenPort: 0}", {"spec.listenPort: 0: must be from 1 to 65535"}},
      {"{asNumber: 4294967295}", {}},
      {"{asNumber: 4294967296}",
       {R"(spec.asNumber: 4294967296: must be an AS number: 0 to 4294967295, or two 16-bit halves such as "64.512")"}},
      {"{asNumber: -1}",
       {R"(spec.asNumber: -1: must be an AS number: 0 to 4294967295, or two 16-bit halves such as "64.512")"}},
  };
  expect_specs("BGPConfiguration", "default", kCases);
}

TEST(BgpRules, OfOneHostsConfiguration) {
  const RuleCase kCases[] = {
      {"{listenPort: 1179, logSeverityScreen: Debug}", {}},
      {"{asNumber: 64513}", {"spec.asNumber: 64513: can be set in the BGPConfiguration named default only"}},
      {"{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}",
       {R"(spec.serviceClusterIPs: [{"cidr":"10.96.0.0/12"}]: can be set in the BGPConfiguration named default only)"}},
  };
  expect_specs("BGPConfiguration", "node.host1", kCases);
}

TEST(BgpRules, OfPeers) {
  const RuleCase kCases[] = {
      {"{}", {}},
      {"{peerIP: 10.0.0.1, asNumber: 64513, node: host1, filters: [a]}", {}},
      {"{peerIP: 10.0.0.1, asNumber: 4200000000, localASNumber: 4200000001}", {}},
      {"{nodeSelector: all(), peerSelector: has(reflector), password: {secretKeyRef: {name: s, key: k}}}",
       {}},
      {"{node: host1, nodeSelector: all()}",
       {R"~(spec.nodeSelector: "all()": cannot be combined with node; both say which hosts it is for)~"}},
      {"{peerIP: 10.0.0.1, peerSelector: all()}",
       {R"~(spec.peerSelector: "all()": cannot be combined with peerIP; both say whom to speak with)~"}},
      {"{peerSelector: all(), asNumber: 64513}",
       {"spec.asNumber: 64513: cannot be combined with peerSelector; each host has its own"}},
      {"{localWorkloadSelector: all(), asNumber: 64513}", {}},
      {"{localWorkloadSelector: all(), peerIP: 10.0.0.1}",
       {R"(spec.peerIP: "10.0.0.1": cannot be combined with localWorkloadSelector; both say whom to speak with)",
        "spec.asNumber: required with localWorkloadSelector, and missing"}},
      {"{peerIP: '10.0.0.1:1179', reachableBy: 10.0.0.2}", {}},
      {"{reachableBy: 10.0.0.2}",
       {R"(spec.reachableBy: "10.0.0.2": is the way to peerIP, which is missing)"}},
      {"{peerIP: '[fd00::1]:1179', reachableBy: 10.0.0.2}",
       {R"(spec.reachableBy: "10.0.0.2": must be of the family of peerIP)"}},
      {"{keepOriginalNextHop: true, nextHopMode: Keep}",
       {R"(spec.nextHopMode: "Keep": cannot be combined with keepOriginalNextHop, which it replaces)"}},
      {"{sourceAddress: Any}", {R"(spec.sourceAddress: "Any": must be one of UseNodeIP, None)"}},
      {"{peerIP: host1}",
       {R"(spec.peerIP: "host1": must be an address, or an address and a port such as 10.0.0.1:179 or [fd00::1]:179)"}},
  };
  expect_specs("BGPPeer", "tor", kCases);
}

TEST(BgpRules, OfFilters) {
  const RuleCase kCases[] = {
      {"{}", {}},
      {"{exportV4: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 8, max: 24}}]}",
       {}},
      {"{importV6: [{action: Reject, cidr: 'fd00::/8', matchOperator: NotEqual}]}", {}},
      {"{exportV4: [{action: Accept, asPathPrefix: [4200000000], operations: [{prependASPath: {prefix: "
       "[4294967295, '64.512']}}]}]}",
       {}},
      {"{importV4: [{action: Reject, asPathPrefix: [4294967296]}]}",
       {R"(spec.importV4[0].asPathPrefix[0]: 4294967296: must be an AS number: 0 to 4294967295, or two 16-bit halves such as "64.512")"}},
      {"{exportV4: [{action: Accept, cidr: 10.0.0.0/8}]}",
       {"spec.exportV4[0].matchOperator: required with cidr, and missing"}},
      {"{exportV4: [{action: Accept, matchOperator: In, prefixLength: {min: 8}}]}",
       {R"(spec.exportV4[0].matchOperator: "In": says something of cidr, which is missing)",
        R"(spec.exportV4[0].prefixLength: {"min":8}: says something of cidr, which is missing)"}},
      {"{importV4: [{action: Reject, operations: [{setPriority: {value: 5}}]}]}",
       {R"(spec.importV4[0].operations: [{"setPriority":{"value":5}}]: are for the action Accept only)"}},
      {"{importV4: [{action: Drop}]}", {R"(spec.importV4[0].action: "Drop": must be one of Accept, Reject)"}},
      {"{exportV6: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In}]}",
       {R"(spec.exportV6[0].cidr: "10.0.0.0/8": must be an IPv6 address or CIDR such as fd00:10::/64)"}},
  };
  expect_specs("BGPFilter", "edge", kCases);
}

}  // namespace
}  // namespace ocicat
