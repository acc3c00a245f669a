#include "views/status.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "resources/types.h"

namespace ocicat::views {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

boost::json::object parsed(std::string_view text) {
  return boost::json::parse(text).as_object();
}

AgentView agent(std::string node, RevisionsByKey applied) {
  AgentView view;
  view.node = std::move(node);
  view.applied = std::move(applied);
  return view;
}

ServerStatus server(RevisionsByKey revisions) {
  ServerStatus status;
  status.revisions = std::move(revisions);
  return status;
}

TEST(Status, ReadsAnAgentsDocumentWithRevisionsAsTextOrNumber) {
  const AgentView view = AgentView::read(parsed(R"({"metadata": {"name": "host1"}, "status": {
    "version": "0.1.0", "pid": 7, "dataplane": "nftables", "dataplaneReason": "because", "applied": {"Pod": "12", "Tier.projectcalico.org": 3},
    "endpoints": {"wanted": 4, "ready": 3}, "refused": [{"object": "Tier x", "reason": "why"}], "refusedCount": 5,
    "bounded": [{"object": "Pod shop/api", "reason": "bound"}],
    "error": "e", "bgp": {"error": "no BIRD"}, "heartbeat": "2026-11-23T16:34:58.250Z"}})"));
  EXPECT_EQ(view.node, "host1");
  EXPECT_EQ(view.applied, (RevisionsByKey{{"Pod", 12}, {"Tier.projectcalico.org", 3}}));
  EXPECT_EQ(view.dataplane_reason, "because");
  EXPECT_EQ(view.endpoints_wanted, 4u);
  EXPECT_EQ(view.endpoints_ready, 3u);
  EXPECT_THAT(view.refused, ElementsAre(Refusal{"Tier x", "why"}));
  EXPECT_EQ(view.refused_count, 5u);
  EXPECT_EQ(view.bgp_error, "no BIRD");
  EXPECT_THAT(view.bounded, ElementsAre(Refusal{"Pod shop/api", "bound"}));
}

TEST(Status, AnEmptyDocumentIsAnAgentThatHasAppliedNothing) {
  const AgentView view = AgentView::read({});
  EXPECT_THAT(view.applied, IsEmpty());
  EXPECT_FALSE(what_is_missing(view, server({{"Pod", 1}})).empty());
}

TEST(Status, OnlyKindsThatAgentsWatchCountForBeingBehind) {
  EXPECT_THAT(lags(agent("a", {}), server({{"AgentStatus.ocicat.io", 9}})), IsEmpty());
  const auto behind = lags(agent("a", {{"Pod", 4}}), server({{"Pod", 5}, {"Namespace", 0}}));
  ASSERT_EQ(behind.size(), 1u);
  EXPECT_EQ(behind[0].kind, "Pod");
  EXPECT_EQ(behind[0].applied, 4u);
  EXPECT_EQ(behind[0].wanted, 5u);
}

TEST(Status, AnAgentIsUpToDateOnceItHasEveryKindAndAllEndpointsAndNoError) {
  AgentView view = agent("a", {{"Pod", 6}});
  EXPECT_EQ(what_is_missing(view, server({{"Pod", 5}})), "");
  view.endpoints_wanted = 2;
  EXPECT_THAT(what_is_missing(view, server({{"Pod", 5}})), HasSubstr("0 of 2 endpoints"));
  view.endpoints_ready = 2;
  view.error = "no room";
  EXPECT_THAT(what_is_missing(view, server({{"Pod", 5}})), HasSubstr("no room"));
}

TEST(Status, RevisionsOfAnotherIncarnationDoNotCountHoweverHigh) {
  AgentView view = agent("a", {{"Pod", 100}, {"Tier.projectcalico.org", 7}});
  view.incarnations = {{"Pod", "then"}, {"Tier.projectcalico.org", "now"}};
  ServerStatus status = server({{"Pod", 5}, {"Tier.projectcalico.org", 5}});
  status.incarnation = "now";
  const auto behind = lags(view, status);
  ASSERT_EQ(behind.size(), 1u);
  EXPECT_EQ(behind[0].kind, "Pod");
  EXPECT_TRUE(behind[0].foreign);
  EXPECT_EQ(what_is_missing(view, status), "has not come back for Pod since the server was started");
  view.incarnations = {{"Pod", "now"}, {"Tier.projectcalico.org", "now"}};
  EXPECT_THAT(lags(view, status), IsEmpty());
}

