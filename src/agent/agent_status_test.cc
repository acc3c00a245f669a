#include "agent/agent_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "agent/apply_clock.h"
#include "agent/metrics.h"
#include "agent/pacer.h"
#include "resources/validate.h"
#include "views/node_status.h"
#include "views/status.h"

namespace ocicat::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using namespace std::chrono_literals;

News report_of(dataplane::Report report) {
  News news;
  news.report = std::move(report);
  return news;
}

ResourceKey policy(int number) {
  return {Kind::kNetworkPolicy, "shop", "p" + std::to_string(1000 + number)};
}

TEST(AgentStatus, SaysWhatTheKernelHasUnderTheKeysOfTheServersStatus) {
  AgentStatus status("host1", "nftables", "", 7);
  EXPECT_TRUE(status.apply(report_of({.revisions = {{Kind::kPod, {5, "now"}}, {Kind::kTier, {6, ""}}},
                                      .endpoints = 3,
                                      .endpoints_ready = 2})));
  const views::AgentView view = views::AgentView::read(status.document({}));
  EXPECT_EQ(view.node, "host1");
  EXPECT_EQ(view.applied, (views::RevisionsByKey{{"Pod", 5}, {"Tier.projectcalico.org", 6}}));
  EXPECT_EQ(view.incarnations.at("Pod"), "now");
  EXPECT_EQ(view.incarnations.at("Tier.projectcalico.org"), "");
  EXPECT_EQ(view.endpoints_wanted, 3u);
  EXPECT_EQ(view.endpoints_ready, 2u);
}

TEST(AgentStatus, SaysBehindTheReasonWhatSpeaksAgainstADataplaneThatSomebodyHasNamed) {
  AgentStatus status("host1", "ebpf", "as --dataplane says", 7);
  const auto reason = [&] { return views::AgentView::read(status.document({})).dataplane_reason; };
  EXPECT_TRUE(status.apply(report_of({.warning = "others translate"})));
  EXPECT_EQ(reason(), "as --dataplane says, but others translate");
  EXPECT_TRUE(status.apply(report_of({})));
  EXPECT_EQ(reason(), "as --dataplane says");
}

TEST(AgentStatus, SaysOfEachTunnelWhereItEndsAndOfTheNodeWhatIsWrongWithIt) {
  AgentStatus status("host1", "nftables", "", 7);
  EXPECT_TRUE(status.apply(report_of(
      {.routes = 9,
       .routes_ready = 8,
       .mtu = 1450,
       .tunnels = {{"vxlan.calico", 1450, IpAddress::parse("10.0.0.1"), dataplane::TunnelLink::Ends{3, 2}},
                   {"tunl0", 1480}}})));
  News news;
  news.own_node = "no address";
  EXPECT_TRUE(status.apply(news));
  const auto view = views::NodeStatus::read(status.document({}));
  EXPECT_EQ(view.tunnels,
            (std::vector<views::TunnelView>{{"vxlan.calico", 1450, "10.0.0.1", views::TunnelView::Ends{3, 2}},
                                            {"tunl0", 1480}}));
  EXPECT_EQ(view.routes, 9U);
  EXPECT_EQ(view.routes_ready, 8U);
  EXPECT_EQ(view.notes, std::vector<std::string>{"Node host1: no address"});
  news.own_node = "";
  EXPECT_TRUE(status.apply(news));
  EXPECT_TRUE(views::NodeStatus::read(status.document({})).notes.empty());
}

TEST(AgentStatus, NewsThatSaysNothingNewIsNoChange) {
  AgentStatus status("host1", "nftables", "", 7);
  const News news = report_of({.revisions = {{Kind::kPod, {5, ""}}}, .kernel_writes = 1});
  EXPECT_TRUE(status.apply(news));
  EXPECT_FALSE(status.apply(news));
  EXPECT_FALSE(status.apply(report_of({.revisions = {{Kind::kPod, {5, ""}}}, .kernel_writes = 2})))
      << "not in the document";
  EXPECT_TRUE(status.apply(report_of({.revisions = {{Kind::kPod, {6, ""}}}, .kernel_writes = 2})));
  News of_the_engine;
  of_the_engine.counters.emplace().endpoints = 1;
  EXPECT_FALSE(status.apply(of_the_engine)) << "not in it either";
}

TEST(AgentStatus, TellsOfWhatIsInForceAsABoundBesideWhatIsRefused) {
  AgentStatus status("host1", "nftables", "", 7);
  News news;
  news.bounded.update(policy(1), "1 is taken as 1000");
  EXPECT_TRUE(status.apply(news));
  const auto view = views::AgentView::read(status.document({}));
  EXPECT_THAT(view.bounded, ElementsAre(views::Refusal{"NetworkPolicy shop/p1001", "1 is taken as 1000"}));
  EXPECT_EQ(view.refused_count, 0U);
  EXPECT_EQ(status.why_not_enforced(policy(1)), "");
}

