// What is asked and what is made of the answers, without a server.
#include "api/client/list_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ocicat::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
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

  // The server ends the watch, as history has overtaken it; the next list is asked for.
  void lose_history() {
    reading_.head(200, "s");
    reading_.data(line("ERROR", R"({"kind":"Status","code":410,"reason":"Expired","message":"too old"})"));
    EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
  }

  // Names of what is there.
  static std::vector<std::string> told(const ListWatch::Step& step) {
    std::vector<std::string> names;
    for (const auto& [key, resource] : step.update.resources.entries()) names.push_back(key.name);
    return names;
  }

  ListWatch reading_{Kind::kTier, 1};
};

TEST_F(ListWatchTest, TellsOfTheFirstListBitByBitAndHowFarItIsOnlyOnceItIsWhole) {
  ListWatch reading(Kind::kTier, 1, 2);
  reading.ask(kNow);
  reading.head(200, "s");
  const auto text = list(5, tier("a", 1) + "," + tier("b", 2) + "," + tier("c", 3));
  const auto third = text.find(tier("c", 3));
  const auto first = reading.data(text.substr(0, third));
  EXPECT_THAT(told(first), ElementsAre("a", "b"));
  EXPECT_TRUE(first.update.revisions.empty());
  EXPECT_TRUE(reading.data(text.substr(third)).update.empty());
  EXPECT_FALSE(reading.listed());
  const auto last = reading.end({}, kNow);
  EXPECT_THAT(told(last), ElementsAre("c"));
  EXPECT_EQ(last.update.revisions.at(Kind::kTier), (Progress{5, "s"}));
  EXPECT_TRUE(reading.listed());
}

TEST_F(ListWatchTest, TakesNoListForWholeThatBreaksOffAndForgetsWhatTheNextOneHasNot) {
  ListWatch reading(Kind::kTier, 1, 1);
  reading.ask(kNow);
  reading.head(200, "s");
  const auto text = list(5, tier("a", 1) + "," + tier("b", 2));
  EXPECT_THAT(told(reading.data(text.substr(0, text.size() - 2))), ElementsAre("a", "b"));
  const auto broken = reading.end({}, kNow);  // by all that HTTP can tell the answer is complete
  EXPECT_THAT(broken.failure, HasSubstr("tiers: the server did not answer with a list: it breaks off"));
  EXPECT_TRUE(broken.update.empty());
  EXPECT_FALSE(reading.listed());
  EXPECT_EQ(reading.ask(kNow), "/apis/projectcalico.org/v3/tiers");
  reading.head(200, "s");
  EXPECT_THAT(told(reading.data(list(6, tier("b", 2) + "," + tier("c", 6)))), ElementsAre("c"));
  const auto whole = reading.end({}, kNow);
  EXPECT_EQ(whole.update.resources.entries().at(key("a")), std::nullopt);
  EXPECT_EQ(whole.update.resources.size(), 1U);
}

TEST_F(ListWatchTest, TellsNothingOfALaterListBeforeItIsWhole) {
  begin_watch();
  lose_history();
  reading_.head(200, "s");
  const auto text = list(9, tier("a", 8, 5) + "," + tier("d", 9));
  EXPECT_TRUE(reading_.data(text.substr(0, text.size() - 3)).update.empty());
  const auto cut = reading_.end(fail(ErrorCode::kUnavailable, "reset"), kNow);
  EXPECT_TRUE(cut.update.empty());
  EXPECT_THAT(cut.failure, HasSubstr("reset"));
  reading_.ask(kNow);
  reading_.head(200, "s");
  reading_.data(list(10, tier("a", 8, 5)));
  const auto whole = reading_.end({}, kNow);
  EXPECT_EQ(std::get<Tier>(*whole.update.resources.entries().at(key("a"))).order, 5);
  EXPECT_EQ(whole.update.resources.entries().at(key("b")), std::nullopt);
  EXPECT_EQ(whole.update.revisions.at(Kind::kTier), (Progress{10, "s"}));
}

