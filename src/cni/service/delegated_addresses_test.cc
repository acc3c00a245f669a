// Addresses by another plugin, from the runtime's call to what is on the host.
#include <fstream>

#include "base/whole_file.h"
#include "cni/service/world_for_test.h"
#include "http/server.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::IsEmpty;

// An agent that plugins reach, and a plugin that gives what the test says.
class Host {
 public:
  explicit Host(World& world) : world_(world) { give(R"({"ips":[{"address":"10.9.0.7/24"}]})"); }

  void start() {
    agent_ = std::make_unique<Agent>(world_);
    http::ServerOptions serving;
    serving.endpoints = {http::Endpoint::unix_socket((world_.folder() / kSocket).string())};
    auto server = http::Server::start(
        std::move(serving), [this](const http::Request& request, const http::Respond& respond) {
          auto reply = agent_->answer(request.body);
          respond({reply.done ? 200 : 500, "application/json", {}, std::move(reply.text), {}});
        });
    CHECK(server);
    server_ = *std::move(server);
  }
  void stop() {
    server_.reset();
    agent_.reset();
  }
  Agent& agent() { return *agent_; }

  // Of ADD; other commands succeed.
  void give(std::string_view result, int exit_code = 0) {
    std::ofstream(folder_ / "result") << result;
    std::ofstream(folder_ / "giver") << fmt::format(
        "#!/bin/sh\ncd {}\necho $CNI_COMMAND >> log\ncat > config\n[ $CNI_COMMAND != ADD ] || {{ cat result; "
        "exit {}; "
        "}}\n[ ! -e no-$CNI_COMMAND ]",
        folder_.path().string(), exit_code);
    std::filesystem::permissions(folder_ / "giver", std::filesystem::perms::owner_all);
  }
  void fails_at(const std::string& command) { std::ofstream(folder_ / ("no-" + command)) << ""; }

  Answer call(std::string command, std::string_view keys = "", std::string container = "c1",
              std::string_view ipam = R"("type":"giver")") {
    const auto config = fmt::format(
        R"({{"cniVersion":"1.1.0","name":"pods","type":"ocicat-cni","agent_dir":"{}","ipam":{{{}}}{}{}}})",
        world_.folder().string(), ipam, keys.empty() ? "" : ",", keys);
    return run_plugin({.command = std::move(command),
                       .container_id = container,
                       .netns = netns,
                       .ifname = "net9",
                       .args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + container,
                       .path = folder_.path().string()},
                      config);
  }
  std::string netns = a_containers_namespace();

  // What the plugin was called for since the last look.
  std::string log() {
    auto text = read_whole(folder_ / "log");
    std::filesystem::remove(folder_ / "log");
    std::ranges::replace(text, '\n', ' ');
    return text;
  }
  json::value config() const { return json::parse(read_whole(folder_ / "config")); }
  std::filesystem::path program(std::string_view name) const { return folder_ / name; }

 private:
  World& world_;
  TestFolder folder_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<http::Server> server_;
};

class DelegatedAddresses : public testing::Test {
 protected:
  void SetUp() override { host.start(); }
  void expect_refused(const Answer& answer, unsigned code, const std::string& cause) {
    ASSERT_NE(answer.exit_code, 0) << answer.output;
    expect_refusal(answer.output, code, cause);
  }
  std::vector<IpAddress> on_the_interface() {
    const std::scoped_lock lock(world.mutex);
    return world.interfaces.empty() ? std::vector<IpAddress>() : world.interfaces.begin()->second;
  }

  World world;
  Host host{world};
};

