#include "policy/snapshot_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using test::address;
using test::pod_key;
using test::World;
using testing::Contains;
using testing::ElementsAre;
using testing::Key;
using testing::Not;
using testing::Pair;

Labels labels_of(const World& world, std::string_view pod) {
  return view_of(world.snapshot).endpoint(pod_key(pod))->labels;
}

TEST(Labels, AreInheritedFromNamespaceAndServiceAccount) {
  World world;
  world.with_namespace("shop", {{"team", "retail"}})
      .with_service_account("shop", "reader", {{"trust", "high"}});
  world.with_pod("shop/api", {"10.0.0.1"}, {{"role", "api"}}, {}, "reader");
  const auto labels = labels_of(world, "shop/api");
  EXPECT_THAT(labels, Contains(Pair("role", "api")));
  EXPECT_THAT(labels, Contains(Pair("pcns.team", "retail")));
  EXPECT_THAT(labels, Contains(Pair("pcns.projectcalico.org/name", "shop")));
  EXPECT_THAT(labels, Contains(Pair("pcsa.trust", "high")));
  EXPECT_THAT(labels, Contains(Pair("projectcalico.org/serviceaccount", "reader")));
}

TEST(Labels, OfTheEndpointItselfWinThenThoseOfTheFirstProfile) {
  World world;
  world.with_pod("shop/api", {"10.0.0.1"}, {{"a", "own"}});
  std::get<WorkloadEndpoint>(world.snapshot.at(pod_key("shop/api"))).profiles = {"ghost", "first", "second"};
  world.with_profile({.metadata = {.name = "first"}, .labels_to_apply = {{"a", "first"}, {"b", "first"}}});
  world.with_profile({.metadata = {.name = "second"},
                      .labels_to_apply = {{"a", "second"}, {"b", "second"}, {"c", "second"}}});
  const auto labels = labels_of(world, "shop/api");
  EXPECT_THAT(labels, Contains(Pair("a", "own")));
  EXPECT_THAT(labels, Contains(Pair("b", "first")));
  EXPECT_THAT(labels, Contains(Pair("c", "second")));
}

TEST(Labels, OfANetworkSetIncludeItsNamespaceAndItsNamespacesLabels) {
  World world;
  world.with_namespace("shop", {{"team", "retail"}}).with_network_set("shop", "partners", {"192.0.2.0/24"});
  const auto view = view_of(world.snapshot);
  EXPECT_THAT(view.sets.at(0).labels, Contains(Pair("projectcalico.org/namespace", "shop")));
  EXPECT_THAT(view.sets.at(0).labels, Contains(Pair("pcns.team", "retail")));
}

TEST(Labels, OfAGlobalNetworkSetAreItsOwn) {
  World world;
  world.with_network_set("", "partners", {"192.0.2.0/24"}, {{"role", "partner"}});
  EXPECT_THAT(view_of(world.snapshot).sets.at(0).labels, ElementsAre(Pair("role", "partner")));
}

TEST(Labels, OfAProfileWithTheNameOfANamespacesProfileCountInItsPlace) {
  World world;
  world.with_namespace("shop", {{"team", "retail"}}).with_pod("shop/api", {"10.0.0.1"});
  world.with_profile({.metadata = {.name = "kns.shop"}, .labels_to_apply = {{"pcns.other", "x"}}});
  const auto labels = labels_of(world, "shop/api");
  EXPECT_THAT(labels, Contains(Key("pcns.other")));
  EXPECT_THAT(labels, Not(Contains(Key("pcns.team"))));
}

TEST(Owners, AreAllEndpointsAndSetsThatHaveTheAddress) {
  World world;
  world.with_pod("shop/api", {"10.0.0.1"}).with_pod("shop/twin", {"10.0.0.1", "fd00::1"});
  world.with_network_set("", "net", {"10.0.0.7/8"}).with_network_set("", "six", {"::/0"});
  const auto view = view_of(world.snapshot);
  const auto titles = [&](std::string_view text) {
    std::vector<std::string> found;
    for (const auto* owner : view.owners(address(text))) found.push_back(owner->title);
    return found;
  };
  EXPECT_THAT(titles("10.0.0.1"), ElementsAre("shop/api", "shop/twin", "GlobalNetworkSet net"));
  EXPECT_THAT(titles("10.255.255.255"), ElementsAre("GlobalNetworkSet net"));
  EXPECT_THAT(titles("fd00::1"), ElementsAre("shop/twin", "GlobalNetworkSet six"));
  EXPECT_THAT(titles("192.0.2.1"), ElementsAre());
}

}  // namespace
}  // namespace ocicat::policy
