#include "cni/attachment.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>

#include "cni/endpoint.h"
#include "resources/decode.h"
#include "resources/ipam.h"
#include "resources/schema_text.h"
#include "resources/validate.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

Call call(std::string args, std::string ifname = "eth0", std::string container = "0123456789abcdef",
          std::string_view network = "k8s-pod-network") {
  const auto read = read_call({.command = "ADD",
                               .container_id = std::move(container),
                               .netns = "/run/netns/x",
                               .ifname = std::move(ifname),
                               .args = std::move(args)},
                              fmt::format(R"({{"cniVersion":"1.1.0","name":"{}"}})", network));
  CHECK(read);
  return *read;
}

constexpr const char* kPod = "K8S_POD_NAME=card-vault;K8S_POD_NAMESPACE=billing";

Attachment added() {
  auto attachment = attachment_of(call(kPod), "host1");
  attachment.phase = Attachment::Phase::kAdded;
  attachment.addresses = {*IpAddress::parse("10.0.0.7"), *IpAddress::parse("fd00::7")};
  attachment.mac = *MacAddress::parse("02:00:00:00:00:01");
  attachment.mtu = 1450;
  attachment.follows_mtu = true;
  attachment.boot = "b";
  return attachment;
}

TEST(Attachment, OfAPodIsNamedAsCalicoNamesIt) {
  const auto attachment = attachment_of(call(kPod), "host-1");
  EXPECT_EQ(attachment.host_interface, workload_interface_name("billing", "card-vault"));
  EXPECT_EQ(attachment.endpoint,
            (ResourceKey{Kind::kWorkloadEndpoint, "billing", "host--1-k8s-card--vault-eth0"}));
  EXPECT_EQ(attachment.handle, "k8s-pod-network.0123456789abcdef");
}

TEST(Attachment, OfAContainerOfNobodysIsNamedAfterTheContainer) {
  const auto attachment = attachment_of(call(""), "host1");
  EXPECT_EQ(attachment.host_interface, "cali0123456789a");
  EXPECT_EQ(attachment.endpoint,
            (ResourceKey{Kind::kWorkloadEndpoint, "default", "host1-cni-0123456789abcdef-eth0"}));
}

TEST(Attachment, ContainersWhoseNamesBeginAlikeHaveInterfacesOfTheirOwn) {
  std::set<std::string> names;
  for (const auto* id : {"default-web", "default-web-1", "default-web-2", "default-web_1"}) {
    const auto attachment = attachment_of(call("", "eth0", id), "host1");
    EXPECT_TRUE(is_interface_name(attachment.host_interface));
    EXPECT_TRUE(attachment.host_interface.starts_with("cali"));
    EXPECT_TRUE(names.insert(attachment.host_interface).second) << id;
  }
}

TEST(Attachment, TwoInterfacesOfOneContainerShareNothing) {
  for (const auto* args : {kPod, ""}) {
    const auto first = attachment_of(call(args), "host1");
    const auto second = attachment_of(call(args, "net1"), "host1");
    EXPECT_NE(first.host_interface, second.host_interface);
    EXPECT_NE(first.handle, second.handle);
    EXPECT_NE(first.endpoint, second.endpoint);
    EXPECT_NE(first.name(), second.name());
  }
}

TEST(Attachment, NamesThatDocumentsCannotHaveAreReadableThereAndNobodyElses) {
  for (const auto* name : {"pods", "k8s-pod-network", "eth0.100", "0"}) EXPECT_EQ(documented(name), name);
  EXPECT_EQ(documented_container("0123456789abcdef"), "0123456789abcdef");
  std::set<std::string> names;
  const auto of = {"My_Net",  "my_net", "my-net", "My-Net", "my-net-", "MY.NET",
                   "my..net", "__",     "-",      "A_",     "a"};
  for (const auto* name : of) {
    for (const auto& text : {documented(name), documented_container(name)}) {
      EXPECT_EQ(schema::check_dns_subdomain(text), "") << text;
      EXPECT_EQ(documented(text), text);
    }
    EXPECT_EQ(documented_container(documented_container(name)), documented_container(name));
    EXPECT_TRUE(names.insert(documented(name)).second) << name;
  }
  EXPECT_TRUE(documented("My_Net").starts_with("my-net-"));
  EXPECT_FALSE(documented_container("a.b").contains('.'));
}