TEST_F(DelegatedAddresses, AreWiredAsOursAreAndFreedLast) {
  const auto added = host.call("ADD");
  ASSERT_EQ(added.exit_code, 0) << added.output;
  EXPECT_EQ(host.log(), "ADD ");
  EXPECT_EQ(host.config().at("ipam").at("type"), "giver");
  const auto result = json::parse(added.output);
  EXPECT_EQ(result.at("ips"), (json::array{json::object{{"address", "10.9.0.7/32"}, {"interface", 1}}}));
  EXPECT_EQ(result.at("routes"), (json::array{json::object{{"dst", "0.0.0.0/0"}, {"gw", "169.254.1.1"}}}));
  EXPECT_THAT(on_the_interface(), testing::ElementsAre(*IpAddress::parse("10.9.0.7")));
  EXPECT_THAT(given(world), IsEmpty()) << "no block has it";
  EXPECT_THAT(world.documents.list(Kind::kIpamHandle), IsEmpty());
  const auto endpoints = world.documents.list(Kind::kWorkloadEndpoint);
  ASSERT_EQ(endpoints.size(), 1U);
  EXPECT_EQ(endpoints[0].at("spec").at("ipNetworks"), (json::array{"10.9.0.7/32"}));

  const auto previous = fmt::format(R"("prevResult":{})", added.output);
  EXPECT_EQ(host.call("CHECK", previous).output, "");
  EXPECT_EQ(host.call("STATUS").exit_code, 0);
  EXPECT_EQ(host.log(), "CHECK STATUS ");
  EXPECT_EQ(host.call("ADD").output, added.output) << "it is whole";
  EXPECT_EQ(host.log(), "") << "which nobody is asked about";
  EXPECT_EQ(host.call("DEL").output, "");
  EXPECT_EQ(host.log(), "DEL ");
  expect_nothing(world);
  EXPECT_EQ(host.call("DEL").exit_code, 0);
  EXPECT_EQ(host.log(), "DEL ") << "it may come again";
}

TEST_F(DelegatedAddresses, LeadWhereTheirPluginSays) {
  host.give(R"({"ips":[{"address":"10.9.0.7/24"},{"address":"fd09::7/64"}],
               "routes":[{"dst":"10.0.0.0/8","gw":"10.9.0.1"},{"dst":"::/0"}],"dns":{"domain":"x"}})");
  const auto added = host.call("ADD");
  ASSERT_EQ(added.exit_code, 0) << added.output;
  const auto result = json::parse(added.output);
  EXPECT_EQ(result.at("routes"),
            (json::array{json::object{{"dst", "10.0.0.0/8"}, {"gw", "169.254.1.1"}},
                         json::object{{"dst", "::/0"}, {"gw", "fe80::ecee:eeff:feee:eeee"}}}));
  EXPECT_EQ(result.at("dns").at("domain"), "x");
  EXPECT_EQ(host.call("ADD").output, added.output) << "as it is noted";
  const auto refused = host.call("ADD", R"("mtu":1000)", "c2");
  expect_refused(refused, 7, "1280");
  EXPECT_EQ(host.call("DEL").exit_code, 0);
}

TEST_F(DelegatedAddresses, OfWhatFailsGoBack) {
  host.give(R"({"code":11,"msg":"no range"})", 1);
  expect_refused(host.call("ADD"), 11, "giver: no range");
  EXPECT_EQ(host.log(), "ADD DEL ") << "as the specification says";
  host.give("here you are");
  expect_refused(host.call("ADD"), 106, "no JSON object");
  EXPECT_EQ(host.log(), "ADD DEL ");
  host.give(R"({"ips":[{"address":"127.0.0.1/8"}]})");
  expect_refused(host.call("ADD"), 106, "127.0.0.1");
  EXPECT_EQ(host.log(), "ADD DEL ");
  host.give(R"({"ips":[{"address":"10.9.0.7/24"}]})");
  world.enforces = false;
  expect_refused(host.call("ADD"), 103, "too wide");
  EXPECT_EQ(host.log(), "ADD DEL ");
  host.fails_at("DEL");
  expect_refused(host.call("ADD"), 103, "; and giver: ended with 1");
  world.enforces = true;
  expect_nothing(world);
  expect_refused(host.call("DEL"), 106, "giver");
}

TEST_F(DelegatedAddresses, ThatAnotherContainerHasAreRefused) {
  ASSERT_EQ(host.call("ADD").exit_code, 0);
  host.log();
  expect_refused(host.call("ADD", "", "c2"), 101, "10.9.0.7 is net9 in container c1's");
  EXPECT_EQ(host.log(), "ADD DEL ");
  world.server_away = true;
  EXPECT_EQ(host.call("DEL").exit_code, 0) << "it is noted";
  EXPECT_EQ(host.log(), "DEL ");
  world.server_away = false;
  host.agent().await_tidy();
  EXPECT_EQ(host.call("ADD", "", "c2").exit_code, 0);
  EXPECT_EQ(host.call("DEL", "", "c2").exit_code, 0);
  expect_nothing(world);
}

