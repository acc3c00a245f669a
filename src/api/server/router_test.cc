#include "api/server/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <future>

#include "api/server/reader.h"
#include "resources/ipam.h"
#include "store/sqlite/sqlite_store.h"

namespace ocicat::api {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kSets = "/apis/projectcalico.org/v3/globalnetworksets";
const std::string kPolicies = "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies";
const std::string kTiers = "/apis/projectcalico.org/v3/tiers";
const std::string kPools = "/apis/projectcalico.org/v3/ippools";

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    EXPECT_TRUE(store_) << store_.error().message;
    EXPECT_TRUE(router_.ensure_built_ins());
  }

  http::Response send(std::string method, std::string target, std::string body = {},
                      std::string type = "application/json") {
    std::promise<http::Response> promise;
    http::Request request{std::move(method), std::move(target), {}, std::move(body)};
    if (!request.body.empty()) request.headers.push_back({"Content-Type", std::move(type)});
    router_.handle(request, [&](http::Response response) { promise.set_value(std::move(response)); });
    return promise.get_future().get();
  }
  // The JSON of the answer, which must have this status.
  json::value want(int status, std::string method, std::string target, const json::value& body = nullptr) {
    const auto response =
        send(std::move(method), std::move(target), body.is_null() ? std::string() : json::serialize(body));
    EXPECT_EQ(response.status, status) << response.body;
    return json::parse(response.body);
  }
  std::vector<json::value> watch(const std::string& target) {
    const auto response = send("GET", target);
    EXPECT_EQ(response.status, 200) << response.body;
    stream_ = response.stream;
    return events();
  }
  // What the last watch has brought since.
  std::vector<json::value> events() {
    std::vector<json::value> events;
    while (auto piece = stream_->next()) {
      if (piece->empty()) break;
      for (std::size_t at = 0, end = 0; (end = piece->find('\n', at)) != std::string::npos; at = end + 1) {
        events.push_back(json::parse(piece->substr(at, end - at)));
      }
    }
    return events;
  }

  static json::value set(std::string_view name, json::object labels = {}) {
    return json::object{{"metadata", json::object{{"name", name}, {"labels", std::move(labels)}}},
                        {"spec", json::object{{"nets", json::array{"10.0.0.0/8"}}}}};
  }
  static json::value policy(std::string_view name, std::string_view tier) {
    return json::object{{"metadata", json::object{{"name", name}}},
                        {"spec", json::object{{"tier", tier}, {"selector", "all()"}}}};
  }
  static json::value pool(std::string_view name, std::string_view cidr) {
    return json::object{{"metadata", json::object{{"name", name}}}, {"spec", json::object{{"cidr", cidr}}}};
  }

  Result<std::unique_ptr<store::Store>> store_ =
      store::open_sqlite_store({":memory:", {.events = 100, .bytes = 1'000'000}, {}});
  Router router_{**store_};
  std::shared_ptr<http::Stream> stream_;
};

std::vector<std::string> types(const std::vector<json::value>& events) {
  std::vector<std::string> result;
  for (const auto& event : events) result.emplace_back(event.at("type").as_string());
  return result;
}

std::string version_of(const json::value& object) {
  return std::string(object.at("metadata").at("resourceVersion").as_string());
}

TEST_F(RouterTest, FillsWhatTheServerDecides) {
  auto submitted = set("a");
  submitted.at("metadata").as_object()["uid"] = "mine";
  submitted.at("metadata").as_object()["generation"] = 7;
  submitted.at("metadata").as_object()["creationTimestamp"] = "2001-01-01T00:00:00Z";
  const auto created = want(201, "POST", kSets, submitted);
  EXPECT_EQ(created.at("apiVersion"), "projectcalico.org/v3");
  EXPECT_EQ(created.at("kind"), "GlobalNetworkSet");
  EXPECT_EQ(created.at("metadata").at("uid").as_string().size(), 36u);
  EXPECT_EQ(created.at("metadata").at("generation"), 1);
  EXPECT_THAT(std::string(created.at("metadata").at("creationTimestamp").as_string()),
              testing::MatchesRegex("20[0-9-]{8}T[0-9:]{8}Z"));
  EXPECT_EQ(want(200, "GET", kSets + "/a"), created);
}

