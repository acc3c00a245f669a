// Addresses over the real server and its SQLite file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <thread>

#include "api/client/test_server.h"
#include "base/folder_for_test.h"
#include "http/server.h"
#include "ipam/api_documents.h"
#include "ipam/group_allocator.h"
#include "network/ipam_block.h"

namespace ocicat::ipam {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

json::object document(std::string_view kind, std::string_view name, json::object spec) {
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", kind},
          {"metadata", json::object{{"name", name}}},
          {"spec", std::move(spec)}};
}

AssignRequest request(const std::string& host, const std::string& handle) {
  AssignRequest request;
  request.host = host;
  request.handle = handle;
  request.attributes = {{"node", host}};
  request.ipv4 = 1;
  return request;
}

class OverServer : public testing::Test {
 protected:
  OverServer() : documents_(server_.address()) {
    EXPECT_TRUE(client_.create(document("IPPool", "v4", {{"cidr", "10.0.0.0/16"}, {"blockSize", 28}})));
    EXPECT_TRUE(client_.create(document("IPPool", "v6", {{"cidr", "fd00::/64"}})));
  }
  api::TestServer server_;
  api::Client client_ = server_.client();
  ApiDocuments documents_;
  Allocator allocator_{documents_};
};

TEST_F(OverServer, AnAddressIsGivenNotedAndTakenBack) {
  auto wanted = request("host1", "net.A1");
  wanted.ipv6 = 1;
  const auto assigned = allocator_.assign(wanted);
  ASSERT_TRUE(assigned) << assigned.error().message;
  ASSERT_EQ(assigned->items.size(), 2U);
  EXPECT_EQ(assigned->items[0].block.length, 28);
  EXPECT_EQ(assigned->items[0].pool, "v4");
  EXPECT_EQ(assigned->items[1].block.length, 122);

  const auto block = client_.get(block_key(assigned->items[0].block));
  ASSERT_TRUE(block) << block.error().message;
  EXPECT_EQ(block->at("spec").at("affinity"), "host:host1");
  EXPECT_EQ(block->at("spec").at("allocations").as_array().size(), 16U);
  EXPECT_TRUE(block->at("spec").at("allocations").as_array().at(1).is_null());
  const auto affinity =
      client_.get(affinity_key({BlockOwner::Type::kHost, "host1"}, assigned->items[0].block));
  ASSERT_TRUE(affinity) << affinity.error().message;
  EXPECT_EQ(affinity->at("spec").at("state"), "confirmed");
  // As Calico's own clients look it up; the hash of "host1" by theirs is not at hand, its form is.
  EXPECT_EQ(affinity->at("metadata").at("labels").at("projectcalico.org/hostname-hash").as_string().size(),
            52U);
  const auto handle = client_.get({Kind::kIpamHandle, "", "net.a1"});
  ASSERT_TRUE(handle) << handle.error().message;
  EXPECT_EQ(handle->at("spec").at("handleID"), "net.A1");

  const auto released = allocator_.release("net.A1");
  ASSERT_TRUE(released) << released.error().message;
  EXPECT_EQ(released->addresses.size(), 2U);
  EXPECT_FALSE(client_.get({Kind::kIpamHandle, "", "net.a1"}));
  EXPECT_TRUE(allocator_.release("net.A1")->addresses.empty());
}