TEST(Attachment, AnyNamesOfCniAreTakenByTheApi) {
  const std::string longest(200, 'n');
  const std::string host = "host-1." + std::string(50, 'h');
  std::string dashes = "n";
  while (dashes.size() < 199) dashes += "-n";
  for (const auto& network : {std::string("My_Net"), std::string("Net"), std::string("n.x-"), longest}) {
    for (const auto& container :
         {std::string("a.b_c-D"), std::string("abc-"), std::string("ABC"), longest, dashes}) {
      for (const auto* ifname : {"eth0", "Eth_0", "net@1"}) {
        for (const auto* args : {kPod, ""}) {
          const auto of = call(args, ifname, container, network);
          auto attachment = attachment_of(of, host);
          attachment.addresses = {*IpAddress::parse("10.0.0.7")};
          const auto document = endpoint_document(attachment, host, {}, {});
          SCOPED_TRACE(json::serialize(document));
          const auto validated = validate({.json = document, .file = {}, .line = 0, .line_of = {}});
          for (const auto& complaint : validated.complaints) ADD_FAILURE() << complaint.to_string();
          const auto handle = handle_key(attachment.handle);
          EXPECT_EQ(schema::check_dns_subdomain(handle.name), "");
          EXPECT_EQ(container_of(document), documented_container(container));
          // Where the note of it is lost.
          const auto found = attachment_of(attachment.endpoint, document, network);
          ASSERT_TRUE(found.has_value());
          EXPECT_EQ(found->handle, attachment.handle);
          const auto valid = valid_attachments(
              {.config = {{"cni.dev/valid-attachments",
                           json::array{json::object{{"containerID", container}, {"ifname", ifname}}}}}});
          EXPECT_TRUE(valid->contains(found->name()) && valid->contains(attachment.name()));
        }
      }
    }
  }
  EXPECT_EQ(handle_name("Net", "0123", "eth0"), "Net.0123") << "as it always was, and Calico's is";
}

TEST(Attachment, WhatIsWrittenIsRead) {
  auto attachment = added();
  EXPECT_EQ(read_attachment(json::serialize(to_json(attachment))), attachment);
  attachment.endpoint = {Kind::kPod, "billing", "card-vault"};
  attachment.default_tables = {1007, 4294967295};
  attachment.phase = Attachment::Phase::kDeleting;
  EXPECT_EQ(read_attachment(json::serialize(to_json(attachment))), attachment);
  for (const auto* text : {"", "[]", "{}", R"({"phase":"added"})"})
    EXPECT_FALSE(read_attachment(text)) << text;
}

TEST(Result, HasTheFormOfItsVersion) {
  const auto old = result_of(added(), Version::k031);
  EXPECT_EQ(old.at("cniVersion"), "0.3.1");
  EXPECT_EQ(old.at("ips").at(0),
            (json::value{{"address", "10.0.0.7/32"}, {"interface", 1}, {"version", "4"}}));
  EXPECT_EQ(old.at("ips").at(1).at("version"), "6");
  EXPECT_FALSE(old.at("interfaces").at(0).as_object().contains("mtu"));
  const auto now = result_of(added(), Version::k110);
  EXPECT_FALSE(now.at("ips").at(0).as_object().contains("version"));
  EXPECT_EQ(
      now.at("interfaces").at(1),
      (json::value{
          {"name", "eth0"}, {"mac", "02:00:00:00:00:01"}, {"sandbox", "/run/netns/x"}, {"mtu", 1450U}}));
  EXPECT_EQ(now.at("routes").at(1), (json::value{{"dst", "::/0"}, {"gw", "fe80::ecee:eeff:feee:eeee"}}));
}

TEST(Result, SaysInWhichTableADefaultRouteIsThatIsNotInTheMainOne) {
  auto second = added();
  second.default_tables = {1007, 0};
  const auto now = result_of(second, Version::k110);
  EXPECT_EQ(now.at("routes").at(0),
            (json::value{{"dst", "0.0.0.0/0"}, {"gw", "169.254.1.1"}, {"table", 1007U}}));
  EXPECT_FALSE(now.at("routes").at(1).as_object().contains("table"));
  EXPECT_FALSE(result_of(second, Version::k100).at("routes").at(0).as_object().contains("table"))
      << "which that version does not know";
}

