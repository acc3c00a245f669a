#include "resources/validate.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "resources/validate_test_support.h"

namespace ocicat {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> complaints_in(std::string_view text, std::string file) {
  const auto read = read_documents(text, std::move(file));
  std::vector<std::string> lines;
  for (const auto& complaint : read.complaints) lines.push_back(complaint.to_string());
  for (const auto& document : read.documents) {
    for (const auto& complaint : validate(document).complaints) lines.push_back(complaint.to_string());
  }
  return lines;
}

TEST(Validate, EveryComplaintOfEveryDocumentComesWithItsPlace) {
  const std::string yaml = R"(apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: api
  namespace: shop
spec:
  selctor: app == 'api'
  order: "10"
  ingress:
  - action: allow
    protocol: TCP
    source:
      nets:
      - 10.0.0.0/8
      - 10.1.2.3/8
  - protocol: TCP
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 100}
---
kind: [broken
---
apiVersion: v1
kind: Namespace
metadata:
  name: Shop
  labels:
    a b: c
)";
  EXPECT_THAT(
      complaints_in(yaml, "shop.yaml"),
      ElementsAre(
          HasSubstr("shop.yaml:24: kind: not valid YAML: did not find expected ',' or ']'"),
          "shop.yaml:7: NetworkPolicy shop/api: spec.selctor: \"app == 'api'\": unknown field; did you "
          "mean selector?",
          "shop.yaml:8: NetworkPolicy shop/api: spec.order: \"10\": must be a number",
          "shop.yaml:10: NetworkPolicy shop/api: spec.ingress[0].action: \"allow\": must be one of Allow, "
          "Deny, Log, Pass",
          "shop.yaml:15: NetworkPolicy shop/api: spec.ingress[0].source.nets[1]: \"10.1.2.3/8\": bits are "
          "set "
          "beyond the prefix length; write 10.0.0.0/8",
          "shop.yaml:16: NetworkPolicy shop/api: spec.ingress[1].action: required, and missing; one of "
          "Allow, "
          "Deny, Log, Pass",
          HasSubstr("shop.yaml:28: Namespace Shop: metadata.name: \"Shop\": must be at most 63"),
          HasSubstr("shop.yaml:30: Namespace Shop: metadata.labels[\"a b\"]: the key must be a name")));
}

TEST(Validate, ADocumentWithoutALineIsNamedByItsFileOrNotAtAll) {
  const Document document{
      json::parse(R"({"apiVersion":"v1","kind":"Namespace","metadata":{}})").as_object(), "", 0, {}};
  const auto result = validate(document);
  ASSERT_EQ(result.complaints.size(), 1U);
  EXPECT_EQ(result.complaints[0].to_string(), "Namespace: metadata.name: required, and missing");
  EXPECT_EQ(result.key->kind, Kind::kNamespace);
}

TEST(Validate, KindsThatAreNotServedAreRefusedWithWhatIs) {
  EXPECT_THAT(
      complaints_about("apiVersion: projectcalico.org/v3\nkind: NetworkPolicee\n"),
      ElementsAre(HasSubstr("kind: \"NetworkPolicee\": unknown kind; did you mean NetworkPolicy? served: "
                            "projectcalico.org/v3 Tier, NetworkPolicy")));
  EXPECT_THAT(complaints_about("apiVersion: v1\nkind: NetworkPolicy\n"),
              ElementsAre("apiVersion: \"v1\": NetworkPolicy is served as apiVersion projectcalico.org/v3 or "
                          "networking.k8s.io/v1"));
  EXPECT_THAT(complaints_about("kind: 5\n"),
              ElementsAre("apiVersion: required, and missing", "kind: 5: must be text"));
  EXPECT_FALSE(validated("kind: Tier\n").key.has_value());
}

