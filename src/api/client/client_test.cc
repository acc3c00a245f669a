#include "api/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <thread>

#include "api/client/test_server.h"

namespace ocicat::api {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

class ClientTest : public testing::Test {
 protected:
  Client client() const { return server_.client(); }
  TestServer server_;
};

TEST_F(ClientTest, AnObjectIsCreatedReadReplacedAndDeleted) {
  auto client = this->client();
  const auto created = client.create(network_set("a", "10.0.0.0/8"));
  ASSERT_TRUE(created) << created.error().message;
  const ResourceKey key{Kind::kGlobalNetworkSet, "", "a"};
  auto read = client.get(key);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, *created);
  EXPECT_FALSE(read->at("metadata").at("uid").as_string().empty());
  EXPECT_EQ(read->at("metadata").at("generation"), 1);

  (*read)["spec"] = json::object{{"nets", json::array{"192.168.0.0/16"}}};
  const auto replaced = client.update(*read);
  ASSERT_TRUE(replaced) << replaced.error().message;
  EXPECT_EQ(replaced->at("metadata").at("uid"), created->at("metadata").at("uid"));
  EXPECT_EQ(replaced->at("metadata").at("generation"), 2);
  EXPECT_NE(replaced->at("metadata").at("resourceVersion"), created->at("metadata").at("resourceVersion"));

  const auto removed = client.remove(key);
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(removed->at("spec"), replaced->at("spec"));
  EXPECT_NE(removed->at("metadata").at("resourceVersion"), replaced->at("metadata").at("resourceVersion"));
  EXPECT_EQ(client.get(key).error().code, ErrorCode::kNotFound);
}

TEST_F(ClientTest, RefusalsCarryTheCodeTheServerMeant) {
  auto client = this->client();
  const auto created = client.create(network_set("a", "10.0.0.0/8"));
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_EQ(client.create(network_set("a", "10.0.0.0/8")).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(client.update(network_set("b", "10.0.0.0/8")).error().code, ErrorCode::kNotFound);
  auto changed = *created;
  changed["spec"] = json::object{{"nets", json::array{"1.0.0.0/8"}}};
  ASSERT_TRUE(client.update(changed));
  EXPECT_EQ(client.update(changed).error().code, ErrorCode::kConflict);
  // The same, with nothing to be read.
  EXPECT_EQ(client.replace(changed).error().code, ErrorCode::kConflict);
  EXPECT_EQ(client.replace(network_set("b", "10.0.0.0/8")).error().code, ErrorCode::kNotFound);
  changed.at("metadata").as_object().erase("resourceVersion");
  EXPECT_TRUE(client.replace(changed));
  const auto refused = client.create(network_set("c", "not a net"));
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("spec.nets[0]"));
  EXPECT_EQ(client.watch(Kind::kGlobalNetworkSet, {}, "999999999", [](auto) { return true; }).error().code,
            ErrorCode::kExpired);
  server_.stop();
  EXPECT_EQ(client.get({Kind::kGlobalNetworkSet, "", "a"}).error().code, ErrorCode::kUnavailable);
}

TEST_F(ClientTest, AWatchTellsWhatCameAfterTheList) {
  auto client = this->client();
  ASSERT_TRUE(client.create(network_set("a", "10.0.0.0/8")));
  const auto list = client.list(Kind::kGlobalNetworkSet, {});
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->items.size(), 1u);

  std::thread writer([this] {
    auto other = this->client();
    EXPECT_TRUE(other.create(network_set("b", "10.0.0.0/8")));
    EXPECT_TRUE(other.update(network_set("b", "11.0.0.0/8")));
    EXPECT_TRUE(other.remove({Kind::kGlobalNetworkSet, "", "b"}));
  });
  std::vector<Client::EventType> seen;
  const auto watched =
      client.watch(Kind::kGlobalNetworkSet, {}, list->resource_version, [&](const Client::Event& event) {
        EXPECT_EQ(event.object.at("metadata").at("name"), "b");
        seen.push_back(event.type);
        return event.type != Client::EventType::kDeleted;
      });
  writer.join();
  EXPECT_TRUE(watched) << watched.error().message;
  EXPECT_THAT(seen, testing::ElementsAre(Client::EventType::kAdded, Client::EventType::kModified,
                                         Client::EventType::kDeleted));
}

TEST_F(ClientTest, AListTakesALabelSelector) {
  auto client = this->client();
  for (const auto* name : {"a", "b", "c"}) ASSERT_TRUE(client.create(network_set(name, "10.0.0.0/8")));
  const auto list = client.list(Kind::kGlobalNetworkSet, {}, "name in (a, c)");
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->items.size(), 2u);
  EXPECT_EQ(list->items[0].at("metadata").at("name"), "a");
  EXPECT_EQ(list->items[1].at("metadata").at("name"), "c");
}

TEST_F(ClientTest, TheServerTellsItsState) {
  auto client = this->client();
  const auto status = client.get_raw("/ocicat/status");
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(status->at("pid"), ::getpid());
  EXPECT_EQ(status->at("revisions").at("Tier.projectcalico.org"), status->at("revision"));
  EXPECT_EQ(status->at("revisions").at("Pod"), 0);
}

TEST_F(ClientTest, WhatWasWrittenIsThereAfterARestart) {
  auto client = this->client();
  const auto created = client.create(network_set("a", "10.0.0.0/8"));
  ASSERT_TRUE(created) << created.error().message;
  server_.stop();
  server_.start();
  EXPECT_EQ(client.get({Kind::kGlobalNetworkSet, "", "a"}), *created);
}

}  // namespace
}  // namespace ocicat::api
