#include "views/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "views/snapshot_for_test.h"

namespace ocicat::views {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::string_view kPair = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x}
spec: {nodeName: h1}
status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: x, labels: {app: b}}
spec: {nodeName: h1}
status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: b, namespace: x}
spec:
  selector: app == "b"
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
  - {action: Allow, protocol: TCP, ipVersion: 4, destination: {ports: [81]}}
)";

std::vector<Case> cases_of(std::string_view text) {
  const ReadCases read = read_cases(text, "cases.yaml");
  for (const Complaint& complaint : read.complaints) ADD_FAILURE() << complaint.to_string();
  return read.cases;
}

TEST(Cases, LongShortAndUnderAKeyAreTheSame) {
  const auto plain = cases_of("- {from: x/a, to: x/b, port: tcp/80, expect: allow}\n");
  const auto brief = cases_of("- x/a -> x/b tcp/80: allow\n");
  const auto keyed = cases_of("cases:\n- x/a  ->  x/b   tcp/80: allow\n");
  const auto json = cases_of(R"([{"from": "x/a", "to": "x/b", "port": "tcp/80", "expect": "allow"}])");
  for (const auto* cases : {&plain, &brief, &keyed, &json}) {
    ASSERT_THAT(*cases, SizeIs(1));
    EXPECT_EQ(cases->front().to_string(), "x/a -> x/b tcp/80 is allowed");
  }
  EXPECT_EQ(keyed[0].line, 2);
}

TEST(Cases, EveryMistakeIsAComplaintWithItsLine) {
  const ReadCases read = read_cases(
      "- {from: x/a, to: x/b, port: tcp/80, expect: maybe}\n"
      "- {from: x/a, port: http, expect: allow, color: red}\n"
      "- x/a x/b tcp/80: allow\n"
      "- 7\n",
      "cases.yaml");
  EXPECT_THAT(read.cases, IsEmpty());
  std::string all;
  for (const Complaint& complaint : read.complaints) all += complaint.to_string() + "\n";
  EXPECT_THAT(all, HasSubstr("cases.yaml:1: case: [0].expect: \"maybe\""));
  EXPECT_THAT(all, HasSubstr("[1].to"));
  EXPECT_THAT(all, HasSubstr("[1].port: \"http\""));
  EXPECT_THAT(all, HasSubstr("[1].color"));
  EXPECT_THAT(all, HasSubstr("cases.yaml:3:"));
  EXPECT_THAT(all, HasSubstr("cases.yaml:4:"));
}

TEST(Cases, TextThatIsNoListIsRefused) {
  EXPECT_THAT(read_cases("from: x", "c").complaints, SizeIs(1));
  EXPECT_THAT(read_cases("cases: 1", "c").complaints, SizeIs(1));
  EXPECT_FALSE(read_cases("- [", "c").complaints.empty());
}

TEST(Verify, ACaseWithoutAFamilyMustHoldOverBoth) {
  const auto snapshot = snapshot_for_test(kPair);
  const auto results =
      verify(snapshot, cases_of("- x/a -> x/b tcp/80: allow\n"
                                "- x/a -> x/b tcp/81: allow\n"
                                "- {from: x/a, to: x/b, port: tcp/81, expect: allow, family: 4}\n"
                                "- {from: x/a, to: x/b, port: tcp/81, expect: deny, family: 6}\n"));
  ASSERT_THAT(results, SizeIs(4));
  EXPECT_TRUE(results[0].passed()) << results[0].failure();
  EXPECT_FALSE(results[1].passed());
  EXPECT_THAT(results[1].failure(), HasSubstr("over IPv6 it is denied"));
  EXPECT_THAT(results[1].failure(), HasSubstr("tier default"));
  EXPECT_TRUE(results[2].passed()) << results[2].failure();
  EXPECT_TRUE(results[3].passed()) << results[3].failure();
}

TEST(Verify, ACaseWithoutAPortMustHoldForEveryPort) {
  const auto results =
      verify(snapshot_for_test(kPair), cases_of("- {from: x/a, to: x/b, port: 6, expect: allow}\n"
                                                "- x/a -> x/b tcp: deny\n"
                                                "- x/a -> x/b udp: deny\n"));
  EXPECT_THAT(results[0].failure(), HasSubstr("over IPv4 to port 1 it is denied"));
  EXPECT_THAT(results[1].failure(), HasSubstr("over IPv4 to port 80 it is allowed"));
  EXPECT_TRUE(results[2].passed()) << results[2].failure();
}

TEST(Verify, AFailureIsOneLineEvenWhereAnEndpointIsMissing) {
  const auto results = verify(snapshot_for_test(kPair), cases_of("- x/a -> x/nobody tcp/80: allow\n"
                                                                 "- x/a -> x/b tcp/80: deny\n"));
  EXPECT_THAT(results[0].failure(), HasSubstr("x/nobody"));
  EXPECT_THAT(results[1].failure(), HasSubstr("NetworkPolicy x/b, ingress[0], allows"));
  for (const auto& result : results) EXPECT_EQ(result.failure().find('\n'), std::string::npos);
}

TEST(Verify, JsonTellsKindsOfIcmpApart) {
  const auto results = verify(snapshot_for_test(kPair), cases_of("- x/a -> x/b icmp/3/1: deny\n"));
  const auto one = to_json(results).at("cases").at(0);
  EXPECT_EQ(one.at("icmpType").to_number<int>(), 3);
  EXPECT_EQ(one.at("icmpCode").to_number<int>(), 1);
}

TEST(Verify, TheReportCountsFailuresAndErrorsAndEscapesXml) {
  const auto results = verify(snapshot_for_test(kPair), cases_of("- x/a -> x/b tcp/80: allow\n"
                                                                 "- x/a -> x/b tcp/80: deny\n"
                                                                 "- x/a -> x/<&> tcp/80: deny\n"));
  const std::string xml = to_junit(results, "cases.yaml");
  EXPECT_THAT(xml, HasSubstr("tests=\"3\" failures=\"1\" errors=\"1\""));
  EXPECT_THAT(xml, HasSubstr("x/a -&gt; x/&lt;&amp;&gt; tcp/80 is denied"));
  EXPECT_THAT(xml, HasSubstr("<failure message="));
}

}  // namespace
}  // namespace ocicat::views