TEST(Validate, WhatAgentsAreToldIsForAllOrForOneHost) {
  const auto complaints = [](const std::string& name, const std::string& spec) {
    return complaints_about("apiVersion: ocicat.io/v1\nkind: AgentConfiguration\nmetadata: {name: " + name +
                            "}\nspec: " + spec + "\n");
  };
  EXPECT_THAT(complaints("default", "{openConnections: Stay}"), IsEmpty());
  EXPECT_THAT(complaints("node.host-1.rack2", "{openConnections: FollowPolicy}"), IsEmpty());
  EXPECT_THAT(complaints("default", "{}"), IsEmpty());
  EXPECT_THAT(complaints("host1", "{}"),
              ElementsAre(HasSubstr("must be default, or node. and the name of a host")));
  EXPECT_THAT(complaints("node.", "{}"), ElementsAre(HasSubstr("metadata.name")));
  EXPECT_THAT(complaints("default", "{openConnections: stay}"),
              ElementsAre(HasSubstr("spec.openConnections: \"stay\"")));
  EXPECT_THAT(complaints("default", "{openConnection: Stay}"), ElementsAre(HasSubstr("openConnection")));
}

TEST(Validate, WhatAgentsReportIsServed) {
  EXPECT_THAT(complaints_about(
                  "apiVersion: ocicat.io/v1\nkind: AgentStatus\nmetadata: {name: host1}\n"
                  "status: {version: 0.1.0, dataplane: nftables, applied: {Tier.projectcalico.org: '7'}, "
                  "refused: [{object: Tier x, reason: why}], endpoints: {wanted: 1, ready: 1}}\n"),
              IsEmpty());
}

TEST(Validate, KeyIsReadAsFarAsItIsThere) {
  EXPECT_EQ(validated(document_of("NetworkPolicy", "shop/api", "{}")).key,
            (ResourceKey{Kind::kNetworkPolicy, "shop", "api"}));
  EXPECT_EQ(validated(document_of("Tier", "shop/api", "{}")).key, (ResourceKey{Kind::kTier, "", "api"}));
}

TEST(Validate, NamesFollowTheRuleOfTheirKind) {
  const std::tuple<const char*, const char*, const char*> kCases[] = {
      {"Tier", "a", ""},
      {"Tier", "a.b", "must be at most 63"},
      {"Tier", "A", "must be at most 63"},
      {"NetworkPolicy", "shop/a.b", ""},
      {"NetworkPolicy", "shop/a.b.c", "must have at most one dot"},
      {"NetworkPolicy", "shop/knp.default.a.b", ""},
      {"StagedNetworkPolicy", "shop/ossg.default.a.b", ""},
      {"GlobalNetworkPolicy", "knp.default.a", "must have at most one dot"},
      {"GlobalNetworkPolicy", "a-", "must be a name"},
      {"StagedKubernetesNetworkPolicy", "shop/a.b.c", ""},
      {"NetworkSet", "shop/a.b.c", ""},
      {"NetworkSet", "sh.op/a", "must be at most 63"},
      {"NetworkSet", "a", "required, and missing: a NetworkSet belongs to a namespace"},
      {"GlobalNetworkSet", "shop/a", "a GlobalNetworkSet belongs to no namespace; leave it out"},
      {"Profile", "projectcalico-default-allow", "this profile is built in and cannot be written"},
      {"Profile", "kns.shop", ""},
      {"FelixConfiguration", "node.host1", ""},
  };
  for (const auto& [kind, name, want] : kCases) {
    const auto complaints = complaints_about(document_of(kind, name, "{}"));
    if (std::string_view(want).empty()) {
      EXPECT_THAT(complaints, IsEmpty()) << kind << " " << name;
    } else {
      EXPECT_THAT(complaints, ElementsAre(HasSubstr(want))) << kind << " " << name;
    }
  }
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  EXPECT_THAT(complaints_about(document_of("NetworkSet", "shop/" + longest, "{}")), IsEmpty());
  EXPECT_THAT(complaints_about(document_of("NetworkSet", "shop/" + longest + "a", "{}")),
              ElementsAre(HasSubstr("must be at most 253 characters")));
}

