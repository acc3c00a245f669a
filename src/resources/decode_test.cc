#include "resources/decode.h"

#include "resources/decode_test_support.h"

namespace ocicat {
namespace {

namespace json = boost::json;

Result<ResourceKey> key_of_text(const std::string& text) {
  return key_of(json::parse(text).as_object());
}

TEST(KeyOf, ReadsKindNamespaceAndName) {
  EXPECT_EQ(key_of_text(R"({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
                            "metadata": {"name": "api", "namespace": "shop"}})"),
            (ResourceKey{Kind::kNetworkPolicy, "shop", "api"}));
  EXPECT_EQ(
      key_of_text(
          R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "namespace": "x"}})"),
      (ResourceKey{Kind::kNamespace, "", "shop"}));
}

TEST(KeyOf, SaysWhatIsMissing) {
  const std::map<std::string, std::string> errors{
      {R"({})", "kind: must be there"},
      {R"({"kind": "Pod"})", "kind: there is no kind Pod in an unnamed apiVersion"},
      {R"({"kind": 3})", "kind: 3: must be a string"},
      {R"({"apiVersion": "v1", "kind": "Pod"})", "metadata: must be there"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": []})", "metadata: a list: must be an object"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": {}})", "metadata.name: must be there"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 1}})",
       "metadata.name: 1: must be a string"},
  };
  for (const auto& [text, error] : errors) {
    const auto key = key_of_text(text);
    ASSERT_FALSE(key) << text;
    EXPECT_EQ(key.error().message, error);
  }
}

TEST(WorkloadEndpointName, DoublesDashesInsideAComponent) {
  EXPECT_EQ(workload_endpoint_name("host1", "k8s", "frontend", "eth0"), "host1-k8s-frontend-eth0");
  EXPECT_EQ(workload_endpoint_name("host-1", "k8s", "a-b-c", "eth0"), "host--1-k8s-a--b--c-eth0");
}

TEST(WorkloadInterfaceName, IsThePrefixAndElevenDigitsOfAHash) {
  EXPECT_EQ(workload_interface_name("shop", "frontend"), "cali1f52436dff8");
}

TEST(Decode, KnowsEveryKindThatSomethingIsComputedFromAndNoOther) {
  for (const auto& kind : all_kinds()) {
    const auto resource = decode(kind.kind, {});
    ASSERT_FALSE(resource) << kind.name;
    EXPECT_EQ(resource.error().code, is_decoded(kind.kind) ? ErrorCode::kInvalid : ErrorCode::kUnsupported)
        << kind.name;
  }
}

TEST(Decode, NeedsANamespaceWhereTheKindHasOneAndIgnoresItElsewhere) {
  const std::string text = R"({"metadata": {"name": "x"}, "spec": {}})";
  for (const auto kind : watched_kinds()) {
    const auto resource = decode_text(kind, text);
    if (info(kind).namespaced) {
      ASSERT_FALSE(resource) << info(kind).name;
      EXPECT_EQ(resource.error().message, "metadata.namespace: must be there");
    }
  }
  EXPECT_EQ(decoded<NetworkPolicy>(Kind::kGlobalNetworkPolicy, with_spec("")).metadata.ns, "");
}

// Every place of a document in turn holds each of these instead, and is taken away.
const json::value kIntruders[] = {nullptr,
                                  true,
                                  -1,
                                  1e300,
                                  "",
                                  "x",
                                  "'\"",
                                  json::array{},
                                  json::array{nullptr},
                                  json::array{json::object{}},
                                  json::object{},
                                  json::object{{"x", json::array{}}},
                                  std::uint64_t{18446744073709551615u}};

void disturb(json::value& place, const std::function<void()>& check) {
  const auto before = place;
  for (const auto& intruder : kIntruders) {
    place = intruder;
    check();
  }
  place = before;
  if (auto* object = place.if_object()) {
    for (auto& field : *object) disturb(field.value(), check);
  } else if (auto* array = place.if_array()) {
    for (auto& entry : *array) disturb(entry, check);
  }
}