TEST_F(DelegatedAddresses, GoFirstWhereAnEarlierAddIsMadeAnew) {
  ASSERT_EQ(host.call("ADD").exit_code, 0);
  world.lose_interfaces();
  host.log();
  ASSERT_EQ(host.call("ADD").exit_code, 0);
  EXPECT_EQ(host.log(), "DEL ADD ");
  EXPECT_EQ(host.call("DEL").exit_code, 0);
  expect_nothing(world);
}

TEST_F(DelegatedAddresses, AreFreedWithoutAnAgentAsWell) {
  ASSERT_EQ(host.call("ADD").exit_code, 0);
  host.log();
  host.stop();
  expect_refused(host.call("ADD", "", "c2"), 11, "nobody listens");
  EXPECT_EQ(host.log(), "") << "who may not be served needs no address";
  host.netns = "/run/netns/gone";
  EXPECT_EQ(host.call("DEL").exit_code, 0);
  EXPECT_EQ(host.log(), "DEL ");
  host.start();
  host.agent().await_tidy();
  expect_nothing(world);
}

TEST_F(DelegatedAddresses, OfHostLocalAreOfTheNodesPodNet) {
  std::filesystem::copy_file(host.program("giver"), host.program("host-local"));
  constexpr auto kIpam = R"("type":"host-local","subnet":"usePodCidr")";
  expect_refused(host.call("ADD", "", "c1", kIpam), 7, "the node has no IPv4 pod CIDR (status.podCIDRs)");
  EXPECT_EQ(host.log(), "");
  const auto made = world.documents.apply(
      ipam::create_of({{"apiVersion", "projectcalico.org/v3"},
                       {"kind", "Node"},
                       {"metadata", json::object{{"name", "host1"}}},
                       {"status", json::object{{"podCIDRs", json::array{"fd09::/64", "10.9.0.0/24"}}}}}));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(host.call("ADD", "", "c1", kIpam).exit_code, 0);
  EXPECT_EQ(host.config().at("ipam").at("subnet"), "10.9.0.0/24");
  host.stop();
  host.netns = "/run/netns/gone";
  EXPECT_EQ(host.call("DEL", "", "c1", kIpam).exit_code, 0);
  EXPECT_EQ(host.config().at("ipam").at("subnet"), "0.0.0.0/0") << "in which any address is";
}

TEST_F(DelegatedAddresses, AnnotationsForAddressesFromPoolsAreRefusedAndThoseBesideIpamNeedNoPlugin) {
  const auto annotation = [](std::string_view name) {
    return fmt::format(
        R"("args":{{"ocicat":{{"annotations":{{"cni.projectcalico.org/{}":"[\"10.8.0.1\"]"}}}}}})", name);
  };
  expect_refused(host.call("ADD", annotation("ipAddrs")), 2, "ipAddrs");
  EXPECT_EQ(host.log(), "");
  const auto added =
      host.call("ADD", R"("feature_control":{"ip_addrs_no_ipam":true},)" + annotation("ipAddrsNoIpam"));
  EXPECT_EQ(added.exit_code, 0) << added.output;
  EXPECT_EQ(host.log(), "");
}

TEST_F(DelegatedAddresses, NoPluginRunsItselfForThem) {
  for (const auto* ipam : {R"("type":"ocicat-ipam")", R"("type":"calico")"}) {
    const auto answer = host.call("ADD", R"("type":"calico")", "c1", ipam);
    expect_refused(answer, 2, "calico-ipam");
  }
  EXPECT_EQ(host.log(), "");
}

TEST_F(DelegatedAddresses, GcAsksBothAndSaysWhatEitherCouldNot) {
  ASSERT_EQ(host.call("ADD").exit_code, 0);
  host.log();
  host.fails_at("GC");
  expect_refused(host.call("GC", R"("cni.dev/valid-attachments":[])"), 106, "giver");
  EXPECT_EQ(host.log(), "GC ");
  expect_nothing(world);
  expect_refused(host.call("GC"), 7, "valid-attachments: required for GC, and missing");
}

}  // namespace
}  // namespace ocicat::cni