TEST(Result, StandsBehindThatOfPluginsBeforeIt) {
  const auto previous =
      json::parse(R"({"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"net1","sandbox":"/n"}],
      "ips":[{"address":"192.0.2.7/24","interface":1}],"routes":null,"dns":{"domain":"x"},"more":true})");
  const auto own = result_of(added(), Version::k110);
  const auto all = behind(previous.as_object(), own);
  EXPECT_EQ(all.at("cniVersion"), "1.1.0");
  ASSERT_EQ(all.at("interfaces").as_array().size(), 4U);
  EXPECT_EQ(all.at("interfaces").at(1), previous.at("interfaces").at(1));
  EXPECT_EQ(all.at("interfaces").at(3), own.at("interfaces").at(1));
  EXPECT_EQ(all.at("ips").at(0), previous.at("ips").at(0));
  EXPECT_EQ(all.at("ips").at(1).at("address"), own.at("ips").at(0).at("address"));
  EXPECT_EQ(all.at("ips").at(1).at("interface"), 3);
  EXPECT_EQ(all.at("routes"), own.at("routes"));
  EXPECT_EQ(all.at("dns"), previous.at("dns"));
  EXPECT_EQ(all.at("more"), true);
  EXPECT_EQ(behind({}, own), own) << "of the first of a chain it is all there is";
  auto named = own;
  named["dns"] = json::object{{"domain", "y"}};
  EXPECT_EQ(behind(previous.as_object(), named).at("dns"), named.at("dns"));
}

TEST(Endpoint, IsAcceptedByTheApiAndMeansTheWorkload) {
  Configuration configuration;
  configuration.labels = {{"pci", "true"}};
  configuration.service_account = "vault";
  configuration.ports = {{"https", kTcp, 8443}};
  Wishes wishes;
  wishes.source_prefixes = {"192.0.2.0/24"};
  wishes.qos = {{"egressBandwidth", 1'000'000}};
  const auto document = endpoint_document(added(), "host1", configuration, wishes);
  const auto validated = validate({.json = document, .file = {}, .line = 0, .line_of = {}});
  for (const auto& complaint : validated.complaints) ADD_FAILURE() << complaint.to_string();
  const auto decoded = decode(Kind::kWorkloadEndpoint, document);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  const auto& endpoint = std::get<WorkloadEndpoint>(*decoded);
  EXPECT_EQ(endpoint.metadata.name, "host1-k8s-card--vault-eth0");
  EXPECT_EQ(endpoint.interface_name, workload_interface_name("billing", "card-vault"));
  EXPECT_EQ(endpoint.addresses, added().addresses);
  EXPECT_EQ(endpoint.profiles, (std::vector<std::string>{"kns.billing", "ksa.billing.vault"}));
  EXPECT_EQ(endpoint.ports, (std::vector<EndpointPort>{{"https", kTcp, 8443}}));
  EXPECT_EQ(endpoint.metadata.labels.at("pci"), "true");
  EXPECT_EQ(endpoint.allowed_source_prefixes.size(), 1U);
  EXPECT_EQ(endpoint.qos.limits.egress.rate, 1'000'000);
  EXPECT_EQ(container_of(document), "0123456789abcdef");
}

TEST(Endpoint, OfAPodDocumentIsThatDocument) {
  const json::object pod{{"apiVersion", "v1"},
                         {"kind", "Pod"},
                         {"metadata", json::object{{"name", "card-vault"}, {"namespace", "billing"}}},
                         {"spec", json::object{{"nodeName", "host1"}}}};
  EXPECT_TRUE(check_pod(pod, "host1").has_value());
  EXPECT_FALSE(check_pod(pod, "host2").has_value());
  auto at_host = pod;
  at_host["spec"].as_object()["hostNetwork"] = true;
  const auto refused = check_pod(at_host, "host1");
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().details.contains("; see: ocicat get pods"));
  Wishes limited;
  limited.qos = {{"ingressBandwidth", 1'000'000}};
  const auto with = with_addresses(pod, added(), limited);
  const auto decoded = decode(Kind::kPod, with);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<WorkloadEndpoint>(*decoded).addresses, added().addresses);
  EXPECT_EQ(std::get<WorkloadEndpoint>(*decoded).qos.limits.ingress.rate, 1'000'000);
  EXPECT_EQ(container_of(with), "0123456789abcdef");
  const auto without = decode(Kind::kPod, without_addresses(with));
  ASSERT_TRUE(without.has_value());
  EXPECT_TRUE(std::get<WorkloadEndpoint>(*without).addresses.empty());
}

}  // namespace
}  // namespace ocicat::cni
