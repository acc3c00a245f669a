#include "views/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using policy::Verdict;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// A shop of three, where only the front end may ask the API, and nobody the database.
constexpr std::string_view kShop = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: host1}, spec: {bgp: {ipv4Address: 192.0.2.1/24}}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  selector: app == "api"
  ingress:
  - {action: Log}
  - {action: Allow, protocol: TCP, source: {selector: app == "frontend"}, destination: {ports: [8080]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {selector: app == "db", types: [Ingress]}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: shop, labels: {app: frontend}}
spec: {nodeName: host1}
status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {nodeName: host1}
status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: host2}
status: {podIPs: [{ip: "fd00::3"}]}
)";

class Explain : public testing::Test {
 protected:
  policy::Snapshot snapshot_ = snapshot_for_test(kShop);
  policy::Evaluator evaluator_{snapshot_};
  Inventory inventory_{snapshot_};

  Explained ask(std::string_view from, std::string_view to, std::string_view traffic,
                std::optional<Family> wanted = {}) {
    Question question;
    question.from = inventory_.find(from).value();
    question.to = inventory_.find(to).value();
    question.traffic = parse_traffic(traffic).value();
    question.family = common_family(question.from, question.to, wanted).value();
    return explain(evaluator_, question);
  }
};

TEST_F(Explain, AllowsWhatBothSidesAllowAndSaysWhichRule) {
  const Explained explained = ask("shop/frontend", "shop/api", "tcp/8080");
  EXPECT_EQ(explained.verdict(), Verdict::kAllow);
  EXPECT_EQ(explained.question.family, Family::kIpv4) << "both have IPv4";
  const std::string text = to_text(explained);
  EXPECT_THAT(text, HasSubstr("ALLOWED"));
  EXPECT_THAT(text, HasSubstr("NetworkPolicy shop/api, ingress[0], logs, and goes on"));
  EXPECT_THAT(text, HasSubstr("NetworkPolicy shop/api, ingress[1], allows"));
}

TEST_F(Explain, OfADefaultDenyNamesThePoliciesThatSelectedAndTheNearestMiss) {
  const Explained explained = ask("shop/frontend", "shop/api", "tcp/8081");
  EXPECT_EQ(explained.verdict(), Verdict::kDeny);
  EXPECT_EQ(explained.egress.verdict, Verdict::kAllow);
  const std::string text = to_text(explained);
  EXPECT_THAT(text, HasSubstr("tier default: no rule matched, and the tier denies by default"));
  EXPECT_THAT(text, HasSubstr("policies of this tier that select shop/api: NetworkPolicy shop/api"));
  EXPECT_THAT(text, HasSubstr("nearest miss: NetworkPolicy shop/api, ingress[1], allows, but"));
}

TEST(ExplainSources, AWorkloadSendsFromElsewhereOnlyWhereItMayAndIsJudgedByThatAddress) {
  std::string text(kShop);
  text += R"(---
apiVersion: v1
kind: Pod
metadata:
  name: gateway
  namespace: shop
  labels: {app: frontend}
  annotations: {cni.projectcalico.org/allowedSourcePrefixes: '["192.0.2.0/24"]'}
spec: {nodeName: host1}
status: {podIPs: [{ip: 10.0.0.9}]}
)";
  const auto ask = [&](const std::string& documents, const char* source) {
    const auto snapshot = snapshot_for_test(documents);
    const Inventory inventory(snapshot);
    Question question;
    question.from = inventory.find("shop/gateway").value();
    question.to = inventory.find("shop/api").value();
    question.traffic = parse_traffic("tcp/8080").value();
    question.from.addresses = {IpAddress::parse(source).value()};
    return explain(policy::Evaluator(snapshot), question);
  };
  EXPECT_THAT(ask(text, "10.0.0.9").egress.note, HasSubstr("workloadSourceSpoofing"));
  text += R"(---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {workloadSourceSpoofing: Any}
)";
  EXPECT_EQ(ask(text, "10.0.0.9").verdict(), Verdict::kAllow);
  EXPECT_EQ(ask(text, "192.0.2.7").egress.verdict, Verdict::kAllow);
  EXPECT_EQ(ask(text, "192.0.2.7").ingress.verdict, Verdict::kDeny) << "no frontend has that address";
  EXPECT_EQ(ask(text, "198.51.100.7").egress.verdict, Verdict::kDeny);
  EXPECT_THAT(ask(text, "198.51.100.7").egress.note, HasSubstr("may not send from 198.51.100.7"));
}

TEST_F(Explain, JsonHasVerdictAndTraceOfBothSides) {
  const boost::json::value json = to_json(ask("shop/frontend", "shop/api", "tcp/8081"));
  EXPECT_EQ(json.at("verdict").as_string(), "deny");
  EXPECT_EQ(json.at("protocol").as_string(), "tcp");
  EXPECT_EQ(json.at("port").to_number<int>(), 8081);
  EXPECT_EQ(json.at("family").to_number<int>(), 4);
  EXPECT_EQ(json.at("egress").at("verdict").as_string(), "allow");
  const auto& ingress = json.at("ingress");
  EXPECT_EQ(ingress.at("verdict").as_string(), "deny");
  const auto& last = ingress.at("trace").as_array().back();
  EXPECT_EQ(last.at("tier").as_string(), "default");
  EXPECT_EQ(last.at("selectedBy").at(0).as_string(), "NetworkPolicy shop/api");
  EXPECT_THAT(ingress.at("nearMisses").as_array(), Not(IsEmpty()));
}

