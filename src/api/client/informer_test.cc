#include "api/client/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "api/client/heard.h"
#include "api/client/test_server.h"
#include "store/sqlite/sqlite_store.h"

namespace ocicat::api {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kPatience = 60s;  // only a failing test waits so long

// What informers have told, put together.
class Seen {
 public:
  void take(Update update) {
    {
      const std::scoped_lock lock(mutex_);
      update.resources.apply_to(resources_);
      update.unreadable.apply_to(unreadable_);
      for (const auto& [key, value] : update.resources.entries()) ++(value ? updates_ : removals_);
      for (const auto& [kind, revision] : update.revisions) revisions_[kind] = revision;
      in_sync_ = update.in_sync;
    }
    changed_.notify_all();
  }

  // Waits until `condition` holds; false when it does not in time.
  bool wait(const std::function<bool(const Seen&)>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return condition(*this); });
  }
  bool wait_for_sync() {
    return wait([](const Seen& seen) { return seen.in_sync_; });
  }
  bool wait_for_names(const std::vector<std::string>& names) {
    return wait([&](const Seen& seen) { return seen.in_sync_ && seen.names() == names; });
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [key, resource] : resources_) names.push_back(key.name);
    return names;
  }

  std::map<ResourceKey, Resource> resources_;
  std::map<ResourceKey, std::string> unreadable_;
  Revisions revisions_;
  int updates_ = 0;
  int removals_ = 0;
  bool in_sync_ = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

class InformersTest : public testing::Test {
 protected:
  std::unique_ptr<Informers> follow(std::vector<Kind> kinds = {Kind::kGlobalNetworkSet}) {
    return std::make_unique<Informers>(server_.address(), std::move(kinds),
                                       [this](Update update) { seen_.take(std::move(update)); });
  }
  void create(std::string_view name) {
    auto client = server_.client();
    const auto created = client.create(network_set(name, "10.0.0.0/8"));
    ASSERT_TRUE(created) << created.error().message;
  }
  void remove(std::string name) {
    auto client = server_.client();
    const auto removed = client.remove({Kind::kGlobalNetworkSet, "", std::move(name)});
    ASSERT_TRUE(removed) << removed.error().message;
  }

  TestServer server_;
  Seen seen_;
};

TEST_F(InformersTest, TellWhatIsThereAndThenWhatChanges) {
  create("a");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a"}));
  create("b");
  ASSERT_TRUE(seen_.wait_for_names({"a", "b"}));
  remove("a");
  ASSERT_TRUE(seen_.wait_for_names({"b"}));
}

TEST_F(InformersTest, AreInSyncOnlyWhenEveryKindHasBeenListed) {
  const auto informers = follow({Kind::kGlobalNetworkSet, Kind::kTier, Kind::kNode});
  ASSERT_TRUE(seen_.wait_for_sync());
  EXPECT_EQ(seen_.revisions_.size(), 3u);
  EXPECT_EQ(seen_.resources_.size(), 3u);  // the built-in tiers
  EXPECT_TRUE(informers->status().connected || informers->status().last_error.empty());
}

TEST_F(InformersTest, ReachTheRevisionThatTheServerReports) {
  const auto informers = follow();
  create("a");
  remove("a");
  auto client = server_.client();
  const auto status = client.get_raw("/ocicat/status");
  ASSERT_TRUE(status);
  const auto last =
      status->at("revisions").at("GlobalNetworkSet.projectcalico.org").to_number<std::uint64_t>();
  EXPECT_TRUE(seen_.wait([&](const Seen& seen) {
    const auto reached = seen.revisions_.find(Kind::kGlobalNetworkSet);
    return reached != seen.revisions_.end() && reached->second.revision >= last;
  }));
}

TEST_F(InformersTest, KeepEverythingWhileTheServerIsAwayAndGoOnWhereTheyWere) {
  create("a");
  create("b");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a", "b"}));
  for (int round = 0; round < 3; ++round) {
    server_.stop();
    server_.start();
    create(fmt::format("c{}", round));
    ASSERT_TRUE(seen_.wait(
        [&](const Seen& seen) { return seen.resources_.size() == 3u + static_cast<unsigned>(round); }));
  }
  EXPECT_EQ(seen_.removals_, 0);
}

