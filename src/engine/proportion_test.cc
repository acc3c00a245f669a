// What a change makes the kernel write is proportional to what changed: counted, on clusters of some size.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "test/support/shapes/block_cluster.h"
#include "test/support/shapes/netset_policies.h"
#include "test/support/shapes/tag_policies.h"

namespace ocicat {
namespace {

using test::TagPolicies;

const TagPolicies kCluster{.remote = 2'000, .local = 20, .policies = 60};

// An engine, and the state that its changes lead to.
struct Host {
  explicit Host(policy::Dictionary dictionary = {})
      : engine({.node = test::kShapeNode, .dictionary = std::move(dictionary)}) {}

  template <class Shape>
  HostChanges load(const Shape& shape) {
    ResourceChanges changes;
    shape.each([&](test::Item item) { changes.update(std::move(item.key), std::move(item.resource)); });
    return step(changes);
  }
  HostChanges set(test::Item item) {
    ResourceChanges changes;
    changes.update(std::move(item.key), std::move(item.resource));
    return step(changes);
  }
  HostChanges remove(const ResourceKey& key) {
    ResourceChanges changes;
    changes.remove(key);
    return step(changes);
  }
  HostChanges step(const ResourceChanges& changes) {
    auto delta = engine.update(changes);
    delta.apply_to(state);
    return delta;
  }

  Engine engine;
  HostState state;
};

std::size_t verdict_writes(const HostChanges& delta) {
  const auto& tables = delta.tables;
  return tables.programs.size() + tables.tables.size() + tables.projections.size() +
         tables.tables_by_projection.size() + delta.endpoints.size();
}

TEST(Proportion, AnEndpointThatChangesCostsOneClassEntryAtMost) {
  Host host;
  host.load(kCluster);
  std::size_t writes = 0;
  for (unsigned number = 0; number < 100; ++number) {
    const auto relabelled = host.set(kCluster.endpoint(number, number + 7));
    EXPECT_LE(relabelled.tables.classes.size(), 1U);
    EXPECT_EQ(verdict_writes(relabelled), 0U);
    const auto gone = host.remove(kCluster.endpoint(number).key);
    EXPECT_LE(gone.tables.classes.size(), 1U);
    EXPECT_EQ(verdict_writes(gone), 0U);
    const auto back = host.set(kCluster.endpoint(number));
    EXPECT_LE(back.tables.classes.size(), 1U);
    EXPECT_EQ(verdict_writes(back), 0U);
    writes += relabelled.tables.classes.size() + gone.tables.classes.size() + back.tables.classes.size();
  }
  EXPECT_GT(writes, 100U);
}

TEST(Proportion, AnEndpointThatNoSelectorCanMatchCostsNothing) {
  Host host;
  host.load(kCluster);
  auto item = kCluster.endpoint(0);
  auto& endpoint = std::get<WorkloadEndpoint>(item.resource);
  endpoint.metadata.name = item.key.name = "stranger";
  endpoint.metadata.labels = {{"nobody", "asks"}};
  endpoint.addresses = {IpAddress::v4(0x0b000001)};
  const auto delta = host.set(item);
  EXPECT_TRUE(delta.tables.empty());
  EXPECT_EQ(verdict_writes(delta), 0U);
}

TEST(Proportion, ANetAroundAllAddressesWritesNoneOfThem) {
  Host host;
  host.load(kCluster);
  const auto item = test::TagPolicies::from_outside();
  for (const auto& delta : {host.set(item), host.remove(item.key)}) {
    EXPECT_EQ(delta.tables.classes.size(), 2U);  // the two nets
    for (const auto& [prefix, change] : delta.tables.classes.entries()) EXPECT_FALSE(prefix.is_host());
  }
}

TEST(Proportion, APolicyThatChangesCostsTheProgramsOfThoseItSelects) {
  Host host;
  host.load(kCluster);
  auto item = TagPolicies::policy(3);
  std::get<NetworkPolicy>(item.resource).ingress.pop_back();
  const auto delta = host.set(item);
  EXPECT_TRUE(delta.tables.classes.empty());
  EXPECT_EQ(delta.tables.programs.size(), 2U);  // one comes, one goes
  std::size_t selected = 0;
  for (unsigned number = kCluster.remote; number < kCluster.remote + kCluster.local; ++number) {
    const auto endpoint = kCluster.endpoint(number);
    selected +=
        std::get<WorkloadEndpoint>(endpoint.resource).metadata.labels.contains(TagPolicies::marker(3));
  }
  EXPECT_EQ(delta.endpoints.size(), selected);
}

TEST(Proportion, ANetworkSetThatGrowsByOneWritesOne) {
  Host host;
  host.load(test::NetsetPolicies{.remote = 100, .local = 3, .sets = 20});
  auto item = test::NetsetPolicies::set(9);
  auto& nets = std::get<NetworkSet>(item.resource).nets;
  nets.push_back(*Prefix::parse("192.0.2.1/32"));
  const auto grown = host.set(item);
  EXPECT_EQ(grown.tables.classes.size(), 1U);
  EXPECT_EQ(verdict_writes(grown), 0U);
}

TEST(Proportion, AHostThatMovesCostsARouteForEachOfItsBlocks) {
  const test::BlockCluster cluster{.hosts = 200, .vxlan = IpPool::Encapsulation::kNever};
  Host host;
  host.load(cluster);
  const auto borrowed = [](unsigned number) { return number % 10 == 0; };
  std::size_t single = 0;
  for (unsigned number = 0; number < cluster.blocks(); ++number) {
    // Not where it comes from here, nor where it came to here.
    single += borrowed(number) && number / 4 != 199;
  }
  EXPECT_EQ(host.state.routes.size(), cluster.blocks() + single);
  const auto moved = host.set(cluster.host(7, 1));
  EXPECT_EQ(moved.routes.size(), 4U) << "four blocks of its own";
  EXPECT_TRUE(host.set(cluster.host(7, 1)).routes.empty());
  const auto gone = host.remove(cluster.host(7).key);
  EXPECT_EQ(gone.routes.size(), 4U);
}

TEST(Proportion, AnAddressThatIsGivenInItsOwnersBlockCostsNoRoute) {
  const test::BlockCluster cluster{.hosts = 20};
  Host host;
  host.load(cluster);
  for (unsigned number = 0; number < cluster.blocks(); ++number)
    EXPECT_TRUE(host.set(cluster.block(number)).routes.empty());
}

TEST(Proportion, ARestartThatFindsEverythingRightWritesNothing) {
  Host first;
  first.load(kCluster);
  first.set(kCluster.endpoint(5, 12));  // so that ids have a history
  first.remove(TagPolicies::policy(7).key);
  Host second(first.state.tables.dictionary);
  ResourceChanges all;
  kCluster.each([&](test::Item item) { all.update(std::move(item.key), std::move(item.resource)); });
  auto moved = kCluster.endpoint(5, 12);
  all.update(moved.key, moved.resource);
  all.remove(TagPolicies::policy(7).key);
  second.step(all);
  EXPECT_EQ(second.state.tables.classes, first.state.tables.classes);
  EXPECT_EQ(second.state.tables.programs, first.state.tables.programs);
  EXPECT_EQ(second.state.tables.tables, first.state.tables.tables);
  EXPECT_EQ(second.state.tables.projections, first.state.tables.projections);
  EXPECT_EQ(second.state.tables.tables_by_projection, first.state.tables.tables_by_projection);
  EXPECT_EQ(second.state.tables.dictionary, first.state.tables.dictionary);
  EXPECT_EQ(second.state.endpoints, first.state.endpoints);
}

}  // namespace
}  // namespace ocicat