TEST_F(Explain, AnAddressThatIsNobodysHasNoSideOfItsOwn) {
  const Explained explained = ask("198.51.100.7", "shop/frontend", "tcp/443");
  EXPECT_EQ(explained.egress.verdict, Verdict::kAllow);
  EXPECT_EQ(explained.egress.note, "no endpoint here");
  EXPECT_EQ(explained.verdict(), Verdict::kAllow) << "its namespace allows where no policy selects it";
}

TEST_F(Explain, AWorkloadsAddressStandsForTheWorkload) {
  const Explained explained = ask("10.0.0.1", "10.0.0.2", "tcp/8080");
  EXPECT_EQ(explained.verdict(), Verdict::kAllow);
  EXPECT_THAT(explained.ingress.trace, SizeIs(2));
}

TEST_F(Explain, AHostReachesItsOwnWorkloadsWhateverPolicySays) {
  EXPECT_EQ(ask("host:host1", "shop/api", "tcp/8081").verdict(), Verdict::kAllow);
  EXPECT_EQ(ask("192.0.2.1", "shop/api", "tcp/8081").verdict(), Verdict::kAllow) << "the same by its address";
}

TEST_F(Explain, AWorkloadReachesItselfWhateverPolicySays) {
  const Explained own = ask("shop/api", "shop/api", "tcp/9");
  EXPECT_EQ(own.verdict(), Verdict::kAllow);
  EXPECT_THAT(own.egress.note, HasSubstr("never leave it"));
  EXPECT_THAT(own.ingress.note, HasSubstr("never leave it"));
}

TEST_F(Explain, AWorkloadReachesItsOwnHostOnlyWhereTheConfigurationSaysSo) {
  const Explained dropped = ask("shop/frontend", "host:host1", "tcp/22");
  EXPECT_EQ(dropped.verdict(), Verdict::kDeny);
  EXPECT_EQ(dropped.egress.verdict, Verdict::kAllow);
  EXPECT_THAT(dropped.ingress.note, HasSubstr("defaultEndpointToHostAction is Drop"));

  const policy::Snapshot accepting = snapshot_for_test(std::string(kShop) + R"(
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: node.host1}
spec: {defaultEndpointToHostAction: Accept}
)");
  inventory_ = Inventory(accepting);
  EXPECT_EQ(ask("shop/frontend", "192.0.2.1", "tcp/22").verdict(), Verdict::kAllow)
      << "the host by its address";
}

TEST_F(Explain, SaysWhatStandsBesideARule) {
  const auto named = snapshot_for_test(std::string(kShop) + R"(
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress:
  - {action: Pass, from: [{pods: {podSelector: {matchLabels: {app: a}}}}, {pods: {podSelector: {matchLabels: {app: b}}}}]}
  - {action: Deny, name: no-frontends, from: [{pods: {podSelector: {matchLabels: {app: frontend}}}}]}
)");
  evaluator_ = policy::Evaluator(named);
  const auto explained = ask("shop/frontend", "shop/api", "tcp/8080");
  EXPECT_THAT(to_text(explained),
              HasSubstr("ClusterNetworkPolicy guard, ingress[1], denies\n    name: no-frontends\n"));
  const boost::json::value json = to_json(explained);
  EXPECT_EQ(json.at("ingress").at("trace").at(0).at("rule").to_number<int>(), 1);
  EXPECT_EQ(json.at("ingress").at("trace").at(0).at("annotations").at("name").as_string(), "no-frontends");
}

TEST(InWords, TellsApartWhyNoProfileAllowed) {
  const policy::TraceStep none{
      std::string(policy::kProfileTier), {}, policy::TraceStep::kNoProfile, Action::kDeny, {}};
  const policy::TraceStep missing{std::string(policy::kProfileTier),
                                  {Kind::kProfile, "", "kns.x"},
                                  policy::TraceStep::kNoProfile,
                                  Action::kDeny,
                                  {}};
  EXPECT_THAT(in_words(none, policy::Direction::kIngress), HasSubstr("none allows it"));
  EXPECT_THAT(in_words(missing, policy::Direction::kIngress), HasSubstr("Profile kns.x does not exist"));
}

TEST_F(Explain, TakesIpv6WhereThatIsAllThatBothHave) {
  const Explained explained = ask("shop/frontend", "shop/db", "tcp/5432");
  EXPECT_EQ(explained.question.family, Family::kIpv6);
  EXPECT_EQ(explained.verdict(), Verdict::kDeny);
}

TEST_F(Explain, SaysWhyAQuestionCannotBeAsked) {
  EXPECT_THAT(inventory_.find("shop/nobody").error().message, HasSubstr("shop/api"));
  EXPECT_THAT(inventory_.find("frontend").error().message, HasSubstr("NAMESPACE/NAME"));
  EXPECT_THAT(inventory_.find("host:host9").error().message, HasSubstr("host1"));
  const Party v4 = inventory_.find("10.0.0.1").value();
  const Party db = inventory_.find("shop/db").value();
  EXPECT_FALSE(common_family(v4, db, {}));
  EXPECT_FALSE(common_family(db, db, Family::kIpv4));
}

}  // namespace
}  // namespace ocicat::views