TEST_F(InformersTest, WaitForAServerThatIsNotThereYet) {
  server_.stop();
  const auto informers = follow();
  server_.start();
  create("a");
  EXPECT_TRUE(seen_.wait_for_names({"a"}));
}

TEST_F(InformersTest, ReportAsRemovedWhatVanishedWhileTheyWereNotLooking) {
  create("a");
  create("b");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a", "b"}));
  server_.stop();
  server_.lose_data();
  server_.start();
  create("b");
  EXPECT_TRUE(seen_.wait_for_names({"b"}));
  EXPECT_GE(seen_.removals_, 1);
}

TEST_F(InformersTest, NoticeOtherDataEvenWhenItsRevisionsHaveGoneFurther) {
  create("a");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a"}));
  server_.stop();
  server_.lose_data();
  {
    // The new data are written elsewhere, so that the informers only meet them when they are ahead.
    TestServer elsewhere;
    auto client = elsewhere.client();
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(client.create(network_set(fmt::format("new{:02}", i), "10.0.0.0/8")));
    elsewhere.stop();
    std::filesystem::copy_file(elsewhere.options().database_path, server_.options().database_path);
  }
  server_.start();
  EXPECT_TRUE(seen_.wait([](const Seen& seen) { return seen.resources_.size() == 20; }));
}

TEST_F(InformersTest, NoticeDataThatWereRolledBackEvenWhenTheyHaveGoneFurther) {
  create("a");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a"}));
  server_.stop();
  server_.back_up();
  server_.start();
  create("lost");
  ASSERT_TRUE(seen_.wait_for_names({"a", "lost"}));
  server_.stop();
  server_.restore();
  {
    // Written to at another socket, so that the informers only meet the data when they are ahead.
    TestServer elsewhere(server_.options().database_path);
    auto client = elsewhere.client();
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(client.create(network_set(fmt::format("new{:02}", i), "10.0.0.0/8")));
  }
  server_.start();
  EXPECT_TRUE(seen_.wait([](const Seen& seen) { return seen.resources_.size() == 21; }))
      << "a and the new ones";
}

TEST_F(InformersTest, OfAServerThatWasOnlyStartedAgainTellThatWhatTheyKnowCountsAndListNothing) {
  create("a");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a"}));
  const auto incarnation = [this] {
    return std::string(server_.client().get_raw("/ocicat/status")->at("store").at("incarnation").as_string());
  };
  const auto came_back_to = [this](const std::string& now) {
    return seen_.wait([&](const Seen& seen) {
      const auto progress = seen.revisions_.find(Kind::kGlobalNetworkSet);
      return progress != seen.revisions_.end() && progress->second.incarnation == now;
    });
  };
  const std::string before = incarnation();
  ASSERT_TRUE(came_back_to(before));
  server_.stop();
  const int updates = seen_.updates_;
  server_.start();
  EXPECT_NE(incarnation(), before);
  EXPECT_TRUE(came_back_to(incarnation()));
  EXPECT_EQ(seen_.updates_, updates) << "no object was told again";
}

// What validation would refuse, as an older or a foreign server may have let in.
void overwrite(const TestServer& server, const ResourceKey& key, std::string document) {
  const auto store = store::open_sqlite_store({server.options().database_path, {}, {}});
  ASSERT_TRUE(store) << store.error().message;
  ASSERT_TRUE((*store)->commit(store::update_edit(key, std::move(document))));
}

