// A whole agent in this process: a real server, a real kernel, a network namespace of its own. Needs root.
#include "agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "api/client/client.h"
#include "api/server/server.h"
#include "base/command.h"
#include "http/client.h"
#include "http/server.h"
#include "kernel/network_namespace.h"
#include "resources/decode.h"
#include "views/status.h"

namespace ocicat::agent {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Far more than anything here takes; only a failure waits that long.
constexpr std::chrono::seconds kPatience{60};

// Between an agent and the server. While it lags behind, its list of workload endpoints is the one it remembers.
class Cache {
 public:
  Cache(http::Endpoint at, http::Endpoint server) : server_(std::move(server)) {
    http::ServerOptions options;
    options.endpoints = {std::move(at)};
    auto door = http::Server::start(std::move(options), [this](const auto& request, const auto& respond) {
      if (request.target.find("watch=true") == std::string::npos) return respond(answer(request));
      const std::scoped_lock lock(mutex_);
      watches_.push_back(respond);
    });
    EXPECT_TRUE(door) << door.error().message;
    if (door) door_ = *std::move(door);
  }

  ~Cache() {
    const std::scoped_lock lock(mutex_);
    watches_.clear();
  }
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  void remember() { remembered_ = ask({.target = kList}); }
  void lag(bool on) { lags_ = on; }
  int given() const { return given_; }

 private:
  static constexpr auto kList = "/apis/projectcalico.org/v3/workloadendpoints";

  http::Response ask(http::Request request) const {
    const auto answer = http::BlockingClient(server_).send(std::move(request));
    if (!answer) return {503, "text/plain", {}, answer.error().message, {}};
    const std::string store(http::find(answer->headers, "ocicat-store"));
    return {answer->status, "application/json", {{"Ocicat-Store", store}}, answer->body, {}};
  }
  http::Response answer(const http::Request& request) {
    if (!lags_ || request.target != kList) return ask(request);
    ++given_;
    return remembered_;
  }