TEST_F(RouterTest, KeepsWhatMustNotChangeAndCountsGenerations) {
  const auto created = want(201, "POST", kSets, set("a"));
  const auto relabelled = want(200, "PUT", kSets + "/a", set("a", {{"x", "y"}}));
  EXPECT_EQ(relabelled.at("metadata").at("generation"), 1) << "labels are no intent";
  EXPECT_EQ(relabelled.at("metadata").at("uid"), created.at("metadata").at("uid"));
  EXPECT_EQ(relabelled.at("metadata").at("creationTimestamp"),
            created.at("metadata").at("creationTimestamp"));
  EXPECT_NE(version_of(relabelled), version_of(created));
  EXPECT_EQ(want(200, "PUT", kSets + "/a", set("a", {{"x", "y"}})), relabelled)
      << "the same again is no change";
  auto changed = set("a");
  changed.at("spec").at("nets").as_array().push_back("11.0.0.0/8");
  EXPECT_EQ(want(200, "PUT", kSets + "/a", changed).at("metadata").at("generation"), 2);
}

TEST_F(RouterTest, AStaleUpdateIsAConflictAndAnEmptyVersionIsUnconditional) {
  const auto first = want(201, "POST", kSets, set("a"));
  want(200, "PUT", kSets + "/a", set("a", {{"n", "1"}}));
  auto stale = set("a", {{"n", "2"}});
  stale.at("metadata").as_object()["resourceVersion"] = version_of(first);
  const auto status = want(409, "PUT", kSets + "/a", stale);
  EXPECT_EQ(status.at("kind"), "Status");
  EXPECT_EQ(status.at("reason"), "Conflict");
  auto other = set("a", {{"n", "2"}});
  other.at("metadata").as_object()["uid"] = "00000000-0000-0000-0000-000000000000";
  EXPECT_EQ(want(409, "PUT", kSets + "/a", other).at("reason"), "Conflict");
  want(200, "PUT", kSets + "/a", set("a", {{"n", "2"}}));
}

TEST_F(RouterTest, DeletingAnswersWithTheObjectAndTheRevisionOfItsDeletion) {
  const auto created = want(201, "POST", kSets, set("a"));
  want(409, "DELETE", kSets + "/a", {{"preconditions", {{"resourceVersion", "1"}}}});
  want(409, "DELETE", kSets + "/a", {{"preconditions", {{"uid", "other"}}}});
  const auto deleted =
      want(200, "DELETE", kSets + "/a", {{"preconditions", {{"uid", created.at("metadata").at("uid")}}}});
  EXPECT_GT(std::stoull(version_of(deleted)), std::stoull(version_of(created)));
  EXPECT_EQ(deleted.at("spec"), created.at("spec"));
  EXPECT_EQ(want(404, "DELETE", kSets + "/a").at("reason"), "NotFound");
}

TEST_F(RouterTest, ADryRunAnswersAsIfAndStoresNothing) {
  const auto revision = (*store_)->status().revision;
  want(201, "POST", kSets + "?dryRun=All", set("a"));
  want(404, "GET", kSets + "/a");
  EXPECT_EQ((*store_)->status().revision, revision);
  want(201, "POST", kSets, set("a"));
  EXPECT_EQ(want(409, "POST", kSets + "?dryRun=All", set("a")).at("reason"), "AlreadyExists");
  EXPECT_EQ(
      want(200, "PUT", kSets + "/a?dryRun=All", set("a", {{"x", "y"}})).at("metadata").at("labels").at("x"),
      "y");
  want(200, "DELETE", kSets + "/a?dryRun=All");
  EXPECT_TRUE(want(200, "GET", kSets + "/a").at("metadata").at("labels").as_object().empty());
  want(400, "POST", kSets + "?dryRun=Some", set("b"));
}

