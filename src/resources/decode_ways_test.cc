// What ways and routers are computed from: blocks, claims to them, services.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "resources/decode_test_support.h"

namespace ocicat {
namespace {

using Elsewhere = AddressBlock::Elsewhere;

IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

const std::string kBlock = R"({"metadata": {"name": "10-0-0-4-30"}, "spec": {
  "cidr": "10.0.0.4/30", "affinity": "host:a", "allocations": [0, 1, 2, 3], "unallocated": [],
  "attributes": [{"handle_id": "h", "secondary": {"node": "a"}}, {"handle_id": "i", "secondary": {"node": "b"}},
                 {"handle_id": "j", "secondary": {"node": "c"}, "releasedAt": "2026-11-27T00:00:00Z"},
                 {"handle_id": "k"}]}})";

TEST(AddressBlock, SaysWhoseItIsAndWhichAddressesAreElsewhere) {
  const auto block = decoded<AddressBlock>(Kind::kIpamBlock, kBlock);
  EXPECT_EQ(block.cidr, *Prefix::parse("10.0.0.4/30"));
  EXPECT_EQ(block.node, "a");
  EXPECT_EQ(block.elsewhere, (std::vector<Elsewhere>{{ip("10.0.0.5"), "b"}}))
      << "one that cools down is nobody's, and one that says nothing is where the block is";
}

TEST(AddressBlock, OfNoHostOrOnItsWayOutLeadsNowhere) {
  auto document = boost::json::parse(kBlock).as_object();
  document["spec"].as_object()["affinity"] = "virtual:load-balancer";
  auto block = std::get<AddressBlock>(*decode(Kind::kIpamBlock, document));
  EXPECT_EQ(block.node, "");
  EXPECT_EQ(block.elsewhere.size(), 2U);
  document["spec"].as_object()["deleted"] = true;
  block = std::get<AddressBlock>(*decode(Kind::kIpamBlock, document));
  EXPECT_TRUE(block.node.empty() && block.elsewhere.empty());
}

TEST(AddressBlock, MustGoByTheNameOfItsCidr) {
  auto document = boost::json::parse(kBlock).as_object();
  document["metadata"].as_object()["name"] = "10-0-0-8-30";
  EXPECT_EQ(decode(Kind::kIpamBlock, document).error().message,
            "metadata.name: \"10-0-0-8-30\": must be 10-0-0-4-30, from what it is about");
}

TEST(BlockClaim, IsAHostsUntilItIsDeleted) {
  const auto claim = [](std::string_view rest) {
    return decoded<BlockClaim>(Kind::kBlockAffinity, fmt::format(R"({{"metadata": {{"name": "a-10-0-0-4-30"}},
                       "spec": {{"cidr": "10.0.0.4/30", "node": "a" {}}}}})",
                                                                 rest));
  };
  EXPECT_EQ(claim("").node, "a");
  EXPECT_TRUE(claim("").confirmed);
  EXPECT_FALSE(claim(R"(, "state": "pending")").confirmed);
  EXPECT_FALSE(claim(R"(, "state": "pendingDeletion")").confirmed);
  EXPECT_EQ(claim(R"(, "deleted": true)").node, "");
  EXPECT_EQ(claim(R"(, "type": "virtual")").node, "");
}

TEST(Service, HasTheAddressesThatItIsReachedAt) {
  const auto service = decoded<Service>(Kind::kService, R"({"metadata": {"name": "web", "namespace": "shop"},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00:96::7"],
             "externalIPs": ["203.0.113.7"], "externalTrafficPolicy": "Local"},
    "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}, {"hostname": "lb.example"}]}}})");
  EXPECT_EQ(service.cluster_addresses, (std::vector{ip("10.96.0.7"), ip("fd00:96::7")}));
  EXPECT_EQ(service.external_addresses, std::vector{ip("203.0.113.7")});
  EXPECT_EQ(service.load_balancer_addresses, std::vector{ip("198.51.100.7")});
  EXPECT_TRUE(service.local_only);
}

TEST(Service, ThatIsHeadlessOrNoLoadBalancerHasNoSuchAddresses) {
  const auto service = decoded<Service>(Kind::kService, R"({"metadata": {"name": "db", "namespace": "shop"},
    "spec": {"clusterIP": "None", "clusterIPs": ["None"]},
    "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}})");
  EXPECT_TRUE(service.cluster_addresses.empty() && service.load_balancer_addresses.empty());
  EXPECT_FALSE(service.local_only);
}

TEST(EndpointSlice, KnowsTheHostsThatHaveAReadyEndpoint) {
  const auto slice = decoded<EndpointSlice>(Kind::kEndpointSlice, R"({
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
    "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "b", "conditions": {"ready": true}},
                  {"addresses": ["10.0.0.2"], "nodeName": "a"}, {"addresses": ["10.0.0.3"], "nodeName": "b"},
                  {"addresses": ["10.0.0.4"], "nodeName": "c", "conditions": {"ready": false}},
                  {"addresses": ["10.0.0.5"]}]})");
  EXPECT_EQ(slice.ready_on, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(slice.addresses.size(), 5U);
}

}  // namespace
}  // namespace ocicat