TEST_F(OverServer, ManyThreadsOnTwoHostsNeverGetOneAddressTwice) {
  GroupAllocator one(std::make_unique<ApiDocuments>(server_.address()));
  GroupAllocator two(std::make_unique<ApiDocuments>(server_.address()));
  std::mutex mutex;
  std::set<IpAddress> held;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      GroupAllocator& allocator = t % 2 == 0 ? one : two;
      const std::string host = t < 6 ? "host1" : "host2";  // host1's blocks are written by both
      for (int i = 0; i < 12; ++i) {
        const auto handle = fmt::format("net.{}-{}", t, i);
        const auto assigned = allocator.assign(request(host, handle));
        ASSERT_TRUE(assigned) << assigned.error().message;
        {
          const std::scoped_lock lock(mutex);
          ASSERT_TRUE(held.insert(assigned->items[0].address).second);
        }
        if (i % 3 != 0) continue;
        {
          const std::scoped_lock lock(mutex);
          held.erase(assigned->items[0].address);
        }
        const auto released = allocator.release(handle);
        ASSERT_TRUE(released) << released.error().message;
        EXPECT_EQ(released->addresses.size(), 1U);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::size_t given = 0;
  const auto blocks = client_.list(Kind::kIpamBlock, {});
  for (const auto& block : blocks->items) given += 16 - block.at("spec").at("unallocated").as_array().size();
  EXPECT_EQ(given, held.size());
}

TEST_F(OverServer, AServerThatIsAwayIsSaidToBe) {
  server_.stop();
  const auto assigned = allocator_.assign(request("host1", "net.a"));
  ASSERT_FALSE(assigned);
  EXPECT_EQ(assigned.error().code, ErrorCode::kUnavailable);
}

// What is exhausted are pools; and a server without room may have some again.
TEST(FullServer, IsSaidToBeSoAndIsNoPoolWithoutAddresses) {
  const TestFolder folder;
  const auto pool = document("IPPool", "v4", {{"cidr", "10.0.0.0/16"}});
  const auto answer = [&](const http::Request& request) -> http::Response {
    if (request.method != "GET")
      return {
          507, "application/json", {}, R"({"kind":"Status","message":"the disk is full","code":507})", {}};
    if (!request.target.ends_with("s"))
      return {404, "application/json", {}, R"({"kind":"Status","code":404})", {}};
    const json::array items = request.target.ends_with("/ippools") ? json::array{pool} : json::array{};
    return {
        200,
        "application/json",
        {},
        json::serialize(json::object{{"metadata", json::object{{"resourceVersion", "1"}}}, {"items", items}}),
        {}};
  };
  http::ServerOptions options;
  options.endpoints = {http::Endpoint::unix_socket((folder.path() / "server.sock").string())};
  const auto server = http::Server::start(
      std::move(options),
      [&](const http::Request& request, const http::Respond& respond) { respond(answer(request)); });
  ASSERT_TRUE(server) << server.error().message;
  ApiDocuments documents({"unix://" + (folder.path() / "server.sock").string()});
  Allocator allocator(documents);
  const auto assigned = allocator.assign(request("host1", "net.a"));
  ASSERT_FALSE(assigned);
  EXPECT_EQ(assigned.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(assigned.error().message, HasSubstr("the disk is full"));
}

TEST_F(OverServer, WhatBreaksTheRulesOfTheDocumentsIsRefused) {
  const auto refused = [&](json::object object) {
    const auto created = client_.create(object);
    return created ? std::string("(created)") : created.error().message;
  };
  EXPECT_THAT(refused(document("IPAMConfiguration", "other", {{"strictAffinity", false}})),
              HasSubstr("default"));
  EXPECT_THAT(
      refused(document("BlockAffinity", "h-10-1-0-0-26",
                       {{"cidr", "10.1.0.0/26"}, {"node", "h"}, {"state", "pending"}, {"deleted", true}})),
      HasSubstr("deleted"));
  ASSERT_TRUE(allocator_.assign(request("host1", "net.a")));
  EXPECT_FALSE(client_.remove({Kind::kIpPool, "", "v4"})) << "an address of it is in use";
  ASSERT_TRUE(client_.remove({Kind::kIpPool, "", "v4"}, true));
  EXPECT_THAT(refused(document("IPPool", "v4", {{"cidr", "10.0.0.0/16"}, {"blockSize", 26}})),
              HasSubstr("of another size"));
  EXPECT_EQ(refused(document("IPPool", "v4", {{"cidr", "10.0.0.0/16"}, {"blockSize", 28}})), "(created)");
}

// Else two documents would be about one address.
TEST_F(OverServer, BlocksAndAffinitiesAreCalledAfterWhatTheyAreAboutAndBlocksAreTheirPools) {
  const auto made = [&](std::string_view kind, std::string_view name, json::object spec) {
    const auto created = client_.create(document(kind, name, std::move(spec)));
    return created ? std::string("(created)") : created.error().message;
  };
  const auto block = [&](std::string_view name, const char* cidr) {
    json::object spec = encode(Stored<IpamBlock>{
        network::new_block(*Prefix::parse(cidr), {BlockOwner::Type::kHost, "h"}, {}), {}})["spec"]
                            .as_object();
    return made("IPAMBlock", name, std::move(spec));
  };
  EXPECT_THAT(block("foo", "10.0.0.0/28"), HasSubstr("must be \"10-0-0-0-28\""));
  EXPECT_THAT(block("10-0-0-0-28", "10.0.0.4/28"), HasSubstr("must be \"10.0.0.0/28\""));
  EXPECT_THAT(block("10-0-0-0-29", "10.0.0.0/29"), HasSubstr("is no block of IPPool v4"));
  EXPECT_THAT(block("10-0-0-0-15", "10.0.0.0/15"), HasSubstr("is no block of IPPool v4"));
  EXPECT_EQ(block("10-0-0-0-28", "10.0.0.0/28"), "(created)");
  EXPECT_EQ(block("10-9-0-0-29", "10.9.0.0/29"), "(created)") << "of a pool that is gone";
  const auto affinity = [&](const char* name) {
    return made("BlockAffinity", name,
                {{"cidr", "10.0.0.16/28"}, {"node", "h"}, {"state", "pending"}, {"deleted", false}});
  };
  EXPECT_THAT(affinity("h"), HasSubstr("must be \"h-10-0-0-16-28\""));
  EXPECT_EQ(affinity("h-10-0-0-16-28"), "(created)");
}

TEST_F(OverServer, WhatABlockOrAnAffinityIsAboutStaysAsItIs) {
  const auto assigned = allocator_.assign(request("host1", "h"));
  ASSERT_TRUE(assigned) << assigned.error().message;
  const auto block = assigned->items.front().block;
  const auto moved = [&](const ResourceKey& key) {
    auto object = *client_.get(key);
    object["spec"].as_object()["cidr"] = "10.9.0.0/28";
    const auto answer = client_.update(object);
    return answer ? std::string("(updated)") : answer.error().message;
  };
  EXPECT_THAT(moved(block_key(block)), HasSubstr("must be \"10-9-0-0-28\""));
  EXPECT_THAT(moved(affinity_key({BlockOwner::Type::kHost, "host1"}, block)),
              HasSubstr("must be \"host1-10-9-0-0-28\""));
}

// Else blocks of both sizes would have one address.
TEST_F(OverServer, APoolKeepsItsNetAndTheSizeOfItsBlocks) {
  const auto updated = [&](json::object spec) {
    const auto answer = client_.update(document("IPPool", "v4", std::move(spec)));
    return answer ? std::string("(updated)") : answer.error().message;
  };
  EXPECT_THAT(updated({{"cidr", "10.0.0.0/16"}, {"blockSize", 29}}), HasSubstr("spec.blockSize"));
  EXPECT_THAT(updated({{"cidr", "10.0.0.0/15"}, {"blockSize", 28}}), HasSubstr("spec.cidr"));
  EXPECT_THAT(updated({{"cidr", "10.0.0.0/16"}}), HasSubstr("spec.blockSize"))
      << "26, as nothing else is said";
  EXPECT_EQ(updated({{"cidr", "10.0.0.0/16"}, {"blockSize", 28}, {"natOutgoing", true}}), "(updated)");
}

}  // namespace
}  // namespace ocicat::ipam
