// explain, matrix and verify from files alone: what they say, and that they agree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/cli_for_test.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::string_view kWorld = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a}}, spec: {nodeName: h1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}}, spec: {nodeName: h2, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: x, labels: {app: c}}, spec: {nodeName: h2, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.3}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: b, namespace: x}
spec:
  podSelector: {matchLabels: {app: b}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: a}}}]
    ports: [{protocol: TCP, port: 80}]
)";

class Offline : public InFolder {
 protected:
  std::string world_ = file("world.yaml", kWorld);
};

TEST_F(Offline, TheMatrixEqualsWhatExplainSaysOfEveryPair) {
  const Ran ran = ocicat({"matrix", "--ports", "tcp/80,udp/53", "-f", world_, "-o", "json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto cells = boost::json::parse(ran.out).as_array();
  EXPECT_THAT(cells, SizeIs((6 + 2) * 2)) << "six pairs over IPv4, two over IPv6, two ports";
  for (const auto& cell : cells) {
    const std::string from(cell.at("from").as_string());
    const std::string to(cell.at("to").as_string());
    const std::string family = cell.at("family").to_number<int>() == 4 ? "4" : "6";
    const auto traffic =
        std::string(cell.at("protocol").as_string()) + "/" + std::to_string(cell.at("port").to_number<int>());
    const Ran explained =
        ocicat({"explain", from, to, traffic, "--family", family, "-f", world_, "-o", "json"});
    ASSERT_EQ(explained.code, 0) << explained.err;
    const auto json = boost::json::parse(explained.out);
    EXPECT_EQ(json.at("verdict"), cell.at("verdict")) << boost::json::serialize(cell);
    EXPECT_EQ(json.at("egress").at("verdict"), cell.at("egress")) << boost::json::serialize(cell);
    EXPECT_EQ(json.at("ingress").at("verdict"), cell.at("ingress")) << boost::json::serialize(cell);
  }
}

TEST_F(Offline, ExplainTakesFilesBeforeAndAfterTheQuestion) {
  EXPECT_THAT(ocicat({"explain", "-f", world_, "x/a", "x/b", "tcp/80"}).out, HasSubstr("ALLOWED"));
  EXPECT_THAT(ocicat({"explain", "x/c", "x/b", "tcp/80", "-f", world_}).out, HasSubstr("DENIED"));
  EXPECT_THAT(ocicat({"explain", "-f", world_, "x/a", "x/b", "tcp/80", "--family", "6"}).out,
              HasSubstr("ALLOWED"));
  EXPECT_THAT(ocicat({"explain", "x/a", "-f", world_, "x/b", "tcp/80", "-o", "json"}).out,
              HasSubstr("allow"));
  EXPECT_EQ(ocicat({"explain", "-f", world_, "x/a", "x/b", "-o", "json"}).code, 2);
}

TEST_F(Offline, VerifyIsZeroWhereAllHoldAndElseALineForEachFailure) {
  const std::string good = file("good.yaml", "- x/a -> x/b tcp/80: allow\n- x/c -> x/b tcp/80: deny\n");
  const Ran held = ocicat({"verify", "-f", world_, "--cases", good});
  EXPECT_EQ(held.code, 0) << held.out << held.err;
  EXPECT_THAT(held.out, HasSubstr("2 of 2 cases hold"));

  const std::string bad = file("bad.yaml", "- x/a -> x/b tcp/80: allow\n- x/c -> x/b tcp/80: allow\n");
  const std::string report = (folder_ / "report.xml").string();
  const Ran failed = ocicat({"verify", "-f", world_, "--cases", bad, "--junit", report});
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.out, AllOf(HasSubstr("bad.yaml:2: expected that x/c -> x/b tcp/80 is allowed"),
                                HasSubstr("1 of 2 cases hold")));
  EXPECT_TRUE(std::filesystem::exists(report));
}

TEST_F(Offline, MistakesInTheFilesAreNamedAndNothingIsAnswered) {
  const std::string wrong =
      file("wrong.yaml", "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: Not_A_Name}\n");
  const Ran ran = ocicat({"matrix", "--ports", "tcp/80", "-f", world_, "-f", wrong});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("wrong.yaml:3:"));
}

TEST_F(Offline, APodWithoutItsNamespaceIsPointedOut) {
  const std::string lone =
      file("lone.yaml",
           "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: lonely}\n"
           "spec: {nodeName: h1, containers: [{name: c, image: i}]}\nstatus: {podIPs: [{ip: 10.0.0.9}]}\n");
  EXPECT_THAT(ocicat({"matrix", "--ports", "tcp/80", "-f", lone}).err,
              HasSubstr("there is no Namespace lonely"));
}

}  // namespace
}  // namespace ocicat::cli
