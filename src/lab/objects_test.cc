#include "lab/objects.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include <boost/json.hpp>

#include "resources/validate.h"

namespace ocicat::lab {
namespace {

TEST(Objects, AreAcceptedByTheApi) {
  std::vector objects{namespace_object("billing", {{"team", "money"}}),
                      service_account_object("billing", "vault")};
  for (const auto& network : kNetworks) {
    const LabRecord lab{.hosts = 3, .racks = 2, .network = network, .dataplane = {}, .program = {}};
    objects.push_back(node_object("host3", 3, lab));
    std::ranges::move(pool_objects(lab), std::back_inserter(objects));
    for (const auto* text : {"192.0.2.77", "::2", "2001:db8:1:2:3:4:5:6"})
      objects.push_back(pool_around(*IpAddress::parse(text), lab));
  }
  for (const auto& object : objects) {
    const auto validated = validate({.json = object, .file = {}, .line = 0, .line_of = {}});
    for (const auto& complaint : validated.complaints) ADD_FAILURE() << complaint.to_string();
  }
}

TEST(Objects, LabelsAreReadFromWhateverIsThere) {
  EXPECT_EQ(labels_of(namespace_object("shop", {{"a", "b"}})),
            (Labels{{"a", "b"}, {"kubernetes.io/metadata.name", "shop"}}));
  EXPECT_TRUE(labels_of({}).empty());
  EXPECT_TRUE(labels_of({{"metadata", 1}}).empty());
}

}  // namespace
}  // namespace ocicat::lab