TEST(AgentStatus, MergesWhatCannotBeReadWithWhatCannotBeCompiled) {
  AgentStatus status("host1", "nftables", "", 7);
  News news;
  news.unreadable.update(policy(1), "not readable");
  news.refused.update(policy(1), "not compilable");
  news.refused.update(policy(2), "too wide");
  EXPECT_TRUE(status.apply(news));
  EXPECT_THAT(views::AgentView::read(status.document({})).refused,
              ElementsAre(views::Refusal{"NetworkPolicy shop/p1001", "not readable"},
                          views::Refusal{"NetworkPolicy shop/p1002", "too wide"}));
  EXPECT_EQ(status.why_not_enforced(policy(1)), "not readable");
  EXPECT_EQ(status.why_not_enforced(policy(2)), "too wide");
  EXPECT_EQ(status.why_not_enforced(policy(3)), "");
  News mended = report_of({.error = "no room"});
  mended.unreadable.remove(policy(1));
  mended.refused.remove(policy(1));
  mended.refused.remove(policy(2));
  EXPECT_TRUE(status.apply(mended));
  EXPECT_THAT(status.refused(), IsEmpty());
  EXPECT_EQ(status.why_not_enforced(policy(2)), "no room") << "whatever it is about";
}

TEST(AgentStatus, StaysSmallHoweverMuchIsRefusedAndSatisfiesItsSchema) {
  AgentStatus status("host1", "nftables", "", 7);
  News news;
  for (int i = 0; i < 5000; ++i) news.refused.update(policy(i), std::string(100'000, '\xc3') + "\xa4");
  news.report.emplace();
  news.report->error = std::string(100'000, 'e');
  status.apply(news);
  Document document;
  document.json = status.document(std::chrono::system_clock::now());
  EXPECT_LT(boost::json::serialize(document.json).size(), 400'000u);
  const views::AgentView view = views::AgentView::read(document.json);
  EXPECT_THAT(view.refused, SizeIs(kMaxRefusals));
  EXPECT_EQ(view.refused_count, 5000u);
  for (const Complaint& complaint : validate(document).complaints) ADD_FAILURE() << complaint.to_string();
}

TEST(News, ALaterOneWinsKeyByKey) {
  News news = report_of({.endpoints = 1});
  news.refused.update(policy(1), "a");
  news.refused.update(policy(2), "b");
  News later = report_of({.endpoints = 2});
  later.refused.remove(policy(1));
  news.absorb(later);
  EXPECT_EQ(news.report->endpoints, 2u);
  EXPECT_EQ(news.refused.entries().at(policy(1)), std::nullopt);
  EXPECT_EQ(news.refused.entries().at(policy(2)), "b");
}

TEST(Pacer, WritesAtOnceThenAtMostEveryGapThenAtTheHeartbeat) {
  const Pacer::Time start{};
  Pacer pacer(start);
  EXPECT_EQ(pacer.due(), start);
  pacer.wrote(start);
  EXPECT_EQ(pacer.due(), start + Pacer::kHeartbeat);
  pacer.changed(start + 10ms);
  EXPECT_EQ(pacer.due(), start + Pacer::kGap);
  pacer.changed(start + 20ms);
  EXPECT_EQ(pacer.due(), start + Pacer::kGap) << "more changes do not put it off";
  pacer.wrote(start + 100ms);
  pacer.changed(start + 5s);
  EXPECT_EQ(pacer.due(), start + 5s) << "after a quiet time at once";
}

TEST(Pacer, LeavesTheServerTimeForAsManyHostsAsThereAre) {
  const Pacer::Time start{};
  Pacer pacer(start);
  pacer.share_with(10);
  pacer.wrote(start);
  pacer.changed(start);
  EXPECT_EQ(pacer.due(), start + Pacer::kGap);
  pacer.share_with(5000);
  pacer.wrote(start);
  pacer.changed(start);
  EXPECT_EQ(pacer.due(), start + 1s);
  pacer.wrote(start + 1s);
  pacer.changed(start + 3s);
  EXPECT_EQ(pacer.due(), start + 3s) << "after a quiet time at once, in any cluster";
}

TEST(Pacer, AfterFailuresPausesGrowToABoundAndChangesDoNotShortenThem) {
  const Pacer::Time start{};
  Pacer pacer(start);
  Pacer::Duration last{};
  for (int i = 0; i < 20; ++i) {
    pacer.failed(start);
    EXPECT_GE(pacer.due() - start, last);
    last = pacer.due() - start;
    pacer.changed(start);
    EXPECT_EQ(pacer.due() - start, last);
  }
  EXPECT_EQ(last, Pacer::kLastRetry);
  pacer.wrote(start);
  EXPECT_EQ(pacer.due(), start + Pacer::kHeartbeat);
}

TEST(ApplyClock, TimesEachBatchOnceWhenAllItsKindsAreInTheKernel) {
  const ApplyClock::Time start{};
  ApplyClock clock;
  clock.sent({{Kind::kPod, {5, "a"}}}, start);
  clock.sent({{Kind::kPod, {7, "a"}}, {Kind::kTier, {6, "a"}}}, start + 1s);
  EXPECT_THAT(clock.applied({{Kind::kPod, {4, "a"}}}, start + 2s), IsEmpty());
  EXPECT_THAT(clock.applied({{Kind::kPod, {7, "a"}}}, start + 2s),
              ElementsAre(std::chrono::duration<double>(2)));
  EXPECT_THAT(clock.applied({{Kind::kPod, {8, "a"}}, {Kind::kTier, {6, "a"}}}, start + 4s),
              ElementsAre(std::chrono::duration<double>(3)));
  EXPECT_THAT(clock.applied({{Kind::kPod, {8, "a"}}, {Kind::kTier, {6, "a"}}}, start + 5s), IsEmpty());
}

TEST(ApplyClock, ForgetsTheOldestRatherThanGrow) {
  ApplyClock clock;
  for (std::size_t i = 0; i < 2 * ApplyClock::kMaxBatches; ++i) clock.sent({{Kind::kPod, {i + 1, "a"}}}, {});
  EXPECT_THAT(clock.applied({{Kind::kPod, {1'000'000, "a"}}}, {}), SizeIs(ApplyClock::kMaxBatches));
}

TEST(ApplyClock, ForgetsBatchesOfDataThatTheServerDoesNotHoldAnyMore) {
  const ApplyClock::Time start{};
  ApplyClock clock;
  clock.sent({{Kind::kPod, {9, "a"}}}, start);
  clock.sent({{Kind::kPod, {3, "b"}}}, start + 1s);
  EXPECT_THAT(clock.applied({{Kind::kPod, {9, "a"}}}, start + 2s), IsEmpty()) << "9 of another is not 3";
  EXPECT_THAT(clock.applied({{Kind::kPod, {3, "b"}}}, start + 2s),
              ElementsAre(std::chrono::duration<double>(1)));
}

TEST(Metrics, CountBgpSessionsByStateAndRoutesByPeerAsLongAsThereAreThese) {
  Metrics metrics;
  const AgentStatus status("host1", "nftables", "", 7);
  EXPECT_THAT(metrics.text(), Not(HasSubstr("ocicat_bgp"))) << "an agent that keeps no BIRD";
  News news;
  auto& report = news.bgp.emplace();
  report.running = true;
  for (const auto* peer : {"10.0.0.2", "10.0.0.3"}) {
    auto& session = report.sessions.emplace_back();
    session.wanted.peer = *IpAddress::parse(peer);
    session.wanted.peer_node = "other";
    session.state.state = "Active";
  }
  report.sessions[0].state.state = "Established";
  report.sessions[0].state.imported = 7;
  metrics.observe(news, status);
  const auto text = metrics.text();
  EXPECT_THAT(text, HasSubstr("ocicat_bgp_running 1\n"));
  EXPECT_THAT(text, HasSubstr("ocicat_bgp_sessions{state=\"Established\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("ocicat_bgp_sessions{state=\"Active\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("ocicat_bgp_routes_imported{node=\"other\",peer=\"10.0.0.2\"} 7\n"));
  report.sessions.erase(report.sessions.begin());
  report.error = "refused";
  metrics.observe(news, status);
  EXPECT_THAT(metrics.text(), HasSubstr("ocicat_bgp_running 0\n"));
  EXPECT_THAT(metrics.text(), HasSubstr("ocicat_bgp_sessions{state=\"Established\"} 0\n"));
  EXPECT_THAT(metrics.text(), Not(HasSubstr("10.0.0.2")));
}

TEST(Metrics, AreInPrometheusTextAndFollowReports) {
  Metrics metrics;
  EXPECT_FALSE(metrics.applied_once());
  metrics.sent({{Kind::kPod, {1, ""}}});
  metrics.reported({.revisions = {{Kind::kPod, {1, ""}}},
                    .endpoints = 4,
                    .endpoints_ready = 3,
                    .kernel_writes = 9,
                    .repairs = 2});
  EXPECT_TRUE(metrics.applied_once());
  News news;
  news.counters.emplace();
  news.counters->classes = 12;
  metrics.observe(news, AgentStatus("host1", "nftables", "", 7));
  metrics.server_connected(true);
  const std::string text = metrics.text();
  for (const char* line :
       {"ocicat_endpoints_wanted 4", "ocicat_endpoints_ready 3", "ocicat_kernel_writes_total 9",
        "ocicat_repairs_total 2", "ocicat_classes 12", "ocicat_server_connected 1",
        "ocicat_apply_seconds_count 1", "ocicat_dataplane_failing 0"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

}  // namespace
}  // namespace ocicat::agent
