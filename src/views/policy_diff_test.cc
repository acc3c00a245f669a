#include "views/policy_diff.h"

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
                                change.probe.to_string(), policy::to_string(change.before),
                                policy::to_string(change.after), policy::to_string(change.pending_before),
                                policy::to_string(change.pending_after)));
  }
  return lines;
}

PolicyDiff diff_of(const policy::Snapshot& before, const policy::Snapshot& after) {
  return diff(before, after, probes_of(before, after));
}

TEST(PolicyDiff, TellsThePairsWhoseVerdictChangesOnThePortsThatPolicyMentions) {
  const auto before = snapshot_for_test(kWorld);
  const auto after = world_with(
      policy_of("NetworkPolicy", "[{action: Allow, protocol: TCP, destination: {ports: ['80:90']}}]"));
  const auto found = diff_of(before, after);
  EXPECT_THAT(lines(found),
              ElementsAre("x/a -> x/b tcp/1 and others: allow -> deny, staged allow -> deny",
                          "x/a -> x/b udp/1 and others: allow -> deny, staged allow -> deny",
                          "x/a -> x/b icmp/8/0 and others: allow -> deny, staged allow -> deny"));
  EXPECT_EQ(found.changes[0].reason,
            "ingress: tier default: no rule matched, and the tier denies by default");
  EXPECT_EQ(found.compared, 2U * 5);  // both ways; tcp/80, tcp/90, tcp/1, udp/1, icmp
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
              ElementsAre("x/a -> x/b udp/1 and others: allow -> allow, staged allow -> deny"));
}

TEST(PolicyDiff, AsksAboutNamedPortsByTheirNumbers) {
  const auto after = world_with(
      "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: g}\n"
      "spec: {selector: app == 'a', ingress: [{action: Allow, protocol: TCP, destination: {ports: "
      "[web]}}]}\n");
  EXPECT_THAT(lines(diff_of(snapshot_for_test(kWorld), after)),
              ElementsAre("x/b -> x/a tcp/1 and others: allow -> deny, staged allow -> deny",
                          "x/b -> x/a udp/1 and others: allow -> deny, staged allow -> deny",
                          "x/b -> x/a icmp/8/0 and others: allow -> deny, staged allow -> deny"));
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
  const auto json = to_json(diff(snapshot_for_test(kWorld), after, {{*parse_traffic("tcp/80"), false}}));
  EXPECT_EQ(boost::json::serialize(json),
            R"({"changes":[{"from":"x/a","to":"x/b","protocol":"tcp","port":80,"family":4,"others":false,)"
            R"("before":"allow","after":"deny","pendingBefore":"allow","pendingAfter":"deny",)"
            R"("reason":"ingress: tier default: NetworkPolicy x/p, ingress[0], denies"}],)"
            R"("compared":2,"endpointsOnOneSide":0})");
}

}  // namespace
}  // namespace ocicat::views
