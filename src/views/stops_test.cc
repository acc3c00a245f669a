#include "views/stops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "views/explain.h"
#include "views/matrix.h"
#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using enum policy::ChainKind;
using enum policy::Direction;
using policy::Verdict;

const ResourceKey kHost{Kind::kHostEndpoint, "", "edge"};
const ResourceKey kPod{Kind::kPod, "shop", "api"};

Party host(const std::string& node, bool all_interfaces = false) {
  return {.name = "host:" + node,
          .endpoint = kHost,
          .node = node,
          .is_host = true,
          .addresses = {},
          .host_policy = HostPolicy{kHost, all_interfaces, false}};
}
Party pod(const std::string& node, bool all_interfaces = false) {
  return {.name = "shop/api",
          .endpoint = kPod,
          .node = node,
          .addresses = {},
          .host_policy = HostPolicy{kHost, all_interfaces, false}};
}

std::vector<std::string> words(const std::vector<Stop>& stops) {
  std::vector<std::string> words;
  for (const auto& stop : stops) {
    words.push_back(fmt::format("{} {}{}", stop.endpoint.name, policy::to_string(stop.hook.chain),
                                stop.unless_accepted ? " unless accepted" : ""));
  }
  return words;
}

TEST(Stops, BetweenHostsAreTheHostEndpointsOfBoth) {
  EXPECT_THAT(words(stops_of(host("a"), host("b"), kEgress)),
              ElementsAre("edge untracked", "edge normal unless accepted"));
  EXPECT_THAT(words(stops_of(host("a"), host("b"), kIngress)),
              ElementsAre("edge untracked", "edge preDNAT unless accepted", "edge normal unless accepted"));
}

TEST(Stops, OfForwardedPacketsAreForwardChains) {
  EXPECT_THAT(words(stops_of(pod("a"), pod("b"), kEgress)), ElementsAre("api normal", "edge forward"));
  EXPECT_THAT(words(stops_of(pod("a"), pod("b"), kIngress)),
              ElementsAre("edge untracked", "edge preDNAT unless accepted", "edge forward unless accepted",
                          "api normal"));
}

TEST(Stops, WithinAHostAreTheWorkloadsAndThoseOfStar) {
  EXPECT_THAT(words(stops_of(pod("a"), pod("a"), kEgress)), ElementsAre("api normal"));
  EXPECT_THAT(words(stops_of(pod("a"), pod("a"), kIngress)), ElementsAre("api normal"));
  EXPECT_THAT(words(stops_of(pod("a", true), pod("a", true), kEgress)),
              ElementsAre("api normal", "edge forward"));
  EXPECT_THAT(words(stops_of(host("a"), pod("a"), kEgress)), IsEmpty());
  EXPECT_THAT(words(stops_of(host("a", true), pod("a", true), kIngress)), IsEmpty());
  EXPECT_THAT(words(stops_of(pod("a"), host("a"), kIngress)), IsEmpty());
}

TEST(Stops, ThatAcceptEndTheQuestionsAtTheSameHostEndpoint) {
  const auto stops = stops_of(pod("a"), pod("b"), kIngress);
  const auto verdict = [&](Verdict untracked, Verdict pre_dnat, Verdict forward, Verdict own) {
    return verdict_of(stops, [&](const Stop& stop) {
      switch (stop.hook.chain) {
        case kUntracked:
          return untracked;
        case kPreDnat:
          return pre_dnat;
        case kForward:
          return forward;
        case kNormal:
          break;
      }
      return own;
    });
  };
  EXPECT_EQ(verdict(Verdict::kNone, Verdict::kNone, Verdict::kNone, Verdict::kAllow), Verdict::kAllow);
  EXPECT_EQ(verdict(Verdict::kNone, Verdict::kNone, Verdict::kDeny, Verdict::kAllow), Verdict::kDeny);
  EXPECT_EQ(verdict(Verdict::kNone, Verdict::kAllow, Verdict::kDeny, Verdict::kAllow), Verdict::kAllow);
  EXPECT_EQ(verdict(Verdict::kAllow, Verdict::kDeny, Verdict::kDeny, Verdict::kAllow), Verdict::kAllow);
  EXPECT_EQ(verdict(Verdict::kAllow, Verdict::kNone, Verdict::kNone, Verdict::kDeny), Verdict::kDeny);
  EXPECT_EQ(verdict(Verdict::kDeny, Verdict::kAllow, Verdict::kAllow, Verdict::kAllow), Verdict::kDeny);
}

