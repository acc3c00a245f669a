#include "views/policy_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>

#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using policy::Verdict;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kWorld = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a}}, spec: {nodeName: h1, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8443}]}]}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}}, spec: {nodeName: h2, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.2}]}}
)";

policy::Snapshot world_with(std::string_view more) {
  return snapshot_for_test(std::string(kWorld) + "---\n" + std::string(more));
}

std::string policy_of(std::string_view kind, std::string_view ingress) {
  return fmt::format(
      "apiVersion: projectcalico.org/v3\nkind: {}\nmetadata: {{name: p, namespace: x}}\n"
      "spec: {{selector: app == 'b', types: [Ingress], ingress: {}}}\n",
      kind, ingress);
}

std::vector<std::string> lines(const PolicyDiff& diff) {
  std::vector<std::string> lines;
  for (const auto& change : diff.changes) {
    lines.push_back(fmt::format("{} -> {} {}: {} -> {}, staged {} -> {}", change.from, change.to,
                                change.traffic_text(), policy::to_string(change.before),
                                policy::to_string(change.after), policy::to_string(change.pending_before),
                                policy::to_string(change.pending_after)));
  }
  return lines;
}

PolicyDiff diff_of(const policy::Snapshot& before, const policy::Snapshot& after) {
  return diff(before, after, probes_of(before, after));
}

TEST(PolicyDiff, TellsThePairsWhoseVerdictChangesWithAllPortsThatDo) {
  const auto before = snapshot_for_test(kWorld);
  const auto after = world_with(
      policy_of("NetworkPolicy", "[{action: Allow, protocol: TCP, destination: {ports: ['80:90', 443]}}]"));
  const auto found = diff_of(before, after);
  EXPECT_THAT(lines(found),
              ElementsAre("x/a -> x/b icmp/8/0 and other types: allow -> deny, staged allow -> deny",
                          "x/a -> x/b tcp/1-79,91-442,444-65535: allow -> deny, staged allow -> deny",
                          "x/a -> x/b udp/1-4788,4790-65535: allow -> deny, staged allow -> deny",
                          "x/a -> x/b 2 and others: allow -> deny, staged allow -> deny"));
  EXPECT_EQ(found.changes[0].reason,
            "ingress: tier default: no rule matched, and the tier denies by default");
}

TEST(PolicyDiff, TellsOfIcmpByNumberInPacketsOfTheOtherFamilyToo) {
  constexpr std::string_view kNumber = R"([{action: Allow, protocol: 58}, {action: Allow, protocol: TCP}])";
  constexpr std::string_view kName = R"([{action: Allow, protocol: ICMPv6}, {action: Allow, protocol: TCP}])";
  const auto found =
      diff_of(world_with(policy_of("NetworkPolicy", kNumber)), world_with(policy_of("NetworkPolicy", kName)));
  EXPECT_THAT(lines(found),
              ElementsAre("x/a -> x/b 58/128/0 and other types: allow -> deny, staged allow -> deny"));
  EXPECT_EQ(found.changes[0].family, Family::kIpv4);
}

// An answer to a packet on either side of every edge, asked alone.
TEST(PolicyDiff, LeavesOutNoPortThatChangesAndNamesNoneThatDoesNot) {
  const auto before = world_with(policy_of(
      "NetworkPolicy", "[{action: Allow, protocol: TCP, destination: {ports: ['80:90', web, 65535]}}]"));
  const auto after =
      world_with(policy_of("NetworkPolicy",
                           "[{action: Deny, protocol: TCP, destination: {ports: [85]}},"
                           " {action: Allow, protocol: TCP, destination: {ports: ['1:84', '86:100']}}]"));
  std::set<int> told;
  for (const auto& change : diff_of(before, after).changes) {
    if (change.to != "x/b" || change.traffic.protocol != kTcp) continue;
    for (const auto range : change.ports) {
      for (int port = range.first; port <= range.last; ++port) told.insert(port);
    }
  }
  for (int port = 1; port <= 65535; ++port) {
    if (port > 110 && port < 8000) continue;
    const Probe probe{.traffic = {.port = static_cast<std::uint16_t>(port)}};
    const bool changes = !diff(before, after, {probe}).changes.empty();
    ASSERT_EQ(told.contains(port), changes) << port;
    if (port == 8500) port = 65500;
  }
}

TEST(PolicyDiff, OfTheSameIsEmpty) {
  const auto world = world_with(policy_of("NetworkPolicy", "[{action: Deny}]"));
  const auto found = diff_of(world, world);
  EXPECT_THAT(found.changes, IsEmpty());
  EXPECT_THAT(to_text(found), HasSubstr("No verdict changes"));
}

TEST(PolicyDiff, OfAStagedPolicyTellsWhatItWouldChangeAndThatNothingIs) {
  const auto before = snapshot_for_test(kWorld);
  const auto after =
      world_with(policy_of("StagedNetworkPolicy", "[{action: Deny, protocol: UDP}, {action: Allow}]"));
  EXPECT_THAT(lines(diff_of(before, after)),
              ElementsAre("x/a -> x/b udp/1-4788,4790-65535: allow -> allow, staged allow -> deny"));
}

