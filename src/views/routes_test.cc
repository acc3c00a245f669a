#include "views/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using State = RouteLine::State;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kCluster = R"(
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: h1}, spec: {bgp: {ipv4Address: 192.0.2.1/24}}}
---
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: h2}, spec: {bgp: {ipv4Address: 192.0.2.2/24}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {nodeName: h1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x}, spec: {nodeName: h2, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: x}, spec: {nodeName: h3, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.3}]}}
)";

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}
Prefix net(std::string_view text) {
  return *Prefix::parse(text);
}

std::vector<RouteLine> lines_of(const std::vector<KernelWay>& kernel) {
  auto lines = wanted_routes(snapshot_for_test(kCluster), "h1");
  EXPECT_TRUE(lines);
  compare(*lines, kernel);
  return *lines;
}
std::vector<State> states(const std::vector<RouteLine>& lines) {
  std::vector<State> all;
  for (const auto& line : lines) all.push_back(line.state);
  return all;
}

constexpr std::string_view kBlocks = R"(
---
{apiVersion: projectcalico.org/v3, kind: IPAMBlock, metadata: {name: 10-0-0-0-31}, spec: {cidr: 10.0.0.0/31, affinity: "host:h1", allocations: [null, 0], unallocated: [0], attributes: [{handle_id: a, secondary: {node: h1}}], deleted: false}}
---
{apiVersion: projectcalico.org/v3, kind: IPAMBlock, metadata: {name: 10-0-0-2-31}, spec: {cidr: 10.0.0.2/31, affinity: "host:h2", allocations: [0, null], unallocated: [1], attributes: [{handle_id: b, secondary: {node: h2}}], deleted: false}}
)";

TEST(Routes, OfBlocksStandForTheWorkloadsInThem) {
  const auto cluster = std::string(kCluster) + std::string(kBlocks);
  auto lines = *wanted_routes(snapshot_for_test(cluster), "h1");
  ASSERT_EQ(lines.size(),
            5U);  // own block, own pod, the other's block, a pod of an unknown host, one of IPv6
  EXPECT_EQ(lines[0].destination, net("10.0.0.0/31"));
  EXPECT_EQ(lines[0].way->kind, network::Way::Kind::kNowhere);
  EXPECT_EQ(lines[0].node, "h1");
  EXPECT_THAT(lines[1].workloads, ElementsAre("x/a"));
  EXPECT_EQ(lines[2].destination, net("10.0.0.2/31"));
  EXPECT_THAT(lines[2].workloads, ElementsAre("x/b"));
  EXPECT_EQ(lines[3].reason, "there is no Node h3") << "it is not where its block is";
  EXPECT_THAT(to_text(lines), HasSubstr("blackhole"));
  compare(lines, {{net("10.0.0.0/31"), "", {}, false, true},
                  {net("10.0.0.1/32"), lines[1].way->interface_name, {}},
                  {net("10.0.0.2/31"), "", {}, false, true}});
  EXPECT_THAT(states(lines),
              ElementsAre(State::kReady, State::kReady, State::kOther, State::kWaiting, State::kWaiting));
}

TEST(Routes, IntoTunnelsWaitForTheirEndsAndLeadNowhereMeanwhile) {
  const auto lines_with = [](const std::string& tunnel_of_h2) {
    std::string cluster(kCluster), address = "192.0.2.2/24}";
    cluster.insert(cluster.find(address) + address.size(), tunnel_of_h2);
    cluster += kBlocks;
    cluster += R"(
---
{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: p}, spec: {cidr: 10.0.0.0/24, vxlanMode: Always}}
)";
    auto lines = *wanted_routes(snapshot_for_test(cluster), "h1");
    std::erase_if(lines, [](const auto& line) { return line.destination != net("10.0.0.2/31"); });
    EXPECT_EQ(lines.size(), 1U);
    return lines;
  };
  const KernelWay blackhole{net("10.0.0.2/31"), "", {}, false, true};
  auto lines = lines_with("");
  EXPECT_EQ(lines[0].state, State::kWaiting);
  compare(lines, {blackhole});
  EXPECT_EQ(lines[0].state, State::kWaiting);
  EXPECT_EQ(lines[0].reason, "Node h2 does not say where its IPv4 tunnel ends");
  lines = lines_with(", ipv4VXLANTunnelAddr: 10.0.0.64");
  EXPECT_EQ(lines[0].state, State::kUnknown);
  compare(lines, {blackhole});
  EXPECT_EQ(lines[0].state, State::kWaiting);
  EXPECT_THAT(to_text(lines), HasSubstr("waiting: this host's kernel does not have the tunnel's end"));
  lines = lines_with(", ipv4VXLANTunnelAddr: 10.0.0.64");
  compare(lines, {});
  EXPECT_EQ(lines[0].state, State::kMissing) << "then packets leave without a tunnel";
}

