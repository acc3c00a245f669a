#include "cni/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cni/wishes.h"

namespace ocicat::cni {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Call call_with(std::string_view keys, std::string args = {}) {
  const auto config =
      fmt::format(R"({{"cniVersion":"1.1.0","name":"pods"{}{}}})", keys.empty() ? "" : ",", keys);
  const auto call = read_call(
      {.command = "ADD", .container_id = "c", .netns = "/n", .ifname = "eth0", .args = std::move(args)},
      config);
  CHECK(call);
  return *call;
}

Outcome<Configuration> configuration(std::string_view keys, std::string args = {}) {
  return read_configuration(call_with(keys, std::move(args)));
}

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

TEST(Configuration, WithoutKeysGivesOneIpv4AddressAndWaitsForPolicy) {
  const auto read = configuration("");
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(read->ipv4);
  EXPECT_FALSE(read->ipv6);
  EXPECT_FALSE(read->policy_timeout.has_value());
  EXPECT_FALSE(read->mtu.has_value());
}

TEST(Configuration, TakesCalicosKeys) {
  const auto read = configuration(R"(
      "type":"calico","nodename":"host1","mtu":1440,"datastore_type":"kubernetes","log_level":"info",
      "nodename_file_optional":false,"kubernetes":{"kubeconfig":"/etc/x"},"policy":{"type":"k8s"},
      "etcd_endpoints":"http://127.0.0.1:2379","endpoint_status_dir":"/var/run/calico",
      "ipam":{"type":"calico-ipam","assign_ipv4":"true","assign_ipv6":"true","ipv4_pools":["10.0.0.0/16"],
              "ipv6_pools":["six"]},
      "container_settings":{"allow_ip_forwarding":true},"num_queues":4,"policy_setup_timeout_seconds":7,
      "readiness_gates":["http://localhost:9099/readiness"],
      "feature_control":{"ip_addrs_no_ipam":true,"floating_ips":"true"},"dns":{"nameservers":["10.0.0.1"]})");
  ASSERT_TRUE(read.has_value()) << read.error().details;
  EXPECT_EQ(read->node, "host1");
  EXPECT_EQ(read->mtu, 1440U);
  EXPECT_TRUE(read->ipv6);
  EXPECT_THAT(read->ipv4_pools, ElementsAre("10.0.0.0/16"));
  EXPECT_THAT(read->ipv6_pools, ElementsAre("six"));
  EXPECT_TRUE(read->ip_forwarding);
  EXPECT_TRUE(read->addresses_without_ipam);
  EXPECT_TRUE(read->floating_addresses);
  EXPECT_EQ(read->queues, 4U);
  EXPECT_EQ(read->policy_timeout, std::chrono::seconds(7));
  EXPECT_THAT(read->readiness_gates, ElementsAre("http://localhost:9099/readiness"));
  EXPECT_TRUE(read->dns.contains("nameservers"));
}

TEST(Configuration, TakesWhatTheRuntimeSaysOfTheWorkload) {
  const auto read = configuration(R"(
      "args":{"cni":{"labels":[{"key":"app","value":"web"}],"ips":["10.0.0.7"]},
              "ocicat":{"serviceAccount":"robot","annotations":{"a":"b"},
                        "ports":[{"name":"http","protocol":"TCP","port":80},{"name":"dns","protocol":17,"port":53}]}},
      "runtimeConfig":{"ips":["fd00::7/64"],"mac":"02:00:00:00:00:01"})");
  ASSERT_TRUE(read.has_value()) << read.error().details;
  EXPECT_EQ(read->labels, (Labels{{"app", "web"}}));
  EXPECT_EQ(read->annotations, (Labels{{"a", "b"}}));
  EXPECT_EQ(read->service_account, "robot");
  EXPECT_THAT(read->ports, ElementsAre(EndpointPort{"http", kTcp, 80}, EndpointPort{"dns", kUdp, 53}));
  EXPECT_THAT(read->addresses, ElementsAre(address("10.0.0.7"), address("fd00::7")));
  EXPECT_EQ(read->mac->to_string(), "02:00:00:00:00:01");
  const auto words = configuration("", "IP=10.0.0.8;MAC=02:00:00:00:00:02");
  ASSERT_TRUE(words.has_value());
  EXPECT_THAT(words->addresses, ElementsAre(address("10.0.0.8")));
  EXPECT_EQ(words->mac->to_string(), "02:00:00:00:00:02");
}

TEST(Configuration, TakesIncludeDefaultRoutesWhichHasAMeaningForHostLocalAlone) {
  for (const auto* value : {"true", "false"})
    EXPECT_TRUE(configuration(fmt::format(R"("include_default_routes":{})", value))) << value;
}

TEST(Configuration, WhatCannotBeDoneIsRefusedAndNeverPassedOver) {
  const std::tuple<const char*, FailureCode, const char*> kCases[] = {
      {R"("ipam":{"type":"../host-local"})", FailureCode::kUnsupportedField, "no plugin's name"},
      {R"("ipam":{"type":"ocicat-ipam"})", FailureCode::kUnsupportedField, "plugins of others"},
      {R"("ipam":{"subnet":"usePodCidr"})", FailureCode::kUnsupportedField, "ipam.subnet"},
      {R"("feature_control":{"floating_ips":"yes"})", FailureCode::kInvalidConfiguration, "floating_ips"},
      {R"("device_type":"netkit")", FailureCode::kUnsupportedField, "netkit"},
      {R"("include_default_routes":"no")", FailureCode::kInvalidConfiguration, "include_default_routes"},
      {R"("ipam":{"assign_ipv4":"no"})", FailureCode::kInvalidConfiguration, "ipam.assign_ipv4"},
      {R"("ipam":{"assign_ipv4":false})", FailureCode::kInvalidConfiguration, "both false"},
      {R"("ipam":{"ipv4_pools":"10.0.0.0/8"})", FailureCode::kInvalidConfiguration, "ipv4_pools"},
      {R"("mtu":7)", FailureCode::kInvalidConfiguration, "mtu"},
      {R"("runtimeConfig":{"bandwidth":{"ingressRate":-1}})", FailureCode::kInvalidConfiguration,
       "ingressRate"},
      {R"("mtu":"1500")", FailureCode::kInvalidConfiguration, "mtu"},
      {R"("args":{"cni":{"ips":["here"]}})", FailureCode::kInvalidConfiguration, "ips"},
      {R"("runtimeConfig":{"mac":"01:00:00:00:00:01"})", FailureCode::kInvalidConfiguration, "one interface"},
      {R"("args":{"ocicat":{"ports":[{"port":80}]}})", FailureCode::kInvalidConfiguration, "ports"},
  };
  for (const auto& [keys, code, says] : kCases) {
    SCOPED_TRACE(keys);
    const auto read = configuration(keys);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, code);
    EXPECT_THAT(read.error().details, HasSubstr(says));
  }
  EXPECT_EQ(configuration("", "K8S_POD_NAME=x;FOO=1").error().code, FailureCode::kInvalidEnvironment);
  EXPECT_TRUE(configuration("", "FOO=1;IgnoreUnknown=1").has_value());
  EXPECT_EQ(configuration("", "IP=here").error().code, FailureCode::kInvalidEnvironment);
}

