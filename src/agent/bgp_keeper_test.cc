#include "agent/bgp_keeper.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <boost/json.hpp>

#include <filesystem>
#include <fstream>

#include "agent/bgp_report.h"

namespace ocicat::agent {
namespace {

using network::bgp::LeftOut;

Node node(const std::string& name, std::string_view address) {
  Node node;
  node.metadata.name = name;
  node.ipv4 = *Prefix::parse(address);
  return node;
}

BgpUpdate update(std::vector<std::pair<ResourceKey, std::optional<Resource>>> resources,
                 bool in_sync = true) {
  BgpUpdate update;
  for (auto& [key, resource] : resources) {
    if (resource) {
      update.resources.resources.update(key, *std::move(resource));
    } else {
      update.resources.resources.remove(key);
    }
  }
  update.resources.in_sync = in_sync;
  return update;
}

const ResourceKey kHost1{Kind::kNode, "", "host1"};
const ResourceKey kHost2{Kind::kNode, "", "host2"};

TEST(BgpKeeper, SaysNothingBeforeEveryKindHasBeenListed) {
  BgpKeeper keeper("host1", secrets_in(""));
  EXPECT_FALSE(keeper.take(update({{kHost1, node("host1", "10.0.0.1/24")}}, false)));
  const auto intent = keeper.take(update({{kHost2, node("host2", "10.0.0.2/24")}}));
  ASSERT_TRUE(intent);
  EXPECT_EQ(intent->sessions.size(), 1U);
}

TEST(BgpKeeper, FollowsWhatComesChangesAndGoes) {
  BgpKeeper keeper("host1", secrets_in(""));
  keeper.take(update({{kHost1, node("host1", "10.0.0.1/24")}, {kHost2, node("host2", "10.0.0.2/24")}}));
  BgpPeer peer;
  peer.metadata.name = "tor";
  peer.address = IpAddress::parse("10.1.0.1");
  const ResourceKey tor{Kind::kBgpPeer, "", "tor"};
  EXPECT_EQ(keeper.take(update({{tor, peer}}))->sessions.size(), 2U);
  peer.filters = {"edge"};
  EXPECT_THAT(keeper.take(update({{tor, peer}}))->left_out,
              testing::ElementsAre(LeftOut{"BGPPeer tor", "there is no BGPFilter edge"}));
  BgpFilter filter;
  filter.metadata.name = "edge";
  EXPECT_EQ(keeper.take(update({{{Kind::kBgpFilter, "", "edge"}, filter}}))->filters.size(), 1U);
  EXPECT_EQ(keeper.take(update({{tor, std::nullopt}, {kHost2, std::nullopt}}))->sessions.size(), 0U);
}

TEST(BgpKeeper, TakesTheWorkloadsOfItsHostForPeers) {
  api::Update resources;
  WorkloadEndpoint endpoint;
  endpoint.metadata.labels = {{"role", "router"}};
  endpoint.node = "host1";
  endpoint.addresses = {*IpAddress::parse("10.65.0.9")};
  const ResourceKey here{Kind::kWorkloadEndpoint, "shop", "here"};
  resources.resources.update(here, endpoint);
  endpoint.node = "host2";
  resources.resources.update({Kind::kPod, "shop", "there"}, endpoint);
  const auto workloads = local_workloads(resources, "host1");
  std::map<ResourceKey, network::bgp::LocalWorkload> local;
  workloads.apply_to(local);
  ASSERT_EQ(local.size(), 1U);
  EXPECT_EQ(local.at(here).name, "shop/here");

  BgpKeeper keeper("host1", secrets_in(""));
  BgpPeer peer;
  peer.local_workload_selector = "role == 'router'";
  peer.as_number = 65001;
  auto all = update({{kHost1, node("host1", "10.0.0.1/24")}, {{Kind::kBgpPeer, "", "routers"}, peer}});
  all.workloads = workloads;
  EXPECT_EQ(keeper.take(std::move(all))->sessions.at(0).name, "Local_Workload_10_65_0_9");
}

TEST(BgpKeeper, TellsOfItsOwnBlocksAsFarAsTheyAreConfirmed) {
  BgpKeeper keeper("host1", secrets_in(""));
  const auto claim = [](const std::string& node, const std::string& cidr, bool confirmed) {
    BlockClaim result;
    result.cidr = *Prefix::parse(cidr);
    result.node = node;
    result.confirmed = confirmed;
    return result;
  };
  const auto affinity = [](const std::string& name) { return ResourceKey{Kind::kBlockAffinity, "", name}; };
  auto intent = keeper.take(update({{kHost1, node("host1", "10.0.0.1/24")},
                                    {affinity("one"), claim("host1", "10.65.0.0/26", true)},
                                    {affinity("two"), claim("host1", "10.65.0.64/26", false)},
                                    {affinity("other"), claim("host2", "10.65.0.128/26", true)}}));
  EXPECT_THAT(intent->of(Family::kIpv4).confirmed_blocks,
              testing::ElementsAre(*Prefix::parse("10.65.0.0/26")));
  EXPECT_THAT(intent->of(Family::kIpv4).unconfirmed_blocks,
              testing::ElementsAre(*Prefix::parse("10.65.0.64/26")));
  intent = keeper.take(update({{affinity("two"), claim("host1", "10.65.0.64/26", true)},
                               {affinity("one"), claim("host3", "10.65.0.0/26", true)}}));
  EXPECT_THAT(intent->of(Family::kIpv4).confirmed_blocks,
              testing::ElementsAre(*Prefix::parse("10.65.0.64/26")));
  intent = keeper.take(update({{affinity("two"), std::nullopt}}));
  EXPECT_THAT(intent->of(Family::kIpv4).confirmed_blocks, testing::IsEmpty());
}

TEST(BgpKeeper, TellsOfServicesThatHaveAReadyEndpointHere) {
  BgpKeeper keeper("host1", secrets_in(""));
  BgpConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.service_external_nets = {*Prefix::parse("192.0.2.0/24")};
  Service service;
  service.local_only = true;
  service.external_addresses = {*IpAddress::parse("192.0.2.7")};
  const auto slice = [](std::vector<std::string> ready_on) {
    EndpointSlice result;
    result.service = "web";
    result.ready_on = std::move(ready_on);
    return result;
  };
  const auto services = [](const std::optional<network::bgp::BgpIntent>& intent) {
    return intent->of(Family::kIpv4).services;
  };
  const auto net = *Prefix::parse("192.0.2.0/24");
  const auto here = *Prefix::parse("192.0.2.7/32");
  const ResourceKey one{Kind::kEndpointSlice, "shop", "web-1"}, two{Kind::kEndpointSlice, "shop", "web-2"};
  EXPECT_THAT(services(keeper.take(update({{kHost1, node("host1", "10.0.0.1/24")},
                                           {{Kind::kBgpConfiguration, "", "default"}, configuration},
                                           {{Kind::kService, "shop", "web"}, service},
                                           {one, slice({"host2"})},
                                           {two, slice({"host1", "host2"})}}))),
              testing::ElementsAre(net, here));
  EXPECT_THAT(services(keeper.take(update({{one, slice({"host1"})}, {two, slice({"host2"})}}))),
              testing::ElementsAre(net, here));
  EXPECT_THAT(services(keeper.take(update({{one, std::nullopt}}))), testing::ElementsAre(net));
  EXPECT_THAT(services(keeper.take(update({{two, slice({"host1"})}}))), testing::ElementsAre(net, here));
  EXPECT_THAT(services(keeper.take(update({{{Kind::kService, "shop", "web"}, std::nullopt}}))),
              testing::ElementsAre(net));
}

TEST(BgpSecrets, AreFilesAndNothingOutsideTheirFolderIsRead) {
  std::string folder = (std::filesystem::temp_directory_path() / "ocicat-secrets-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directories(folder + "/inside/bgp");
  std::ofstream(folder + "/inside/bgp/tor") << "word\n";
  std::ofstream(folder + "/outside") << "other";
  const auto secrets = secrets_in(folder + "/inside");
  EXPECT_EQ(secrets({"bgp", "tor"}), Result<std::string>("word"));
  EXPECT_EQ(secrets({"bgp", "gone"}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(secrets({"..", "outside"}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(secrets({"bgp", "../../outside"}).error().code, ErrorCode::kInvalid);
  EXPECT_THAT(secrets_in("")({"bgp", "tor"}).error().message, testing::HasSubstr("--bgp-secrets"));
  std::filesystem::remove_all(folder);
}

TEST(BgpReport, TellsOfEverySessionAndNoPassword) {
  network::bgp::BgpIntent intent;
  network::bgp::Session session;
  session.name = "Mesh_10_0_0_2";
  session.peer = *IpAddress::parse("10.0.0.2");
  session.password = "secret";
  intent.sessions = {session};
  session.name = "Mesh_10_0_0_3";
  session.peer = *IpAddress::parse("10.0.0.3");
  intent.sessions.push_back(session);
  dataplane::BirdStatus bird;
  bird.sessions = {{"Mesh_10_0_0_2", "Established", "now", "", 2, 1},
                   {"Mesh_10_0_0_3", "Passive", "now", "", 0, 0}};
  const auto json = to_json(report_of(intent, {}, bird));
  EXPECT_EQ(json.at("established"), 1);
  EXPECT_EQ(json.at("wanted"), 2);
  const auto& first = json.at("sessions").at(0);
  EXPECT_EQ(first.at("peerIP"), "10.0.0.3") << "those that are down come first";
  EXPECT_EQ(
      first.at("reason"),
      "the other side is to connect, and has not; it has a password: see that both sides have the same");
  EXPECT_THAT(boost::json::serialize(json), testing::Not(testing::HasSubstr("secret")));
  const auto gone = report_of(intent, {}, fail(ErrorCode::kUnavailable, "BIRD has gone"));
  EXPECT_FALSE(gone.running);
  EXPECT_EQ(gone.error, "BIRD has gone");
  EXPECT_EQ(to_json(gone).at("sessions").at(0).at("state"), "Unknown");
}

TEST(BgpReport, SaysOfASessionThatIsDownWhetherAPasswordMayBeWhy) {
  network::bgp::BgpIntent intent;
  network::bgp::Session session;
  session.name = "Node_10_0_0_2";
  session.password = "secret";
  intent.sessions = {session};
  dataplane::BirdStatus bird;
  const auto reason = [&](std::string_view state, std::string_view last_error) {
    bird.sessions = {{"Node_10_0_0_2", std::string(state), "now", std::string(last_error), 0, 0}};
    return std::string(to_json(report_of(intent, {}, bird)).at("sessions").at(0).at("reason").as_string());
  };
  EXPECT_EQ(reason("Connect", ""), "it has a password: see that both sides have the same");
  EXPECT_EQ(reason("Active", "Socket: Connection timed out"),
            "Socket: Connection timed out; it has a password: see that both sides have the same");
  EXPECT_EQ(reason("Established", ""), "");
  intent.sessions[0].password.reset();
  EXPECT_EQ(reason("Active", "Socket: Connection timed out"), "Socket: Connection timed out");
}

TEST(BgpReport, AllIsUpWhereEverySessionIsAndBirdHoldsNothingBack) {
  network::bgp::BgpIntent intent;
  intent.sessions.resize(1);
  intent.sessions[0].name = "Mesh_10_0_0_2";
  dataplane::BirdStatus bird;
  EXPECT_FALSE(all_up(report_of(intent, {}, bird))) << "BIRD does not know the session yet";
  bird.sessions = {{.name = "Mesh_10_0_0_2", .state = "OpenConfirm", .since = {}, .reason = {}}};
  EXPECT_FALSE(all_up(report_of(intent, {}, bird)));
  EXPECT_FALSE(all_up(bird));
  bird.sessions[0].state = "Established";
  EXPECT_TRUE(all_up(report_of(intent, {}, bird)));
  EXPECT_TRUE(all_up(bird));
  EXPECT_FALSE(all_up(report_of(intent, fail(ErrorCode::kInvalid, "refused"), bird)));
  bird.recovering = true;
  EXPECT_FALSE(all_up(report_of(intent, {}, bird)));
  EXPECT_FALSE(all_up(bird));
}

}  // namespace
}  // namespace ocicat::agent
