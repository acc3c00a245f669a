#include "store/sqlite/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <semaphore>
#include <thread>

#include "store/sqlite/database.h"
#include "store/sqlite/test_store.h"
#include "test/support/random.h"

namespace ocicat::store {
namespace {

using testing::HasSubstr;

std::vector<std::shared_ptr<const Event>> drain(Watch& watch) {
  std::vector<std::shared_ptr<const Event>> events;
  while (true) {
    auto batch = watch.next(7);
    if (!batch) {
      ADD_FAILURE() << batch.error().message;
      return events;
    }
    if (batch->events.empty()) return events;
    events.insert(events.end(), batch->events.begin(), batch->events.end());
  }
}

TEST(SqliteStore, RefusesWhatDoesNotFitWhatIsThere) {
  auto store = open_store(":memory:");
  const auto created = store->commit(create_edit(tier_key("a"), "1"));
  ASSERT_TRUE(created);
  EXPECT_EQ(store->commit(create_edit(tier_key("a"), "2")).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(store->commit(update_edit(tier_key("b"), "2")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->commit(update_edit(tier_key("a"), "2", created->entry.revision + 1)).error().code,
            ErrorCode::kConflict);
  const auto updated = store->commit(update_edit(tier_key("a"), "2", created->entry.revision));
  ASSERT_TRUE(updated);
  EXPECT_GT(updated->entry.revision, created->entry.revision);
  EXPECT_EQ(store->commit(delete_edit(tier_key("a"), created->entry.revision)).error().code,
            ErrorCode::kConflict);
  const auto removed = store->commit(delete_edit(tier_key("a")));
  ASSERT_TRUE(removed);
  EXPECT_EQ(*removed->entry.document, "2");
  EXPECT_GT(removed->entry.revision, updated->entry.revision);
  EXPECT_EQ(store->get(tier_key("a")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->status().revision, removed->entry.revision) << "what was refused took no number";
}

TEST(SqliteStore, EditsOfOneBatchSeeEachOther) {
  auto store = open_store(":memory:");
  // While the first edit holds the writer, the others gather behind it and become one batch.
  std::promise<void> hold;
  std::vector<std::future<void>> done;
  std::atomic<int> created = 0;
  store->submit(
      [&](const View&) -> Result<std::optional<Change>> {
        hold.get_future().wait();
        return std::nullopt;
      },
      Durability::kDisk, [](auto) {});
  for (int i = 0; i < 50; ++i) {
    auto promise = std::make_shared<std::promise<void>>();
    done.push_back(promise->get_future());
    store->submit(create_edit(tier_key(fmt::format("t{}", i % 10)), "x"), Durability::kDisk,
                  [&, promise](Result<Committed> result) {
                    created += result ? 1 : 0;
                    promise->set_value();
                  });
  }
  hold.set_value();
  for (auto& each : done) each.wait();
  EXPECT_EQ(created, 10);
  std::size_t counted = 0;
  const auto count = [&](const View& view) -> Result<std::optional<Change>> {
    view.each(Kind::kTier, {}, [&](const Entry&) { return ++counted, true; });
    return std::nullopt;
  };
  ASSERT_TRUE(store->commit(count));
  EXPECT_EQ(counted, 10u);
}

TEST(SqliteStore, ARehearsalChangesNothing) {
  auto store = open_store(":memory:");
  const auto change = store->rehearse(create_edit(tier_key("a"), "1"));
  ASSERT_TRUE(change && *change);
  EXPECT_EQ((*change)->document, "1");
  EXPECT_EQ(store->status().revision, 0u);
  EXPECT_FALSE(store->get(tier_key("a")));
}

TEST(SqliteStore, AWatchBeginsAfterItsRevisionAndIsWokenOnceForMore) {
  auto store = open_store(":memory:");
  const auto first = store->commit(create_edit(tier_key("a"), "1"));
  ASSERT_TRUE(store->commit(update_edit(tier_key("a"), "2")));
  auto watch = store->watch(Kind::kTier, {}, first->entry.revision);
  ASSERT_TRUE(watch);
  std::atomic<int> wakes = 0;
  (*watch)->on_more([&] { ++wakes; });
  const auto events = drain(**watch);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]->type, EventType::kUpdated);
  EXPECT_EQ(*events[0]->entry.document, "2");
  EXPECT_EQ(*events[0]->previous, "1");
  EXPECT_EQ(wakes, 0);
  ASSERT_TRUE(store->commit(create_edit({Kind::kNode, "", "n"}, "1")));
  EXPECT_EQ(wakes, 0) << "another kind";
  ASSERT_TRUE(store->commit(delete_edit(tier_key("a"))));
  ASSERT_TRUE(store->commit(create_edit(tier_key("b"), "1")));
  EXPECT_EQ(wakes, 1) << "nobody looked in between";
  EXPECT_EQ(drain(**watch).size(), 2u);
  EXPECT_EQ((*watch)->next(1)->revision, store->status().revision);
}

TEST(SqliteStore, AWatchOfOneNamespaceSeesNoOther) {
  auto store = open_store(":memory:");
  auto watch = store->watch(Kind::kNetworkSet, "shop", 0);
  ASSERT_TRUE(watch);
  for (const auto* ns : {"bank", "shop", "shopping"})
    ASSERT_TRUE(store->commit(create_edit({Kind::kNetworkSet, ns, "a"}, "1")));
  const auto events = drain(**watch);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]->entry.key.ns, "shop");
  EXPECT_EQ(store->list(Kind::kNetworkSet, "shop").entries.size(), 1u);
  EXPECT_EQ(store->list(Kind::kNetworkSet, {}).entries.size(), 3u);
}

TEST(SqliteStore, ARevisionThatHistoryHasLostOrNeverHadIsExpired) {
  const TestFolder folder;
  const HistoryLimits limits{.events = 10, .bytes = 1'000'000};
  const auto check = [](Store& store, Revision first, Revision last) {
    EXPECT_EQ(store.watch(Kind::kTier, {}, first).error().code, ErrorCode::kExpired);
    EXPECT_EQ(store.watch(Kind::kTier, {}, last + 1).error().code, ErrorCode::kExpired);
    EXPECT_TRUE(store.watch(Kind::kTier, {}, last));
    EXPECT_TRUE(store.watch(Kind::kNode, {}, 1)) << "a quiet kind keeps its history";
  };
  Revision first = 0;
  {
    auto store = open_store(folder.file(), limits);
    ASSERT_TRUE(store->commit(create_edit({Kind::kNode, "", "n"}, "1")));
    first = store->commit(create_edit(tier_key("a"), "0"))->entry.revision;
    for (int i = 0; i < 2000; ++i)
      ASSERT_TRUE(store->commit(update_edit(tier_key("a"), std::to_string(i)), Durability::kProcess));
    check(*store, first, store->status().revision);
  }
  auto store = open_store(folder.file(), limits);
  check(*store, first, store->status().revision);
}

TEST(SqliteStore, AWatchThatIsTooSlowIsToldSoAndNeverSkips) {
  auto store = open_store(":memory:", {.events = 100, .bytes = 1'000'000});
  ASSERT_TRUE(store->commit(create_edit(tier_key("a"), "0")));
  auto watch = store->watch(Kind::kTier, {}, 1);
  ASSERT_TRUE(watch);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(store->commit(update_edit(tier_key("a"), std::to_string(i))));
  EXPECT_EQ((*watch)->next(10)->events.size(), 10u);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(store->commit(update_edit(tier_key("a"), std::to_string(i))));
  EXPECT_EQ((*watch)->next(10).error().code, ErrorCode::kExpired);
}

TEST(SqliteStore, HistoryIsBoundedByBytesToo) {
  auto store = open_store(":memory:", {.events = 1'000, .bytes = 10'000});
  ASSERT_TRUE(store->commit(create_edit(tier_key("a"), "0")));
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(store->commit(update_edit(tier_key("a"), std::string(1'000, 'x'))));
  EXPECT_EQ(store->watch(Kind::kTier, {}, 1).error().code, ErrorCode::kExpired);
  EXPECT_TRUE(store->watch(Kind::kTier, {}, 15));
}

TEST(SqliteStore, DeletionsCountForTheLastRevisionOfAKindAlsoAfterReopening) {
  const TestFolder folder;
  Revision deleted = 0;
  {
    auto store = open_store(folder.file());
    ASSERT_TRUE(store->commit(create_edit(tier_key("a"), "1")));
    deleted = store->commit(delete_edit(tier_key("a")))->entry.revision;
    EXPECT_EQ(store->status().last.at(Kind::kTier), deleted);
  }
  auto store = open_store(folder.file());
  EXPECT_EQ(store->status().last.at(Kind::kTier), deleted);
  EXPECT_EQ(store->status().revision, deleted);
  EXPECT_GT(store->commit(create_edit(tier_key("a"), "1"))->entry.revision, deleted);
}

TEST(SqliteStore, AFullDiskRefusesWritesAndLetsReadsGoOn) {
  const TestFolder folder;
  auto store = open_store(folder.file(), {}, 60);
  int written = 0;
  Result<Committed> result;
  for (; written < 1'000; ++written) {
    result = store->commit(create_edit(tier_key(fmt::format("t{}", written)), std::string(2'000, 'x')));
    if (!result) break;
  }
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(result.error().message, HasSubstr("full"));
  EXPECT_EQ(store->list(Kind::kTier, {}).entries.size(), static_cast<std::size_t>(written));
  const auto revision = store->status().revision;
  EXPECT_FALSE(store->commit(create_edit(tier_key("again"), std::string(20'000, 'x'))));
  EXPECT_EQ(store->status().revision, revision);
  store.reset();

  store = open_store(folder.file());  // there is room again
  EXPECT_EQ(store->list(Kind::kTier, {}).entries.size(), static_cast<std::size_t>(written));
  EXPECT_TRUE(store->commit(create_edit(tier_key("again"), std::string(20'000, 'x'))));
}

TEST(SqliteStore, OneFileIsOpenInOneStoreOnly) {
  const TestFolder folder;
  auto store = open_store(folder.file());
  const auto second = open_sqlite_store({folder.file(), {}, {}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  store.reset();
  EXPECT_TRUE(open_sqlite_store({folder.file(), {}, {}}));
}

TEST(SqliteStore, FilesAreNotForEverybodyToRead) {
  const TestFolder folder;
  const auto store = open_store(folder.file());
  ASSERT_TRUE(store->commit(create_edit(tier_key("t"), "{}")));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_EQ(entry.status().permissions() & std::filesystem::perms::others_all, std::filesystem::perms::none)
        << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 4) << "database, log, index and lock";
}

TEST(SqliteStore, FilesThatAreNotOursAreRefusedAndLeftAlone) {
  const TestFolder folder;
  std::ofstream(folder.path() / "text") << std::string(5'000, 'x');
  EXPECT_EQ(open_sqlite_store({folder.path() / "text", {}, {}}).error().code, ErrorCode::kInternal);
  {
    auto other = Database::open(folder.path() / "other");
    ASSERT_TRUE(other->execute("CREATE TABLE precious(x); INSERT INTO precious VALUES(1)"));
  }
  EXPECT_EQ(open_sqlite_store({folder.path() / "other", {}, {}}).error().code, ErrorCode::kInvalid);
  {
    auto store = open_store(folder.path() / "newer");
  }
  ASSERT_TRUE(Database::open(folder.path() / "newer")->execute("PRAGMA user_version=99"));
  EXPECT_EQ(open_sqlite_store({folder.path() / "newer", {}, {}}).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(open_sqlite_store({folder.path() / "no" / "such" / "folder", {}, {}}).error().code,
            ErrorCode::kNotFound);
}

TEST(SqliteStore, ADamagedFileIsReportedNotServed) {
  const TestFolder folder;
  {
    auto store = open_store(folder.file());
    for (int i = 0; i < 200; ++i)
      ASSERT_TRUE(store->commit(create_edit(tier_key(fmt::format("t{}", i)), std::string(500, 'x'))));
  }
  std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(5 * 4096);
  file << std::string(20'000, '\xff');
  file.close();
  const auto store = open_sqlite_store({folder.file(), {}, {}});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kInternal);
  EXPECT_THAT(store.error().message, HasSubstr("damaged"));
}

TEST(SqliteStore, AFileThatSaysWhatNoStoreEverWroteIsReportedNotServed) {
  for (const auto* spoil :
       {"UPDATE meta SET value='many' WHERE name='base'", "UPDATE meta SET value='-1' WHERE name='base'",
        "UPDATE meta SET value='99999999999999999999' WHERE name='base'", "UPDATE objects SET revision=-5",
        "UPDATE history SET revision=-revision", "UPDATE history SET type=4", "UPDATE history SET type=257",
        "INSERT INTO floors VALUES('Tier.projectcalico.org', -1)"}) {
    SCOPED_TRACE(spoil);
    const TestFolder folder;
    ASSERT_TRUE(open_store(folder.file())->commit(create_edit(tier_key("a"), "1")));
    ASSERT_TRUE(Database::open(folder.file())->execute(spoil));
    const auto store = open_sqlite_store({folder.file(), {}, {}});
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, ErrorCode::kInternal);
    EXPECT_THAT(store.error().message, HasSubstr("damaged"));
  }
}

TEST(SqliteStore, RevisionsThatALossOfPowerMayHaveTakenAreNotGivenOutTwice) {
  const TestFolder folder;
  Revision last = 0;
  {
    auto store = open_store(folder.file());
    last = store->commit(create_edit(tier_key("a"), "1"))->entry.revision;
  }
  ASSERT_TRUE(
      Database::open(folder.file())->execute("UPDATE meta SET value='another boot' WHERE name='boot'"));
  auto store = open_store(folder.file());
  EXPECT_GT(store->status().revision, last + 100'000);
  const auto revision = store->status().revision;
  store.reset();
  store = open_store(folder.file());
  EXPECT_EQ(store->status().revision, revision) << "only once for each boot";
}

TEST(SqliteStore, KnowsWhatFormerIncarnationsGaveOutThatIsStillHere) {
  const TestFolder folder;
  std::string first, second;
  Revision last = 0;
  {
    auto store = open_store(folder.file());
    first = store->status().incarnation;
    last = store->commit(create_edit(tier_key("a"), "1"))->entry.revision;
    EXPECT_TRUE(store->check_past(first, last));
  }
  {
    auto store = open_store(folder.file());
    second = store->status().incarnation;
    EXPECT_NE(second, first);
    ASSERT_TRUE(store->commit(update_edit(tier_key("a"), "2")));
  }
  const auto store = open_store(folder.file());
  EXPECT_TRUE(store->check_past(first, last));
  EXPECT_EQ(store->check_past(first, last + 1).error().code, ErrorCode::kExpired)
      << "the second gave that out";
  EXPECT_TRUE(store->check_past(second, last + 1));
  EXPECT_EQ(store->check_past("0123456789abcdef", 1).error().code, ErrorCode::kExpired);
}

// A copy of the files, while nobody writes, is as good as a backup.
TEST(SqliteStore, WhatWasGivenOutAfterABackupIsNotPartOfThePastOfWhatIsRestoredFromIt) {
  const TestFolder folder;
  std::string incarnation;
  Revision kept = 0, lost = 0;
  {
    auto store = open_store(folder.file());
    incarnation = store->status().incarnation;
    kept = store->commit(create_edit(tier_key("a"), "1"))->entry.revision;
    for (const char* suffix : {"", "-wal"})
      std::filesystem::copy_file(folder.file() + suffix, folder.file() + ".backup" + suffix);
    lost = store->commit(create_edit(tier_key("b"), "1"))->entry.revision;
  }
  auto store = open_store(folder.file() + ".backup");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store->commit(update_edit(tier_key("a"), std::to_string(i))));
  EXPECT_GT(store->status().revision, lost) << "so only the incarnation tells";
  EXPECT_TRUE(store->check_past(incarnation, kept));
  EXPECT_EQ(store->check_past(incarnation, lost).error().code, ErrorCode::kExpired);
}

TEST(SqliteStore, TheNumberOfIncarnationsKeptIsBounded) {
  const TestFolder folder;
  std::string oldest, newest;
  for (int i = 0; i < 40; ++i) {
    auto store = open_store(folder.file());
    newest = store->status().incarnation;
    if (i == 0) oldest = newest;
    ASSERT_TRUE(store->commit(create_edit(tier_key(std::to_string(i)), "1")));
  }
  const auto store = open_store(folder.file());
  EXPECT_FALSE(store->check_past(oldest, 1));
  EXPECT_TRUE(store->check_past(newest, 1));
  EXPECT_EQ(
      Database::open(folder.file())->query_text("SELECT count(*) FROM meta WHERE name LIKE 'incarnation %'"),
      "32");
}

TEST(SqliteStore, ManyWritersAndReadersAgreeOnOneHistory) {
  const TestFolder folder;
  auto store = open_store(folder.file());
  constexpr int kWriters = 8;
  constexpr int kEach = 200;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 4; ++i) watches.push_back(*store->watch(Kind::kTier, {}, 0));
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      Revision before = 0;
      for (int i = 0; i < kEach; ++i) {
        const auto committed = store->commit(create_edit(tier_key(fmt::format("{}-{}", writer, i)), "x"));
        ASSERT_TRUE(committed);
        EXPECT_GT(committed->entry.revision, before);
        before = committed->entry.revision;
        EXPECT_TRUE(store->get(committed->entry.key)) << "what was acknowledged can be read";
      }
    });
  }
  std::vector<std::vector<Revision>> seen(watches.size());
  for (std::size_t i = 0; i < watches.size(); ++i) {
    threads.emplace_back([&, i] {
      std::counting_semaphore<> woken(0);
      watches[i]->on_more([&] { woken.release(); });
      while (seen[i].size() < kWriters * kEach) {
        const auto batch = watches[i]->next(16);
        ASSERT_TRUE(batch);
        if (batch->events.empty()) woken.acquire();
        for (const auto& event : batch->events) seen[i].push_back(event->entry.revision);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  watches.clear();
  for (const auto& revisions : seen) {
    EXPECT_TRUE(std::ranges::is_sorted(revisions));
    EXPECT_EQ(revisions, seen[0]);
  }
}

// Random operations against a plain map, with reopening in between; and from any revision that history
// reaches, the listing of that moment and the watch from it give what there is now.
TEST(SqliteStore, BehavesLikeAMapWithAHistory) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  std::mt19937 random(seed);
  const auto below = [&](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  const HistoryLimits limits{.events = 200, .bytes = 1'000'000};
  const TestFolder folder;
  auto store = open_store(folder.file(), limits);
  std::map<ResourceKey, std::pair<Revision, std::string>> model;
  std::map<Revision, decltype(model)> moments{{0, {}}};
  for (int step = 0; step < 1'500; ++step) {
    const ResourceKey key{below(2) ? Kind::kNetworkSet : Kind::kNode, fmt::format("ns{}", below(2)),
                          fmt::format("n{}", below(8))};
    const auto stored = model.find(key);
    const bool there = stored != model.end();
    const auto expected = below(3) == 0 ? static_cast<Revision>(below(static_cast<std::size_t>(step) + 2))
                          : there && below(2) ? stored->second.first
                                              : 0;
    const bool expectation_holds = expected == 0 || (there && stored->second.first == expected);
    const auto document = fmt::format("document {}", step);
    const auto durability = below(2) ? Durability::kDisk : Durability::kProcess;
    switch (below(4)) {
      case 0: {
        const auto result = store->commit(create_edit(key, document), durability);
        ASSERT_EQ(result.has_value(), !there);
        if (result) model[key] = {result->entry.revision, document};
        break;
      }
      case 1:
      case 2: {
        const auto result = store->commit(update_edit(key, document, expected), durability);
        ASSERT_EQ(result.has_value(), there && expectation_holds);
        if (result) model[key] = {result->entry.revision, document};
        break;
      }
      default: {
        const auto result = store->commit(delete_edit(key, expected), durability);
        ASSERT_EQ(result.has_value(), there && expectation_holds);
        if (result) model.erase(key);
      }
    }
    moments[store->status().revision] = model;
    if (below(100) == 0) {
      store.reset();
      store = open_store(folder.file(), limits);
    }
    if (below(20) != 0) continue;

    const Kind kind = below(2) ? Kind::kNetworkSet : Kind::kNode;
    std::map<ResourceKey, std::pair<Revision, std::string>> want, listed;
    for (const auto& [each, value] : model) {
      if (each.kind == kind) want.emplace(each, value);
    }
    for (const auto& entry : store->list(kind, {}).entries)
      listed[entry.key] = {entry.revision, *entry.document};
    ASSERT_EQ(listed, want);

    const auto moment = std::next(moments.begin(), static_cast<std::ptrdiff_t>(below(moments.size())));
    auto watch = store->watch(kind, {}, moment->first);
    if (!watch) {
      ASSERT_EQ(watch.error().code, ErrorCode::kExpired);
      continue;
    }
    std::map<ResourceKey, std::pair<Revision, std::string>> replayed;
    for (const auto& [each, value] : moment->second) {
      if (each.kind == kind) replayed.emplace(each, value);
    }
    for (const auto& event : drain(**watch)) {
      const auto& entry = event->entry;
      ASSERT_EQ(event->type == EventType::kCreated, !replayed.contains(entry.key));
      if (event->type == EventType::kDeleted) {
        ASSERT_EQ(*entry.document, replayed[entry.key].second);
        replayed.erase(entry.key);
      } else {
        replayed[entry.key] = {entry.revision, *entry.document};
      }
    }
    ASSERT_EQ(replayed, want);
  }
}

}  // namespace
}  // namespace ocicat::store
