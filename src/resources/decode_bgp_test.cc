#include <gmock/gmock.h>

#include "resources/decode_test_support.h"

namespace ocicat {
namespace {

using testing::ElementsAre;

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

TEST(Community, HasTwoPartsOf16BitsOrThreeOf32) {
  EXPECT_EQ(Community::parse("65535:0"), (Community{false, {65535, 0, 0}}));
  EXPECT_EQ(Community::parse("4294967295:1:2"), (Community{true, {4294967295, 1, 2}}));
  for (const auto* text :
       {"", "1", "1:", ":1", "65536:1", "1:2:3:4", "1:4294967296:1", "1:-1", "+1:1", "1: 1", "a:b"})
    EXPECT_FALSE(Community::parse(text)) << text;
}

TEST(DecodeBgpConfiguration, ReadsEveryField) {
  const auto read = decoded<BgpConfiguration>(Kind::kBgpConfiguration, with_spec(R"(
    "asNumber": 64513, "nodeToNodeMeshEnabled": false, "bindMode": "NodeIP", "listenPort": 1179,
    "programClusterRoutes": "Disabled", "logSeverityScreen": "Debug", "ignoredInterfaces": ["docker*"],
    "ipv4NormalRoutePriority": 100, "localWorkloadPeeringIPV6": "fe80::1", "nodeMeshMaxRestartTime": "1m30.5s",
    "nodeMeshPassword": {"secretKeyRef": {"name": "bgp", "key": "mesh"}},
    "communities": [{"name": "gold", "value": "65000:1"}],
    "prefixAdvertisements": [{"cidr": "10.65.0.0/16", "communities": ["gold", "65000:1:2"]}],
    "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}, {"cidr": "10.96.0.0/12"}], "serviceExternalIPs": [{"cidr": "192.0.2.1"}],
    "serviceLoadBalancerIPs": [{"cidr": "198.51.100.0/24"}], "serviceLoadBalancerAggregation": "Disabled")"));
  BgpConfiguration expected;
  expected.metadata = read.metadata;
  expected.as_number = 64513;
  expected.mesh = false;
  expected.bind_mode = BgpConfiguration::BindMode::kNodeAddress;
  expected.programs = BgpConfiguration::Programs::kNone;
  expected.listen_port = 1179;
  expected.log_severity = "Debug";
  expected.ignored_interfaces = {"docker*"};
  expected.priorities[0] = 100;
  expected.workload_peering[1] = address("fe80::1");
  expected.mesh_restart_time = std::chrono::seconds(91);
  expected.mesh_password = SecretKey{"bgp", "mesh"};
  expected.advertisements = {
      {prefix("10.65.0.0/16"), {*Community::parse("65000:1"), *Community::parse("65000:1:2")}}};
  expected.service_cluster_nets = {prefix("10.96.0.0/12")};
  expected.service_external_nets = {prefix("192.0.2.1/32")};
  expected.service_load_balancer_nets = {prefix("198.51.100.0/24")};
  expected.aggregates_load_balancers = false;
  EXPECT_EQ(read, expected);
}

TEST(DecodeBgpConfiguration, KeepsApartWhatIsNotSaid) {
  const auto read = decoded<BgpConfiguration>(Kind::kBgpConfiguration, with_spec(""));
  EXPECT_FALSE(read.mesh || read.as_number || read.advertisements || read.listen_port || read.programs);
  EXPECT_TRUE(read.aggregates_load_balancers);
}

TEST(DecodeBgpConfiguration, TakesNoTextThatCouldEndUpInARoutersConfigurationUnchecked) {
  EXPECT_THAT(error_of(Kind::kBgpConfiguration, with_spec(R"("ignoredInterfaces": ["a\"; }"])")),
              testing::HasSubstr("ignoredInterfaces"));
  EXPECT_THAT(
      error_of(Kind::kBgpFilter, with_spec(R"("exportV4": [{"action": "Accept", "interface": "a\"b"}])")),
      testing::StartsWith("spec.exportV4[0].interface: "));
}

TEST(DecodeBgpPeer, ReadsEveryField) {
  const auto read = decoded<BgpPeer>(Kind::kBgpPeer, with_spec(R"(
    "node": "h1", "peerIP": "[fd00::1]:1179", "asNumber": 4200000000, "localASNumber": 65001, "filters": ["b", "a"],
    "nextHopMode": "Self", "sourceAddress": "None", "reversePeering": "Manual", "maxRestartTime": "10s",
    "keepaliveTime": "20s", "numAllowedLocalASNumbers": 2, "ttlSecurity": 1, "reachableBy": "fd00::2",
    "password": {"secretKeyRef": {"name": "bgp", "key": "tor"}})"));
  BgpPeer expected;
  expected.metadata = read.metadata;
  expected.node = "h1";
  expected.address = address("fd00::1");
  expected.port = 1179;
  expected.as_number = 4200000000;
  expected.local_as_number = 65001;
  expected.filters = {"b", "a"};
  expected.next_hop = BgpPeer::NextHop::kSelf;
  expected.from_node_address = false;
  expected.reverse = false;
  expected.restart_time = std::chrono::seconds(10);
  expected.keepalive_time = std::chrono::seconds(20);
  expected.allowed_local_as_numbers = 2;
  expected.ttl_hops = 1;
  expected.reachable_by = address("fd00::2");
  expected.password = SecretKey{"bgp", "tor"};
  EXPECT_EQ(read, expected);
}

TEST(DecodeBgpPeer, SaysWhatCannotBeRead) {
  const std::map<std::string, std::string> errors{
      {R"("peerIP": "10.0.0.1:0")",
       R"(spec.peerIP: "10.0.0.1:0": must be an address, or an address and a port such as 10.0.0.1:179 or [fd00::1]:179)"},
      {R"("peerSelector": "a ==")",
       R"(spec.peerSelector: "a ==": position 4: expected a string in quotes, found the end)"},
      {R"("asNumber": -1)", "spec.asNumber: -1: must be an AS number"},
      {R"("keepaliveTime": "soon")",
       R"(spec.keepaliveTime: "soon": must be a duration up to a day, such as 90s or 1m30s)"},
  };
  for (const auto& [spec, error] : errors) EXPECT_EQ(error_of(Kind::kBgpPeer, with_spec(spec)), error);
  EXPECT_EQ(decoded<BgpPeer>(Kind::kBgpPeer, with_spec(R"("asNumber": "64.512")")).as_number,
            (64U << 16) + 512);
}

TEST(BgpConfiguration, WithTheAsNumberZeroHasNone) {
  EXPECT_EQ(decoded<BgpConfiguration>(Kind::kBgpConfiguration, with_spec(R"("asNumber": 0)")).as_number,
            std::nullopt);
  EXPECT_EQ(decoded<Node>(Kind::kNode, with_spec(R"("bgp": {"asNumber": 0})")).as_number, std::nullopt);
  EXPECT_EQ(decoded<BgpPeer>(Kind::kBgpPeer, with_spec(R"("localASNumber": 0)")).local_as_number,
            std::nullopt);
}

TEST(DecodeBgpFilter, ReadsEveryCriterionAndOperation) {
  const auto read = decoded<BgpFilter>(Kind::kBgpFilter, with_spec(R"(
    "exportV4": [{"action": "Accept", "cidr": "10.0.0.1/8", "matchOperator": "NotIn", "prefixLength": {"min": 8, "max": 24},
      "source": "RemotePeers", "interface": "eth*", "peerType": "iBGP", "communities": {"values": ["65000:1"]},
      "asPathPrefix": [65001, 65002], "priority": 512,
      "operations": [{"addCommunity": {"value": "1:2:3"}}, {"prependASPath": {"prefix": [1, 2]}},
                     {"setPriority": {"value": 7}}]}],
    "importV6": [{"action": "Reject", "cidr": "fd00::/8", "matchOperator": "Equal"}])"));
  BgpFilterRule rule;
  rule.accept = true;
  rule.cidr = prefix("10.0.0.0/8");
  rule.match = BgpFilterRule::Match::kNotIn;
  rule.least_length = 8;
  rule.most_length = 24;
  rule.interface_name = "eth*";
  rule.from_remote_peers = true;
  rule.peer_type = BgpFilterRule::PeerType::kInternal;
  rule.community = Community{false, {65000, 1, 0}};
  rule.as_path_prefix = {65001, 65002};
  rule.priority = 512;
  rule.operations = {BgpFilterRule::AddCommunity{{true, {1, 2, 3}}}, BgpFilterRule::PrependAsPath{{1, 2}},
                     BgpFilterRule::SetPriority{7}};
  EXPECT_THAT(read.export_rules[0], ElementsAre(rule));
  ASSERT_EQ(read.import_rules[1].size(), 1U);
  EXPECT_EQ(read.import_rules[1][0].match, BgpFilterRule::Match::kEqual);
  EXPECT_EQ(
      error_of(Kind::kBgpFilter, with_spec(R"("importV6": [{"action": "Reject", "cidr": "10.0.0.0/8"}])")),
      R"(spec.importV6[0].cidr: "10.0.0.0/8": must be a CIDR of the rule's family)");
}

TEST(DecodeNode, ReadsItsAsNumberAndWhetherItReflectsRoutes) {
  const auto node = decoded<Node>(
      Kind::kNode, with_spec(R"("bgp": {"asNumber": 65001, "routeReflectorClusterID": "224.0.0.1"})"));
  EXPECT_EQ(node.as_number, 65001U);
  EXPECT_EQ(node.reflector_cluster, address("224.0.0.1"));
  EXPECT_EQ(error_of(Kind::kNode, with_spec(R"("bgp": {"routeReflectorClusterID": "::1"})")),
            R"(spec.bgp.routeReflectorClusterID: "::1": must be an IPv4 address)");
}

}  // namespace
}  // namespace ocicat