TEST(Status, AnAgentThatHasNotComeBackIsToldInOneSentenceHoweverManyTheKinds) {
  AgentView view = agent("a", {});
  ServerStatus status;
  status.incarnation = "now";
  for (const Kind kind : watched_kinds()) {
    view.applied[revision_key(kind)] = status.revisions[revision_key(kind)] = 9;
    view.incarnations[revision_key(kind)] = "then";
  }
  EXPECT_EQ(what_is_missing(view, status), "has not come back since the server was started");
  view.incarnations["Pod"] = "now";
  EXPECT_EQ(
      what_is_missing(view, status),
      fmt::format("has not come back for {} kinds since the server was started", watched_kinds().size() - 1));
}

TEST(Status, AnAgentThatHasNotReportedForLongMayBeDown) {
  AgentView view = agent("host1", {});
  EXPECT_FALSE(is_alive(view, {}));
  view.heartbeat = "2026-11-23T16:35:00Z";
  EXPECT_TRUE(is_alive(view, *parse_time("2026-11-23T16:35:29Z")));
  const TimePoint late = *parse_time("2026-11-23T16:35:31Z");
  EXPECT_FALSE(is_alive(view, late));
  SystemStatus status;
  status.agents.push_back(view);
  EXPECT_THAT(to_text(status, late), HasSubstr("host1: no report for 31s"));
}

TEST(Status, SaysWhichDataplaneAnAgentHasChosenAndWhy) {
  SystemStatus status;
  status.agents.push_back(agent("host1", {}));
  status.agents[0].dataplane = "ebpf";
  EXPECT_THAT(to_text(status, {}), Not(HasSubstr("dataplane ebpf")));
  status.agents[0].dataplane_reason = "nothing speaks against it";
  EXPECT_THAT(to_text(status, {}), HasSubstr("host1: dataplane ebpf: nothing speaks against it"));
}

TEST(Status, ANodeWithoutAnAgentIsBehind) {
  SystemStatus status;
  EXPECT_THAT(who_is_behind(status), ElementsAre(HasSubstr("no agent")));
  status.agents.push_back(agent("a", {}));
  EXPECT_THAT(who_is_behind(status), IsEmpty());
  status.silent_nodes.push_back("b");
  EXPECT_THAT(who_is_behind(status), ElementsAre(HasSubstr("b: no agent")));
}

TEST(Status, TextAndJsonSayWhoIsBehindAndWhatWasRefused) {
  SystemStatus status;
  status.server = {"0.1.0", 9, {{"Pod", 9}}, ""};
  status.agents.push_back(agent("host1", {{"Pod", 8}}));
  status.agents[0].refused = {{"NetworkPolicy shop/a", "no such thing"}};
  status.agents[0].refused_count = 3;
  status.agents[0].bgp_error = "BIRD refuses what it is to do";
  status.agents[0].heartbeat = "2026-11-23T16:34:58.250Z";
  const TimePoint now = *parse_time("2026-11-23T16:35:03.250Z");
  const std::string text = to_text(status, now);
  EXPECT_THAT(text, HasSubstr("5s ago"));
  EXPECT_THAT(text, HasSubstr("has Pod to revision 8 of 9"));
  EXPECT_THAT(text, HasSubstr("host1 refuses NetworkPolicy shop/a: no such thing"));
  EXPECT_THAT(text, HasSubstr("2 more"));
  EXPECT_THAT(text, HasSubstr("host1: BGP: BIRD refuses what it is to do"));

  const boost::json::value json = to_json(status, now);
  const auto& only = json.at("agents").at(0);
  EXPECT_FALSE(only.at("upToDate").as_bool());
  EXPECT_EQ(only.at("revision").as_uint64(), 8u);
  EXPECT_EQ(only.at("bgpError").as_string(), "BIRD refuses what it is to do");
  EXPECT_EQ(only.at("behind").at(0).at("server").as_uint64(), 9u);
  EXPECT_DOUBLE_EQ(only.at("heartbeatAgeSeconds").as_double(), 5.0);
}

TEST(JsonRead, TimesAreReadBackAsTheyAreWritten) {
  const TimePoint time = *parse_time("2026-11-23T16:34:58.250Z");
  EXPECT_EQ(time_text(time), "2026-11-23T16:34:58.250Z");
  EXPECT_EQ(parse_time("2026-11-23T16:34:58Z"), time - std::chrono::milliseconds(250));
  EXPECT_EQ(parse_time("2026-11-23 16:34:58"), std::nullopt);
  EXPECT_EQ(parse_time(""), std::nullopt);
}

TEST(JsonRead, AgesAreAsCoarseAsKubectls) {
  using namespace std::chrono_literals;
  EXPECT_EQ(age_text(-5s), "0s");
  EXPECT_EQ(age_text(119s), "119s");
  EXPECT_EQ(age_text(120s), "2m");
  EXPECT_EQ(age_text(47h), "47h");
  EXPECT_EQ(age_text(48h), "2d");
}

}  // namespace
}  // namespace ocicat::views