TEST(PolicyDiff, AsksAboutNamedPortsByTheirNumbers) {
  const auto after = world_with(
      "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: g}\n"
      "spec: {selector: app == 'a', ingress: [{action: Allow, protocol: TCP, destination: {ports: "
      "[web]}}]}\n");
  EXPECT_THAT(lines(diff_of(snapshot_for_test(kWorld), after)),
              ElementsAre("x/b -> x/a icmp/8/0 and other types: allow -> deny, staged allow -> deny",
                          "x/b -> x/a tcp/1-8442,8444-65535: allow -> deny, staged allow -> deny",
                          "x/b -> x/a udp/1-4788,4790-65535: allow -> deny, staged allow -> deny",
                          "x/b -> x/a 2 and others: allow -> deny, staged allow -> deny"));
}

TEST(PolicyDiff, EndpointsOfOneSideOnlyAreCountedAndNotCompared) {
  const auto before = snapshot_for_test(kWorld);
  auto after = before;
  after.erase({Kind::kPod, "x", "b"});
  const auto found = diff_of(before, after);
  EXPECT_EQ(found.one_sided, 1U);
  EXPECT_EQ(found.compared, 0U);
}

TEST(PolicyDiff, AsJsonHasEveryField) {
  const auto after = world_with(policy_of("NetworkPolicy", "[{action: Deny}]"));
  const auto json =
      to_json(diff(snapshot_for_test(kWorld), after, {{*parse_traffic("tcp/80"), PortRange{80, 80}, ""}}));
  EXPECT_EQ(boost::json::serialize(json),
            R"({"changes":[{"from":"x/a","to":"x/b","protocol":"tcp","family":4,"ports":["80"],"others":"",)"
            R"("before":"allow","after":"deny","pendingBefore":"allow","pendingAfter":"deny",)"
            R"("reason":"ingress: tier default: NetworkPolicy x/p, ingress[0], denies"}],)"
            R"("compared":2,"endpointsOnOneSide":0})");
}

constexpr std::string_view kHosts = R"(
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: h1}, spec: {bgp: {ipv4Address: 192.0.2.1/24}}}
---
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: h2}, spec: {bgp: {ipv4Address: 192.0.2.2/24}}}
---
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: h3}, spec: {bgp: {ipv4Address: 192.0.2.3/24}}}
)";
constexpr std::string_view kEdge = R"(
{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: edge, labels: {role: edge}},
 spec: {node: h2, interfaceName: eth0, expectedIPs: [192.0.2.2]}}
)";

TEST(PolicyDiffOfHosts, ANewHostEndpointClosesAllButItsFailsafePorts) {
  const auto before = world_with(kHosts);
  const auto after = world_with(std::string(kHosts) + "---\n" + std::string(kEdge));
  const auto found = diff(
      before, after,
      {{*parse_traffic("tcp/22"), PortRange{22, 22}, ""}, {*parse_traffic("tcp/80"), PortRange{80, 80}, ""}});
  EXPECT_THAT(lines(found), ElementsAre("x/a -> host:h2 tcp/80: allow -> deny, staged allow -> deny",
                                        "host:h2 -> x/a tcp/22,80: allow -> deny, staged allow -> deny"))
      << "h2 reaches its own x/b, which does not reach it, before and after";
  EXPECT_EQ(found.changes[0].reason,
            "ingress at HostEndpoint edge, normal chain: profiles: none allows it, so it is denied");
  EXPECT_EQ(found.compared, 2U * 3 * 2) << "h1 and h3 have no host endpoint";
  for (const auto& change : diff_of(before, after).changes) {
    if (change.to == "host:h2" && change.traffic.protocol == kTcp) {
      EXPECT_EQ(change.traffic_text(), "tcp/1-21,23-178,180-2378,2381-5472,5474-6442,6444-6665,6668-65535");
    }
  }
}

TEST(PolicyDiffOfHosts, SettingsThatNoPolicyMentionsCountToo) {
  const auto world = std::string(kHosts) + "---\n" + std::string(kEdge);
  const auto settings = [&](std::string_view spec) {
    return world_with(
        fmt::format("{}---\n{{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, "
                    "metadata: {{name: default}}, spec: {{{}}}}}\n",
                    world, spec));
  };
  const auto before = world_with(world);
  EXPECT_THAT(lines(diff_of(before, settings("failsafeInboundHostPorts: [{protocol: TCP, port: 4022}]"))),
              testing::Contains("x/a -> host:h2 tcp/4022: deny -> allow, staged deny -> allow"));
  const auto accepting = diff_of(before, settings("defaultEndpointToHostAction: Accept"));
  EXPECT_THAT(lines(accepting), testing::Contains("x/b -> host:h2 tcp: deny -> allow, staged deny -> allow"));
  EXPECT_THAT(lines(diff_of(before, settings("allowIPIPPacketsFromWorkloads: true"))),
              testing::Contains("x/a -> x/b 4: deny -> allow, staged deny -> allow"));
}

TEST(PolicyDiffOfHosts, ForwardPolicyChangesWhatWorkloadsMayDo) {
  const auto before = world_with(std::string(kHosts) + "---\n" + std::string(kEdge));
  const auto after = world_with(std::string(kHosts) + "---\n" + std::string(kEdge) + R"(---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: fence},
 spec: {selector: role == 'edge', applyOnForward: true, types: [Ingress],
        ingress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}, {action: Allow}]}}
)");
  const auto found = diff_of(before, after);
  const auto change = std::ranges::find_if(found.changes, [](const auto& one) { return one.to == "x/b"; });
  ASSERT_NE(change, found.changes.end());
  EXPECT_EQ(change->traffic_text(), "tcp/80");
  EXPECT_EQ(
      change->reason,
      "ingress at HostEndpoint edge, forward chain: tier default: GlobalNetworkPolicy fence, ingress[0], "
      "denies");
}

}  // namespace
}  // namespace ocicat::views
