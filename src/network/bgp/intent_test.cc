#include "network/bgp/intent.h"

#include <gmock/gmock.h>

#include "network/bgp/bgp_for_test.h"

namespace ocicat::network::bgp {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> names(const BgpIntent& intent) {
  std::vector<std::string> names;
  for (const auto& session : intent.sessions) names.push_back(session.name);
  return names;
}

const Session& session(const BgpIntent& intent, std::string_view name) {
  const auto it = std::ranges::find(intent.sessions, name, &Session::name);
  EXPECT_NE(it, intent.sessions.end()) << name;
  static const Session kNone;
  return it == intent.sessions.end() ? kNone : *it;
}

BgpPeer peer(std::string name) {
  BgpPeer peer;
  peer.metadata.name = std::move(name);
  return peer;
}

BgpPeer router(std::string name, std::string_view at, AsNumber as_number) {
  auto made = peer(std::move(name));
  made.address = address(at);
  made.as_number = as_number;
  return made;
}

BgpConfiguration& defaults(Input& input) {
  auto& configuration = input.configurations["default"];
  configuration.metadata.name = "default";
  return configuration;
}

TEST(NodeMesh, IsEveryHostWithEveryOtherInEachFamilyThatBothHave) {
  auto input = cluster(3);
  input.nodes["host3"].ipv6.reset();
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), ElementsAre("Mesh_10_0_0_2", "Mesh_10_0_0_3", "Mesh_fd00__2"));
  EXPECT_EQ(intent.router_id, address("10.0.0.1"));
  const auto& to2 = session(intent, "Mesh_10_0_0_2");
  EXPECT_EQ(to2.peer_as, kDefaultAsNumber);
  EXPECT_TRUE(to2.internal());
  EXPECT_EQ(to2.because, "the node mesh");
  EXPECT_EQ(to2.peer_node, "host2");
}

TEST(NodeMesh, HasTheSideWithTheLesserAddressTextWaitForTheOther) {
  auto input = cluster(2);
  put(input.nodes, node("host10", "10.0.0.10"));
  EXPECT_TRUE(session(intent_for(input, no_secrets), "Mesh_10_0_0_10").passive);
  input.node = "host2";
  const auto intent = intent_for(input, no_secrets);
  EXPECT_FALSE(session(intent, "Mesh_10_0_0_10").passive) << "\"10.0.0.10\" comes before \"10.0.0.2\"";
  EXPECT_FALSE(session(intent, "Mesh_10_0_0_1").passive);
}

TEST(NodeMesh, LeavesOutRouteReflectorsAndCanBeTurnedOff) {
  auto input = cluster(3);
  input.nodes["host3"].reflector_cluster = address("1.0.0.1");
  EXPECT_THAT(names(intent_for(input, no_secrets)), ElementsAre("Mesh_10_0_0_2", "Mesh_fd00__2"));
  input.node = "host3";
  EXPECT_THAT(names(intent_for(input, no_secrets)), IsEmpty());
  input.node = "host1";
  defaults(input).mesh = false;
  EXPECT_THAT(names(intent_for(input, no_secrets)), IsEmpty());
}

TEST(NodeMesh, TakesAsNumbersAndPortsOfItsHosts) {
  auto input = cluster(3);
  defaults(input).as_number = 65000;
  input.nodes["host2"].as_number = 65002;
  input.configurations["node.host3"].listen_port = 1179;
  const auto intent = intent_for(input, no_secrets);
  EXPECT_EQ(intent.as_number, 65000U);
  EXPECT_FALSE(session(intent, "Mesh_10_0_0_2").internal());
  EXPECT_EQ(session(intent, "Mesh_10_0_0_2").peer_as, 65002U);
  EXPECT_EQ(session(intent, "Mesh_10_0_0_3_port_1179").port, 1179);
}

TEST(NodeMesh, IsLeftOutWhereItsPasswordIsNotThere) {
  auto input = cluster(2);
  defaults(input).mesh_password = SecretKey{"bgp", "mesh"};
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), IsEmpty());
  EXPECT_THAT(intent.left_out, ElementsAre(LeftOut{"the node mesh", "there is no secret bgp"}));
  EXPECT_EQ(session(intent_for(input, any_secret), "Mesh_10_0_0_2").password, "bgp/mesh word");
}

