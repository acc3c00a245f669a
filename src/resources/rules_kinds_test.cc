#include <gtest/gtest.h>

#include "resources/validate_test_support.h"

namespace ocicat {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

void expect_specs(std::string_view kind, std::string_view name, std::span<const RuleCase> cases) {
  for (const auto& [spec, complaints] : cases) {
    const auto yaml = document_of(kind, name, spec);
    EXPECT_THAT(complaints_about(yaml), ElementsAreArray(complaints)) << yaml;
  }
}

TEST(KindRules, BuiltInTiersKeepTheirOrderAndAction) {
  const RuleCase kAny[] = {
      {"{}", {}},
      {"{order: 5.5, defaultAction: Pass}", {}},
      {"{order: first}", {R"(spec.order: "first": must be a number)"}},
      {"{defaultAction: Allow}", {R"(spec.defaultAction: "Allow": must be one of Deny, Pass)"}},
  };
  expect_specs("Tier", "security", kAny);
  const RuleCase kDefault[] = {
      {"{}", {}},
      {"{order: 1000000, defaultAction: Deny}", {}},
      {"{order: 1}", {"spec.order: 1: must be 1000000 in the built-in tier default"}},
      {"{defaultAction: Pass}", {R"(spec.defaultAction: "Pass": must be Deny in the built-in tier default)"}},
  };
  expect_specs("Tier", "default", kDefault);
  const RuleCase kAdmin[] = {
      {"{}", {}},
      {"{order: 1000, defaultAction: Deny}",
       {R"(spec.defaultAction: "Deny": must be Pass in the built-in tier kube-admin)"}},
  };
  expect_specs("Tier", "kube-admin", kAdmin);
  const RuleCase kBaseline[] = {
      {"{order: 10000000, defaultAction: Pass}", {}},
      {"{order: 7}", {"spec.order: 7: must be 10000000 in the built-in tier kube-baseline"}},
  };
  expect_specs("Tier", "kube-baseline", kBaseline);
}

TEST(KindRules, NetworkSetsTakeAddressesAndNetsOfBothFamilies) {
  const RuleCase kCases[] = {
      {"{}", {}},
      {"{nets: [10.0.0.1, 10.0.0.1/8, 'fd00::/8', 0.0.0.0/0]}", {}},
      {"{nets: [10.0.0.0/33]}",
       {R"(spec.nets[0]: "10.0.0.0/33": must be an address or a CIDR such as 10.0.0.0/16)"}},
      {"{nets: [1.1.1.1, 1.1.1.1]}", {R"(spec.nets[1]: "1.1.1.1": stands in the list twice)"}},
      {"{nets: 1.1.1.1}", {R"(spec.nets: "1.1.1.1": must be a list)"}},
      {"{nets: [5]}", {"spec.nets[0]: 5: must be text; put it in quotes"}},
  };
  expect_specs("NetworkSet", "shop/s", kCases);
  expect_specs("GlobalNetworkSet", "s", kCases);
  EXPECT_THAT(
      complaints_about("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\n"
                       "metadata: {name: s, labels: {projectcalico.org/namespace: shop}}\nspec: {}\n"),
      ElementsAre(
          R"(metadata.labels["projectcalico.org/namespace"]: "shop": is set by the system; leave it out)"));
}

TEST(KindRules, WorkloadEndpointsAreNamedAfterWhatTheyBelongTo) {
  const auto endpoint = [](std::string_view name, std::string_view spec) {
    return complaints_about(document_of("WorkloadEndpoint", name, spec));
  };
  EXPECT_THAT(endpoint("shop/host--1-k8s-front--end-eth0",
                       "{node: host-1, orchestrator: k8s, pod: front-end, endpoint: eth0}"),
              IsEmpty());
  EXPECT_THAT(endpoint("shop/h-cni-c1-eth0", "{node: h, orchestrator: cni, containerID: c1, endpoint: eth0}"),
              IsEmpty());
  EXPECT_THAT(endpoint("shop/h-libnetwork-libnetwork-e", "{node: h, orchestrator: libnetwork, endpoint: e}"),
              IsEmpty());
  EXPECT_THAT(
      endpoint("shop/h-openstack-vm-e", "{node: h, orchestrator: openstack, workload: vm, endpoint: e}"),
      IsEmpty());
  EXPECT_THAT(
      endpoint("shop/other", "{node: h, orchestrator: k8s, pod: p, endpoint: eth0}"),
      ElementsAre(
          R"(metadata.name: "other": must be h-k8s-p-eth0, from node, orchestrator, pod and endpoint)"));
  EXPECT_THAT(endpoint("shop/other", "{orchestrator: k8s, pod: p}"),
              ElementsAre("spec.node: required, and missing: the endpoint's name is made from it",
                          "spec.endpoint: required, and missing: the endpoint's name is made from it"));
}

TEST(KindRules, OfWorkloadEndpoints) {
  const std::string base = "node: h, orchestrator: k8s, pod: p, endpoint: eth0";
  const std::pair<const char*, std::vector<std::string>> kCases[] = {
      {"ipNetworks: [10.0.0.1/32, 'fd00::1/128', 10.0.0.2], interfaceName: cali123", {}},
      {"ipNetworks: [10.0.0.0/24]", {R"(spec.ipNetworks[0]: "10.0.0.0/24": must be one address, /32)"}},
      {"ipNetworks: ['fd00::/64']", {R"(spec.ipNetworks[0]: "fd00::/64": must be one address, /128)"}},
      {"ipv4Gateway: 169.254.1.1, ipv6Gateway: 'fe80::1', mac: '02:00:00:00:00:01'", {}},
      {"ipv4Gateway: 'fe80::1'", {R"(spec.ipv4Gateway: "fe80::1": must be an IPv4 address)"}},
      {"ipv6Gateway: 169.254.1.1", {R"(spec.ipv6Gateway: "169.254.1.1": must be an IPv6 address)"}},
      {"mac: '02:00'", {R"(spec.mac: "02:00": must be a MAC address such as 02:00:5e:10:00:01)"}},
      {"ipNetworks: [10.0.0.1/32], ipNATs: [{internalIP: 10.0.0.1, externalIP: 1.2.3.4}]", {}},
      {"ipNetworks: [10.0.0.1/32], ipNATs: [{internalIP: 10.0.0.9, externalIP: 1.2.3.4}]",
       {R"(spec.ipNATs[0].internalIP: "10.0.0.9": must be one of ipNetworks)"}},
      {"ipNetworks: [10.0.0.1/32], ipNATs: [{internalIP: 10.0.0.1, externalIP: 'fd00::1'}]",
       {R"(spec.ipNATs[0].externalIP: "fd00::1": must be of the family of internalIP)"}},
      {"ipNATs: [{externalIP: 1.2.3.4}]", {"spec.ipNATs[0].internalIP: required, and missing"}},
      {"ports: [{name: http, port: 80, protocol: TCP}, {port: 53, hostPort: 5353, protocol: 17}]", {}},
      {"ports: [{port: 80, protocol: TCP}]", {"spec.ports[0].name: required where there is no hostPort"}},
      {"ports: [{name: http, port: 80, protocol: ICMP}]",
       {R"(spec.ports[0].protocol: "ICMP": must be one of TCP, UDP, SCTP, which have ports)"}},
      {"ports: [{name: http}]",
       {"spec.ports[0].port: required, and missing",
        "spec.ports[0].protocol: required, and missing; one of TCP, UDP, SCTP"}},
      {"ports: [{name: http, port: 0, protocol: TCP}]", {"spec.ports[0].port: 0: must be greater than 0"}},
      {"ports: [{name: HTTP, port: 65536, protocol: TCP}]",
       {R"(spec.ports[0].name: "HTTP": must be the name of a port: at most 15 of a-z 0-9 -, at least one letter, no - at the ends or doubled)",
        "spec.ports[0].port: 65536: must be from 0 to 65535"}},
      {"interfaceName: a-name-that-is-too-long",
       {R"(spec.interfaceName: "a-name-that-is-too-long": must be the name of an interface, at most 15 of a-z A-Z 0-9 _ . -, or *)"}},
      {"qosControls: {dscp: AF21, egressBandwidth: 1000000}", {}},
      {"qosControls: {dscp: CS7}",
       {R"(spec.qosControls.dscp: "CS7": must be 0 to 63 or the name of a DSCP such as EF or AF21)"}},
  };
  for (const auto& [spec, complaints] : kCases) {
    const auto yaml =
        document_of("WorkloadEndpoint", "shop/h-k8s-p-eth0", fmt::format("{{{}, {}}}", base, spec));
    auto got = complaints_about(yaml);
    std::ranges::sort(got);
    auto want = complaints;
    std::ranges::sort(want);
    EXPECT_EQ(got, want) << yaml;
  }
}

TEST(KindRules, OfHostEndpoints) {
  const std::pair<const char*, std::vector<std::string>> kCases[] = {
      {"{node: h, interfaceName: eth0, profiles: [a], ports: [{name: ssh, port: 22, protocol: TCP}]}", {}},
      {"{node: h, interfaceName: '*'}", {}},
      {"{node: h, expectedIPs: [10.0.0.1, 'fd00::1']}", {}},
      {"{interfaceName: eth0}", {"spec.node: required, and missing"}},
      {"{node: h}", {"spec.interfaceName: required where there are no expectedIPs"}},
      {"{node: h, interfaceName: eth0, expectedIPs: [10.0.0.0/8]}",
       {R"(spec.expectedIPs[0]: "10.0.0.0/8": must be an IP address)"}},
      {"{node: h, interfaceName: eth0, ports: [{name: x, port: 1, protocol: ICMP}]}",
       {R"(spec.ports[0].protocol: "ICMP": must be one of TCP, UDP, SCTP, which have ports)"}},
      {"{node: h, interfaceName: an-interface-too-long}",
       {R"(spec.interfaceName: "an-interface-too-long": must be at most 15 characters; it has 21)"}},
  };
  for (const auto& [spec, complaints] : kCases) {
    EXPECT_EQ(complaints_about(document_of("HostEndpoint", "h-eth0", spec)), complaints) << spec;
  }
}

TEST(KindRules, AnEmptyWordIsNamedAmongThoseThatAFieldMayBe) {
  EXPECT_THAT(complaints_about(document_of("BlockAffinity", "host1-10-65-0-0-26",
                                           "{node: host1, cidr: 10.65.0.0/26, state: gone, deleted: false}")),
              ElementsAre(R"(spec.state: "gone": must be one of "", confirmed, pending, pendingDeletion)"));
}

TEST(KindRules, OfNodes) {
  const RuleCase kCases[] = {
      {"{}", {}},
      {"{bgp: {ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64', asNumber: 64512}}", {}},
      {"{bgp: {asNumber: '1.10'}}", {}},
      {"{bgp: {}}", {"spec.bgp: {}: must not be empty; leave it out or give an address or AS number"}},
      {"{bgp: {ipv4Address: 'fd00::1/64'}}",
       {R"(spec.bgp.ipv4Address: "fd00::1/64": must be an IPv4 address or CIDR such as 10.0.0.0/16)"}},
      {"{bgp: {asNumber: 4294967296}}",
       {R"(spec.bgp.asNumber: 4294967296: must be an AS number: 0 to 4294967295, or two 16-bit halves such as "64.512")"}},
      {"{addresses: [{address: 10.0.0.1, type: InternalIP}]}", {}},
      {"{addresses: [{type: Inside}]}",
       {R"(spec.addresses[0].type: "Inside": must be one of CalicoNodeIP, InternalIP, ExternalIP)",
        "spec.addresses[0].address: required, and missing"}},
      {"{ipv4VXLANTunnelAddr: 10.65.1.0, vxlanTunnelMACAddr: '66:0A:00:00:00:01'}", {}},
      {"{vxlanTunnelMACAddr: 'ff:ff:ff:ff:ff:ff', vxlanTunnelMACAddrV6: '33:33:00:00:00:01'}",
       {R"(spec.vxlanTunnelMACAddr: "ff:ff:ff:ff:ff:ff": must be the MAC address of one interface, such as 66:00:5e:10:00:01)",
        R"(spec.vxlanTunnelMACAddrV6: "33:33:00:00:00:01": must be the MAC address of one interface, such as 66:00:5e:10:00:01)"}},
      {"{vxlanTunnelMACAddr: '00:00:00:00:00:00'}",
       {R"(spec.vxlanTunnelMACAddr: "00:00:00:00:00:00": must be the MAC address of one interface, such as 66:00:5e:10:00:01)"}},
      {"{wireguard: {interfaceIPv4Address: x}}",
       {R"(spec.wireguard.interfaceIPv4Address: "x": must be an IPv4 address)"}},
  };
  expect_specs("Node", "host1", kCases);
}

TEST(KindRules, OfPools) {
  const RuleCase kCases[] = {
      {"{cidr: 10.0.0.0/16}", {}},
      {"{cidr: 'FD00:10::/48', blockSize: 122, natOutgoing: true}", {}},
      {"{}", {"spec.cidr: required, and missing"}},
      {"{cidr: 10.0.0.1/16}",
       {R"(spec.cidr: "10.0.0.1/16": bits are set beyond the prefix length; write 10.0.0.0/16)"}},
      {"{cidr: 10.0.0.1}",
       {R"(spec.cidr: "10.0.0.1": must be a CIDR, an address with a prefix length such as 10.0.0.0/16)"}},
      {"{cidr: 169.254.4.0/24}",
       {R"(spec.cidr: "169.254.4.0/24": must not overlap the link-local addresses 169.254.0.0/16)"}},
      {"{cidr: 'fe80::/16'}",
       {R"(spec.cidr: "fe80::/16": must not overlap the link-local addresses fe80::/10)"}},
      {"{cidr: 10.0.0.0/16, blockSize: 33}", {"spec.blockSize: 33: must be from 20 to 32 in an IPv4 pool"}},
      {"{cidr: 10.0.0.0/16, blockSize: 19}", {"spec.blockSize: 19: must be from 20 to 32 in an IPv4 pool"}},
      {"{cidr: 'fd00::/48', blockSize: 100}",
       {"spec.blockSize: 100: must be from 116 to 128 in an IPv6 pool"}},
      {"{cidr: 10.0.0.0/28}",
       {R"(spec.cidr: "10.0.0.0/28": must hold at least one block of /26; make it larger or blockSize smaller)"}},
      {"{cidr: 10.0.0.0/28, disabled: true}", {}},
      {"{cidr: 10.0.0.0/28, blockSize: 28}", {}},
      {"{cidr: 10.0.0.0/16, ipipMode: Always}", {}},
      {"{cidr: 10.0.0.0/16, ipipMode: Always, vxlanMode: CrossSubnet}",
       {R"(spec.vxlanMode: "CrossSubnet": must be Never where ipipMode is not; a pool has one encapsulation)"}},
      {"{cidr: 'fd00::/48', ipipMode: Always}",
       {R"(spec.ipipMode: "Always": must be Never in an IPv6 pool)"}},
      {"{cidr: 10.0.0.0/16, allowedUses: [Everything]}",
       {R"(spec.allowedUses[0]: "Everything": must be one of Workload, Tunnel, LoadBalancer)"}},
      {"{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer]}", {}},
      {"{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer, Tunnel], vxlanMode: Always, disableBGPExport: true, "
       "nodeSelector: has(a)}",
       {R"(spec.allowedUses: ["LoadBalancer","Tunnel"]: LoadBalancer must stand alone)",
        R"(spec.vxlanMode: "Always": must be Never in a pool for load balancers)",
        "spec.disableBGPExport: true: must be false in a pool for load balancers",
        R"~(spec.nodeSelector: "has(a)": must be all() in a pool for load balancers)~"}},
      {"{cidr: 10.0.0.0/16, namespaceSelector: has(a)}",
       {R"~(spec.namespaceSelector: "has(a)": cannot be combined with the use Tunnel; set allowedUses to [Workload])~"}},
      {"{cidr: 10.0.0.0/16, namespaceSelector: has(a), allowedUses: [Workload]}", {}},
      {"{cidr: 10.0.0.0/16, nodeSelector: 'has(a) && global( )'}",
       {R"~(spec.nodeSelector: "has(a) && global( )": must not contain global(), which only a rule's namespaceSelector may say)~"}},
  };
  expect_specs("IPPool", "pool", kCases);
}

TEST(KindRules, OfFelixConfigurations) {
  const RuleCase kDefault[] = {
      {"{}", {}},
      {"{bpfLogLevel: INFO, iptablesRefreshInterval: 1m30s, bpfConntrackTimeouts: {udpTimeout: Auto}}", {}},
      {"{nodeSelector: has(a)}",
       {R"~(spec.nodeSelector: "has(a)": must be left out here; it is for configurations with names of their own)~"}},
      {"{bpfLogLevel: Loud}", {R"(spec.bpfLogLevel: "Loud": must be one of Off, Info, Debug)"}},
      {"{reportingInterval: 1.5s}",
       {R"(spec.reportingInterval: "1.5s": must be a duration in whole units, such as 90s or 1m30s)"}},
      {"{nftablesRefreshInterval: soon}",
       {R"(spec.nftablesRefreshInterval: "soon": must be a duration such as 90s or 1m30s)"}},
      {"{routeTableRange: {min: 1, max: 250}}", {}},
      {"{routeTableRange: {min: 5, max: 251}}",
       {R"(spec.routeTableRange: {"min":5,"max":251}: must be from 1 to 250, min before max)"}},
      {"{routeTableRange: {min: 1, max: 2}, routeTableRanges: [{min: 1, max: 2}]}",
       {R"(spec.routeTableRange: {"min":1,"max":2}: cannot be combined with routeTableRanges, which replaces it)"}},
      {"{routeTableRanges: [{min: 1, max: 250}, {min: 256, max: 65535}]}", {}},
      {"{routeTableRanges: [{min: 0, max: 1}, {min: 3, max: 2}]}",
       {"spec.routeTableRanges[0]: min must be at least 1 and not above max",
        "spec.routeTableRanges[1]: min must be at least 1 and not above max"}},
      {"{routeTableRanges: [{min: 1, max: 4294967296}]}",
       {"spec.routeTableRanges[0].max: 4294967296: must be at most 4294967295"}},
      {"{routeTableRanges: [{min: 1, max: 65536}]}",
       {R"(spec.routeTableRanges: [{"min":1,"max":65536}]: must name at most 65535 tables together)"}},
      {"{routeTableRanges: [{min: 1}]}", {"spec.routeTableRanges[0].max: required, and missing"}},
      {"{natOutgoingAddress: 10.0.0.1, deviceRouteSourceAddressIPv6: 'fd00::1'}", {}},
      {"{natOutgoingAddress: 'fd00::1', deviceRouteSourceAddress: x, deviceRouteSourceAddressIPv6: 10.0.0.1}",
       {R"(spec.natOutgoingAddress: "fd00::1": must be an IPv4 address)",
        R"(spec.deviceRouteSourceAddress: "x": must be an IPv4 address)",
        R"(spec.deviceRouteSourceAddressIPv6: "10.0.0.1": must be an IPv6 address)"}},
      {"{kubeNodePortRanges: ['30000:32767', 40000]}", {}},
      {"{kubeNodePortRanges: [http]}",
       {R"(spec.kubeNodePortRanges[0]: "http": must be a port or a range of ports, not a name)"}},
      {"{kubeNodePortRanges: [1, 2, 3, 4, 5, 6, 7, 8]}",
       {"spec.kubeNodePortRanges: must have at most 7 items; it has 8"}},
      {"{externalNodesList: [10.0.0.0/8, 10.0.0.1]}", {}},
      {"{externalNodesList: ['fd00::/8']}",
       {R"(spec.externalNodesList[0]: "fd00::/8": must be an IPv4 address or CIDR such as 10.0.0.0/16)"}},
      {"{openstackRegion: region-1}", {}},
      {"{openstackRegion: Region}",
       {R"(spec.openstackRegion: "Region": must be a name of a-z, 0-9 and -, at most 46 characters)"}},
      {"{failsafeInboundHostPorts: [{protocol: TCP, port: 22, net: 10.0.0.0/8}]}", {}},
      {"{failsafeOutboundHostPorts: [{protocol: tcp, port: 70000, net: x}]}",
       {R"(spec.failsafeOutboundHostPorts[0].protocol: "tcp": must be one of TCP, UDP, SCTP)",
        "spec.failsafeOutboundHostPorts[0].port: 70000: must be from 0 to 65535",
        R"(spec.failsafeOutboundHostPorts[0].net: "x": must be an address or a CIDR such as 10.0.0.0/16)"}},
      {"{healthTimeoutOverrides: [{name: Dataplane, timeout: 90s}]}", {}},
      {"{healthTimeoutOverrides: [{name: 'a:b', timeout: -1s}]}",
       {R"(spec.healthTimeoutOverrides[0].name: "a:b": must be letters, digits, _, - and blanks)",
        R"(spec.healthTimeoutOverrides[0].timeout: "-1s": must not be negative)"}},
      {"{interfacePrefx: cali}",
       {"spec.interfacePrefx: \"cali\": unknown field; did you mean interfacePrefix?"}},
      {"{bpfDataIfacePattern: '('}",
       {R"(spec.bpfDataIfacePattern: "(": not a regular expression: missing ): ()"}},
  };
  expect_specs("FelixConfiguration", "default", kDefault);
  const RuleCase kOwn[] = {
      {"{nodeSelector: has(a)}", {}},
      {"{nodeSelector: 'a =='}",
       {R"(spec.nodeSelector: "a ==": not a selector: position 4: expected a string in quotes, found the end)"}},
  };
  expect_specs("FelixConfiguration", "edge-nodes", kOwn);
}

}  // namespace
}  // namespace ocicat