TEST_F(InformersTest, KeepTheLastReadableVersionOfAnObjectThatTurnsUnreadable) {
  const ResourceKey key{Kind::kGlobalNetworkPolicy, "", "p"};
  const auto policy = [](std::string_view selector) {
    return json::object{{"apiVersion", "projectcalico.org/v3"},
                        {"kind", "GlobalNetworkPolicy"},
                        {"metadata", json::object{{"name", "p"}}},
                        {"spec", json::object{{"selector", selector}, {"types", json::array{"Ingress"}}}}};
  };
  {
    auto client = server_.client();
    const auto created = client.create(policy("a == 'b'"));
    ASSERT_TRUE(created) << created.error().message;
  }
  const auto informers = follow({Kind::kGlobalNetworkPolicy});
  ASSERT_TRUE(seen_.wait_for_names({"p"}));
  for (int round = 0; round < 2; ++round) {
    server_.stop();
    overwrite(server_, key, json::serialize(policy(fmt::format("(( {}", round))));
    server_.start();
    ASSERT_TRUE(seen_.wait([&](const Seen& seen) { return seen.unreadable_.contains(key); }));
    EXPECT_TRUE(
        seen_.wait([&](const Seen& seen) { return seen.resources_.contains(key) && seen.removals_ == 0; }));
    auto client = server_.client();
    const auto mended = client.update(policy(fmt::format("a == '{}'", round)));
    ASSERT_TRUE(mended) << mended.error().message;
    ASSERT_TRUE(seen_.wait([&](const Seen& seen) { return seen.unreadable_.empty(); }));
  }
  server_.stop();
  overwrite(server_, key, json::serialize(policy("((")));
  server_.start();
  ASSERT_TRUE(seen_.wait([&](const Seen& seen) { return seen.unreadable_.contains(key); }));
  auto client = server_.client();
  ASSERT_TRUE(client.remove(key));
  EXPECT_TRUE(
      seen_.wait([&](const Seen& seen) { return seen.unreadable_.empty() && seen.resources_.empty(); }));
}

TEST_F(InformersTest, ListAnewWhenHistoryHasOvertakenThem) {
  create("a");
  create("b");
  const auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_names({"a", "b"}));
  server_.stop();
  {
    const auto store = store::open_sqlite_store({server_.options().database_path, {}, {}});
    ASSERT_TRUE(store) << store.error().message;
    const auto document = *(*store)->get({Kind::kGlobalNetworkSet, "", "b"})->document;
    ASSERT_TRUE((*store)->commit(store::delete_edit({Kind::kGlobalNetworkSet, "", "a"})));
    for (std::size_t i = 0; i < store::HistoryLimits{}.events; ++i) {
      ASSERT_TRUE((*store)->commit(store::update_edit({Kind::kGlobalNetworkSet, "", "b"}, document),
                                   store::Durability::kProcess));
    }
  }
  server_.start();
  EXPECT_TRUE(seen_.wait_for_names({"b"}));
  EXPECT_EQ(seen_.removals_, 1);
}

TEST_F(InformersTest, KeepHowFarTheyHaveHeardThoughNobodyEndsThem) {
  const auto path = std::filesystem::path(server_.options().socket_path).parent_path() / "heard.json";
  create("a");
  const Informers informers(
      server_.address(), {Kind::kGlobalNetworkSet}, [this](Update update) { seen_.take(std::move(update)); },
      path);
  ASSERT_TRUE(seen_.wait_for_names({"a"}));
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!std::filesystem::exists(path) && std::chrono::steady_clock::now() < give_up)
    std::this_thread::sleep_for(20ms);
  EXPECT_EQ(Heard(path).of(Kind::kGlobalNetworkSet), seen_.revisions_.at(Kind::kGlobalNetworkSet));
}

TEST_F(InformersTest, StopWhileTheServerIsAway) {
  auto informers = follow();
  ASSERT_TRUE(seen_.wait_for_sync());
  server_.stop();
  informers.reset();
}

TEST(InformerUpdate, AbsorbsSoThatTheLastWordStands) {
  const ResourceKey key{Kind::kTier, "", "a"};
  Update first;
  first.resources.update(key, Tier{});
  first.unreadable.update(key, "broken");
  first.revisions[Kind::kTier] = {5, "a"};
  first.in_sync = true;
  Update second;
  second.resources.remove(key);
  second.unreadable.remove(key);
  second.revisions[Kind::kTier] = {3, "b"};  // a new list from other data may go back
  second.revisions[Kind::kNode] = {4, "b"};
  first.absorb(std::move(second));
  EXPECT_EQ(first.resources.entries().at(key), std::nullopt);
  EXPECT_EQ(first.unreadable.entries().at(key), std::nullopt);
  EXPECT_EQ(first.revisions, (Revisions{{Kind::kTier, {3, "b"}}, {Kind::kNode, {4, "b"}}}));
  EXPECT_TRUE(first.in_sync);
}

}  // namespace
}  // namespace ocicat::api
