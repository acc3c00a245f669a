// What is asked and what is made of the answers, without a server.
#include "api/client/list_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ocicat::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using Next = ListWatch::Step::Next;

const ListWatch::Time kNow{seconds(100)};

std::string tier(std::string_view name, int version, double order = 1) {
  return fmt::format(
      R"({{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{{"name":"{}","resourceVersion":"{}"}},"spec":{{"order":{}}}}})",
      name, version, order);
}
std::string list(int version, std::string_view items) {
  return fmt::format(R"({{"metadata":{{"resourceVersion":"{}"}},"items":[{}]}})", version, items);
}
std::string line(std::string_view type, std::string_view object) {
  return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", type, object);
}
ResourceKey key(std::string name) {
  return {Kind::kTier, "", std::move(name)};
}

class ListWatchTest : public testing::Test {
 protected:
  // As far as the watch that follows a list of tiers a and b, at revision 5 of store "s".
  void begin_watch() {
    EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
    reading_.head(200, "s");
    reading_.data(list(5, tier("a", 3) + "," + tier("b", 4)));
    const auto listed = reading_.end({}, kNow);
    EXPECT_EQ(listed.next, Next::kAsk);
    EXPECT_EQ(listed.update.resources.size(), 2U);
    EXPECT_THAT(reading_.ask(kNow), HasSubstr("watch=true&allowWatchBookmarks=true&timeoutSeconds=300&"
                                              "resourceVersion=5"));
    EXPECT_TRUE(reading_.head(200, "s").answered);
  }

  ListWatch reading_{Kind::kTier, 1};
};

TEST_F(ListWatchTest, TakesLinesThatComeInPiecesAndNotesHowFarItIs) {
  begin_watch();
  const auto text = line("MODIFIED", tier("a", 6, 9));
  EXPECT_TRUE(reading_.data(text.substr(0, 30)).update.revisions.empty());
  const auto step = reading_.data(text.substr(30) + line("DELETED", tier("b", 7)));
  EXPECT_EQ(step.next, Next::kListen);
  EXPECT_EQ(std::get<Tier>(*step.update.resources.entries().at(key("a"))).order, 9);
  EXPECT_EQ(step.update.resources.entries().at(key("b")), std::nullopt);
  EXPECT_EQ(step.update.revisions.at(Kind::kTier), (Progress{7, "s"}));
}

TEST_F(ListWatchTest, ABookmarkMovesWhereItGoesOnAndTellsNobody) {
  begin_watch();
  const auto step = reading_.data(line("BOOKMARK", tier("", 9)));
  EXPECT_TRUE(step.update.revisions.empty());
  reading_.end(fail(ErrorCode::kUnavailable, "reset"), kNow + seconds(9));
  EXPECT_THAT(reading_.ask(kNow), HasSubstr("resourceVersion=9"));
}

TEST_F(ListWatchTest, GoesOnFromWhereItWasAfterALostWatch) {
  begin_watch();
  reading_.data(line("ADDED", tier("c", 8)));
  const auto lost = reading_.end(fail(ErrorCode::kUnavailable, "reset"), kNow + seconds(9));
  EXPECT_EQ(lost.next, Next::kAsk);
  EXPECT_GT(lost.pause, milliseconds(0));
  EXPECT_THAT(lost.failure, HasSubstr("tiers: reset; trying again in"));
  EXPECT_THAT(reading_.ask(kNow), HasSubstr("resourceVersion=8"));
}

TEST_F(ListWatchTest, AWatchThatEndsAfterAWhileBeginsAnewAtOnceAndOneThatEndsAtOnceAfterAPause) {
  begin_watch();
  EXPECT_EQ(reading_.end({}, kNow + seconds(300)).pause, milliseconds(0));
  reading_.ask(kNow);
  reading_.head(200, "s");
  EXPECT_GT(reading_.end({}, kNow + milliseconds(10)).pause, milliseconds(0));
}

TEST_F(ListWatchTest, ListsAnewWhenHistoryHasOvertakenIt) {
  begin_watch();
  const auto step = reading_.data(line("ERROR", R"({"kind":"Status","code":410,"message":"too old"})"));
  EXPECT_EQ(step.next, Next::kHangUp);
  EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
  reading_.head(200, "s");
  reading_.data(list(9, tier("b", 4)));
  EXPECT_EQ(reading_.end({}, kNow).update.resources.entries().at(key("a")), std::nullopt);
}

TEST_F(ListWatchTest, SaysOfWhichStoreItsRevisionIsAndListsAnewWhereThatCountsNoMore) {
  begin_watch();
  reading_.end({}, kNow + seconds(300));
  EXPECT_THAT(reading_.ask(kNow), HasSubstr("resourceVersion=5&store=s"));
  reading_.head(410, "");
  reading_.data(R"({"kind":"Status","code":410,"message":"not of this past"})");
  EXPECT_THAT(reading_.end({}, kNow).failure, HasSubstr("not of this past"));
  EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
}

TEST_F(ListWatchTest, ForgetsNothingOnTheWordOfAListThatIsOlderThanWhatItHeard) {
  begin_watch();
  reading_.data(line("ADDED", tier("c", 8)));
  reading_.data(line("ERROR", R"({"kind":"Status","code":410,"reason":"Expired","message":"too old"})"));
  EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
  reading_.head(200, "s");
  reading_.data(list(6, tier("a", 3)));
  const auto stale = reading_.end({}, kNow);
  EXPECT_TRUE(stale.update.resources.empty());
  EXPECT_THAT(stale.failure, HasSubstr("of revision 6, and 8 has been heard of"));
  EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
  reading_.head(200, "other");  // another incarnation counts anew
  reading_.data(list(2, tier("a", 1)));
  EXPECT_EQ(reading_.end({}, kNow).update.resources.size(), 3U) << "a is told, b and c are gone";
}

TEST_F(ListWatchTest, WhatItKnowsCountsInTheStoreThatTakesItsWatch) {
  begin_watch();
  reading_.end({}, kNow + seconds(300));
  reading_.ask(kNow);
  const auto step = reading_.head(200, "opened again");
  EXPECT_TRUE(step.answered);
  EXPECT_EQ(step.next, Next::kListen);
  EXPECT_EQ(step.update.revisions.at(Kind::kTier), (Progress{5, "opened again"}));
  EXPECT_EQ(reading_.data(line("ADDED", tier("c", 6))).update.revisions.at(Kind::kTier),
            (Progress{6, "opened again"}));
}

TEST_F(ListWatchTest, HangsUpOnNonsenseAndKeepsWhatCameBefore) {
  begin_watch();
  const auto step = reading_.data(line("ADDED", tier("c", 6)) + "{nonsense\n");
  EXPECT_EQ(step.next, Next::kHangUp);
  EXPECT_EQ(step.update.resources.size(), 1U);
  EXPECT_THAT(reading_.ask(kNow), HasSubstr("resourceVersion=6"));
}

TEST_F(ListWatchTest, PausesGrowWhileTheServerRefuses) {
  std::vector<milliseconds> pauses;
  for (int i = 0; i < 12; ++i) {
    reading_.ask(kNow);
    reading_.head(503, "");
    reading_.data("overloaded");
    const auto step = reading_.end({}, kNow);
    EXPECT_THAT(step.failure, HasSubstr("503"));
    pauses.push_back(step.pause);
  }
  EXPECT_LE(pauses.front(), milliseconds(10));
  EXPECT_GE(pauses.back(), milliseconds(2'500));
  EXPECT_LE(pauses.back(), milliseconds(5'000));
  EXPECT_FALSE(reading_.listed());
}

}  // namespace
}  // namespace ocicat::api
