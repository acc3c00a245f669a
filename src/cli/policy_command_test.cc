// `ocicat policy diff` and what staged policy adds to the other answers, from files alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/cli_for_test.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::string_view kWorld = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a}}, spec: {nodeName: h1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}}, spec: {nodeName: h2, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.0.0.2}]}}
)";

std::string policy(std::string_view kind) {
  return fmt::format(
      "apiVersion: projectcalico.org/v3\nkind: {}\nmetadata: {{name: p, namespace: x}}\n"
      "spec: {{selector: app == 'b', ingress: [{{action: Deny, protocol: TCP, destination: {{ports: "
      "[22]}}}}, {{action: Allow}}]}}\n",
      kind);
}

class PolicyCommands : public InFolder {
 protected:
  std::string world_ = file("world.yaml", kWorld);
  std::string enforced_ = file("enforced.yaml", policy("NetworkPolicy"));
  std::string staged_ = file("staged.yaml", policy("StagedNetworkPolicy"));
};

TEST_F(PolicyCommands, DiffIsOneWhereAVerdictChangesAndNamesIt) {
  const Ran ran = ocicat({"policy", "diff", "--base", world_, "-f", enforced_});
  EXPECT_EQ(ran.code, 1) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("x/a"), HasSubstr("x/b"), HasSubstr("tcp/22"),
                             HasSubstr("allow -> deny"), HasSubstr("1 changes; ")));
}

TEST_F(PolicyCommands, DiffIsZeroWhereNothingChanges) {
  const Ran same = ocicat({"policy", "diff", "--base", world_, "--base", enforced_, "-f", enforced_});
  EXPECT_EQ(same.code, 0) << same.err;
  const Ran elsewhere =
      ocicat({"policy", "diff", "--base", world_, "-f", enforced_, "--ports", "tcp/80,udp/22"});
  EXPECT_EQ(elsewhere.code, 0) << elsewhere.out;
}

TEST_F(PolicyCommands, DiffIsTwoWhereItCannotBeTold) {
  const auto bad = file("bad.yaml", "{apiVersion: v1, kind: Nonsense, metadata: {name: x}}\n");
  EXPECT_EQ(ocicat({"policy", "diff", "--base", world_, "-f", bad}).code, 2);
  EXPECT_EQ(ocicat({"policy", "diff", "--base", world_, "-f", enforced_, "--ports", "tcp"}).code, 2);
  EXPECT_EQ(ocicat({"policy", "diff", "--base", world_}).code, 2);
}

TEST_F(PolicyCommands, DiffAsJsonTellsWhatStagedPolicyWouldChange) {
  const Ran ran = ocicat({"policy", "diff", "--base", world_, "-f", staged_, "-o", "json"});
  EXPECT_EQ(ran.code, 1) << ran.err;
  const auto change = boost::json::parse(ran.out).at("changes").at(0);
  EXPECT_EQ(change.at("before"), "allow");
  EXPECT_EQ(change.at("after"), "allow");
  EXPECT_EQ(change.at("pendingBefore"), "allow");
  EXPECT_EQ(change.at("pendingAfter"), "deny");
}

TEST_F(PolicyCommands, DiffThatCannotBeWrittenIsTroubleWhetherOrNotAnythingChanges) {
  for (const std::string& changed : {world_, staged_}) {
    const auto run_on_a_full_disk = [&] {
      if (std::freopen("/dev/full", "w", stdout) == nullptr) std::exit(99);
      const char* words[] = {"ocicat", "policy", "diff", "--base", world_.c_str(), "-f", changed.c_str()};
      std::exit(run(static_cast<int>(std::size(words)), words));
    };
    EXPECT_EXIT(run_on_a_full_disk(), testing::ExitedWithCode(2), "error: cannot write the output");
  }
}

TEST_F(PolicyCommands, ExplainMatrixAndVerifyShowTheStagedOutcome) {
  const Ran explained = ocicat({"explain", "x/a", "x/b", "tcp/22", "-f", world_, "-f", staged_});
  EXPECT_THAT(explained.out,
              AllOf(HasSubstr("ALLOWED"), HasSubstr("StagedNetworkPolicy x/p, ingress[0], denies"),
                    HasSubstr("With staged policy enforced it would be DENIED.")));
  const Ran json = ocicat({"explain", "x/a", "x/b", "tcp/22", "-f", world_, "-f", staged_, "-o", "json"});
  const auto document = boost::json::parse(json.out);
  EXPECT_EQ(document.at("verdict"), "allow");
  EXPECT_EQ(document.at("pending"), "deny");
  EXPECT_EQ(document.at("ingress").at("pendingTrace").at(0).at("kind"), "StagedNetworkPolicy");

  const Ran grid = ocicat({"matrix", "--ports", "tcp/22", "-f", world_, "-f", staged_});
  EXPECT_THAT(grid.out, HasSubstr("With staged policy enforced: (x) would be denied"));
  const Ran cells = ocicat({"matrix", "--ports", "tcp/22", "-f", world_, "-f", staged_, "-o", "json"});
  EXPECT_EQ(boost::json::parse(cells.out).at(0).at("pending"), "deny");

  const auto cases = file("cases.yaml", "- x/a -> x/b tcp/22: allow\n");
  const Ran verified = ocicat({"verify", "-f", world_, "-f", staged_, "--cases", cases});
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_THAT(verified.out,
              HasSubstr("note: x/a -> x/b tcp/22 with staged policy enforced: over IPv4 it would be denied"));
  const Ran report = ocicat({"verify", "-f", world_, "-f", staged_, "--cases", cases, "-o", "json"});
  const auto answer = boost::json::parse(report.out).at("cases").at(0).at("answers").at(0);
  EXPECT_EQ(answer.at("verdict"), "allow");
  EXPECT_EQ(answer.at("pending"), "deny");
}

}  // namespace
}  // namespace ocicat::cli
