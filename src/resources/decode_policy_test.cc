#include <map>

#include "resources/decode_test_support.h"

namespace ocicat {
namespace {

NetworkPolicy policy_of(const std::string& spec, Kind kind = Kind::kNetworkPolicy) {
  return decoded<NetworkPolicy>(kind, with_spec(spec));
}

TEST(DecodePolicy, ReadsEveryField) {
  const auto policy = policy_of(R"j(
      "tier": "security", "order": 12.5, "selector": "app == 'db'", "types": ["Egress", "Ingress"],
      "serviceAccountSelector": "has(x)", "performanceHints": ["AssumeNeededOnEveryNode"],
      "ingress": [{"action": "Deny"}, {"action": "Pass"}], "egress": [{"action": "Log"}])j");
  EXPECT_EQ(policy.broken, "");
  EXPECT_EQ(policy.kind, Kind::kNetworkPolicy);
  EXPECT_EQ(policy.metadata.name, "x");
  EXPECT_EQ(policy.metadata.ns, "shop");
  EXPECT_EQ(policy.tier, "security");
  EXPECT_EQ(policy.order, 12.5);
  EXPECT_EQ(policy.selector, "app == 'db'");
  EXPECT_EQ(policy.service_account_selector, "has(x)");
  EXPECT_TRUE(policy.applies_to_ingress && policy.applies_to_egress && policy.needed_everywhere);
  ASSERT_EQ(policy.ingress.size(), 2u);
  EXPECT_EQ(policy.ingress[0].action, Action::kDeny);
  EXPECT_EQ(policy.ingress[1].action, Action::kPass);
  EXPECT_EQ(policy.egress.at(0).action, Action::kLog);
}

TEST(DecodePolicy, ReadsEveryFieldOfARule) {
  const auto policy = policy_of(R"j("ingress": [{
      "action": "Allow", "ipVersion": 6, "protocol": "TCP", "notProtocol": 17, "metadata": {"annotations": {"a": "b"}},
      "http": {"methods": ["GET"], "paths": [{"exact": "/a"}, {"prefix": "/b"}]},
      "icmp": {"type": 8, "code": 0}, "notICMP": {"type": 3},
      "source": {"selector": "has(a)", "notSelector": "has(b)", "namespaceSelector": "global()",
                 "serviceAccounts": {"names": ["s"], "selector": "has(c)"}, "nets": ["10.1.2.3/8", "fd00::1"],
                 "notNets": ["10.1.0.0/16"]},
      "destination": {"ports": [80, "8080:8090", "http", "443"], "notPorts": [81],
                      "services": {"name": "api", "namespace": "shop"}}}])j");
  ASSERT_EQ(policy.broken, "");
  const auto& rule = policy.ingress.at(0);
  EXPECT_EQ(rule.action, Action::kAllow);
  EXPECT_EQ(rule.ip_version, Family::kIpv6);
  EXPECT_EQ(rule.protocol, (ProtocolMatch{kTcp, false}));
  EXPECT_EQ(rule.not_protocol, (ProtocolMatch{kUdp, false}));
  EXPECT_EQ(rule.icmp, (IcmpMatch{8, 0}));
  EXPECT_EQ(rule.not_icmp, (IcmpMatch{3, std::nullopt}));
  EXPECT_EQ(rule.http, (HttpMatch{{"GET"}, {{false, "/a"}, {true, "/b"}}}));
  EXPECT_EQ(rule.annotations, (Labels{{"a", "b"}}));
  const EntityRule source{.selector = "has(a)",
                          .not_selector = "has(b)",
                          .namespace_selector = "global()",
                          .service_accounts = ServiceAccountMatch{{"s"}, "has(c)"},
                          .nets = {prefix("10.1.2.3/8"), prefix("fd00::1")},
                          .not_nets = {prefix("10.1.0.0/16")}};
  EXPECT_EQ(rule.source, source);
  const EntityRule destination{
      .services = ServiceMatch{"api", "shop"},
      .ports = {PortRange{80, 80}, PortRange{8080, 8090}, std::string("http"), PortRange{443, 443}},
      .not_ports = {PortRange{81, 81}}};
  EXPECT_EQ(rule.destination, destination);
}

TEST(DecodePolicy, ReadsWhatOnlyGlobalPoliciesHave) {
  const std::string spec =
      R"j("namespaceSelector": "has(a)", "doNotTrack": true, "preDNAT": true, "applyOnForward": true)j";
  const auto global = policy_of(spec, Kind::kGlobalNetworkPolicy);
  EXPECT_EQ(global.namespace_selector, "has(a)");
  EXPECT_TRUE(global.do_not_track && global.pre_dnat && global.apply_on_forward);
  const auto namespaced = policy_of(spec);
  EXPECT_EQ(namespaced.namespace_selector, "");
  EXPECT_FALSE(namespaced.do_not_track || namespaced.pre_dnat || namespaced.apply_on_forward);
}