TEST(BgpPeers, AreForEveryHostForOneOrForThoseSelected) {
  auto input = cluster(1);
  input.nodes["host1"].metadata.labels = {{"rack", "a"}};
  put(input.peers, router("global", "10.1.0.1", 65001));
  auto mine = router("mine", "10.1.0.2", 65001);
  mine.node = "host1";
  put(input.peers, mine);
  auto others = router("others", "10.1.0.3", 65001);
  others.node = "host2";
  put(input.peers, others);
  auto rack = router("rack", "fd01::4", 65001);
  rack.node_selector = "rack == 'a'";
  put(input.peers, rack);
  auto other_rack = router("other-rack", "10.1.0.5", 65001);
  other_rack.node_selector = "rack == 'b'";
  put(input.peers, other_rack);
  EXPECT_THAT(names(intent_for(input, no_secrets)),
              ElementsAre("Global_10_1_0_1", "Node_10_1_0_2", "Node_fd01__4"));
}

TEST(BgpPeers, OfHostsGoBothWaysUnlessSaidOtherwise) {
  auto input = cluster(3);
  defaults(input).mesh = false;
  input.nodes["host3"].reflector_cluster = address("1.0.0.1");
  input.nodes["host3"].metadata.labels = {{"reflector", "yes"}};
  auto to_reflectors = peer("to-reflectors");
  to_reflectors.node_selector = "!has(reflector)";
  to_reflectors.peer_selector = "has(reflector)";
  put(input.peers, to_reflectors);
  const auto client = intent_for(input, no_secrets);
  EXPECT_THAT(names(client), ElementsAre("Node_10_0_0_3", "Node_fd00__3"));
  EXPECT_FALSE(client.sessions[0].reflector_client);
  input.node = "host3";
  const auto reflector = intent_for(input, no_secrets);
  EXPECT_THAT(names(reflector),
              ElementsAre("Node_10_0_0_1", "Node_10_0_0_2", "Node_fd00__1", "Node_fd00__2"));
  EXPECT_TRUE(reflector.sessions[0].reflector_client);
  EXPECT_EQ(reflector.reflector_cluster, address("1.0.0.1"));
  input.peers["to-reflectors"].reverse = false;
  EXPECT_THAT(names(intent_for(input, no_secrets)), IsEmpty());
}

TEST(BgpPeers, ThatReflectForTheSameClusterAreNoClientsOfEachOther) {
  auto input = cluster(3);
  for (const auto* name : {"host1", "host2", "host3"})
    input.nodes[name].reflector_cluster = address("1.0.0.1");
  input.nodes["host3"].reflector_cluster = address("1.0.0.2");
  auto all = peer("all");
  all.peer_selector = "all()";
  put(input.peers, all);
  const auto intent = intent_for(input, no_secrets);
  EXPECT_FALSE(session(intent, "Global_10_0_0_2").reflector_client);
  EXPECT_TRUE(session(intent, "Global_10_0_0_3").reflector_client);
}

TEST(BgpPeers, ForCertainHostsComeBeforeThoseForAllAndTheseBeforeTheMesh) {
  auto input = cluster(2);
  put(input.peers, router("a-global", "10.0.0.2", 65001));
  auto mine = router("mine", "10.0.0.2", 65002);
  mine.node = "host1";
  put(input.peers, mine);
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), ElementsAre("Mesh_fd00__2", "Node_10_0_0_2"));
  EXPECT_EQ(session(intent, "Node_10_0_0_2").peer_as, 65002U);
  EXPECT_THAT(intent.left_out,
              ElementsAre(LeftOut{"BGPPeer a-global", "10.0.0.2 is a neighbour already, by BGPPeer mine"}));
}

TEST(BgpPeers, AreLeftOutWhereAFilterOrPasswordIsMissingOrCannotBeWritten) {
  auto input = cluster(1);
  auto filtered = router("filtered", "10.1.0.1", 65001);
  filtered.filters = {"gone"};
  put(input.peers, filtered);
  auto secret = router("secret", "10.1.0.2", 65001);
  secret.password = SecretKey{"s", "k"};
  put(input.peers, secret);
  put(input.peers, peer("nobody"));
  auto intent = intent_for(input, [](const SecretKey&) -> Result<std::string> { return "with \" quote"; });
  EXPECT_THAT(names(intent), IsEmpty());
  EXPECT_THAT(
      intent.left_out,
      ElementsAre(LeftOut{"BGPPeer filtered", "there is no BGPFilter gone"},
                  LeftOut{"BGPPeer nobody", "it says nobody to speak with"},
                  LeftOut{"BGPPeer secret", "the password s/k must not contain \" or control characters"}));
}

TEST(BgpPeers, AtNobodysAddressAreLeftOut) {
  auto input = cluster(1);
  put(input.peers, router("four", "0.0.0.0", 65001));
  put(input.peers, router("six", "::", 65001));
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), IsEmpty());
  EXPECT_THAT(intent.left_out, ElementsAre(LeftOut{"BGPPeer four", "0.0.0.0 is nobody's address"},
                                           LeftOut{"BGPPeer six", ":: is nobody's address"}));
}