TEST(Configuration, SaysWhatTheRuntimeStillKnowsAndWhatItWasTold) {
  EXPECT_THAT(
      *valid_attachments(call_with(R"("cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}])")),
      ElementsAre("a@eth0"));
  EXPECT_THAT(*valid_attachments(call_with(R"("cni.dev/attachments":[{"containerID":"a","ifname":"eth0"}])")),
              ElementsAre("a@eth0"))
      << "as runtimes with libcni 1.2.0 call it";
  EXPECT_THAT(*valid_attachments(call_with(R"("cni.dev/valid-attachments":null,"cni.dev/attachments":null)")),
              testing::IsEmpty())
      << "as libcni writes a list with nothing in it";
  for (const auto* keys : {"", R"("cni.dev/valid-attachments":"all")", R"("cni.dev/valid-attachments":[{}])",
                           R"("cni.dev/valid-attachments":[{"containerID":"a"}])",
                           R"("cni.dev/valid-attachments":[{"ifname":"eth0"}])"}) {
    const auto read = valid_attachments(call_with(keys));
    ASSERT_FALSE(read.has_value()) << keys;
    EXPECT_EQ(read.error().code, FailureCode::kInvalidConfiguration);
  }
}

TEST(Configuration, TellsAddWhatPluginsBeforeItHaveMade) {
  EXPECT_TRUE(chained_result(call_with(""))->empty());
  EXPECT_EQ(*chained_result(call_with(R"("prevResult":{"ips":[{"address":"10.0.0.1/32"}],"more":1})")),
            (boost::json::value{{"ips", {{{"address", "10.0.0.1/32"}}}}, {"more", 1}}));
  for (const auto* wrong :
       {R"("prevResult":[])", R"("prevResult":{"interfaces":{}})", R"("prevResult":{"ips":[1]})",
        R"("prevResult":{"routes":"all"})", R"("prevResult":{"dns":[]})"}) {
    const auto refused = chained_result(call_with(wrong));
    ASSERT_FALSE(refused.has_value()) << wrong;
    EXPECT_EQ(refused.error().code, FailureCode::kInvalidConfiguration);
  }
}