TEST(Decode, SurvivesEveryTypeInEveryPlace) {
  auto everything = json::parse(R"j({
    "metadata": {"name": "x", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
                 "annotations": {"cni.projectcalico.org/podIPs": "10.0.0.1/32", "config.projectcalico.org/X": "y",
                                 "cni.projectcalico.org/allowedSourcePrefixes": "[\"10.0.0.0/8\"]"},
                 "deletionTimestamp": "now"},
    "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
               "loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}},
    "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "nodeName": "n"}], "ports": [{"port": 80, "protocol": "UDP"}],
    "spec": {"tier": "Admin", "priority": 1, "order": 1,
             "subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}}, "selector": "all()", "namespaceSelector": "all()", "types": ["Ingress"],
             "serviceAccountSelector": "all()", "doNotTrack": true, "preDNAT": false, "applyOnForward": true,
             "stagedAction": "Set", "performanceHints": ["AssumeNeededOnEveryNode"], "defaultAction": "Pass",
             "ingress": [{"action": "Allow", "ipVersion": 4, "protocol": "ICMP", "icmp": {"type": 8, "code": 0},
                          "http": {"methods": ["GET"], "paths": [{"exact": "/"}]},
                          "source": {"selector": "has(a)", "nets": ["10.0.0.0/8"], "ports": [80, "a"],
                                     "serviceAccounts": {"names": ["s"], "selector": "all()"},
                                     "services": {"name": "s", "namespace": "n"}},
                          "metadata": {"annotations": {"a": "b"}}}],
             "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9"]}},
                                {"podSelector": {"matchLabels": {"a": "b"},
                                                 "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
                                 "namespaceSelector": {}}],
                         "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"port": "http"}]}],
             "podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"],
             "labelsToApply": {"a": "b"}, "nets": ["10.0.0.0/8"], "cidr": "10.0.0.0/8", "natOutgoing": true,
             "disabled": false, "node": "n", "nodeName": "n", "hostNetwork": false, "serviceAccountName": "s",
             "orchestrator": "k8s", "workload": "w", "pod": "p", "interfaceName": "cali1", "profiles": ["p"],
             "ipNetworks": ["10.0.0.1/32"], "allowSpoofedSourcePrefixes": ["10.0.0.0/8"],
             "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
             "containers": [{"ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}],
             "bgp": {"ipv4Address": "10.0.0.1/24", "ipv6Address": "fd00::1/64", "asNumber": "64.512",
                     "routeReflectorClusterID": "1.2.3.4"},
             "asNumber": 64512, "nodeToNodeMeshEnabled": true, "listenPort": 179, "ignoredInterfaces": ["eth*"],
             "communities": [{"name": "c", "value": "1:2"}], "nodeMeshMaxRestartTime": "90s",
             "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["c", "1:2:3"]}],
             "nodeMeshPassword": {"secretKeyRef": {"name": "s", "key": "k"}}, "ipv4NormalRoutePriority": 1024,
             "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}], "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
             "externalIPs": ["10.0.0.8"], "externalTrafficPolicy": "Local", "type": "LoadBalancer", "state": "pending", "localWorkloadPeeringIPV4": "169.254.1.2",
             "peerIP": "10.0.0.1:1179", "nodeSelector": "all()", "filters": ["f"], "ttlSecurity": 1,
             "password": {"secretKeyRef": {"name": "s", "key": "k"}}, "reachableBy": "10.0.0.2",
             "exportV4": [{"action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "interface": "eth*",
                           "prefixLength": {"min": 8, "max": 32}, "source": "RemotePeers", "peerType": "eBGP",
                           "communities": {"values": ["1:2"]}, "asPathPrefix": [1], "priority": 5,
                           "operations": [{"addCommunity": {"value": "1:2:3"}}, {"prependASPath": {"prefix": [1]}},
                                          {"setPriority": {"value": 7}}]}],
             "failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22, "net": "::/0"}],
             "openConnections": "Stay", "routeTableRange": {"min": 1, "max": 2}, "routeRefreshInterval": "90s", "bpfLogFilters": {"a": "b"}
}
})j");
  for (const auto& about : all_kinds()) {
    const auto kind = about.kind;
    if (!is_decoded(kind)) continue;
    if (kind == Kind::kIpamBlock) {  // its name and the number of its addresses follow from its CIDR
      everything.at("metadata").as_object()["name"] = "10-0-0-0-31";
      auto& spec = everything.at("spec").as_object();
      spec["cidr"] = "10.0.0.0/31";
      spec["affinity"] = "host:n";
      spec["allocations"] = {0, nullptr};
      spec["unallocated"] = boost::json::array{1};
      spec["attributes"] = {{{"handle_id", "h"}, {"secondary", {{"node", "m"}}}}};
    }
    if (kind == Kind::kBlockAffinity) {  // likewise, and from its owner
      everything.at("metadata").as_object()["name"] = "n-10-0-0-0-8";
      auto& spec = everything.at("spec").as_object();
      spec["cidr"] = "10.0.0.0/8";
      spec["type"] = "host";
    }
    std::size_t readable = 0;
    std::size_t refused = 0;
    disturb(everything, [&] {
      const auto* object = everything.if_object();
      if (object == nullptr) return;
      const auto resource = decode(kind, *object);
      ++(resource ? readable : refused);
      if (!resource) {
        EXPECT_FALSE(resource.error().message.empty());
      } else if (const auto* policy = std::get_if<NetworkPolicy>(&*resource);
                 policy != nullptr && !policy->broken.empty()) {
        EXPECT_TRUE(policy->ingress.empty() && policy->egress.empty());
        EXPECT_TRUE(policy->applies_to_ingress || policy->applies_to_egress);
      }
    });
    EXPECT_GT(readable, 0u) << info(kind).name;
    EXPECT_GT(refused, 0u) << info(kind).name;
  }
}

TEST(Decode, TakesLabelsInAnyOrderAndNumber) {
  constexpr int kMany = 100'000;
  json::object labels;
  for (int i = kMany; i > 0; --i) {
    labels[fmt::format("label-{:06}", i)] = "";
    labels[fmt::format("pcns.{:06}", i)] = "";
  }
  const json::object pod{{"metadata", {{"name", "x"}, {"namespace", "shop"}, {"labels", labels}}}};
  const auto endpoint = std::get<WorkloadEndpoint>(*decode(Kind::kPod, pod));
  EXPECT_EQ(endpoint.metadata.labels.size(), kMany + 2u);
  EXPECT_TRUE(std::ranges::is_sorted(endpoint.metadata.labels));
  EXPECT_TRUE(endpoint.metadata.labels.contains("label-000001"));
}

}  // namespace
}  // namespace ocicat