// --- in explain and matrix ---

policy::Snapshot two_hosts(std::string_view more = "") {
  return snapshot_for_test(R"(
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: host1}
spec: {bgp: {ipv4Address: 192.0.2.1/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: host2}
spec: {bgp: {ipv4Address: 192.0.2.2/24}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: edge, labels: {role: edge}}
spec: {node: host1, interfaceName: eth0, expectedIPs: [192.0.2.1]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'edge'
  applyOnForward: true
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
)" + std::string(more));
}

TEST(ExplainHost, AsksItsHostEndpoint) {
  const auto snapshot = two_hosts();
  const Inventory inventory(snapshot);
  const policy::Evaluator evaluator(snapshot);
  const auto ask = [&](const char* traffic) {
    return explain(evaluator,
                   {*inventory.find("host:host2"), *inventory.find("host:host1"), *parse_traffic(traffic)});
  };
  EXPECT_EQ(ask("tcp/80").verdict(), Verdict::kAllow);
  EXPECT_EQ(ask("tcp/81").verdict(), Verdict::kDeny);
  EXPECT_EQ(ask("tcp/22").verdict(), Verdict::kAllow);
  EXPECT_THAT(to_text(ask("tcp/22")), HasSubstr("a failsafe port, which no policy closes"));
}

TEST(ExplainHost, ShowsWhatStagedPolicyWouldDoOnTheWay) {
  const auto snapshot = two_hosts(R"(---
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {nodeName: host1}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: projectcalico.org/v3, kind: StagedGlobalNetworkPolicy, metadata: {name: fence},
 spec: {selector: role == 'edge', order: 1, applyOnForward: true, types: [Ingress], ingress: [{action: Deny}]}}
)");
  const Inventory inventory(snapshot);
  const auto explained =
      explain(policy::Evaluator(snapshot),
              {*inventory.find("host:host2"), *inventory.find("x/a"), *parse_traffic("tcp/80")});
  EXPECT_EQ(explained.verdict(), Verdict::kAllow);
  EXPECT_EQ(explained.pending(), Verdict::kDeny);
  EXPECT_THAT(to_text(explained), HasSubstr("    with staged policy enforced: deny\n      tier default: "
                                            "StagedGlobalNetworkPolicy fence, ingress[0], denies"));
  const boost::json::value json = to_json(explained);
  const auto& crossing = json.at("ingress").at("crossings").at(0);
  EXPECT_EQ(crossing.at("verdict"), "allow");
  EXPECT_EQ(crossing.at("pending"), "deny");
  EXPECT_EQ(crossing.at("pendingTrace").at(0).at("kind"), "StagedGlobalNetworkPolicy");
}

TEST(MatrixOfHosts, AgreesWithExplain) {
  const auto snapshot = two_hosts();
  const Inventory inventory(snapshot);
  const policy::Evaluator evaluator(snapshot);
  const auto parties = inventory.parties();
  ASSERT_EQ(parties.size(), 1U);
  const Connectivity connectivity(snapshot);
  for (const auto* traffic : {"tcp/22", "tcp/80", "tcp/81", "udp/53"}) {
    const auto from = *inventory.find("host:host2");
    const auto& to = parties.front();
    EXPECT_EQ(connectivity.ask(from, to, *parse_traffic(traffic), Family::kIpv4).verdict(),
              explain(evaluator, {from, to, *parse_traffic(traffic)}).verdict())
        << traffic;
  }
}

}  // namespace
}  // namespace ocicat::views