TEST_F(RouterTest, WhatIsTakenAndDoesNothingIsWarnedAbout) {
  const auto body = [](std::string_view rule) {
    return fmt::format(R"({{"metadata": {{"name": "web"}}, "spec": {{"ingress": [{}]}}}})", rule);
  };
  const auto warned = send("POST", kPolicies, body(R"({"action": "Allow", "http": {"methods": ["GET"]}})"));
  EXPECT_EQ(warned.status, 201) << warned.body;
  EXPECT_EQ(
      http::find(warned.headers, "warning"),
      R"(299 - "NetworkPolicy shop/web: spec.ingress[0].http: {\"methods\":[\"GET\"]}: nothing looks into requests )"
      R"(yet: the rule allows all of them")");
  EXPECT_EQ(http::find(send("PUT", kPolicies + "/web", body(R"({"action": "Allow"})")).headers, "warning"),
            "");
}

TEST_F(RouterTest, WhatBreaksARuleIsRefusedWithEveryField) {
  auto bad = set("a");
  bad.at("spec").at("nets") = json::array{"x", "10.0.0.0/8", "y"};
  const auto status = want(422, "POST", kSets, bad);
  EXPECT_EQ(status.at("reason"), "Invalid");
  EXPECT_EQ(status.at("code"), 422);
  std::vector<std::string> fields;
  for (const auto& cause : status.at("details").at("causes").as_array())
    fields.emplace_back(cause.at("field").as_string());
  EXPECT_THAT(fields, ElementsAre("spec.nets[0]", "spec.nets[2]"));
  EXPECT_THAT(std::string(status.at("message").as_string()), HasSubstr("spec.nets[2]"));
  want(422, "POST", kSets, {{"metadata", {{"name", "a"}}}, {"spec", {{"netz", json::array{}}}}});
}

TEST_F(RouterTest, BodiesThatAreNoObjectOfThisPlaceAreRefused) {
  for (const auto* body : {"", "{", "[]", "1", "\"x\"", "null", "{}x", "{\"metadata\":1}",
                           "{\"apiVersion\":1}", "{\"metadata\":{\"name\":\"a\",\"uid\":1}}",
                           "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"x\"}}",
                           "{\"kind\":\"Tier\",\"metadata\":{\"name\":\"a\"}}"}) {
    EXPECT_EQ(send("POST", kSets, body).status, 400) << body;
  }
  EXPECT_EQ(send("POST", kSets, std::string(10'000, '[')).status, 400);
  EXPECT_EQ(send("POST", kSets, "{}", "text/plain").status, 415);
  EXPECT_EQ(send("PUT", kSets + "/b", json::serialize(set("a"))).status, 400);
  auto elsewhere = policy("p", "default");
  elsewhere.at("metadata").as_object()["namespace"] = "bank";
  want(400, "POST", kPolicies, elsewhere);
  auto versioned = set("a");
  versioned.at("metadata").as_object()["resourceVersion"] = "5";
  want(400, "POST", kSets, versioned);
}

// One infinity in the store, and no list of its kind could be read by anybody any more.
TEST_F(RouterTest, NumbersThatJsonCannotTellAreRefused) {
  const std::string begin = R"({"metadata":{"name":"a"},"spec":{"order":)";
  for (const auto* number : {"1e400", "-1e400", "1e309", "[{\"deep\":1e400}]"}) {
    const auto response = send("POST", kTiers, begin + number + "}}");
    EXPECT_EQ(response.status, 400) << response.body;
    EXPECT_THAT(response.body, HasSubstr("beyond what a double can hold"));
    EXPECT_NE(send("POST", kTiers, begin + number + "}}", "application/yaml").status, 201);
  }
  EXPECT_EQ(send("POST", kTiers, begin + "1e308}}").status, 201);
  want(200, "GET", kTiers);
}

TEST_F(RouterTest, WebPagesAreRefused) {
  http::Request request{
      .method = "POST", .target = kTiers, .headers = {{"Origin", "https://example.com"}}, .body = {}};
  int status = 0;
  router_.handle(request, [&](http::Response response) { status = response.status; });
  EXPECT_EQ(status, 400);
}

TEST_F(RouterTest, YamlIsTakenAsWell) {
  const std::string yaml = "metadata:\n  name: a\nspec:\n  nets: [10.0.0.0/8]\n";
  const auto response = send("POST", kSets, yaml, "application/yaml; charset=utf-8");
  EXPECT_EQ(response.status, 201) << response.body;
  EXPECT_EQ(send("POST", kSets, yaml + "---\n" + yaml, "application/yaml").status, 400)
      << "one object a request";
  EXPECT_EQ(send("POST", kSets, "a: [", "application/yaml").status, 400);
}

TEST_F(RouterTest, UnknownPlacesAndMethodsAreRefused) {
  for (const auto* path :
       {"/nothing", "/api/v2/pods", "/apis/projectcalico.org/v3/dragons", "/apis/projectcalico.org/v2/tiers",
        "/api/v1/namespaces/shop/tiers", "/api/v1/namespaces/shop/pods/a/log",
        "/apis/projectcalico.org/v3/namespaces/shop/tiers", "/apis/projectcalico.org/v3/networkpolicies/a",
        "/apis/projectcalico.org/v3/namespaces//networkpolicies", "/api/v1/namespaces/shop/pods/a/b/c"}) {
    EXPECT_EQ(want(404, "GET", path).at("reason"), "NotFound") << path;
  }
  want(400, "GET", "/%zz");
  for (const auto* method : {"PATCH", "DELETE", "PUT", "HEAD"}) {
    const auto response = send(method, kSets);
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_EQ(http::find(response.headers, "allow"), "GET, POST");
  }
  want(405, "POST", kSets + "/a", set("a"));
  want(405, "POST", "/apis/projectcalico.org/v3/networkpolicies", policy("a", "default"));
  want(405, "POST", "/version");
}

TEST_F(RouterTest, ARefusalOfBytesThatAreNoTextIsStillJson) {
  for (const auto* path : {"/\xff", "/apis/%ff%c0%80", "/api/v1/namespaces/a%ed%a0%80",
                           "/apis/projectcalico.org/v3/tiers/%f5"}) {
    EXPECT_EQ(want(404, "GET", path).at("reason"), "NotFound") << path;
  }
  want(400, "GET", kSets + "?labelSelector=%ff");
  EXPECT_THAT(std::string(want(404, "GET", "/\xc3\xbc").at("message").as_string()), HasSubstr("\xc3\xbc"));
}

TEST_F(RouterTest, ListsAreOfOneNamespaceOrAllAndTakeSelectors) {
  for (const auto* ns : {"a", "b"}) {
    for (const auto* name : {"x", "y"}) {
      want(201, "POST", fmt::format("/apis/projectcalico.org/v3/namespaces/{}/networksets", ns),
           set(name, {{"name", name}, {ns, ""}}));
    }
  }
  const auto names = [&](const std::string& target) {
    const auto list = want(200, "GET", target);
    EXPECT_EQ(list.at("kind"), "NetworkSetList");
    std::string text;
    for (const auto& item : list.at("items").as_array()) {
      text += fmt::format("{}/{} ", std::string(item.at("metadata").at("namespace").as_string()),
                          std::string(item.at("metadata").at("name").as_string()));
    }
    return text;
  };
  const std::string all = "/apis/projectcalico.org/v3/networksets";
  EXPECT_EQ(names(all), "a/x a/y b/x b/y ");
  EXPECT_EQ(names("/apis/projectcalico.org/v3/namespaces/b/networksets"), "b/x b/y ");
  EXPECT_EQ(names(all + "?labelSelector=name%3Dx"), "a/x b/x ");
  EXPECT_EQ(names(all + "?labelSelector=name%20notin%20(x),a"), "a/y ");
  EXPECT_EQ(names(all + "?labelSelector=!a,name%20in%20(x,z)"), "b/x ");
  EXPECT_EQ(names(all + "?fieldSelector=metadata.name%3Dx,metadata.namespace!%3Da"), "b/x ");
  want(400, "GET", all + "?labelSelector=a%20in");
  want(400, "GET", all + "?fieldSelector=spec.x%3D1");
}

TEST_F(RouterTest, AWatchBeginsWithWhatIsThereOrAfterARevision) {
  const auto first = want(201, "POST", kSets, set("a"));
  want(201, "POST", kSets, set("b"));
  EXPECT_THAT(types(watch(kSets + "?watch=true")), ElementsAre("ADDED", "ADDED"));
  const auto later = watch(kSets + "?watch=true&resourceVersion=" + version_of(first));
  ASSERT_THAT(types(later), ElementsAre("ADDED"));
  EXPECT_EQ(later[0].at("object"), want(200, "GET", kSets + "/b"));
  want(200, "PUT", kSets + "/a", set("a", {{"x", "y"}}));
  const auto deleted = want(200, "DELETE", kSets + "/a");
  const auto more = events();
  ASSERT_THAT(types(more), ElementsAre("MODIFIED", "DELETED"));
  EXPECT_EQ(more[1].at("object"), deleted);
}

TEST_F(RouterTest, AWatchWithASelectorTellsOfComingAndGoing) {
  EXPECT_TRUE(watch(kSets + "?watch=1&labelSelector=on%3Dyes&resourceVersion=1").empty());
  want(201, "POST", kSets, set("a"));
  want(200, "PUT", kSets + "/a", set("a", {{"on", "yes"}}));
  want(200, "PUT", kSets + "/a", set("a", {{"on", "yes"}, {"more", "1"}}));
  want(200, "PUT", kSets + "/a", set("a"));
  want(200, "DELETE", kSets + "/a");
  EXPECT_THAT(types(events()), ElementsAre("ADDED", "MODIFIED", "DELETED"));
}

TEST_F(RouterTest, AWatchThatBeginsInOtherDataIsGone) {
  const auto listed = send("GET", kTiers);
  const std::string incarnation((*store_)->status().incarnation);
  EXPECT_EQ(http::find(listed.headers, "ocicat-store"), incarnation);
  EXPECT_EQ(want(200, "GET", "/ocicat/status").at("store").at("incarnation").as_string(), incarnation);
  EXPECT_EQ(send("GET", kTiers + "?watch=true&resourceVersion=1&store=" + incarnation).status, 200);
  const auto foreign = send("GET", kTiers + "?watch=true&resourceVersion=1&store=0123456789abcdef");
  EXPECT_EQ(foreign.status, 410) << foreign.body;
  EXPECT_THAT(foreign.body, HasSubstr("Expired"));
  EXPECT_EQ(send("GET", kTiers + "?watch=true&resourceVersion=0&store=0123456789abcdef").status, 200)
      << "from the start";
}

TEST_F(RouterTest, AWatchFromALostRevisionIs410) {
  want(201, "POST", kSets, set("a"));
  const auto far = watch(kSets + "?watch=true&resourceVersion=0");
  for (int i = 0; i < 200; ++i) want(200, "PUT", kSets + "/a", set("a", {{"n", std::to_string(i)}}));
  const auto status = want(410, "GET", kSets + "?watch=true&resourceVersion=1");
  EXPECT_EQ(status.at("reason"), "Expired");
  want(410, "GET", kSets + "?watch=true&resourceVersion=99999999");
  want(400, "GET", kSets + "?watch=true&resourceVersion=new");
  // The watch that did not read meanwhile is told the same in its stream, and ends.
  const auto late = events();
  ASSERT_THAT(types(late), ElementsAre("ERROR"));
  EXPECT_EQ(late[0].at("object").at("code"), 410);
  EXPECT_EQ(stream_->next(), std::nullopt);
}

TEST_F(RouterTest, ABookmarkTellsThatTheRevisionHasMovedElsewhere) {
  WatchRequest request{.kind = Kind::kNode,
                       .ns = {},
                       .selection = {},
                       .after = 1,
                       .bookmarks = true,
                       .bookmark_pause = {},
                       .timeout = {}};
  auto stream = watch_stream(**store_, std::move(request));
  ASSERT_TRUE(stream);
  stream_ = *stream;
  const auto now = (*store_)->status().revision;
  const auto first = events();
  ASSERT_THAT(types(first), ElementsAre("BOOKMARK"));
  EXPECT_EQ(version_of(first[0].at("object")), std::to_string(now));
  EXPECT_EQ(first[0].at("object").at("kind"), "Node");
  EXPECT_TRUE(events().empty()) << "nothing has moved";
  const auto set_version = version_of(want(201, "POST", kSets, set("a")));
  const auto second = events();
  ASSERT_THAT(types(second), ElementsAre("BOOKMARK"));
  EXPECT_EQ(version_of(second[0].at("object")), set_version);
}

TEST(RouterOnAFullDisk, SaysSoAndGoesOnReading) {
  const auto store = store::open_sqlite_store({":memory:", {}, 40});
  ASSERT_TRUE(store) << store.error().message;
  Router router(**store);
  ASSERT_TRUE(router.ensure_built_ins());
  const auto send = [&](std::string method, std::string target, std::string body) {
    std::promise<http::Response> promise;
    router.handle({std::move(method), std::move(target), {}, std::move(body)},
                  [&](http::Response response) { promise.set_value(std::move(response)); });
    return promise.get_future().get();
  };
  int created = 0;
  http::Response last;
  for (; created < 1'000; ++created) {
    const json::object object{
        {"metadata", json::object{{"name", fmt::format("s{}", created)},
                                  {"annotations", json::object{{"a", std::string(4'000, 'x')}}}}},
        {"spec", json::object{{"nets", json::array{}}}}};
    last = send("POST", kSets, json::serialize(object));
    if (last.status != 201) break;
  }
  EXPECT_EQ(last.status, 507);
  EXPECT_EQ(json::parse(last.body).at("reason"), "InsufficientStorage");
  EXPECT_THAT(last.body, HasSubstr("full"));
  EXPECT_EQ(send("GET", kSets + "/s0", {}).status, 200);
  EXPECT_EQ(json::parse(send("GET", kSets, {}).body).at("items").as_array().size(),
            static_cast<std::size_t>(created));
}

TEST_F(RouterTest, APolicyNeedsItsTier) {
  const auto status = want(422, "POST", kPolicies, policy("p", "security"));
  EXPECT_EQ(status.at("details").at("causes").at(0).at("field"), "spec.tier");
  want(201, "POST", kTiers, {{"metadata", {{"name", "security"}}}, {"spec", {{"order", 10}}}});
  const auto created = want(201, "POST", kPolicies, policy("p", "security"));
  EXPECT_EQ(created.at("metadata").at("labels").at("projectcalico.org/tier"), "security");
  EXPECT_EQ(want(403, "DELETE", kTiers + "/security").at("reason"), "Forbidden");
  want(200, "DELETE", kPolicies + "/p");
  want(200, "DELETE", kTiers + "/security");
}

TEST_F(RouterTest, ABgpPeerNeedsItsFiltersWhenItIsWritten) {
  const auto kPeers = std::string("/apis/projectcalico.org/v3/bgppeers");
  const auto peer =
      json::parse(R"({"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "tor"},
                                    "spec": {"peerIP": "10.0.0.1", "asNumber": 64513, "filters": ["edge"]}})");
  const auto refused = want(422, "POST", kPeers, peer);
  EXPECT_THAT(json::serialize(refused), HasSubstr("no such BGPFilter; create it first"));
  want(
      201, "POST", "/apis/projectcalico.org/v3/bgpfilters",
      json::parse(R"({"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter", "metadata": {"name": "edge"},
                       "spec": {}})"));
  want(201, "POST", kPeers, peer);
  want(200, "DELETE", "/apis/projectcalico.org/v3/bgpfilters/edge");
  want(422, "PUT", kPeers + "/tor", peer);
}

TEST_F(RouterTest, BuiltInTiersAreThereAndStay) {
  for (const auto* name : {"default", "kube-admin", "kube-baseline"}) {
    want(200, "GET", kTiers + "/" + name);
    want(403, "DELETE", kTiers + "/" + name);
  }
  EXPECT_EQ(want(200, "GET", kTiers + "/kube-admin").at("spec").at("defaultAction"), "Pass");
  ASSERT_TRUE((*store_)->commit(store::delete_edit({Kind::kTier, "", "kube-admin"})));
  EXPECT_TRUE(router_.ensure_built_ins());
  want(200, "GET", kTiers + "/kube-admin");
}

TEST_F(RouterTest, PoolsKeepTheirCidrAndDoNotOverlap) {
  want(201, "POST", kPools, pool("a", "10.0.0.0/16"));
  for (const auto* cidr : {"10.0.0.0/16", "10.0.1.0/24", "10.0.0.0/8"})
    want(422, "POST", kPools, pool("b", cidr));
  want(201, "POST", kPools, pool("b", "10.1.0.0/16"));
  want(201, "POST", kPools, pool("six", "fd00::/48"));
  const auto status = want(422, "PUT", kPools + "/a", pool("a", "10.2.0.0/16"));
  EXPECT_EQ(status.at("details").at("causes").at(0).at("field"), "spec.cidr");
  auto disabled = pool("a", "10.0.0.0/16");
  disabled.at("spec").as_object()["disabled"] = true;
  want(200, "PUT", kPools + "/a", disabled);
}

TEST_F(RouterTest, APoolStaysAsLongAsWorkloadsHaveItsAddresses) {
  want(201, "POST", kPools, pool("a", "10.0.0.0/16"));
  Stored<IpamBlock> block;
  block.value.cidr = *Prefix::parse("10.0.3.64/26");
  block.value.allocations.resize(64);
  block.value.attributes = {
      {.handle = "vxlan-tunnel-addr-a", .secondary = {{"node", "a"}, {"type", "vxlanTunnelAddress"}}},
      {.handle = "pods.c1", .secondary = {{"node", "a"}, {"namespace", "shop"}, {"pod", "web"}}}};
  block.value.allocations[1] = 0;
  block.value.allocations[2] = 1;
  for (IpamBlock::Ordinal free = 0; free < 64; ++free) {
    if (!block.value.allocations[free]) block.value.unallocated.push_back(free);
  }
  block.metadata["name"] = name_of(block.value.cidr);
  const auto document = encode(block);
  const auto blocks =
      fmt::format("/apis/{}/{}", info(Kind::kIpamBlock).api_version(), info(Kind::kIpamBlock).plural);
  want(201, "POST", blocks, document);

  const auto refused = want(403, "DELETE", kPools + "/a");
  EXPECT_THAT(json::serialize(refused),
              HasSubstr("1 of its addresses is in use, such as 10.0.3.66 (shop/web); set spec.disabled"));
  auto disabled = pool("a", "10.0.0.0/16");
  disabled.at("spec").as_object()["disabled"] = true;
  want(200, "PUT", kPools + "/a", disabled);
  EXPECT_THAT(json::serialize(want(403, "DELETE", kPools + "/a")), Not(HasSubstr("spec.disabled")));
  want(200, "DELETE", kPools + "/a?propagationPolicy=Orphan&dryRun=All");
  want(200, "DELETE", kPools + "/a", {{"propagationPolicy", "Orphan"}, {"dryRun", {"All"}}});

  block.value.allocations[2] = std::nullopt;
  block.value.unallocated.push_back(2);
  block.value.attributes.pop_back();
  want(200, "PUT", blocks + "/" + name_of(block.value.cidr), encode(block));
  want(200, "DELETE", kPools + "/a");
}

TEST_F(RouterTest, TheDefaultAllowProfileCannotBeWritten) {
  const std::string profiles = "/apis/projectcalico.org/v3/profiles";
  const json::value profile{{"metadata", {{"name", "projectcalico-default-allow"}}},
                            {"spec", json::object{}}};
  const auto status = send("POST", profiles, json::serialize(profile)).status;
  EXPECT_TRUE(status == 403 || status == 422) << status;
  want(404, "GET", profiles + "/projectcalico-default-allow");
}

TEST_F(RouterTest, AWorkloadEndpointHasTheComputedNameAndTheServersLabels) {
  const std::string endpoints = "/apis/projectcalico.org/v3/namespaces/shop/workloadendpoints";
  const auto endpoint = [](std::string_view name) {
    return json::value{
        {"metadata",
         {{"name", name}, {"labels", {{"app", "web"}, {"projectcalico.org/namespace", "wrong"}}}}},
        {"spec",
         {{"node", "host-1"},
          {"orchestrator", "k8s"},
          {"pod", "web-0"},
          {"endpoint", "eth0"},
          {"interfaceName", "cali1"},
          {"ipNetworks", json::array{"10.0.0.1/32"}}}}};
  };
  const auto status = send("POST", endpoints, json::serialize(endpoint("web")));
  EXPECT_EQ(status.status, 422);
  EXPECT_THAT(status.body, HasSubstr("host--1-k8s-web--0-eth0"));
  const auto created = want(201, "POST", endpoints, endpoint("host--1-k8s-web--0-eth0"));
  EXPECT_EQ(created.at("metadata").at("labels").at("projectcalico.org/namespace"), "shop");
  EXPECT_EQ(created.at("metadata").at("labels").at("projectcalico.org/orchestrator"), "k8s");
  EXPECT_EQ(created.at("metadata").at("labels").at("app"), "web");
}

TEST_F(RouterTest, SaysWhatItServes) {
  EXPECT_EQ(want(200, "GET", "/api").at("versions").at(0), "v1");
  const auto groups = want(200, "GET", "/apis");
  EXPECT_THAT(json::serialize(groups), HasSubstr("projectcalico.org/v3"));
  EXPECT_EQ(want(200, "GET", "/apis/projectcalico.org").at("preferredVersion").at("version"), "v3");
  const auto core = json::serialize(want(200, "GET", "/api/v1"));
  EXPECT_THAT(core, HasSubstr("\"name\":\"namespaces\""));
  EXPECT_THAT(core, HasSubstr("\"groupVersion\":\"v1\""));
  EXPECT_THAT(json::serialize(want(200, "GET", "/apis/projectcalico.org/v3")),
              HasSubstr("\"kind\":\"GlobalNetworkPolicy\""));
  want(200, "GET", "/version");
  want(404, "GET", "/apis/nobody.org/v1");
  for (const auto* path : {"/healthz", "/livez", "/readyz"}) EXPECT_EQ(send("GET", path).body, "ok");
  const auto status = want(200, "GET", "/ocicat/status");
  EXPECT_EQ(status.at("watchers"), 0);
  EXPECT_TRUE(status.at("revisions").as_object().contains("NetworkPolicy.networking.k8s.io"));
}

TEST_F(RouterTest, ANamespaceIsAnObjectAndAPlace) {
  want(201, "POST", "/api/v1/namespaces", {{"metadata", {{"name", "shop"}}}});
  want(200, "GET", "/api/v1/namespaces/shop");
  EXPECT_TRUE(want(200, "GET", "/api/v1/namespaces/shop/pods").at("items").as_array().empty());
}

TEST_F(RouterTest, ALongListIsSentInPieces) {
  const std::string filler(50'000, 'x');
  for (int i = 0; i < 40; ++i) {
    auto each = set(fmt::format("s{:02}", i));
    each.at("metadata").as_object()["annotations"] = json::object{{"filler", filler}};
    want(201, "POST", kSets, each);
  }
  const auto response = send("GET", kSets);
  ASSERT_TRUE(response.stream);
  std::string body;
  while (auto piece = response.stream->next()) body += *piece;
  const auto list = json::parse(body);
  ASSERT_EQ(list.at("items").as_array().size(), 40u);
  EXPECT_EQ(list.at("items").at(39), want(200, "GET", kSets + "/s39"));
}

}  // namespace
}  // namespace ocicat::api