// BIRD would refuse all of the configuration, on every host, for want of an interface.
TEST(BgpPeers, AtAddressesOfOneLinkOrOfManyOrByThemAreLeftOut) {
  auto input = cluster(1);
  put(input.peers, router("broadcast", "255.255.255.255", 65001));
  put(input.peers, router("link", "fe80::1", 65001));
  put(input.peers, router("many", "224.0.0.5", 65001));
  put(input.peers, router("many6", "ff02::1", 65001));
  put(input.peers, router("other", "10.1.0.1", 65001));
  auto behind = router("behind", "fd01::1", 65001);
  behind.reachable_by = address("fe80::9");
  put(input.peers, behind);
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), ElementsAre("Global_10_1_0_1"));
  EXPECT_THAT(intent.left_out,
              ElementsAre(LeftOut{"BGPPeer behind", "fe80::9 is an address of one link alone"},
                          LeftOut{"BGPPeer broadcast", "255.255.255.255 is an address of many"},
                          LeftOut{"BGPPeer link", "fe80::1 is an address of one link alone"},
                          LeftOut{"BGPPeer many", "224.0.0.5 is an address of many"},
                          LeftOut{"BGPPeer many6", "ff02::1 is an address of many"}));
}

TEST(NodeMesh, GoesOnWithoutANodeThatSaysALinkLocalAddress) {
  auto input = cluster(3);
  input.nodes["host2"].ipv6 = prefix("fe80::2/64");
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), ElementsAre("Mesh_10_0_0_2", "Mesh_10_0_0_3", "Mesh_fd00__3"));
  EXPECT_THAT(intent.left_out,
              ElementsAre(LeftOut{"the node mesh", "fe80::2 of Node host2 is an address of one link alone"}));
  input.node = "host2";
  const auto its_own = intent_for(input, no_secrets);
  EXPECT_THAT(names(its_own), ElementsAre("Mesh_10_0_0_1", "Mesh_10_0_0_3"));
  EXPECT_EQ(its_own.left_out, intent.left_out) << "once, however many neighbours";
}

TEST(BgpPeers, WithoutAnAsNumberOfTheirOwnHaveTheHostsAndWorkloadsAreLeftOut) {
  auto input = cluster(1);
  put(input.peers, router("tor", "10.1.0.1", 0));
  auto routers = peer("routers");
  routers.local_workload_selector = "all()";
  put(input.peers, routers);
  input.workloads = {{"shop/router", {}, {address("10.65.0.9")}}};
  const auto intent = intent_for(input, no_secrets);
  EXPECT_EQ(session(intent, "Global_10_1_0_1").peer_as, kDefaultAsNumber);
  EXPECT_THAT(intent.left_out, ElementsAre(LeftOut{"BGPPeer routers", "10.65.0.9 has no AS number"}));
}

TEST(BgpIntentOf, AHostAtNobodysAddressHasARouterIdAllTheSame) {
  auto input = cluster(1);
  input.nodes["host1"].ipv4 = prefix("0.0.0.0/0");
  EXPECT_NE(intent_for(input, no_secrets).router_id, IpAddress::v4(0));
}

TEST(BgpPeers, OfWorkloadsAreThoseOfThisHostThatAreSelected) {
  auto input = cluster(1);
  defaults(input).workload_peering[0] = address("169.254.7.7");
  input.workloads = {{"shop/router", {{"role", "router"}}, {address("10.65.0.9"), address("fd65::9")}},
                     {"shop/other", {}, {address("10.65.0.10")}}};
  auto routers = peer("routers");
  routers.local_workload_selector = "role == 'router'";
  routers.as_number = 65100;
  put(input.peers, routers);
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), ElementsAre("Local_Workload_10_65_0_9", "Local_Workload_fd65__9"));
  EXPECT_EQ(session(intent, "Local_Workload_10_65_0_9").local, address("169.254.7.7"));
  EXPECT_EQ(session(intent, "Local_Workload_fd65__9").local, std::nullopt);
}

TEST(Blocks, OfThisHostAreToldWhereTheyAreConfirmed) {
  auto input = cluster(2);
  input.blocks = {{prefix("10.65.0.64/26"), "host1", true},
                  {prefix("10.65.0.0/26"), "host1", false},
                  {prefix("fd65::/122"), "host1", true},
                  {prefix("10.65.1.0/26"), "host2", true}};
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(intent.of(Family::kIpv4).confirmed_blocks, ElementsAre(prefix("10.65.0.64/26")));
  EXPECT_THAT(intent.of(Family::kIpv4).unconfirmed_blocks, ElementsAre(prefix("10.65.0.0/26")));
  EXPECT_THAT(intent.of(Family::kIpv6).confirmed_blocks, ElementsAre(prefix("fd65::/122")));
}