TEST(Validate, MetadataIsChecked) {
  const auto metadata = [](std::string_view text) {
    return complaints_about(fmt::format(
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: a, {}}}\nspec: {{}}\n", text));
  };
  EXPECT_THAT(
      metadata("labels: {a/b: c, d: ''}, annotations: {Some/Key: 'any text'}, creationTimestamp: null"),
      IsEmpty());
  EXPECT_THAT(
      metadata(
          "ownerReferences: [{apiVersion: v1, kind: Pod, name: x, uid: u}], managedFields: [{any: thing}]"),
      IsEmpty());
  EXPECT_THAT(metadata("labels: {a: 5}"),
              ElementsAre("metadata.labels.a: 5: must be text; put it in quotes"));
  EXPECT_THAT(metadata(fmt::format("labels: {{a: {}}}", std::string(64, 'x'))),
              ElementsAre(HasSubstr("must be empty or at most 63")));
  EXPECT_THAT(metadata("annotations: {'a b': c}"),
              ElementsAre(HasSubstr("metadata.annotations[\"a b\"]: the key must be")));
  EXPECT_THAT(metadata(fmt::format("annotations: {{a: {}}}", std::string(262144, 'x'))),
              ElementsAre("metadata.annotations: must be at most 262144 bytes together; they are 262145"));
  EXPECT_THAT(metadata("creationTimestamp: yesterday"), ElementsAre(HasSubstr("must be a time such as")));
  EXPECT_THAT(metadata("lables: {}"),
              ElementsAre("metadata.lables: {}: unknown field; did you mean labels?"));
  EXPECT_THAT(complaints_about("apiVersion: projectcalico.org/v3\nkind: Tier\nspec: {}\n"),
              ElementsAre("metadata: required, and missing"));
}

std::string with_defaults(std::string_view yaml) {
  const auto result = validated(yaml);
  EXPECT_THAT(result.complaints, IsEmpty()) << yaml;
  return json::serialize(result.json.at("spec"));
}

TEST(Validate, DefaultsAreFilledIn) {
  const std::tuple<const char*, const char*, const char*, const char*> kCases[] = {
      {"NetworkPolicy", "shop/p", "{}", R"({"types":["Ingress"],"tier":"default"})"},
      {"NetworkPolicy", "shop/p", "{egress: []}", R"({"egress":[],"types":["Ingress"],"tier":"default"})"},
      {"NetworkPolicy", "shop/p", "{egress: [{action: Deny}]}",
       R"({"egress":[{"action":"Deny"}],"types":["Egress"],"tier":"default"})"},
      {"GlobalNetworkPolicy", "p", "{tier: a, egress: [{action: Deny}], ingress: [{action: Deny}]}",
       R"({"tier":"a","egress":[{"action":"Deny"}],"ingress":[{"action":"Deny"}],"types":["Ingress","Egress"]})"},
      {"StagedNetworkPolicy", "shop/p", "{}",
       R"({"types":["Ingress"],"stagedAction":"Set","tier":"default"})"},
      {"StagedGlobalNetworkPolicy", "p", "{stagedAction: Delete, types: [Egress]}",
       R"({"stagedAction":"Delete","tier":"default"})"},
      {"Tier", "security", "{}", R"({"order":1000000,"defaultAction":"Deny"})"},
      {"Tier", "security", "{order: null}", R"({"order":1000000,"defaultAction":"Deny"})"},
      {"Tier", "kube-baseline", "{}", R"({"order":10000000,"defaultAction":"Pass"})"},
      {"IPPool", "p", "{cidr: 'FD00:10::/48'}",
       R"~({"cidr":"fd00:10::/48","blockSize":122,"allowedUses":["Workload","Tunnel"],"ipipMode":"Never","vxlanMode":"Never","nodeSelector":"all()","assignmentMode":"Automatic"})~"},
      {"FelixConfiguration", "default", "{bpfConnectTimeLoadBalancingEnabled: false}",
       R"({"bpfConnectTimeLoadBalancingEnabled":false,"floatingIPs":"Disabled","bpfConnectTimeLoadBalancing":"Disabled","bpfHostNetworkedNATWithoutCTLB":"Disabled","nftablesFlowTableOffload":"Disabled","nftablesMode":"Auto"})"},
      {"NetworkSet", "shop/s", "{nets: [1.1.1.1]}", R"({"nets":["1.1.1.1"]})"},
  };
  for (const auto& [kind, name, spec, want] : kCases) {
    EXPECT_EQ(with_defaults(document_of(kind, name, spec)), want) << kind << " " << spec;
  }
}

