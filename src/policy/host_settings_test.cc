#include "policy/host_settings.h"

#include <gtest/gtest.h>

#include <tuple>

#include <map>

#include "policy/settings_in_effect.h"

namespace ocicat {
namespace {

FelixConfiguration configuration(const std::string& name, Labels values, std::string node_selector = {}) {
  FelixConfiguration result;
  result.metadata.name = name;
  result.node_selector = std::move(node_selector);
  result.values = std::move(values);
  return result;
}

FelixConfigurations all(std::vector<FelixConfiguration> list) {
  FelixConfigurations result;
  for (auto& one : list) result.emplace(one.metadata.name, one);
  return result;
}

TEST(SettingsResolver, WithoutConfigurationTheBuiltInValuesHold) {
  EXPECT_EQ(resolve_settings({}, "a", {}), HostSettings{});
}

TEST(SettingsResolver, EachFieldThatIsSaidToHaveAnEffectHasOne) {
  const std::map<std::string_view, Labels> samples{
      {"allowIPIPPacketsFromWorkloads", {{"allowIPIPPacketsFromWorkloads", "true"}}},
      {"allowVXLANPacketsFromWorkloads", {{"allowVXLANPacketsFromWorkloads", "true"}}},
      {"bpfAttachType", {{"bpfAttachType", "TC"}}},
      {"bpfConntrackTimeouts", {{"bpfConntrackTimeouts", "udpTimeout=1s"}}},
      {"bpfEnforceRPF", {{"bpfEnforceRPF", "Strict"}}},
      {"bpfRedirectToPeer", {{"bpfRedirectToPeer", "Disabled"}}},
      {"defaultEndpointToHostAction", {{"defaultEndpointToHostAction", "Accept"}}},
      {"disableConntrackInvalidCheck", {{"disableConntrackInvalidCheck", "true"}}},
      {"externalNodesList", {{"externalNodesList", "203.0.113.9"}}},
      {"failsafeInboundHostPorts", {{"failsafeInboundHostPorts", "none"}}},
      {"failsafeOutboundHostPorts", {{"failsafeOutboundHostPorts", "none"}}},
      {"featureDetectOverride", {{"featureDetectOverride", "ChecksumOffloadBroken=true"}}},
      {"floatingIPs", {{"floatingIPs", "Enabled"}}},
      {"flowLogsFlushInterval", {{"flowLogsFlushInterval", "15"}}},
      {"interfacePrefix", {{"interfacePrefix", "tap"}}},
      {"ipipEnabled", {{"ipipEnabled", "true"}}},
      {"ipipMTU", {{"ipipMTU", "1300"}}},
      {"iptablesFilterDenyAction", {{"iptablesFilterDenyAction", "Reject"}}},
      {"iptablesNATOutgoingInterfaceFilter", {{"iptablesNATOutgoingInterfaceFilter", "eth0"}}},
      {"logActionRateLimit", {{"logActionRateLimit", "1/day"}}},
      {"logActionRateLimitBurst", {{"logActionRateLimitBurst", "7"}}},
      {"logPrefix", {{"logPrefix", "mine"}}},
      {"mtuIfacePattern", {{"mtuIfacePattern", "^x"}}},
      {"natOutgoingAddress", {{"natOutgoingAddress", "203.0.113.9"}}},
      {"natOutgoingExclusions", {{"natOutgoingExclusions", "IPPoolsAndHostIPs"}}},
      {"natPortRange", {{"natPortRange", "1024:2048"}}},
      {"nftablesFilterDenyAction", {{"nftablesFilterDenyAction", "Reject"}}},
      {"nftablesMarkMask", {{"nftablesMarkMask", "0xff"}}},
      {"serviceLoopPrevention", {{"serviceLoopPrevention", "Reject"}}},
      {"vxlanEnabled", {{"vxlanEnabled", "true"}}},
      {"vxlanMTU", {{"vxlanMTU", "1400"}}},
      {"vxlanMTUV6", {{"vxlanMTUV6", "1400"}}},
      {"vxlanPort", {{"vxlanPort", "8472"}}},
      {"vxlanVNI", {{"vxlanVNI", "7"}}},
      {"wireguardEnabled", {{"wireguardEnabled", "true"}}},
      {"wireguardEnabledV6", {{"wireguardEnabledV6", "true"}}},
      {"wireguardListeningPort", {{"wireguardEnabled", "true"}, {"wireguardListeningPort", "7"}}},
      {"wireguardListeningPortV6", {{"wireguardEnabledV6", "true"}, {"wireguardListeningPortV6", "7"}}},
      {"workloadSourceSpoofing", {{"workloadSourceSpoofing", "Any"}}},
      {"xdpEnabled", {{"xdpEnabled", "false"}}},
  };
  for (const auto& [field, with, parts] : settings_in_effect()) {
    if (field == "nodeSelector") continue;  // says for whom it counts
    ASSERT_TRUE(samples.contains(field)) << field;
    auto values = samples.at(field);
    const auto settings = resolve_settings(all({configuration("default", values)}), "a", {});
    values.erase(std::string(field));
    EXPECT_NE(settings, resolve_settings(all({configuration("default", values)}), "a", {})) << field;
  }
}

TEST(SettingsResolver, EveryPartInEffectMakesADifferenceAndNoOther) {
  const auto settings = [](const std::string& field, const std::string& text) {
    return resolve_settings(all({configuration("default", {{field, text}})}), "a", {});
  };
  for (const auto& [field, other, value] :
       {std::tuple{"bpfConntrackTimeouts", "creationGracePeriod=7s", "=7s"},
        {"featureDetectOverride", "IPIPDeviceIsL3=true", "=true"}}) {
    const auto unset = settings(field, "");
    EXPECT_EQ(settings(field, other), unset) << other;
    ASSERT_FALSE(find_setting(field)->parts.empty());
    for (const auto& part : find_setting(field)->parts)
      EXPECT_NE(settings(field, std::string(part) + value), unset) << part;
  }
}

TEST(SettingsResolver, ReadsEveryField) {
  const auto settings =
      resolve_settings(all({configuration("default", {{"interfacePrefix", "cali,tap"},
                                                      {"defaultEndpointToHostAction", "ACCEPT"},
                                                      {"disableConntrackInvalidCheck", "true"},
                                                      {"iptablesFilterDenyAction", "Reject"},
                                                      {"bpfRedirectToPeer", "Disabled"},
                                                      {"logPrefix", "mine"}})}),
                       "a", {});
  EXPECT_EQ(settings.workload_prefixes, (std::vector<std::string>{"cali", "tap"}));
  EXPECT_EQ(settings.endpoint_to_host, HostSettings::ToHost::kAccept);
  EXPECT_FALSE(settings.drop_invalid);
  EXPECT_TRUE(settings.reject);
  EXPECT_FALSE(settings.redirect);
  EXPECT_EQ(settings.log_prefix, "mine");
}

TEST(SettingsResolver, ProgramsAreAtInterfacesByWhatIsAskedFor) {
  using AttachType = HostSettings::AttachType;
  for (const auto& [text, type] : {std::pair{"TC", AttachType::kTc},
                                   {"TCX", AttachType::kTcx},
                                   {"Netkit", AttachType::kBest},
                                   {"", AttachType::kBest}}) {
    const auto settings =
        resolve_settings(all({configuration("default", {{"bpfAttachType", text}})}), "a", {});
    EXPECT_EQ(settings.attach_type, type) << text;
  }
}

TEST(SettingsResolver, WhatOneLineOfALogRuleCostsIsReadAsItIsWritten) {
  const auto limit = [](const char* rate, const char* burst) {
    return resolve_settings(all({configuration("default", {{"logActionRateLimit", rate},
                                                           {"logActionRateLimitBurst", burst}})}),
                            "a", {})
        .log_limit;
  };
  EXPECT_EQ(limit("", ""), HostSettings::LogLimit{});
  EXPECT_EQ(limit("10/minute", ""), (HostSettings::LogLimit{10, std::chrono::minutes(1), 5}));
  EXPECT_EQ(limit("9999/day", "7"), (HostSettings::LogLimit{9999, std::chrono::hours(24), 7}));
  for (const auto* odd : {"10", "10/week", "0/second", "10000/second", "/second"})
    EXPECT_EQ(limit(odd, ""), HostSettings::LogLimit{}) << odd;
}

TEST(SettingsResolver, TimesOfConnectionsAreReadOneByOne) {
  using namespace std::chrono_literals;
  const auto timeouts = [](const char* text) {
    return resolve_settings(all({configuration("default", {{"bpfConntrackTimeouts", text}})}), "a", {})
        .timeouts;
  };
  HostSettings::Timeouts want;
  want.tcp_opening = 1500ms;
  want.udp = 2min;
  EXPECT_EQ(
      timeouts("TCPSynSent=1.5s,udpTimeout=120,icmpTimeout=Auto,genericTimeout=0s,tcpEstablished=x,other=1s"),
      want);
  EXPECT_EQ(timeouts("tcpEstablished=9999h").tcp, HostSettings::Timeouts::kLongest);
}

TEST(SettingsResolver, FlowsAreSummedUpForAsLongAsIsSaid) {
  using namespace std::chrono_literals;
  const auto window = [](const char* text) {
    return resolve_settings(all({configuration("default", {{"flowLogsFlushInterval", text}})}), "a", {})
        .flow_window;
  };
  EXPECT_EQ(window("15"), 15s);
  EXPECT_EQ(window("1m30s"), 90s);
  EXPECT_EQ(window("0"), 5min);
}

TEST(SettingsResolver, WhetherOpenConnectionsStayIsSaidForOneHostBeforeAll) {
  const auto resolved = [](const AgentConfigurations& configurations) {
    return resolve_settings({}, "a", {}, {}, configurations).open_connections;
  };
  const auto saying = [](std::optional<OpenConnections> what) {
    AgentConfiguration one;
    one.open_connections = what;
    return one;
  };
  using enum OpenConnections;
  EXPECT_EQ(resolved({}), kFollowPolicy);
  EXPECT_EQ(resolved({{"default", saying(kStay)}}), kStay);
  EXPECT_EQ(resolved({{"default", saying(kStay)}, {"node.a", saying(kFollowPolicy)}}), kFollowPolicy);
  EXPECT_EQ(resolved({{"default", saying(kStay)}, {"node.a", saying({})}}), kStay);
  EXPECT_EQ(resolved({{"node.b", saying(kStay)}}), kFollowPolicy);
}

TEST(SettingsResolver, OverlaysFollowFromPoolsUnlessAConfigurationSaysOtherwise) {
  NetworkResources network;
  auto& pool = network.pools["p"];
  pool.cidr = *Prefix::parse("10.65.0.0/16");
  pool.vxlan = IpPool::Encapsulation::kCrossSubnet;
  network.pools["six"].cidr = *Prefix::parse("fd00::/48");
  auto overlays = resolve_settings({}, "a", {}, network).overlays;
  EXPECT_TRUE(overlays.vxlan4);
  EXPECT_FALSE(overlays.vxlan6);
  EXPECT_FALSE(overlays.ipip);
  overlays =
      resolve_settings(
          all({configuration("default", {{"vxlanEnabled", "false"},
                                         {"ipipEnabled", "true"},
                                         {"vxlanVNI", "7"},
                                         {"featureDetectOverride", "A=false,ChecksumOffloadBroken=true"},
                                         {"vxlanMTUV6", "1400"},
                                         {"ipipMTU", "1300"},
                                         {"externalNodesList", "203.0.113.9,198.51.100.1/24"},
                                         {"wireguardEnabled", "true"},
                                         {"wireguardListeningPortV6", "9"}})}),
          "a", {}, network)
          .overlays;
  EXPECT_FALSE(overlays.vxlan4);
  EXPECT_TRUE(overlays.ipip);
  EXPECT_EQ(overlays.vni, 7U);
  EXPECT_EQ(overlays.mtus, (std::array<std::uint32_t, 2>{0, 1400}));
  EXPECT_EQ(overlays.checksum_offload_broken, true);
  EXPECT_EQ(overlays.ipip_mtu, 1300U);
  EXPECT_EQ(overlays.external_nodes,
            (std::vector{*Prefix::parse("203.0.113.9/32"), *Prefix::parse("198.51.100.0/24")}));
  EXPECT_EQ(overlays.wireguard_ports, (std::array<std::uint16_t, 2>{51820, 0}));
}

TEST(SettingsResolver, UplinksAreAsTheConfigurationNamesThem) {
  EXPECT_EQ(resolve_settings({}, "a", {}).uplinks, kUplinks);
  EXPECT_EQ(
      resolve_settings(all({configuration("default", {{"mtuIfacePattern", "^bond0$"}})}), "a", {}).uplinks,
      "^bond0$");
}

TEST(SettingsResolver, NetsOfServicesComeFromTheDefaultBgpConfiguration) {
  NetworkResources network;
  network.bgp_configurations["default"].service_load_balancer_nets = {*Prefix::parse("10.96.0.0/12")};
  network.bgp_configurations["default"].service_external_nets = {*Prefix::parse("10.96.0.0/12"),
                                                                 *Prefix::parse("192.0.2.0/24")};
  network.bgp_configurations["node.a"].service_cluster_nets = {*Prefix::parse("10.97.0.0/16")};
  const auto settings = resolve_settings(
      all({configuration("default", {{"serviceLoopPrevention", "Reject"}})}), "a", {}, network);
  EXPECT_EQ(settings.service_nets,
            (std::vector{*Prefix::parse("10.96.0.0/12"), *Prefix::parse("192.0.2.0/24")}));
  EXPECT_EQ(settings.service_loops, HostSettings::ServiceLoops::kReject);
}

TEST(SettingsResolver, PoolsSayWhatIsInsideAndWhoIsTranslated) {
  NetworkResources network;
  network.pools["pods"].cidr = *Prefix::parse("10.65.0.0/16");
  network.pools["pods"].nat_outgoing = true;
  network.pools["more"].cidr = *Prefix::parse("10.64.0.0/16");
  network.pools["services"].cidr = *Prefix::parse("10.96.0.0/16");
  network.pools["services"].allowed_uses = static_cast<std::uint8_t>(PoolUse::kLoadBalancer);
  const auto nat_of = [&](Labels values) {
    return resolve_settings(all({configuration("default", std::move(values))}), "a", {}, network).nat;
  };
  HostSettings::NatOutgoing expected;
  expected.sources = {*Prefix::parse("10.65.0.0/16")};
  expected.inside = {*Prefix::parse("10.64.0.0/16"), *Prefix::parse("10.65.0.0/16")};
  EXPECT_EQ(nat_of({{"natPortRange", "0"}, {"natOutgoingExclusions", "IPPoolsOnly"}}), expected);
  EXPECT_EQ(nat_of({{"natPortRange", "9:8"}, {"natOutgoingAddress", "fd00::1"}}), expected);
  expected.hosts_inside = true;
  expected.address = IpAddress::parse("192.0.2.1");
  expected.ports = {20000, 29999};
  expected.interface = "eth+";
  EXPECT_EQ(nat_of({{"natOutgoingExclusions", "IPPoolsAndHostIPs"},
                    {"natOutgoingAddress", "192.0.2.1"},
                    {"natPortRange", "20000:29999"},
                    {"iptablesNATOutgoingInterfaceFilter", "eth+"}}),
            expected);
  EXPECT_EQ(nat_of({{"natPortRange", "7"}}).ports, (std::pair<std::uint16_t, std::uint16_t>{7, 7}));
}

TEST(SettingsResolver, TheHostsOwnConfigurationComesBeforeASelectingOneBeforeTheDefault) {
  const auto everything =
      all({configuration(
               "default",
               {{"logPrefix", "d"}, {"interfacePrefix", "tap"}, {"iptablesFilterDenyAction", "Reject"}}),
           configuration("node.a", {{"logPrefix", "n"}}), configuration("node.b", {{"logPrefix", "other"}}),
           configuration("racks", {{"logPrefix", "s"}, {"interfacePrefix", "eni"}}, "rack == '1'")});
  const auto here = resolve_settings(everything, "a", {{"rack", "1"}});
  EXPECT_EQ(here.log_prefix, "n");
  EXPECT_EQ(here.workload_prefixes, std::vector<std::string>{"eni"});
  EXPECT_TRUE(here.reject);
  const auto elsewhere = resolve_settings(everything, "c", {{"rack", "2"}});
  EXPECT_EQ(elsewhere.log_prefix, "d");
  EXPECT_EQ(resolve_settings(everything, std::nullopt, {}).log_prefix, "d");
}

TEST(SettingsResolver, ALosingSelectingConfigurationIsIgnoredWhole) {
  const auto settings =
      resolve_settings(all({configuration("a-racks", {{"logPrefix", "first"}}, "has(rack)"),
                            configuration("b-racks", {{"interfacePrefix", "eni"}}, "has(rack)")}),
                       "a", {{"rack", "1"}});
  EXPECT_EQ(settings.log_prefix, "first");
  EXPECT_EQ(settings.workload_prefixes, std::vector<std::string>{"cali"});
}

TEST(SettingsResolver, EmptyTextIsNotSetAndUnreadableTextIsTheBuiltInValue) {
  const auto settings = resolve_settings(
      all({configuration("default", {{"logPrefix", "d"}, {"interfacePrefix", "tap"}}),
           configuration("node.a", {{"logPrefix", ""}, {"interfacePrefix", "no spaces, please"}})}),
      "a", {});
  EXPECT_EQ(settings.log_prefix, "d");
  EXPECT_EQ(settings.workload_prefixes, std::vector<std::string>{"cali"});
}

TEST(SettingsResolver, FailsafePortsReplaceTheBuiltInOnes) {
  const auto with = [](const std::string& inbound) {
    return resolve_settings(all({configuration("default", {{"failsafeInboundHostPorts", inbound}})}), "a", {})
        .failsafes;
  };
  using policy::FailsafePort;
  EXPECT_EQ(with("tcp:22,udp:10.1.2.3/8:68,sctp:[fd00::/8]:99, 179").inbound,
            (std::vector<FailsafePort>{{kTcp, 22, {}},
                                       {kUdp, 68, Prefix::parse("10.0.0.0/8")},
                                       {kSctp, 99, Prefix::parse("fd00::/8")},
                                       {kTcp, 179, {}}}));
  EXPECT_TRUE(with("none").inbound.empty());
  EXPECT_EQ(with("none").outbound, policy::Failsafes{}.outbound);
  for (const auto* unreadable : {"tcp", "icmp:1", "tcp:70000", "tcp:10.0.0.0/99:1", "tcp:22,", "22 23"}) {
    EXPECT_EQ(with(unreadable), policy::Failsafes{}) << unreadable;
  }
}

TEST(SettingsResolver, TheAcceptMarkIsTheLowestBitOfTheMask) {
  const auto with = [](const std::string& mask) {
    return resolve_settings(all({configuration("default", {{"nftablesMarkMask", mask}})}), "a", {})
        .accept_mark;
  };
  EXPECT_EQ(with("0xffff0000"), 0x10000U);
  EXPECT_EQ(with("0xf00"), 0x100U);
  EXPECT_EQ(with("48"), 16U);
  EXPECT_EQ(with("0"), 0x10000U);
  EXPECT_EQ(with("all"), 0x10000U);
}

}  // namespace
}  // namespace ocicat