TEST(Pools, DecideWhatIsToldAndWhatTheRouterWrites) {
  auto input = cluster(1);
  auto hidden = pool("hidden", "10.66.0.0/16");
  hidden.exported = false;
  put(input.pools, hidden);
  auto overlay = pool("overlay", "10.67.0.0/16");
  overlay.vxlan = IpPool::Encapsulation::kAlways;
  put(input.pools, overlay);
  auto intent = intent_for(input, no_secrets);
  const auto& ipv4 = intent.of(Family::kIpv4);
  EXPECT_THAT(ipv4.exported_pools, ElementsAre(prefix("10.65.0.0/16"), prefix("10.67.0.0/16")));
  EXPECT_THAT(ipv4.hidden_pools, ElementsAre(prefix("10.66.0.0/16")));
  EXPECT_THAT(ipv4.unprogrammed_pools, ElementsAre(prefix("10.67.0.0/16")));
  defaults(input).programs = BgpConfiguration::Programs::kNone;
  intent = intent_for(input, no_secrets);
  EXPECT_EQ(intent.of(Family::kIpv4).unprogrammed_pools.size(), 3U);
}

TEST(Services, AreToldAsNetsAndThoseOfOneHostByAddress) {
  auto input = cluster(1);
  auto& configuration = defaults(input);
  configuration.service_cluster_nets = {prefix("10.96.0.0/12"), prefix("fd96::/112")};
  configuration.service_external_nets = {prefix("192.0.2.1/32"), prefix("192.0.2.2/32")};
  configuration.service_load_balancer_nets = {prefix("198.51.100.0/24")};
  input.services = {
      {"shop/all", Service::From::kCluster, false, {address("10.96.0.1")}, {address("192.0.2.1")}, {}},
      {"shop/here",
       Service::From::kLocal,
       true,
       {address("10.96.0.2")},
       {address("203.0.113.1")},
       {address("198.51.100.7")}},
      {"shop/elsewhere", Service::From::kLocal, false, {address("10.96.0.3")}, {address("192.0.2.2")}, {}}};
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(intent.of(Family::kIpv4).services,
              ElementsAre(prefix("10.96.0.0/12"), prefix("10.96.0.2/32"), prefix("192.0.2.1/32"),
                          prefix("198.51.100.0/24"), prefix("198.51.100.7/32")));
  EXPECT_THAT(intent.of(Family::kIpv6).services, ElementsAre(prefix("fd96::/112")));
}

TEST(Services, OfLoadBalancersCanBeToldOneByOne) {
  auto input = cluster(1);
  defaults(input).service_load_balancer_nets = {prefix("198.51.100.0/24")};
  defaults(input).aggregates_load_balancers = false;
  input.services = {{"shop/a", Service::From::kCluster, false, {}, {}, {address("198.51.100.7")}}};
  EXPECT_THAT(intent_for(input, no_secrets).of(Family::kIpv4).services,
              ElementsAre(prefix("198.51.100.7/32")));
}

TEST(Services, AreNotToldByAHostThatIsLabelledSo) {
  auto input = cluster(1);
  defaults(input).service_cluster_nets = {prefix("10.96.0.0/12")};
  input.nodes["host1"].metadata.labels = {{"node.kubernetes.io/exclude-from-external-load-balancers", ""}};
  EXPECT_THAT(intent_for(input, no_secrets).of(Family::kIpv4).services, IsEmpty());
}

TEST(BgpIntentOf, AHostThatIsNotKnownSpeaksWithNobody) {
  auto input = cluster(2, "host9");
  put(input.peers, router("global", "10.1.0.1", 65001));
  const auto intent = intent_for(input, no_secrets);
  EXPECT_THAT(names(intent), IsEmpty());
  EXPECT_THAT(intent.left_out,
              ElementsAre(LeftOut{"Node host9", "it is not known: this host speaks with nobody"}));
  EXPECT_TRUE(intent.router_id.is_v4());
}

TEST(BgpIntentOf, OneHostComesBeforeTheClusters) {
  auto input = cluster(1);
  defaults(input).log_severity = "Warning";
  defaults(input).ignored_interfaces = {"docker*"};
  defaults(input).priorities[0] = 100;
  auto& own = input.configurations["node.host1"];
  own.log_severity = "Debug";
  own.bind_mode = BgpConfiguration::BindMode::kNodeAddress;
  const auto intent = intent_for(input, no_secrets);
  EXPECT_EQ(intent.log_severity, "Debug");
  EXPECT_THAT(intent.ignored_interfaces, ElementsAre("docker*"));
  EXPECT_EQ(intent.of(Family::kIpv4).metric, 100U);
  EXPECT_TRUE(intent.binds_node_address);
}

}  // namespace
}  // namespace ocicat::network::bgp
