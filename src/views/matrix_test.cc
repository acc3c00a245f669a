#include "views/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using policy::Verdict;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::string_view kThree = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {nodeName: h1}, status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}}, spec: {nodeName: h2}, status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: x}, spec: {nodeName: h2}, status: {podIPs: [{ip: "fd00::3"}]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: b, namespace: x}
spec:
  selector: app == "b"
  ingress:
  - {action: Allow, protocol: TCP, ipVersion: 6, destination: {ports: [80]}}
)";

std::vector<Cell> cells_of(std::string_view traffics, std::optional<Family> family = {}) {
  return matrix(snapshot_for_test(kThree), parse_traffic_list(traffics).value(), family);
}

TEST(Matrix, AsksEveryPairInEveryFamilyThatBothHave) {
  EXPECT_THAT(cells_of("tcp/80"), SizeIs(2 + 6)) << "a and b over IPv4, all three over IPv6";
  EXPECT_THAT(cells_of("tcp/80", Family::kIpv4), SizeIs(2));
  EXPECT_THAT(cells_of("icmp,icmpv6"), SizeIs(2 + 6)) << "each name of ICMP in its own family";
}

TEST(Matrix, ACellSaysWhatEachSideSays) {
  for (const Cell& cell : cells_of("tcp/80")) {
    EXPECT_EQ(cell.egress, Verdict::kAllow);
    const bool denied = cell.to == "x/b" && cell.family == Family::kIpv4;
    EXPECT_EQ(cell.ingress, denied ? Verdict::kDeny : Verdict::kAllow) << cell.from << cell.to;
    EXPECT_EQ(cell.verdict, *cell.ingress);
  }
}

TEST(Matrix, TheTextSharesOneGridOnlyWhereFamiliesAgree) {
  const std::string text = to_text(cells_of("tcp/80"));
  EXPECT_THAT(text, HasSubstr("tcp/80 over IPv4\n"));
  EXPECT_THAT(text, HasSubstr("tcp/80 over IPv6\n"));
  EXPECT_THAT(to_text({}), HasSubstr("no two workload endpoints"));
}

TEST(Matrix, JsonHasNullForADirectionThatIsNotKnown) {
  const std::vector<Cell> probed{
      {"a", "b", *parse_traffic("tcp/80"), Family::kIpv4, {}, {}, Verdict::kAllow}};
  EXPECT_EQ(
      boost::json::serialize(to_json(probed)),
      R"([{"from":"a","to":"b","protocol":"tcp","port":80,"family":4,"egress":null,"ingress":null,"verdict":"allow","pending":null}])");
}

}  // namespace
}  // namespace ocicat::views