TEST(DecodePolicy, DerivesTheDirectionsFromTheRules) {
  struct Case {
    std::string spec;
    bool ingress;
    bool egress;
  };
  const std::string rule = R"([{"action": "Allow"}])";
  for (const auto& [spec, ingress, egress] : {
           Case{"", true, false},
           Case{R"("ingress": [], "egress": [])", true, false},
           Case{R"("types": [], "ingress": )" + rule, true, false},
           Case{R"("egress": )" + rule, false, true},
           Case{R"("types": null, "ingress": [], "egress": )" + rule, false, true},
           Case{R"("ingress": )" + rule + R"(, "egress": )" + rule, true, true},
           Case{R"("types": ["Egress"], "ingress": )" + rule, false, true},
       }) {
    const auto policy = policy_of(spec);
    EXPECT_EQ(policy.applies_to_ingress, ingress) << spec;
    EXPECT_EQ(policy.applies_to_egress, egress) << spec;
    EXPECT_EQ(policy.broken, "") << spec;
  }
}

TEST(DecodePolicy, IsBrokenWhereItsMeaningCannotBeRead) {
  const std::map<std::string, std::string> broken{
      {R"("ingress": [{"action": "Allow"}, {"action": "allow"}])",
       R"(spec.ingress[1].action: "allow": must be one of Allow, Deny, Log, Pass)"},
      {R"("ingress": [{}])", "spec.ingress[0].action: must be there"},
      {R"("ingress": ["x"])", R"(spec.ingress[0]: "x": must be an object)"},
      {R"("egress": {})", "spec.egress: an object: must be a list"},
      {R"("types": ["Sideways"])", R"(spec.types[0]: "Sideways": must be Ingress or Egress)"},
      {R"("order": "first")", R"(spec.order: "first": must be a number)"},
      {R"("tier": 3)", "spec.tier: 3: must be a string"},
      {R"("ingress": [{"action": "Allow", "source": {"selector": "a =="}}])",
       R"(spec.ingress[0].source.selector: "a ==": position 4: expected a string in quotes, found the end)"},
      {R"("ingress": [{"action": "Allow", "source": {"serviceAccounts": {"selector": "x"}}}])",
       R"(spec.ingress[0].source.serviceAccounts.selector: "x": position 1: expected an operator after label x)"},
      {R"("ingress": [{"action": "Allow", "source": {"nets": ["10.0.0.0/33"]}}])",
       R"(spec.ingress[0].source.nets[0]: "10.0.0.0/33": must be a CIDR or an IP address)"},
      {R"("ingress": [{"action": "Allow", "destination": {"ports": [70000]}}])",
       "spec.ingress[0].destination.ports[0]: 70000: must be a port from 0 to 65535, a range first:last, or "
       "the name "
       "of a port"},
      {R"("ingress": [{"action": "Allow", "protocol": "tcp"}])",
       R"(spec.ingress[0].protocol: "tcp": must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255)"},
      {R"("ingress": [{"action": "Allow", "ipVersion": 5}])", "spec.ingress[0].ipVersion: 5: must be 4 or 6"},
      {R"("ingress": [{"action": "Allow", "icmp": {"code": 1}}])",
       "spec.ingress[0].icmp: a code needs a type"},
  };
  for (const auto& [spec, reason] : broken) {
    const auto policy = policy_of(R"("selector": "app == 'db'", )" + spec);
    EXPECT_EQ(policy.broken, reason);
    EXPECT_EQ(policy.selector, "app == 'db'");
    EXPECT_TRUE(policy.ingress.empty() && policy.egress.empty()) << spec;
    EXPECT_TRUE(policy.applies_to_ingress || policy.applies_to_egress) << spec;
  }
}

TEST(DecodePolicy, DeniesInItsDirectionsOnlyWhereTheseCanBeRead) {
  const auto stated = policy_of(R"("types": ["Egress"], "egress": [{}])");
  EXPECT_TRUE(stated.applies_to_egress && !stated.applies_to_ingress);
  const auto derived = policy_of(R"("egress": [{}])");
  EXPECT_TRUE(derived.applies_to_egress && !derived.applies_to_ingress);
  for (const auto* unreadable : {R"("types": ["Egress", 1])", R"("types": "Egress")", R"("egress": 1)"}) {
    const auto policy = policy_of(unreadable);
    EXPECT_TRUE(policy.applies_to_egress && policy.applies_to_ingress) << unreadable;
    EXPECT_NE(policy.broken, "");
  }
}