TEST(Configuration, OfAResultOfTheChainCheckLooksAtItsOwnInterface) {
  const auto read = previous_result(call_with(R"("prevResult":{"interfaces":[
      {"name":"br0","mac":"02:00:00:00:00:07"},{"name":"cali1"},{"name":"net1","sandbox":"/n","mac":"02:00:00:00:00:08"},
      {"name":"eth0","sandbox":"/n","mac":"02:00:00:00:00:09"}],
    "ips":[{"address":"10.0.0.1/32","interface":3},{"address":"10.0.0.2/32"},{"address":"10.0.0.3/32","interface":2}]})"));
  ASSERT_TRUE(read.has_value()) << read.error().details;
  EXPECT_THAT(read->addresses, ElementsAre(address("10.0.0.1"), address("10.0.0.2")));
  EXPECT_TRUE(read->has_interface);
  EXPECT_EQ(read->mac, MacAddress::parse("02:00:00:00:00:09"));
  EXPECT_THAT(read->host_interfaces, ElementsAre("br0", "cali1"));
  EXPECT_FALSE(previous_result(call_with(R"("prevResult":{})"))->has_interface);
  for (const auto* wrong :
       {"", R"("prevResult":[])", R"("prevResult":{"ips":[{"address":"10.0.0.300"}]})",
        R"("prevResult":{"ips":[{"address":"10.0.0.1","interface":-1}]})",
        R"("prevResult":{"interfaces":[{"name":"eth0","sandbox":"/n","mac":"02:00"}]})"}) {
    const auto refused = previous_result(call_with(wrong));
    ASSERT_FALSE(refused.has_value()) << wrong;
    EXPECT_EQ(refused.error().code, FailureCode::kInvalidConfiguration);
  }
}

Outcome<Configuration> given(std::string_view result, std::string_view keys = "") {
  auto call = call_with(std::string(R"("ipam":{"type":"host-local","assign_ipv4":"?"})") +
                        (keys.empty() ? "" : ",") + std::string(keys));
  call.given = boost::json::parse(result).as_object();
  return read_configuration(call);
}

