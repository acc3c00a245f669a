#include <gtest/gtest.h>

#include "resources/validate_test_support.h"

namespace ocicat {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;

// A table of single rules, each put into the ingress and the egress of a policy.
void expect_rule(std::string_view kind, std::string_view name, std::string_view direction,
                 std::span<const RuleCase> cases) {
  for (const auto& [rule, complaints] : cases) {
    const auto yaml = document_of(kind, name, fmt::format("{{{}: [{}]}}", direction, rule));
    std::vector<std::string> want;
    for (const auto& complaint : complaints)
      want.push_back(fmt::format("spec.{}[0]{}", direction, complaint));
    EXPECT_THAT(complaints_about(yaml), ElementsAreArray(want)) << yaml;
  }
}

TEST(PolicyRules, HoldForEveryRuleInBothDirectionsAndInProfiles) {
  const RuleCase kCases[] = {
      {"{action: Allow}", {}},
      {"{action: Log, protocol: 47, ipVersion: 4, metadata: {annotations: {a/b: c}}}", {}},
      {"{}", {".action: required, and missing; one of Allow, Deny, Log, Pass"}},
      {"{action: Accept}", {R"~(.action: "Accept": must be one of Allow, Deny, Log, Pass)~"}},
      {"{action: Allow, ipVersion: 5}", {".ipVersion: 5: must be one of 4, 6"}},

      {"{action: Allow, icmp: {type: 8, code: 0}, protocol: ICMP}", {}},
      {"{action: Allow, icmp: {type: 8}, protocol: 58}", {}},
      {"{action: Allow, icmp: {type: 8}}", {".protocol: must be ICMP or ICMPv6 in a rule with icmp"}},
      {"{action: Allow, icmp: {type: 8}, protocol: TCP}",
       {R"~(.protocol: "TCP": must be ICMP or ICMPv6 in a rule with icmp)~"}},
      {"{action: Allow, notICMP: {type: 8}}", {}},
      {"{action: Allow, icmp: {code: 1}, protocol: 1}", {".icmp.code: 1: needs the type it belongs to"}},
      {"{action: Allow, notICMP: {code: 1}}", {".notICMP.code: 1: needs the type it belongs to"}},
      {"{action: Allow, icmp: {type: 255}, protocol: 1}", {".icmp.type: 255: must be from 0 to 254"}},
      {"{action: Allow, icmp: {type: 1, code: 256}, protocol: 1}",
       {".icmp.code: 256: must be from 0 to 255"}},
      {"{action: Allow, protocol: ICMP, ipVersion: 4}", {}},
      {"{action: Allow, protocol: 1, ipVersion: 6}", {".ipVersion: 6: must be 4 with protocol ICMP"}},
      {"{action: Allow, notProtocol: ICMPv6, ipVersion: 4}",
       {".ipVersion: 4: must be 6 with notProtocol ICMPv6"}},
      {"{action: Allow, notProtocol: 58, ipVersion: 6}", {}},

      {"{action: Allow, protocol: tcp}",
       {R"~(.protocol: "tcp": must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255)~"}},
      {"{action: Allow, protocol: 0}",
       {".protocol: 0: must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255"}},
      {"{action: Allow, protocol: '17', destination: {ports: [53]}}", {}},
      {"{action: Allow, protocol: SCTP, destination: {ports: ['1:65535'], notPorts: [http]}}", {}},
      {"{action: Allow, destination: {ports: [http]}}", {}},
      {"{action: Allow, notProtocol: TCP, destination: {ports: [80]}}",
       {".destination.ports[0]: 80: needs a protocol in the rule, TCP, UDP or SCTP"}},
      {"{action: Allow, source: {notPorts: [http, '1:2']}}",
       {R"~(.source.notPorts[1]: "1:2": needs a protocol in the rule, TCP, UDP or SCTP)~"}},
      {"{action: Allow, protocol: UDPLite, destination: {ports: [http]}}",
       {R"~(.destination.ports: ["http"]: only TCP, UDP and SCTP have ports; leave them out or set one of these as the protocol)~"}},
      {"{action: Allow, protocol: TCP, destination: {ports: [0, '9:8', 'a b']}}",
       {R"~(.destination.ports[0]: 0: must be a port: 1 to 65535, a range such as "8000:8080", or a port's name)~",
        R"~(.destination.ports[1]: "9:8": must be a port: 1 to 65535, a range such as "8000:8080", or a port's name)~",
        R"~(.destination.ports[2]: "a b": must be a port: 1 to 65535, a range such as "8000:8080", or a port's name)~"}},

      {"{action: Allow, source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}}", {}},
      {"{action: Allow, source: {nets: ['::/0']}}", {}},
      {"{action: Allow, source: {nets: [10.0.0.1]}}",
       {R"~(.source.nets[0]: "10.0.0.1": must be a CIDR; write 10.0.0.1/32)~"}},
      {"{action: Allow, source: {nets: [10.0.0.1/8]}}",
       {R"~(.source.nets[0]: "10.0.0.1/8": bits are set beyond the prefix length; write 10.0.0.0/8)~"}},
      {"{action: Allow, source: {nets: [ten]}}",
       {R"~(.source.nets[0]: "ten": must be an address or a CIDR such as 10.0.0.0/16)~"}},
      {"{action: Allow, source: {nets: ['']}}",
       {R"~(.source.nets[0]: "": must be an address or a CIDR such as 10.0.0.0/16)~"}},
      {"{action: Allow, source: {nets: [10.0.0.0/8, 10.0.0.0/8]}}",
       {R"~(.source.nets[1]: "10.0.0.0/8": stands in the list twice)~"}},
      {"{action: Allow, source: {nets: [10.0.0.0/8]}, destination: {notNets: ['fd00::/8']}}",
       {R"~(.destination.notNets[0]: "fd00::/8": IPv4 and IPv6 must not be mixed in one rule; write two rules)~"}},
      {"{action: Allow, ipVersion: 6, source: {nets: [10.0.0.0/8]}}",
       {R"~(.source.nets[0]: "10.0.0.0/8": is not of ipVersion 6)~"}},
      {"{action: Allow, source: {notNets: [0.0.0.0/0]}}",
       {R"~(.source.notNets[0]: "0.0.0.0/0": would exclude every address)~"}},
      {"{action: Allow, source: {notNets: ['0:0::/0']}}",
       {R"~(.source.notNets[0]: "0:0::/0": would exclude every address)~"}},

      {"{action: Allow, source: {selector: \"a == 'b'\", namespaceSelector: 'global( )'}}", {}},
      {"{action: Allow, source: {selector: 'a =='}}",
       {R"~(.source.selector: "a ==": not a selector: position 4: expected a string in quotes, found the end)~"}},
      {"{action: Allow, source: {selector: 'global()'}}",
       {R"~(.source.selector: "global()": must not contain global(), which only a rule's namespaceSelector may say)~"}},
      {"{action: Allow, destination: {namespaceSelector: 'global() || has(a)'}}",
       {R"~(.destination.namespaceSelector: "global() || has(a)": global() must stand alone)~"}},
      {"{action: Allow, metadata: {annotations: {'a b': c}}}",
       {R"~(.metadata.annotations["a b"]: the key must be a name of at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit, optionally after a DNS name and a slash)~"}},
      {"{action: Allow, Protocol: TCP}", {".Protocol: \"TCP\": unknown field; did you mean protocol?"}},
  };
  for (const auto* direction : {"ingress", "egress"}) {
    expect_rule("NetworkPolicy", "shop/p", direction, kCases);
    expect_rule("GlobalNetworkPolicy", "p", direction, kCases);
    expect_rule("StagedNetworkPolicy", "shop/p", direction, kCases);
    expect_rule("StagedGlobalNetworkPolicy", "p", direction, kCases);
    expect_rule("Profile", "p", direction, kCases);
  }
}

TEST(PolicyRules, HttpIsForAllowOverTcpWithPathsThatArePaths) {
  const RuleCase kCases[] = {
      {"{action: Allow, http: {methods: [GET], paths: [{prefix: /a}]}}", {}},
      {"{action: Allow, protocol: 6, http: {methods: [GET]}}", {}},
      {"{action: Deny, http: {}}", {R"~(.action: "Deny": must be Allow in a rule with http)~"}},
      {"{action: Allow, protocol: UDP, http: {}}",
       {R"~(.protocol: "UDP": must be TCP, or missing, in a rule with http)~"}},
      {"{action: Allow, http: {methods: [GET, GET]}}",
       {R"~(.http.methods[1]: "GET": stands in the list twice)~"}},
      {"{action: Allow, http: {paths: [{exact: /a, prefix: /b}, {}]}}",
       {".http.paths[0]: must have one of exact and prefix",
        ".http.paths[1]: must have one of exact and prefix"}},
      {"{action: Allow, http: {paths: [{exact: a}, {prefix: '/a?b'}]}}",
       {R"~(.http.paths[0].exact: "a": must begin with /)~",
        R"~(.http.paths[1].prefix: "/a?b": must not contain ?, # or blanks)~"}},
  };
  expect_rule("NetworkPolicy", "shop/p", "ingress", kCases);
  const RuleCase kEgress[] = {{"{action: Allow, http: {}}", {".http: {}: cannot stand in an egress rule"}}};
  expect_rule("NetworkPolicy", "shop/p", "egress", kEgress);
  expect_rule("GlobalNetworkPolicy", "p", "egress", kEgress);
}

TEST(PolicyRules, ServicesStandAloneOnTheOtherSideOfTheRule) {
  const RuleCase kIngress[] = {
      {"{action: Allow, source: {services: {name: api, namespace: shop}}}", {}},
      {"{action: Allow, protocol: TCP, source: {services: {name: api, namespace: shop}, ports: [80]}}", {}},
      {"{action: Allow, source: {services: {namespace: shop}}}",
       {".source.services.name: required, and missing"}},
      {"{action: Allow, source: {services: {name: api, namespace: s}, selector: all(), nets: [10.0.0.0/8], "
       "serviceAccounts: {}}}",
       {R"~(.source.selector: "all()": cannot be combined with services)~",
        R"~(.source.nets: ["10.0.0.0/8"]: cannot be combined with services)~",
        ".source.serviceAccounts: {}: cannot be combined with services"}},
      {"{action: Allow, destination: {services: {name: api, namespace: shop}}}",
       {R"~(.destination.services: {"name":"api","namespace":"shop"}: cannot stand in the destination of an ingress rule)~"}},
  };
  expect_rule("NetworkPolicy", "shop/p", "ingress", kIngress);
  expect_rule("GlobalNetworkPolicy", "p", "ingress", kIngress);
  const RuleCase kEgress[] = {
      {"{action: Allow, destination: {services: {name: api, namespace: shop}}}", {}},
      {"{action: Allow, protocol: TCP, destination: {services: {name: api, namespace: shop}, notPorts: "
       "[80]}}",
       {".destination.notPorts: [80]: cannot be combined with services, which bring their own ports"}},
      {"{action: Allow, source: {services: {name: api, namespace: shop}}}",
       {R"~(.source.services: {"name":"api","namespace":"shop"}: cannot stand in the source of an egress rule)~"}},
  };
  expect_rule("NetworkPolicy", "shop/p", "egress", kEgress);
  const RuleCase kNoNamespace[] = {{"{action: Allow, destination: {services: {name: api}}}", {}}};
  expect_rule("NetworkPolicy", "shop/p", "egress", kNoNamespace);
  const RuleCase kGlobal[] = {
      {"{action: Allow, destination: {services: {name: api}}}",
       {".destination.services.namespace: required in a policy that is not in a namespace itself"}}};
  expect_rule("GlobalNetworkPolicy", "p", "egress", kGlobal);
}

void expect_specs(std::string_view kind, std::string_view name, std::span<const RuleCase> cases) {
  for (const auto& [spec, complaints] : cases) {
    const auto yaml = document_of(kind, name, spec);
    EXPECT_THAT(complaints_about(yaml), ElementsAreArray(complaints)) << yaml;
  }
}

TEST(PolicyRules, OfTheWholePolicy) {
  const RuleCase kCases[] = {
      {"{}", {}},
      {"{tier: security, order: -1.5, selector: \"a == 'b'\", serviceAccountSelector: has(x), types: "
       "[Egress]}",
       {}},
      {"{types: [Ingress, Ingress]}", {R"~(spec.types[1]: "Ingress": stands in the list twice)~"}},
      {"{types: [Inbound]}", {R"~(spec.types[0]: "Inbound": must be one of Ingress, Egress)~"}},
      {"{selector: 'has(a) && global()'}",
       {R"~(spec.selector: "has(a) && global()": must not contain global(), which only a rule's namespaceSelector may say)~"}},
      {"{serviceAccountSelector: global()}",
       {R"~(spec.serviceAccountSelector: "global()": must not contain global(), which only a rule's namespaceSelector may say)~"}},
      {"{tier: A_b}",
       {R"~(spec.tier: "A_b": must be a name of a-z, 0-9, - and ., each part beginning and ending with a letter or digit)~"}},
      {"{performanceHints: [Fast]}",
       {R"~(spec.performanceHints[0]: "Fast": must be one of AssumeNeededOnEveryNode)~"}},
  };
  for (const auto* kind : {"NetworkPolicy", "StagedNetworkPolicy"}) expect_specs(kind, "shop/p", kCases);
  for (const auto* kind : {"GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"})
    expect_specs(kind, "p", kCases);
  EXPECT_THAT(complaints_about(document_of("NetworkPolicy", "shop/p", "{preDNAT: true}")),
              testing::ElementsAre(testing::StartsWith("spec.preDNAT: true: unknown field")));
}

TEST(PolicyRules, OfGlobalPolicies) {
  const RuleCase kCases[] = {
      {"{namespaceSelector: has(a), doNotTrack: true, applyOnForward: true}", {}},
      {"{preDNAT: true, applyOnForward: true, types: [Ingress], ingress: [{action: Deny}]}", {}},
      {"{namespaceSelector: global()}",
       {R"~(spec.namespaceSelector: "global()": must not contain global(), which only a rule's namespaceSelector may say)~"}},
      {"{doNotTrack: true, preDNAT: true, applyOnForward: true}",
       {"spec.preDNAT: true: cannot be combined with doNotTrack"}},
      {"{doNotTrack: true}", {"spec.applyOnForward: must be true with doNotTrack"}},
      {"{preDNAT: true, applyOnForward: false}", {"spec.applyOnForward: false: must be true with preDNAT"}},
      {"{preDNAT: true, applyOnForward: true, types: [Egress]}",
       {R"~(spec.types[0]: "Egress": cannot be combined with preDNAT, which is for ingress only)~"}},
      {"{preDNAT: true, applyOnForward: true, types: [Ingress], egress: [{action: Allow}]}",
       {R"~(spec.egress: [{"action":"Allow"}]: cannot be combined with preDNAT, which is for ingress only)~"}},
  };
  for (const auto* kind : {"GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"})
    expect_specs(kind, "p", kCases);
}

TEST(PolicyRules, AStagedDeleteSaysNothingElse) {
  const RuleCase kCases[] = {
      {"{stagedAction: Delete, tier: security}", {}},
      {"{stagedAction: Delete, types: [Ingress]}", {}},  // reset, as Calico's client does
      {"{stagedAction: Set, selector: all()}", {}},
      {"{stagedAction: Delete, selector: all(), ingress: [{action: Deny}]}",
       {R"~(spec.selector: "all()": must be left out where stagedAction is Delete)~",
        R"~(spec.ingress: [{"action":"Deny"}]: must be left out where stagedAction is Delete)~"}},
      {"{stagedAction: Remove}",
       {R"~(spec.stagedAction: "Remove": must be one of Set, Delete, Learn, Ignore)~"}},
  };
  expect_specs("StagedNetworkPolicy", "shop/p", kCases);
  expect_specs("StagedGlobalNetworkPolicy", "p", kCases);
  const RuleCase kKubernetes[] = {
      {"{stagedAction: Delete}", {}},
      {"{stagedAction: Delete, podSelector: {}}", {}},
      {"{stagedAction: Delete, policyTypes: [Ingress]}",
       {R"~(spec.policyTypes: ["Ingress"]: must be left out where stagedAction is Delete)~"}},
  };
  expect_specs("StagedKubernetesNetworkPolicy", "shop/p", kKubernetes);
}

TEST(PolicyRules, ListsAreBounded) {
  const auto repeated = [](std::size_t count, std::string_view what) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", what);
    return text;
  };
  const auto policy = [](std::string_view spec) {
    return complaints_about(document_of("NetworkPolicy", "shop/p", spec));
  };
  EXPECT_THAT(policy(fmt::format("{{ingress: [{}]}}", repeated(1024, "{action: Deny}"))), IsEmpty());
  EXPECT_THAT(policy(fmt::format("{{ingress: [{}]}}", repeated(1025, "{action: Deny}"))),
              testing::ElementsAre("spec.ingress: must have at most 1024 items; it has 1025"));
  EXPECT_THAT(policy(fmt::format("{{ingress: [{{action: Deny, protocol: TCP, source: {{ports: [{}]}}}}]}}",
                                 repeated(51, "1"))),
              testing::ElementsAre("spec.ingress[0].source.ports: must have at most 50 items; it has 51"));
  EXPECT_THAT(policy(fmt::format("{{selector: 'has({})'}}", std::string(1030, 'a'))),
              testing::ElementsAre(testing::HasSubstr("must be at most 1024 characters; it has 1035")));
}

}  // namespace
}  // namespace ocicat