TEST_F(ListWatchTest, OfALaterListTellsOnlyWhatIsNewWhereRevisionsAreOfOnePast) {
  begin_watch();
  lose_history();
  reading_.head(200, "s");
  reading_.data(list(9, tier("a", 3) + "," + tier("b", 8)));
  EXPECT_THAT(told(reading_.end({}, kNow)), ElementsAre("b"));

  reading_.ask(kNow);
  lose_history();
  reading_.head(200, "other");  // may have given the same numbers to something else
  reading_.data(list(9, tier("a", 3, 7) + "," + tier("b", 8)));
  EXPECT_THAT(told(reading_.end({}, kNow)), ElementsAre("a", "b"));
}

TEST_F(ListWatchTest, AnUnreadableItemThatABrokenListMadeReadableIsNoLongerToldOf) {
  const auto unreadable =
      R"({"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"a","resourceVersion":"1"},"spec":7})";
  reading_.ask(kNow);
  reading_.head(200, "s");
  reading_.data(list(5, unreadable));
  EXPECT_TRUE(reading_.end({}, kNow).update.unreadable.entries().at(key("a")).has_value());
  reading_.ask(kNow);
  lose_history();
  reading_.head(200, "s");
  reading_.data(list(9, tier("a", 8) + ","));
  reading_.end(fail(ErrorCode::kUnavailable, "reset"), kNow);
  reading_.ask(kNow);
  reading_.head(200, "s");
  reading_.data(list(9, tier("a", 8)));
  EXPECT_EQ(reading_.end({}, kNow).update.unreadable.entries().at(key("a")), std::nullopt);
}

TEST_F(ListWatchTest, HangsUpOnWhatIsNoList) {
  reading_.ask(kNow);
  reading_.head(200, "");
  const auto step = reading_.data("<html>");
  EXPECT_EQ(step.next, Next::kHangUp);
  EXPECT_GT(step.pause, milliseconds(0));
  EXPECT_THAT(step.failure, HasSubstr("did not answer with a list"));
  EXPECT_EQ(reading_.ask(kNow), "/apis/projectcalico.org/v3/tiers");
}

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

TEST_F(ListWatchTest, TakesNoFirstListForWholeThatIsOlderThanWhatWasHeardBefore) {
  ListWatch reading(Kind::kTier, 1, 1, {8, "s"});
  const auto answer = [&](std::string_view store, const std::string& text) {
    reading.ask(kNow);
    reading.head(200, store);
    reading.data(text);
    return reading.end({}, kNow);
  };
  const auto stale = answer("s", list(6, tier("a", 3) + "," + tier("gone", 2)));
  EXPECT_TRUE(stale.behind);
  EXPECT_GT(stale.pause, milliseconds(0));
  EXPECT_THAT(stale.failure, HasSubstr("tiers: the list is of revision 6, and 8 has been heard of"));
  EXPECT_TRUE(stale.update.revisions.empty());
  EXPECT_FALSE(reading.listed());
  EXPECT_EQ(reading.ask(kNow), "/apis/projectcalico.org/v3/tiers");

  const auto whole = answer("s", list(8, tier("a", 3)));
  EXPECT_FALSE(whole.behind);
  EXPECT_TRUE(reading.listed());
  EXPECT_EQ(whole.update.resources.entries().at(key("gone")), std::nullopt);
}

TEST_F(ListWatchTest, WhatWasHeardBeforeOfAnotherIncarnationOrFromAServerWithoutAnyDoesNotCount) {
  for (const std::string_view store : {"other", ""}) {
    ListWatch reading(Kind::kTier, 1, 1, {8, "s"});
    reading.ask(kNow);
    reading.head(200, store);
    reading.data(list(6, tier("a", 3)));
    EXPECT_FALSE(reading.end({}, kNow).behind) << store;
    EXPECT_TRUE(reading.listed()) << store;
  }
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