TEST(DecodePolicy, IsAnErrorWhereNobodyCanTellWhomItSelects) {
  const std::map<std::string, std::string> errors{
      {with_spec(R"("selector": "app = 'db'")"),
       R"(spec.selector: "app = 'db'": position 4: expected an operator after the label: ==, !=, in, not in, contains, )"
       "starts with or ends with"},
      {with_spec(R"("selector": 7)"), "spec.selector: 7: must be a string"},
      {with_spec(R"("serviceAccountSelector": "(")"),
       R"(spec.serviceAccountSelector: "(": position 1: expected a label, has(…), all(), ! or (, found the end)"},
      {named(R"("spec": [])"), "spec: a list: must be an object"},
      {R"({"metadata": {"name": "x", "namespace": "shop"}})", "spec: must be there"},
  };
  for (const auto& [text, error] : errors) EXPECT_EQ(error_of(Kind::kNetworkPolicy, text), error);
  EXPECT_EQ(error_of(Kind::kGlobalNetworkPolicy, with_spec(R"("namespaceSelector": {})")),
            "spec.namespaceSelector: an object: must be a string");
}

TEST(DecodePolicy, KeepsStagedKindsApart) {
  const auto staged = policy_of(R"("stagedAction": "Delete")", Kind::kStagedGlobalNetworkPolicy);
  EXPECT_TRUE(staged.staged() && staged.staged_delete);
  EXPECT_FALSE(policy_of(R"("stagedAction": "Set")", Kind::kStagedNetworkPolicy).staged_delete);
  EXPECT_NE(policy_of(R"("stagedAction": "Perhaps")", Kind::kStagedNetworkPolicy).broken, "");
  EXPECT_EQ(policy_of(R"("stagedAction": "Perhaps")", Kind::kNetworkPolicy).broken, "");
}

TEST(DecodePolicy, IgnoresFieldsBesideRulesThatItDoesNotKnow) {
  EXPECT_EQ(policy_of(R"("future": {"a": 1}, "ingress": [{"action": "Allow", "future": null}])").broken, "");
}

// Passed over, a match of a newer API would make a rule allow more than it says.
TEST(DecodePolicy, IsBrokenByAFieldOfARuleThatItDoesNotKnow) {
  for (const auto& [rule, reason] : std::map<std::string, std::string>{
           {R"("future": []})", "future: a list"},
           {R"("source": {"domains": ["a.example"]}})", "source.domains: a list"},
           {R"("destination": {"services": {"name": "a", "kind": "b"}}})",
            R"(destination.services.kind: "b")"},
           {R"("source": {"serviceAccounts": {"uid": "b"}}})", R"(source.serviceAccounts.uid: "b")"},
           {R"("protocol": "ICMP", "icmp": {"type": 8, "id": 1}})", "icmp.id: 1"},
       }) {
    const auto policy = policy_of(R"("ingress": [{"action": "Allow", )" + rule + "]");
    EXPECT_EQ(policy.broken, "spec.ingress[0]." + reason + ": is no field that this version knows");
    EXPECT_TRUE(policy.ingress.empty() && policy.applies_to_ingress);
  }
}

TEST(DecodeTier, ReadsOrderAndDefaultAction) {
  const auto tier = decoded<Tier>(Kind::kTier, with_spec(R"("order": -3, "defaultAction": "Pass")"));
  EXPECT_EQ(tier.metadata.name, "x");
  EXPECT_EQ(tier.order, -3);
  EXPECT_EQ(tier.default_action, Action::kPass);
  EXPECT_EQ(decoded<Tier>(Kind::kTier, with_spec("")), (Tier{.metadata = {.name = "x"}}));
  EXPECT_EQ(decoded<Tier>(Kind::kTier, with_spec(R"("defaultAction": "Maybe")")).default_action,
            Action::kDeny);
  EXPECT_EQ(error_of(Kind::kTier, with_spec(R"("order": [])")), "spec.order: a list: must be a number");
}

TEST(DecodeProfile, ReadsLabelsAndRules) {
  const auto profile = decoded<Profile>(
      Kind::kProfile,
      with_spec(R"("labelsToApply": {"b": "2", "a": "1"}, "ingress": [{"action": "Allow"}])"));
  EXPECT_EQ(profile.labels_to_apply, (Labels{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(profile.ingress.size(), 1u);
  EXPECT_TRUE(profile.egress.empty());
  EXPECT_EQ(profile.broken, "");
}

TEST(DecodeProfile, IsBrokenWithoutReadableRulesAndAnErrorWithoutReadableLabels) {
  const auto broken = decoded<Profile>(
      Kind::kProfile,
      with_spec(R"("labelsToApply": {"a": "1"}, "ingress": [{"action": "Allow"}], "egress": [{}])"));
  EXPECT_EQ(broken.broken, "spec.egress[0].action: must be there");
  EXPECT_TRUE(broken.ingress.empty());
  EXPECT_EQ(broken.labels_to_apply.size(), 1u);
  EXPECT_EQ(error_of(Kind::kProfile, with_spec(R"("labelsToApply": {"a": 1})")),
            "spec.labelsToApply.a: 1: must be a string");
}

}  // namespace
}  // namespace ocicat
