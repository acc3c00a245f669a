#include <map>

#include "resources/decode_test_support.h"

namespace ocicat {
namespace {

TEST(DecodeWorkloadEndpoint, ReadsEveryField) {
  const auto endpoint = decoded<WorkloadEndpoint>(Kind::kWorkloadEndpoint, R"({
    "metadata": {"name": "h1-k8s-api-eth0", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                 "labels": {"app": "api"}},
    "spec": {"node": "h1", "orchestrator": "k8s", "workload": "w", "pod": "api", "endpoint": "eth0",
             "interfaceName": "cali1", "ipNetworks": ["10.65.0.2/32", "fd00::2/128", "10.65.0.3"],
             "profiles": ["kns.shop", "ksa.shop.default"], "serviceAccountName": "default",
             "allowSpoofedSourcePrefixes": ["10.0.0.0/8"],
             "ipNATs": [{"internalIP": "10.65.0.3", "externalIP": "172.16.0.5"}],
             "ports": [{"name": "http", "protocol": "TCP", "port": 8080}, {"name": "dns", "protocol": 17, "port": 53},
                       {"port": 1, "protocol": "TCP", "hostPort": 1}]}})");
  const WorkloadEndpoint expected{
      .metadata = {.name = "h1-k8s-api-eth0",
                   .ns = "shop",
                   .uid = "u",
                   .resource_version = "7",
                   .labels = {{"app", "api"},
                              {"projectcalico.org/namespace", "shop"},
                              {"projectcalico.org/orchestrator", "k8s"},
                              {"projectcalico.org/serviceaccount", "default"}}},
      .node = "h1",
      .orchestrator = "k8s",
      .workload = "api",
      .interface_name = "cali1",
      .addresses = {*IpAddress::parse("10.65.0.2"), *IpAddress::parse("fd00::2"),
                    *IpAddress::parse("10.65.0.3")},
      .profiles = {"kns.shop", "ksa.shop.default"},
      .ports = {{"http", kTcp, 8080}, {"dns", kUdp, 53}},
      .allowed_source_prefixes = {prefix("10.0.0.0/8")},
      .service_account = "default",
      .floating = {{*IpAddress::parse("172.16.0.5"), *IpAddress::parse("10.65.0.3")}}};
  EXPECT_EQ(endpoint, expected);
}

TEST(DecodeWorkloadEndpoint, HasItsLimits) {
  const auto of = [](std::string_view controls) {
    return decoded<WorkloadEndpoint>(Kind::kWorkloadEndpoint,
                                     with_spec(fmt::format(R"("qosControls": {})", controls)))
        .qos;
  };
  const auto limited = of(R"({"ingressBandwidth": 8000000, "ingressBurst": 2000, "egressBandwidth": 1})");
  EXPECT_EQ(limited.limits.ingress, (Bandwidth{.rate = 8'000'000, .burst = 2'000}));
  EXPECT_EQ(limited.limits.egress.rate, 1'000);
  EXPECT_EQ(limited.told, "");
  EXPECT_EQ(limited.bounded, "egressBandwidth of 1 is taken as 1000");
  EXPECT_EQ(of(R"({"ingressBandwidth": 0})"), QosControls{});
  EXPECT_EQ(of(R"({"dscp": 7})").told, "dscp has no effect: this dataplane marks no packets");
}

TEST(DecodeWorkloadEndpoint, HasSingleAddressesWhateverTheLengthOfItsNetworks) {
  const auto endpoint = decoded<WorkloadEndpoint>(
      Kind::kWorkloadEndpoint, with_spec(R"("ipNetworks": ["10.65.0.2/24", "fd00::2/64"])"));
  EXPECT_EQ(endpoint.addresses, (std::vector{*IpAddress::parse("10.65.0.2"), *IpAddress::parse("fd00::2")}));
}

TEST(DecodeWorkloadEndpoint, StripsLabelsThatOnlyProfilesMayHandDown) {
  const auto endpoint = decoded<WorkloadEndpoint>(Kind::kWorkloadEndpoint, R"({
    "metadata": {"name": "x", "namespace": "shop",
                 "labels": {"a": "1", "pcns.team": "admin", "pcsa.x": "y", "pcns": "stays", "z": "2",
                            "projectcalico.org/namespace": "elsewhere", "projectcalico.org/serviceaccount": "own"}},
    "spec": {"orchestrator": "lab"}})");
  EXPECT_EQ(endpoint.metadata.labels, (Labels{{"a", "1"},
                                              {"pcns", "stays"},
                                              {"projectcalico.org/namespace", "shop"},
                                              {"projectcalico.org/orchestrator", "lab"},
                                              {"projectcalico.org/serviceaccount", "own"},
                                              {"z", "2"}}));
}

TEST(DecodeWorkloadEndpoint, SaysWhatCannotBeRead) {
  const std::map<std::string, std::string> errors{
      {R"("ipNetworks": ["10.0.0.1"], "ipNATs": [{"internalIP": "10.0.0.2", "externalIP": "172.16.0.5"}])",
       R"(spec.ipNATs[0].internalIP: "10.0.0.2": must be one of ipNetworks, of the family of externalIP)"},
      {R"("ipNetworks": ["10.0.0.1"], "ipNATs": [{"internalIP": "10.0.0.1"}])",
       R"(spec.ipNATs[0].externalIP: "": must be an IP address)"},
      {R"("ipNetworks": ["10.0.0.1", "x"])", R"(spec.ipNetworks[1]: "x": must be a CIDR or an IP address)"},
      {R"("ipNetworks": "10.0.0.1")", R"(spec.ipNetworks: "10.0.0.1": must be a list)"},
      {R"("profiles": [1])", "spec.profiles[0]: 1: must be a string"},
      {R"("ports": [{"name": "a", "port": 0, "protocol": "TCP"}])",
       "spec.ports[0].port: 0: must be a whole number from 1 to 65535"},
      {R"("ports": [{"name": "a", "port": 80}])", "spec.ports[0].protocol: must be there"},
      {R"("node": {})", "spec.node: an object: must be a string"},
  };
  for (const auto& [spec, error] : errors)
    EXPECT_EQ(error_of(Kind::kWorkloadEndpoint, with_spec(spec)), error);
}

TEST(DecodeHostEndpoint, ReadsEveryField) {
  const auto endpoint = decoded<HostEndpoint>(Kind::kHostEndpoint, R"({
    "metadata": {"name": "h1-eth0", "labels": {"role": "edge"}},
    "spec": {"node": "h1", "interfaceName": "eth0", "expectedIPs": ["192.0.2.1", "2001:db8::1"], "profiles": ["open"],
             "ports": [{"name": "ssh", "protocol": "TCP", "port": 22}]}})");
  const HostEndpoint expected{
      .metadata = {.name = "h1-eth0", .labels = {{"role", "edge"}}},
      .node = "h1",
      .interface_name = "eth0",
      .expected_addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")},
      .profiles = {"open"},
      .ports = {{"ssh", kTcp, 22}}};
  EXPECT_EQ(endpoint, expected);
}

TEST(DecodeHostEndpoint, SaysWhatCannotBeRead) {
  EXPECT_EQ(error_of(Kind::kHostEndpoint, with_spec(R"("expectedIPs": ["192.0.2.0/24"])")),
            R"(spec.expectedIPs[0]: "192.0.2.0/24": must be an IP address)");
  EXPECT_EQ(error_of(Kind::kHostEndpoint, with_spec(R"("interfaceName": 1)")),
            "spec.interfaceName: 1: must be a string");
  EXPECT_EQ(error_of(Kind::kHostEndpoint, named(R"("x": 1)")), "spec: must be there");
}

TEST(DecodeNetworkSet, ReadsNetsAndLabels) {
  const std::string text = R"({"metadata": {"name": "x", "namespace": "shop", "labels": {"a": "b"}},
                               "spec": {"nets": ["10.1.2.3/8", "fd00::/8", "192.0.2.1"]}})";
  const auto set = decoded<NetworkSet>(Kind::kNetworkSet, text);
  EXPECT_EQ(set.nets, (std::vector{prefix("10.1.2.3/8"), prefix("fd00::/8"), prefix("192.0.2.1")}));
  EXPECT_EQ(set.metadata.labels, (Labels{{"a", "b"}}));
  EXPECT_EQ(set.metadata.ns, "shop");
  EXPECT_EQ(decoded<NetworkSet>(Kind::kGlobalNetworkSet, text).metadata.ns, "");
  EXPECT_EQ(error_of(Kind::kNetworkSet, with_spec(R"("nets": ["10.0.0.0/8", 3])")),
            "spec.nets[1]: 3: must be a CIDR or an IP address");
}

TEST(DecodeNode, ReadsItsAddresses) {
  const auto node = decoded<Node>(
      Kind::kNode, with_spec(R"("bgp": {"ipv4Address": "192.0.2.1/24", "ipv6Address": "2001:db8::1"})"));
  EXPECT_EQ(node.ipv4, prefix("192.0.2.1/24"));
  EXPECT_EQ(node.ipv6, prefix("2001:db8::1/128"));
  EXPECT_FALSE(decoded<Node>(Kind::kNode, named(R"("spec": {})")).ipv4);
  EXPECT_EQ(
      error_of(Kind::kNode, with_spec(R"("bgp": {"ipv4Address": "2001:db8::1"})")),
      R"(spec.bgp.ipv4Address: "2001:db8::1": must be an IPv4 address, with or without the length of its subnet)");
}

TEST(DecodeNode, ReadsTheEndsOfItsTunnels) {
  const auto node = decoded<Node>(
      Kind::kNode,
      with_spec(R"("ipv4VXLANTunnelAddr": "10.65.1.0", "vxlanTunnelMACAddrV6": "66:0A:00:00:00:01")"));
  EXPECT_EQ(node.vxlan[0].address, IpAddress::parse("10.65.1.0"));
  EXPECT_FALSE(node.vxlan[0].mac);
  EXPECT_FALSE(node.vxlan[1].address);
  EXPECT_EQ(node.vxlan[1].mac->to_string(), "66:0a:00:00:00:01");
  EXPECT_EQ(error_of(Kind::kNode, with_spec(R"("ipv4VXLANTunnelAddr": "fd00::1")")),
            R"(spec.ipv4VXLANTunnelAddr: "fd00::1": must be an IPv4 address)");
  const auto ipip = decoded<Node>(Kind::kNode, with_spec(R"("bgp": {"ipv4IPIPTunnelAddr": "10.65.1.1"})"));
  EXPECT_EQ(ipip.ipip, IpAddress::parse("10.65.1.1"));
  EXPECT_FALSE(node.ipip);
  EXPECT_EQ(error_of(Kind::kNode, with_spec(R"("bgp": {"ipv4IPIPTunnelAddr": "10.65.1"})")),
            R"(spec.bgp.ipv4IPIPTunnelAddr: "10.65.1": must be an IPv4 address)");
  EXPECT_EQ(error_of(Kind::kNode, with_spec(R"("vxlanTunnelMACAddr": "66:00")")),
            R"(spec.vxlanTunnelMACAddr: "66:00": must be six pairs of hexadecimal digits between colons)");
}

TEST(DecodeIpPool, ReadsHowItsPacketsTravel) {
  using enum IpPool::Encapsulation;
  const auto pool =
      decoded<IpPool>(Kind::kIpPool, with_spec(R"("cidr": "10.65.0.0/16", "vxlanMode": "CrossSubnet")"));
  EXPECT_EQ(pool.vxlan, kCrossSubnet);
  EXPECT_EQ(pool.ipip, kNever);
  EXPECT_EQ(decoded<IpPool>(Kind::kIpPool, with_spec(R"("cidr": "10.65.0.0/16", "ipipMode": "Always")")).ipip,
            kAlways);
  EXPECT_EQ(error_of(Kind::kIpPool, with_spec(R"("cidr": "10.65.0.0/16", "vxlanMode": "Often")")),
            R"(spec.vxlanMode: "Often": must be Never, CrossSubnet or Always)");
}

TEST(DecodeIpPool, ReadsItsNetworkMasked) {
  const auto pool =
      decoded<IpPool>(Kind::kIpPool, with_spec(R"("cidr": "10.65.1.0/16", "natOutgoing": true)"));
  EXPECT_EQ(pool.cidr, prefix("10.65.0.0/16"));
  EXPECT_TRUE(pool.nat_outgoing);
  EXPECT_FALSE(pool.disabled);
  EXPECT_EQ(error_of(Kind::kIpPool, with_spec("")), R"(spec.cidr: "": must be a CIDR)");
}

TEST(DecodeFelixConfiguration, SaysFieldsAsTheEnvironmentWould) {
  const auto configuration = decoded<FelixConfiguration>(Kind::kFelixConfiguration, R"j({
    "metadata": {"name": "default", "annotations": {"config.projectcalico.org/LogSeverityScreen": "Debug",
                                                    "config.projectcalico.org/Unknown": "x", "other": "y"}},
    "spec": {"nodeSelector": "has(a)", "logSeverityScreen": "Info", "vxlanEnabled": true, "mtu": 1450,
             "routeRefreshInterval": "1m30s", "iptablesLockProbeInterval": "50ms", "reportingTTL": "soon",
             "failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22}, {"port": 53, "net": "10.0.0.0/8"},
                                          {"protocol": "UDP", "port": 68, "net": "fd00::/8"}],
             "failsafeOutboundHostPorts": [], "externalNodesList": ["10.0.0.1", "10.0.0.2"],
             "routeTableRanges": [{"min": 1, "max": 5}, {"min": 7, "max": 9}], "routeTableRange": {"min": 1, "max": 2},
             "healthTimeoutOverrides": [{"name": "a", "timeout": "90s"}], "absent": null}})j");
  EXPECT_EQ(configuration.node_selector, "has(a)");
  EXPECT_EQ(configuration.values,
            (Labels{{"Unknown", "x"},
                    {"externalNodesList", "10.0.0.1,10.0.0.2"},
                    {"failsafeInboundHostPorts", "tcp:22,tcp:10.0.0.0/8:53,udp:[fd00::/8]:68"},
                    {"failsafeOutboundHostPorts", "none"},
                    {"healthTimeoutOverrides", "a=90s"},
                    {"iptablesLockProbeInterval", "50"},
                    {"logSeverityScreen", "Debug"},
                    {"mtu", "1450"},
                    {"reportingTTL", "soon"},
                    {"routeRefreshInterval", "90"},
                    {"routeTableRange", "1-2"},
                    {"routeTableRanges", "1-5,7-9"},
                    {"vxlanEnabled", "true"}}));
}

}  // namespace
}  // namespace ocicat