TEST(Configuration, TakesWhatAnotherPluginGave) {
  constexpr auto kResult = R"({"cniVersion":"1.0.0","ips":[{"address":"10.1.0.7/24","gateway":"10.1.0.1"},
      {"version":"6","address":"fd01::7/64"}],"routes":[{"dst":"10.0.0.1/8","gw":"10.1.0.1"}],
      "dns":{"nameservers":["10.1.0.2"]}})";
  const auto read = given(kResult, R"("args":{"cni":{"ips":["10.9.9.9"]}})");
  ASSERT_TRUE(read) << read.error().details;
  EXPECT_EQ(read->address_plugin, "host-local");
  EXPECT_THAT(read->addresses, testing::IsEmpty()) << "that plugin has been asked for it";
  EXPECT_THAT(read->given->addresses, ElementsAre(address("10.1.0.7"), address("fd01::7")));
  EXPECT_THAT(read->given->destinations, ElementsAre(*Prefix::parse("10.0.0.0/8")));
  EXPECT_TRUE(read->dns.contains("nameservers"));
  EXPECT_FALSE(given(kResult, R"("dns":{"domain":"x"})")->dns.contains("nameservers"));
  EXPECT_THAT(given(kResult, R"("include_default_routes":true)")->given->destinations,
              ElementsAre(*Prefix::parse("10.0.0.0/8"), *Prefix::parse("0.0.0.0/0"), *Prefix::parse("::/0")));
  const auto wishes = settle(*read, {}, {});
  ASSERT_TRUE(wishes);
  EXPECT_TRUE(wishes->by_plugin && wishes->has(Family::kIpv4) && wishes->has(Family::kIpv6));
  for (const auto* wrong : {"{}", R"({"ips":[]})", R"({"ips":"10.1.0.7"})", R"({"ips":[{"address":"here"}]})",
                            R"({"ips":[{"address":"10.1.0.7/24"},{"address":"10.1.0.7/32"}]})",
                            R"({"ips":[{"address":"10.1.0.7/24"}],"routes":[{"dst":"everywhere"}]})"}) {
    const auto refused = given(wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.error().code, FailureCode::kAddressPlugin) << wrong;
  }
}

Labels annotations(std::initializer_list<std::pair<const char*, const char*>> entries) {
  Labels labels;
  for (const auto& [name, value] : entries)
    labels.emplace(fmt::format("cni.projectcalico.org/{}", name), value);
  return labels;
}

TEST(Wishes, ThePodsPoolsGoBeforeItsNamespacesAndThoseBeforeTheConfigurations) {
  const auto common = *configuration(R"("ipam":{"assign_ipv6":true,"ipv4_pools":["a"],"ipv6_pools":["b"]})");
  EXPECT_EQ(settle(common, {}, {})->pools, (network::PoolNames{{"a"}, {"b"}}));
  const auto ns = annotations({{"ipv4pools", R"(["c"])"}});
  EXPECT_EQ(settle(common, {}, ns)->pools, (network::PoolNames{{"c"}, {"b"}}));
  EXPECT_EQ(settle(common, annotations({{"ipv4pools", R"(["d","e"])"}}), ns)->pools,
            (network::PoolNames{{"d", "e"}, {"b"}}));
}

TEST(Wishes, AddressesThatAnnotationsNameAreAllThereWillBe) {
  const auto both = *configuration(R"("ipam":{"assign_ipv6":true},"args":{"cni":{"ips":["10.0.0.7"]}})");
  const auto runtime = *settle(both, {}, {});
  EXPECT_THAT(runtime.addresses, ElementsAre(address("10.0.0.7")));
  EXPECT_FALSE(runtime.ipv4);
  EXPECT_TRUE(runtime.ipv6);
  const auto pod = *settle(both, annotations({{"ipAddrs", R"(["10.0.0.9"])"}}), {});
  EXPECT_THAT(pod.addresses, ElementsAre(address("10.0.0.9")));
  EXPECT_FALSE(pod.ipv4 || pod.ipv6 || pod.without_ipam);
  EXPECT_FALSE(pod.has(Family::kIpv6));
}