  const http::Endpoint server_;
  http::Response remembered_;
  std::atomic<bool> lags_ = false;
  std::atomic<int> given_ = 0;
  std::mutex mutex_;
  std::vector<http::Respond> watches_;  // which hear nothing
  std::unique_ptr<http::Server> door_;
};

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    std::string path = (std::filesystem::temp_directory_path() / "ocicat-agent-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
    network_.emplace(kernel::NetworkNamespace::create().value());
  }
  ~AgentTest() override {
    agent_.reset();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start_server() {
    api::ServerOptions options;
    options.socket_path = (folder_ / "server.sock").string();
    options.database_path = (folder_ / "server.db").string();
    auto server = api::Server::start(options);
    ASSERT_TRUE(server) << server.error().message;
    server_ = *std::move(server);
  }

  Options options() {
    Options options;
    options.node = "host1";
    options.server = *api::Address::parse("unix://" + (folder_ / asked_).string());
    options.run_dir = folder_ / "run";
    options.health = http::Endpoint::unix_socket((folder_ / "health.sock").string());
    return options;
  }

  // Threads that the agent starts there stay in the namespace.
  Result<std::unique_ptr<Agent>> start_there() {
    std::optional<Result<std::unique_ptr<Agent>>> started;
    network_->run([&] { started.emplace(Agent::start(options())); });
    return *std::move(started);
  }

  void start_agent() {
    auto agent = start_there();
    ASSERT_TRUE(agent) << agent.error().message;
    agent_ = *std::move(agent);
  }

  api::Client client() {
    return api::Client(*api::Address::parse("unix://" + (folder_ / "server.sock").string()));
  }

  std::string ip_there(const std::vector<std::string>& words) {
    std::vector<std::string> command{"ip"};
    command.insert(command.end(), words.begin(), words.end());
    Result<std::string> printed;
    network_->run([&] { printed = run(command); });
    EXPECT_TRUE(printed) << printed.error().message;
    return printed.value_or("");
  }

  // A workload of this host, as far as its routes are concerned.
  void make_workload() {
    ip_there({"link", "add", "cali1", "up", "type", "veth", "peer", "name", "inside"});
    ip_there({"link", "set", "inside", "up"});
    const auto parse = [](std::string_view text) { return boost::json::parse(text).as_object(); };
    const auto created = client().create(parse(R"({
        "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
        "metadata": {"name": "host1-k8s-a-eth0", "namespace": "shop"},
        "spec": {"node": "host1", "orchestrator": "k8s", "pod": "a", "endpoint": "eth0",
                 "interfaceName": "cali1", "ipNetworks": ["10.65.0.1/32"]}})"));
    ASSERT_TRUE(created) << created.error().message;
  }

  std::string workload_routes() { return ip_there({"-4", "route", "show", "proto", "80", "dev", "cali1"}); }

  static bool soon(const std::function<bool()>& condition) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  // Follows what the agent reports until `enough` says so.
  views::AgentView wait_for(const std::function<bool(const views::AgentView&)>& enough) {
    api::Client watcher = client();
    views::AgentView seen;
    const auto listed = watcher.list(Kind::kAgentStatus, {}).value();
    for (const auto& object : listed.items) seen = views::AgentView::read(object);
    if (enough(seen)) return seen;
    const auto ended = watcher.watch(
        Kind::kAgentStatus, {}, listed.resource_version,
        [&](const api::Client::Event& event) {
          if (event.type == api::Client::EventType::kBookmark) return true;
          seen = views::AgentView::read(event.object);
          return !enough(seen);
        },
        kPatience);
    EXPECT_TRUE(ended) << ended.error().message;
    EXPECT_TRUE(enough(seen)) << "last: " << seen.error;
    return seen;
  }

  std::string incarnation() {
    return std::string(client().get_raw("/ocicat/status")->at("store").at("incarnation").as_string());
  }

  std::pair<int, std::string> health(const std::string& path) {
    http::BlockingClient asker(*agent_->health());
    const auto response = asker.send({.target = path});
    if (!response) return {0, response.error().message};
    return {response->status, response->body};
  }

  std::filesystem::path folder_;
  std::string asked_ = "server.sock";  // by the agent
  std::optional<kernel::NetworkNamespace> network_;
  std::unique_ptr<api::Server> server_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(AgentTest, BringsWhatStandsAtTheServerToTheKernelAndReportsIt) {
  start_server();
  start_agent();
  const boost::json::object tier{{"apiVersion", "projectcalico.org/v3"},
                                 {"kind", "Tier"},
                                 {"metadata", boost::json::object{{"name", "security"}}},
                                 {"spec", boost::json::object{{"order", 10}}}};
  const auto created = client().create(tier);
  ASSERT_TRUE(created) << created.error().message;
  views::ServerStatus wanted;
  wanted.incarnation = incarnation();
  wanted.revisions["Tier.projectcalico.org"] = views::number_at(*created, {"metadata", "resourceVersion"});
  const auto seen =
      wait_for([&](const auto& agent) { return views::what_is_missing(agent, wanted).empty(); });
  EXPECT_EQ(seen.node, "host1");
  EXPECT_EQ(seen.pid, static_cast<std::uint64_t>(::getpid()));
  EXPECT_EQ(health("/readiness").first, 200);
  EXPECT_EQ(health("/liveness").first, 200);
  EXPECT_EQ(health("/nothing").first, 404);
  EXPECT_THAT(health("/metrics").second, HasSubstr("ocicat_server_connected 1"));
}

TEST_F(AgentTest, WithoutAServerItIsAliveAndNotReadyAndCatchesUpWhenOneComes) {
  start_agent();
  EXPECT_EQ(health("/liveness").first, 200);
  const auto [status, why] = health("/readiness");
  EXPECT_EQ(status, 503);
  EXPECT_THAT(why, HasSubstr("not in sync"));
  start_server();
  wait_for([](const auto& agent) { return !agent.applied.empty(); });
  EXPECT_EQ(health("/readiness").first, 200);
}

TEST_F(AgentTest, GoesOnReportingAfterTheServerWasAway) {
  start_server();
  start_agent();
  wait_for([](const auto& agent) { return !agent.applied.empty(); });
  server_.reset();
  EXPECT_EQ(health("/readiness").first, 200) << "what is in the kernel is still in force";
  start_server();
  const auto created = client().create(
      {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", boost::json::object{{"name", "shop"}}}});
  ASSERT_TRUE(created) << created.error().message;
  const auto revision = views::number_at(*created, {"metadata", "resourceVersion"});
  wait_for([&](const auto& agent) {
    const auto applied = agent.applied.find("Namespace");
    return applied != agent.applied.end() && applied->second >= revision;
  });
}

TEST_F(AgentTest, StartedAgainBeforeAnOlderListItKeepsTheRoutesOfItsWorkloadsAndWaitsForANewerOne) {
  start_server();
  const auto at = [this](const char* name) { return http::Endpoint::unix_socket((folder_ / name).string()); };
  asked_ = "cache.sock";
  Cache cache(at("cache.sock"), at("server.sock"));
  cache.remember();  // as it was before the workload came
  make_workload();
  start_agent();
  ASSERT_TRUE(soon([this] { return workload_routes().starts_with("10.65.0.1 "); }));
  agent_.reset();

  cache.lag(true);
  start_agent();
  ASSERT_TRUE(soon([&] { return cache.given() >= 5 || health("/readiness").first == 200; }));
  EXPECT_THAT(health("/readiness").second, HasSubstr("workloadendpoints: the list is of revision"));
  EXPECT_THAT(workload_routes(), StartsWith("10.65.0.1 "));

  cache.lag(false);
  EXPECT_TRUE(soon([this] { return health("/readiness").first == 200; })) << health("/readiness").second;
  EXPECT_THAT(workload_routes(), StartsWith("10.65.0.1 "));
  agent_.reset();  // before the cache that it asks
}

TEST_F(AgentTest, ASecondAgentInTheSameNetworkNamespaceIsRefused) {
  start_agent();
  const auto second = start_there();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr(fmt::format("another agent, process {},", ::getpid())));
  agent_.reset();
  start_agent();
}

TEST_F(AgentTest, ASecondAgentForTheSameFolderIsRefused) {
  start_agent();
  network_.emplace(kernel::NetworkNamespace::create().value());
  const auto second = start_there();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("another agent works with"));
}

TEST_F(AgentTest, WhereItsHealthCannotBeServedItLeavesNoTrace) {
  start_server();
  std::ofstream(folder_ / "health.sock") << "no socket";
  const auto refused = start_there();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("health"));
  EXPECT_EQ(client().list(Kind::kAgentStatus, {})->items.size(), 0U);
}

TEST_F(AgentTest, WhileItRunsNobodyElseCleansUpAndThenSomebodyMay) {
  start_server();
  start_agent();
  wait_for([](const auto& agent) { return !agent.applied.empty(); });
  const auto clean_up_there = [this] {
    Result<void> done;
    network_->run([&] { done = clean_up(options().dataplane, options().run_dir); });
    return done;
  };
  const auto refused = clean_up_there();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("stop it first"));
  agent_.reset();
  EXPECT_TRUE(clean_up_there());
}

}  // namespace
}  // namespace ocicat::agent
