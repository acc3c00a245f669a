#include "views/explain_ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using policy::Verdict;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// b takes TCP 80 to 90 and its port `web`, not 85; what others than TCP reach, its namespace decides.
constexpr std::string_view kPair = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {nodeName: h1}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: x, labels: {app: b}}
spec: {nodeName: h2, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080, protocol: TCP}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: b, namespace: x}
spec:
  selector: app == "b"
  ingress:
  - {action: Deny, protocol: TCP, destination: {ports: [85]}}
  - {action: Allow, protocol: TCP, destination: {ports: ["80:90", web]}}
)";

class ExplainPorts : public testing::Test {
 protected:
  Question question(std::string_view traffic) const {
    return {*inventory_.find("x/a"), *inventory_.find("x/b"), *parse_traffic(traffic), Family::kIpv4,
            kAnySourcePort};
  }
  std::vector<ExplainedPorts> ask(std::string_view traffic) const {
    return explain_every_port(evaluator_, snapshot_, question(traffic));
  }

  policy::Snapshot snapshot_ = snapshot_for_test(kPair);
  policy::Evaluator evaluator_{snapshot_};
  Inventory inventory_{snapshot_};
};

TEST_F(ExplainPorts, PortsThatAreDecidedAlikeStandTogether) {
  const auto groups = ask("6");
  ASSERT_THAT(groups, SizeIs(3));
  EXPECT_EQ(groups[0].explained.verdict(), Verdict::kDeny) << "by default";
  EXPECT_THAT(groups[0].ports, ElementsAre(PortRange{1, 79}, PortRange{91, 8079}, PortRange{8081, 65535}));
  EXPECT_EQ(groups[1].explained.verdict(), Verdict::kAllow);
  EXPECT_THAT(groups[1].ports, ElementsAre(PortRange{80, 84}, PortRange{86, 90}, PortRange{8080, 8080}));
  EXPECT_EQ(groups[2].explained.verdict(), Verdict::kDeny) << "by a rule";
  EXPECT_THAT(groups[2].ports, ElementsAre(PortRange{85, 85}));
}

TEST_F(ExplainPorts, EveryPortIsAnsweredAsIfItHadBeenAskedAlone) {
  for (const char* protocol : {"tcp", "udp"}) {
    std::size_t ports = 0;
    for (const ExplainedPorts& group : ask(protocol)) {
      for (const PortRange range : group.ports) {
        for (int port = range.first; port <= range.last; ++port) {
          Question one = question(protocol);
          one.traffic.port = static_cast<std::uint16_t>(port);
          ASSERT_EQ(explain(evaluator_, one).verdict(), group.explained.verdict()) << protocol << "/" << port;
          ++ports;
        }
      }
    }
    EXPECT_EQ(ports, 65535u) << protocol;
  }
}

TEST_F(ExplainPorts, WhereTunnelsAreRefusedTheirPortIsSetApart) {
  snapshot_.erase({Kind::kNetworkPolicy, "x", "b"});
  evaluator_ = policy::Evaluator(snapshot_);
  const auto groups = ask("udp");
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_THAT(groups[1].ports, ElementsAre(PortRange{4789, 4789}));
  EXPECT_EQ(groups[1].explained.verdict(), Verdict::kDeny);
  EXPECT_THAT(ask("tcp"), SizeIs(1)) << "nothing tells one port from another";
}

TEST_F(ExplainPorts, TheWholeIsAllowedOnlyWhereEveryPortIs) {
  const boost::json::value json = to_json(ask("tcp"));
  EXPECT_EQ(json.at("verdict").as_string(), "deny");
  EXPECT_EQ(json.at("ingress").at("verdict").as_string(), "deny");
  EXPECT_FALSE(json.as_object().contains("port"));
  EXPECT_THAT(json.at("ports").as_array(), SizeIs(3));
  EXPECT_EQ(json.at("ports").at(1).at("verdict").as_string(), "allow");
  EXPECT_EQ(json.at("ports").at(1).at("ports").at(0).as_string(), "80-84");

  snapshot_.erase({Kind::kNetworkPolicy, "x", "b"});
  evaluator_ = policy::Evaluator(snapshot_);
  EXPECT_EQ(boost::json::value(to_json(ask("tcp"))).at("verdict").as_string(), "allow");
}

TEST_F(ExplainPorts, TextTellsEachGroupWithItsPorts) {
  const std::string text = to_text(ask("tcp"));
  EXPECT_THAT(text, HasSubstr("tcp/1-79,91-8079,8081-65535, IPv4 (10.0.0.1 → 10.0.0.2): DENIED"));
  EXPECT_THAT(text, HasSubstr("tcp/80-84,86-90,8080, IPv4 (10.0.0.1 → 10.0.0.2): ALLOWED"));
}

TEST(ExplainPortsOfAHost, FailsafePortsStandApartFromWhatPolicyCloses) {
  const auto snapshot = snapshot_for_test(R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {nodeName: h1}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h2-eth0}
spec: {node: h2, interfaceName: eth0, expectedIPs: [192.0.2.2]}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: h2}
spec: {bgp: {ipv4Address: 192.0.2.2/24}}
---
{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default},
 spec: {failsafeInboundHostPorts: [{protocol: TCP, port: 4022}]}}
)");
  const policy::Evaluator evaluator(snapshot);
  const Inventory inventory(snapshot);
  const Question question{*inventory.find("x/a"), *inventory.find("host:h2"), *parse_traffic("tcp"),
                          Family::kIpv4, kAnySourcePort};
  const auto groups = explain_every_port(evaluator, snapshot, question);
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_EQ(groups[0].explained.verdict(), Verdict::kDeny);
  EXPECT_EQ(groups[1].explained.verdict(), Verdict::kAllow);
  EXPECT_THAT(groups[1].ports, ElementsAre(PortRange{4022, 4022}));
}

}  // namespace
}  // namespace ocicat::views