TEST(Routes, OfFloatingAddressesSayWhoIsReachedUnderThem) {
  const auto cluster = std::string(kCluster) + R"(
---
{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: {floatingIPs: Enabled}}
---
{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: x, annotations: {cni.projectcalico.org/floatingIPs: '["172.16.0.5"]'}}, spec: {nodeName: h2, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.4}]}}
)";
  const auto lines = *wanted_routes(snapshot_for_test(cluster), "h1");
  const auto line = std::ranges::find(lines, net("172.16.0.5/32"), &RouteLine::destination);
  ASSERT_NE(line, lines.end());
  EXPECT_THAT(line->workloads, ElementsAre("x/d"));
  EXPECT_EQ(line->node, "h2");
  EXPECT_EQ(line->way->next_hop, address("192.0.2.2"));
}

TEST(Routes, OfAHostThatIsNotThereAreAnError) {
  EXPECT_EQ(wanted_routes(snapshot_for_test(kCluster), "h9").error().code, ErrorCode::kNotFound);
}

TEST(Routes, SayForWhomAndWhyThereIsNone) {
  const auto lines = wanted_routes(snapshot_for_test(kCluster), "h1");
  ASSERT_TRUE(lines);
  ASSERT_THAT(states(*lines),
              ElementsAre(State::kUnknown, State::kUnknown, State::kWaiting, State::kWaiting));
  EXPECT_THAT((*lines)[0].workloads, ElementsAre("x/a"));
  EXPECT_EQ((*lines)[1].way->next_hop, address("192.0.2.2"));
  EXPECT_EQ((*lines)[1].node, "h2");
  EXPECT_EQ((*lines)[2].reason, "there is no Node h3");
  EXPECT_EQ((*lines)[3].reason, "Node h2 has no IPv6 address (spec.bgp)");
  EXPECT_THAT(to_text(*lines), HasSubstr("waiting: there is no Node h3"));
}

TEST(Routes, AreHeldAgainstTheKernels) {
  const auto own = wanted_routes(snapshot_for_test(kCluster), "h1")->front().way->interface_name;
  EXPECT_THAT(
      states(lines_of({{net("10.0.0.1/32"), own, {}}, {net("10.0.0.2/32"), "eth0", address("192.0.2.2")}})),
      ElementsAre(State::kReady, State::kReady, State::kWaiting, State::kWaiting));
  EXPECT_THAT(states(lines_of({{net("10.0.0.2/32"), "eth0", address("192.0.2.9")}})),
              ElementsAre(State::kMissing, State::kOther, State::kWaiting, State::kWaiting));
  EXPECT_THAT(states(lines_of({{net("10.0.0.1/32"), own, {}},
                               {net("10.0.0.2/32"), "eth0", address("192.0.2.2")},
                               {net("10.0.0.9/32"), "eth0", address("192.0.2.2")}})),
              ElementsAre(State::kReady, State::kReady, State::kWaiting, State::kStray, State::kWaiting));
}

TEST(Routes, OfBirdMayBeForMoreAndLeadByAnotherRouter) {
  const auto lines = lines_of({{net("10.0.0.0/26"), "eth0", address("192.0.2.254"), true},
                               {net("10.0.0.0/24"), "eth1", address("192.0.2.253"), true}});
  EXPECT_EQ(lines[1].state, State::kReady);
  EXPECT_EQ(lines[1].there->gateway, address("192.0.2.254"));
  EXPECT_THAT(to_text(lines), HasSubstr("bgp"));
}

}  // namespace
}  // namespace ocicat::views