TEST(Wishes, LimitsOfAnnotationsCountOverTheRuntimesDirectionByDirection) {
  const auto runtime = *configuration(
      R"("runtimeConfig":{"bandwidth":{"ingressRate":1000000,"ingressBurst":2000,"egressRate":3000000,"egressBurst":0}})");
  EXPECT_EQ(settle(runtime, {}, {})->qos,
            (std::map<std::string, std::int64_t>{
                {"ingressBandwidth", 1'000'000}, {"ingressBurst", 2'000}, {"egressBandwidth", 3'000'000}}));
  EXPECT_EQ(
      settle(runtime, {{"kubernetes.io/ingress-bandwidth", "5M"}}, {})->qos,
      (std::map<std::string, std::int64_t>{{"ingressBandwidth", 5'000'000}, {"egressBandwidth", 3'000'000}}));
}

TEST(Wishes, WhatIsWrongInAnAnnotationNamesIt) {
  const auto plain = *configuration("");
  for (const auto& [name, value] : {std::pair{"ipAddrs", "10.0.0.1"},
                                    {"ipAddrs", R"(["x"])"},
                                    {"ipAddrs", "[]"},
                                    {"hwAddr", "x"},
                                    {"hwAddr", "00:00:00:00:00:00"},
                                    {"ipv4pools", R"([1])"},
                                    {"allowedSourcePrefixes", R"(["10.0.0.0/40"])"}}) {
    const auto settled = settle(plain, annotations({{name, value}}), {});
    ASSERT_FALSE(settled.has_value()) << name << " " << value;
    EXPECT_THAT(settled.error().details, HasSubstr(name));
  }
  const auto two = settle(plain, annotations({{"ipAddrs", R"(["10.0.0.1","10.0.0.2"])"}}), {});
  EXPECT_EQ(two.error().code, FailureCode::kInvalidConfiguration);
  EXPECT_THAT(two.error().details, HasSubstr("ipAddrs of the pod"));
  const auto of_runtime = *configuration(R"("args":{"cni":{"ips":["10.0.0.1","10.0.0.2"]}})");
  EXPECT_THAT(settle(of_runtime, {}, {}).error().details, HasSubstr("args.cni.ips"));
  const auto bare = settle(plain, annotations({{"ipAddrsNoIpam", R"(["10.0.0.1"])"}}), {});
  EXPECT_EQ(bare.error().code, FailureCode::kUnsupportedField);
  const auto floating = settle(plain, annotations({{"floatingIPs", R"(["1.2.3.4"])"}}), {});
  EXPECT_EQ(floating.error().code, FailureCode::kUnsupportedField);
  EXPECT_THAT(floating.error().details, HasSubstr("feature_control.floating_ips"));
  EXPECT_THAT(floating.error().details, HasSubstr("see: ocicat get felixconfiguration"));
  const auto floats = *configuration(R"("feature_control":{"floating_ips":true})");
  EXPECT_THAT(settle(floats, annotations({{"floatingIPs", R"(["1.2.3.4"])"}}), {})->floating,
              ElementsAre(*IpAddress::parse("1.2.3.4")));
  for (const auto* value : {R"(["fd00::1"])", R"(["x"])", "1.2.3.4"}) {
    const auto settled = settle(floats, annotations({{"floatingIPs", value}}), {});
    EXPECT_EQ(settled.error().code, FailureCode::kInvalidConfiguration) << value;
    EXPECT_THAT(settled.error().details, HasSubstr("floatingIPs"));
  }
  const auto limited = settle(plain, {{"kubernetes.io/egress-bandwidth", "1Mbit"}}, {});
  EXPECT_EQ(limited.error().code, FailureCode::kInvalidConfiguration);
  EXPECT_THAT(limited.error().details, HasSubstr("kubernetes.io/egress-bandwidth"));
  const auto allowed = *configuration(R"("feature_control":{"ip_addrs_no_ipam":true})");
  EXPECT_TRUE(settle(allowed, annotations({{"ipAddrsNoIpam", R"(["10.0.0.1"])"}}), {})->without_ipam);
}

TEST(Wishes, OfIpv6NeedAnMtuThatIpv6Has) {
  const auto small = *configuration(R"("mtu":100)");
  EXPECT_TRUE(settle(small, {}, {}));
  const auto settled = settle(small, annotations({{"ipAddrs", R"(["fd00::1"])"}}), {});
  EXPECT_EQ(settled.error().code, FailureCode::kInvalidConfiguration);
  EXPECT_THAT(settled.error().details, HasSubstr("1280"));
  const auto both = *configuration(R"("mtu":1279,"ipam":{"assign_ipv6":true})");
  EXPECT_FALSE(settle(both, {}, {}));
  EXPECT_TRUE(settle(*configuration(R"("mtu":1280,"ipam":{"assign_ipv6":true})"), {}, {}));
}

}  // namespace
}  // namespace ocicat::cni