TEST(Validate, LabelsOfTheSystemAreSet) {
  const auto labels_of = [](std::string_view kind, std::string_view name, std::string_view spec) {
    return json::serialize(validated(document_of(kind, name, spec)).json.at("metadata").at("labels"));
  };
  EXPECT_EQ(labels_of("NetworkPolicy", "shop/p", "{tier: security}"),
            R"({"projectcalico.org/tier":"security"})");
  EXPECT_EQ(labels_of("StagedGlobalNetworkPolicy", "p", "{}"), R"({"projectcalico.org/tier":"default"})");
  EXPECT_EQ(labels_of("WorkloadEndpoint", "shop/h-k8s-p-eth0",
                      "{node: h, orchestrator: k8s, pod: p, endpoint: eth0}"),
            R"({"projectcalico.org/namespace":"shop","projectcalico.org/orchestrator":"k8s"})");
}

TEST(Validate, WhatIsValidStaysAsItIsWhenValidatedAgain) {
  for (const auto& yaml :
       {document_of("NetworkPolicy", "shop/p", "{egress: [{action: Deny}]}"),
        document_of("IPPool", "p", "{cidr: 10.0.0.0/16}"), document_of("Tier", "t", "{order: 5.0}")}) {
    const auto once = validated(yaml);
    const auto twice = validate(Document{once.json, "", 0, {}});
    EXPECT_TRUE(twice.ok());
    EXPECT_EQ(twice.json, once.json);
  }
}

TEST(Validate, WhatMayNotChangeIsRefusedInAnUpdate) {
  const auto old =
      json::parse(R"({"spec":{"cidr":"10.0.0.0/16","blockSize":26,"allowedUses":["LoadBalancer"]}})")
          .as_object();
  const auto update = [&](std::string_view spec) {
    const auto pool = validated(document_of("IPPool", "p", spec));
    std::vector<std::string> lines;
    for (const auto& complaint : validate_change(Kind::kIpPool, pool.json, old)) {
      lines.push_back(complaint.field_path + ": " + complaint.rule);
    }
    return lines;
  };
  EXPECT_THAT(update("{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], disabled: true}"), IsEmpty());
  EXPECT_THAT(update("{cidr: 10.1.0.0/16, blockSize: 27, allowedUses: [Workload]}"),
              ElementsAre("spec.cidr: cannot be changed from 10.0.0.0/16; make another pool",
                          "spec.blockSize: cannot be changed; make another pool",
                          "spec.allowedUses: a pool for load balancers cannot be put to other uses"));
}

TEST(Validate, BuiltInObjectsAreKnown) {
  EXPECT_TRUE(is_built_in({Kind::kTier, "", "kube-admin"}));
  EXPECT_FALSE(is_built_in({Kind::kTier, "", "security"}));
  EXPECT_TRUE(is_built_in({Kind::kProfile, "", "projectcalico-default-allow"}));
  EXPECT_FALSE(is_built_in({Kind::kNetworkPolicy, "", "default"}));
}

TEST(Validate, ADocumentThatIsWrongEverywhereIsToldSoABoundedNumberOfTimes) {
  std::string nets;
  for (int i = 0; i < 5000; ++i) nets += fmt::format("x{}, ", i);
  EXPECT_EQ(
      validated(document_of("NetworkSet", "shop/s", fmt::format("{{nets: [{}]}}", nets))).complaints.size(),
      1000U);

  std::string fields;
  for (int i = 0; i < 20'000; ++i) fields += fmt::format("unknown{}: 1, ", i);
  EXPECT_EQ(validated(document_of("FelixConfiguration", "default", fmt::format("{{{}}}", fields)))
                .complaints.size(),
            1000U);
}

}  // namespace
}  // namespace ocicat
