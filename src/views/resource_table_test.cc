#include "views/resource_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace ocicat::views {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

boost::json::object parsed(std::string_view text) {
  return boost::json::parse(text).as_object();
}
const TimePoint kNow = *parse_time("2026-11-23T10:05:00Z");

TEST(ResourceTable, EveryKindHasARowAsWideAsItsHeaders) {
  for (const KindInfo& kind : all_kinds()) {
    for (const bool wide : {false, true}) {
      const TableStyle style{.wide = wide, .with_namespace = true, .show_labels = true};
      EXPECT_EQ(row_for(kind.kind, {}, style, kNow).size(), headers_for(kind.kind, style).size())
          << kind.name;
    }
  }
}

TEST(ResourceTable, APolicyShowsWhatItIsAboutAndWideItsRules) {
  const auto policy = parsed(R"({"metadata": {"name": "web", "namespace": "shop",
    "creationTimestamp": "2026-11-23T10:00:00Z"}, "spec": {"order": 10, "selector": "app == 'web'",
    "types": ["Ingress", "Egress"], "ingress": [{}, {}]}})");
  EXPECT_THAT(row_for(Kind::kNetworkPolicy, policy, {.with_namespace = true}, kNow),
              ElementsAre("shop", "web", "default", "10", "app == 'web'", "Ingress,Egress", "5m"));
  EXPECT_THAT(headers_for(Kind::kNetworkPolicy, {}), Not(Contains("INGRESS-RULES")));
  EXPECT_THAT(
      row_for(Kind::kNetworkPolicy, policy, {.wide = true}, kNow),
      ElementsAre("web", "default", "10", "app == 'web'", "Ingress,Egress", "<none>", "2", "0", "5m"));
}

TEST(ResourceTable, APodShowsAllItsAddresses) {
  const auto pod = parsed(R"({"metadata": {"name": "p"}, "spec": {"nodeName": "h"},
    "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}})");
  EXPECT_THAT(row_for(Kind::kPod, pod, {}, kNow), Contains("10.0.0.1,fd00::1"));
  EXPECT_THAT(row_for(Kind::kPod, parsed(R"({"status": {"podIP": "10.0.0.1"}})"), {}, kNow),
              Contains("10.0.0.1"));
}

TEST(ResourceTable, FieldsOfAnotherTypeThanExpectedAreShownNotTrusted) {
  const auto odd =
      parsed(R"({"metadata": {"name": 7, "labels": [1]}, "spec": {"types": "Ingress", "ingress": {}}})");
  const auto row = row_for(Kind::kNetworkPolicy, odd, {.wide = true, .show_labels = true}, kNow);
  EXPECT_EQ(row[0], "7");
  EXPECT_THAT(table_for(Kind::kTier, std::vector{odd}, {}, kNow).to_string(), HasSubstr("<none>"));
}

}  // namespace
}  // namespace ocicat::views
