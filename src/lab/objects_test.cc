#include "lab/objects.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include <boost/json.hpp>

#include "lab/fabric.h"
#include "resources/decode.h"
#include "resources/validate.h"

namespace ocicat::lab {
namespace {

PodRecord card_vault() {
  return {.ns = "billing",
          .name = "card-vault",
          .host = "host1",
          .service_account = "vault",
          .addresses = {pod_address(1, Family::kIpv4), pod_address(1, Family::kIpv6)},
          .listens = {{"https", kTcp, 8443}, {"", kUdp, 53}}};
}

TEST(Objects, AreAcceptedByTheApi) {
  std::vector objects{namespace_object("billing", {{"team", "money"}}),
                      service_account_object("billing", "vault"),
                      endpoint_object(card_vault(), {{"pci", "true"}})};
  for (const auto& network : kNetworks) {
    const LabRecord lab{.hosts = 3, .racks = 2, .network = network, .dataplane = {}, .program = {}};
    objects.push_back(node_object("host3", 3, lab));
    std::ranges::move(pool_objects(lab), std::back_inserter(objects));
  }
  for (const auto& object : objects) {
    const auto validated = validate({.json = object, .file = {}, .line = 0, .line_of = {}});
    for (const auto& complaint : validated.complaints) ADD_FAILURE() << complaint.to_string();
  }
}

TEST(Objects, AnEndpointIsWhatTheEngineNeeds) {
  const auto decoded = decode(Kind::kWorkloadEndpoint, endpoint_object(card_vault(), {{"pci", "true"}}));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  const auto& endpoint = std::get<WorkloadEndpoint>(*decoded);
  EXPECT_EQ(endpoint.metadata.name, "host1-k8s-card--vault-eth0");
  EXPECT_EQ(endpoint.node, "host1");
  EXPECT_EQ(endpoint.interface_name, workload_interface_name("billing", "card-vault"));
  EXPECT_EQ(endpoint.addresses, card_vault().addresses);
  EXPECT_EQ(endpoint.profiles, (std::vector<std::string>{"kns.billing", "ksa.billing.vault"}));
  EXPECT_EQ(endpoint.ports,
            (std::vector<EndpointPort>{{"https", kTcp, 8443}}));  // only named ports can be referred to
  EXPECT_EQ(endpoint.metadata.labels.at("pci"), "true");
}

TEST(Objects, LabelsAreReadFromWhateverIsThere) {
  EXPECT_EQ(labels_of(endpoint_object(card_vault(), {{"a", "b"}})), (Labels{{"a", "b"}}));
  EXPECT_TRUE(labels_of({}).empty());
  EXPECT_TRUE(labels_of({{"metadata", 1}}).empty());
}

}  // namespace
}  // namespace ocicat::lab
