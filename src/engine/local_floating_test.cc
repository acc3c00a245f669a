// Who is reached under which floating address, by the whole engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "network/floating_addresses.h"
#include "test/support/for_seeds.h"
#include "test/support/random.h"
#include "test/support/world.h"

namespace ocicat {
namespace {

using test::address;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using Resources = std::map<ResourceKey, Resource>;

const ResourceKey kSettings{Kind::kFelixConfiguration, "", "default"};

ResourceKey endpoint_key(const std::string& name) {
  return {Kind::kWorkloadEndpoint, "shop", name};
}

WorkloadEndpoint floating_endpoint(const std::string& name, const std::string& node,
                                   const std::string& interface_name, const std::string& own,
                                   const std::vector<std::string>& floating) {
  WorkloadEndpoint endpoint;
  endpoint.metadata.name = name;
  endpoint.metadata.ns = "shop";
  endpoint.node = node;
  endpoint.interface_name = interface_name;
  endpoint.addresses = {address(own)};
  for (const auto& text : floating) endpoint.floating.push_back({address(text), address(own)});
  return endpoint;
}

FelixConfiguration floating_setting(const std::string& value) {
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values = {{"floatingIPs", value}};
  return configuration;
}

// What host1 makes of it, step by step.
struct FloatingHost {
  explicit FloatingHost(const std::string& setting = "Enabled") {
    for (const auto& [name, own] : {std::pair{"host1", "192.0.2.1/24"}, {"host2", "192.0.2.2/24"}}) {
      Node node;
      node.metadata.name = name;
      node.ipv4 = test::prefix(own);
      set({Kind::kNode, "", name}, node);
    }
    set(kSettings, floating_setting(setting));
  }
  void step(const ResourceChanges& changes) {
    const auto out = engine.update(changes);
    out.apply_to(state);
    out.refused.apply_to(refused);
  }
  void set(const ResourceKey& at, const Resource& resource) {
    ResourceChanges changes;
    changes.update(at, resource);
    step(changes);
  }
  void add(const std::string& name, const std::string& node, const std::string& own,
           const std::vector<std::string>& floating) {
    set(endpoint_key(name), floating_endpoint(name, node, "cali" + name, own, floating));
  }
  void remove(const std::string& name) {
    ResourceChanges changes;
    changes.remove(endpoint_key(name));
    step(changes);
  }
  // Empty: there is none.
  std::string way(const std::string& to) const {
    const auto found = state.routes.find(Prefix::host(address(to)));
    if (found == state.routes.end()) return {};
    return found->second.next_hop ? found->second.next_hop->to_string() : found->second.interface_name;
  }
  std::string told(const std::string& name) const {
    const auto found = refused.find(endpoint_key(name));
    return found == refused.end() ? "" : found->second;
  }

  Engine engine{{.node = "host1"}};
  HostState state;
  std::map<ResourceKey, std::string> refused;
};

TEST(FloatingAddress, LeadsToTheWorkloadAndIsTranslatedWhereThatIs) {
  FloatingHost host;
  host.add("a", "host1", "10.0.0.1", {"172.16.0.5"});
  host.add("b", "host2", "10.0.0.2", {"172.16.0.6"});
  EXPECT_THAT(host.state.floating, UnorderedElementsAre(Pair(address("172.16.0.5"), address("10.0.0.1"))));
  EXPECT_EQ(host.way("172.16.0.5"), "calia");
  EXPECT_EQ(host.way("172.16.0.6"), "192.0.2.2");
  EXPECT_THAT(host.refused, IsEmpty());
  host.remove("a");
  host.remove("b");
  EXPECT_THAT(host.state.floating, IsEmpty());
  EXPECT_EQ(host.way("172.16.0.5") + host.way("172.16.0.6"), "");
}

TEST(FloatingAddress, MovesWithTheWorkloadThatAsksForIt) {
  FloatingHost host;
  host.add("a", "host2", "10.0.0.1", {"172.16.0.5"});
  EXPECT_EQ(host.way("172.16.0.5"), "192.0.2.2");
  host.add("a", "host1", "10.0.0.1", {"172.16.0.5"});
  EXPECT_EQ(host.way("172.16.0.5"), "calia");
  host.add("a", "host1", "10.0.0.7", {"172.16.0.5"});
  EXPECT_EQ(host.state.floating.at(address("172.16.0.5")), address("10.0.0.7"));
  host.add("a", "host1", "10.0.0.7", {"172.16.0.6"});
  EXPECT_THAT(host.state.floating, UnorderedElementsAre(Pair(address("172.16.0.6"), address("10.0.0.7"))));
  EXPECT_EQ(host.way("172.16.0.5"), "");
}

TEST(FloatingAddress, OfSeveralThatAskForItTheFirstHasIt) {
  FloatingHost host;
  host.add("b", "host1", "10.0.0.2", {"172.16.0.5"});
  EXPECT_EQ(host.way("172.16.0.5"), "calib");
  host.add("a", "host2", "10.0.0.1", {"172.16.0.5"});
  EXPECT_EQ(host.way("172.16.0.5"), "192.0.2.2");
  EXPECT_THAT(host.state.floating, IsEmpty());
  EXPECT_EQ(host.told("b"), "not reached under 172.16.0.5: WorkloadEndpoint shop/a has it");
  EXPECT_EQ(host.told("a"), "");  // its own host's agent would say
  host.remove("a");
  EXPECT_EQ(host.way("172.16.0.5"), "calib");
  EXPECT_EQ(host.told("b"), "");
}

TEST(FloatingAddress, IsNeverTakenFromWhoHasItByItself) {
  FloatingHost host;
  host.add("a", "host1", "10.0.0.1", {"10.0.0.9", "192.0.2.2", "192.0.2.1", "127.0.0.1"});
  EXPECT_EQ(host.way("10.0.0.9"), "calia");
  EXPECT_EQ(host.state.floating.size(), 1U);
  EXPECT_THAT(host.told("a"), HasSubstr("192.0.2.1: it is the address of a host"));
  EXPECT_THAT(host.told("a"), HasSubstr("192.0.2.2: it is the address of a host"));
  EXPECT_THAT(host.told("a"), HasSubstr("127.0.0.1: nothing can be reached"));
  host.add("b", "host2", "10.0.0.9", {});
  EXPECT_EQ(host.way("10.0.0.9"), "192.0.2.2");
  EXPECT_THAT(host.state.floating, IsEmpty());
  EXPECT_THAT(host.told("a"), HasSubstr("10.0.0.9: it is the own address of WorkloadEndpoint shop/b"));
  host.remove("b");
  EXPECT_EQ(host.way("10.0.0.9"), "calia");
}

TEST(FloatingAddress, IsNobodysUnlessTheSettingSaysSo) {
  FloatingHost host("Disabled");
  host.add("a", "host1", "10.0.0.1", {"172.16.0.5"});
  host.add("b", "host2", "10.0.0.2", {"172.16.0.6"});
  EXPECT_THAT(host.state.floating, IsEmpty());
  EXPECT_EQ(host.way("172.16.0.5") + host.way("172.16.0.6"), "");
  EXPECT_THAT(host.told("a"), HasSubstr("floatingIPs of FelixConfiguration is not Enabled"));
  host.set(kSettings, floating_setting("Enabled"));
  EXPECT_EQ(host.way("172.16.0.5"), "calia");
  EXPECT_EQ(host.way("172.16.0.6"), "192.0.2.2");
  EXPECT_EQ(host.told("a"), "");
  host.set(kSettings, floating_setting("Disabled"));
  EXPECT_THAT(host.state.floating, IsEmpty());
  EXPECT_EQ(host.way("172.16.0.5") + host.way("172.16.0.6"), "");
}

TEST(FloatingAddress, OfAWorkloadThatWaitsForItsInterfaceLeadsNowhere) {
  FloatingHost host;
  host.set(endpoint_key("b"), floating_endpoint("b", "host1", "cali1", "10.0.0.2", {"172.16.0.5"}));
  EXPECT_EQ(host.way("172.16.0.5"), "cali1");
  host.set(endpoint_key("a"), floating_endpoint("a", "host1", "cali1", "10.0.0.1", {}));
  EXPECT_EQ(host.way("172.16.0.5"), "");
  EXPECT_THAT(host.state.floating, IsEmpty());
  host.remove("a");
  EXPECT_EQ(host.way("172.16.0.5"), "cali1");
  EXPECT_EQ(host.state.floating.size(), 1U);
}

// The same, straight from all resources.
std::map<IpAddress, IpAddress> translated_at(const std::string& host, const Resources& all) {
  std::map<IpAddress, IpAddress> translated;
  std::set<IpAddress> taken;
  std::map<std::string, ResourceKey> first_at;  // by interface, of that host
  bool enabled = false;
  for (const auto& [key, resource] : all) {
    if (const auto* settings = std::get_if<FelixConfiguration>(&resource))
      enabled = settings->values.at("floatingIPs") == "Enabled";
    if (const auto* node = std::get_if<Node>(&resource); node && node->ipv4)
      taken.insert(node->ipv4->address);
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      taken.insert(endpoint->addresses.begin(), endpoint->addresses.end());
      if (endpoint->node == host) first_at.try_emplace(endpoint->interface_name, key);
    }
  }
  std::set<IpAddress> asked;
  for (const auto& [key, resource] : all) {
    const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
    if (endpoint == nullptr) continue;
    std::set<IpAddress> own_asked;
    for (const auto& [floating, own] : endpoint->floating) {
      if (!own_asked.insert(floating).second || asked.contains(floating)) continue;
      const bool here = endpoint->node == host && first_at.at(endpoint->interface_name) == key;
      if (enabled && here && !taken.contains(floating)) translated.emplace(floating, own);
    }
    asked.merge(own_asked);
  }
  return translated;
}

void check_history(std::uint64_t seed) {
  test::Random random(seed);
  FloatingHost host;
  Resources all;
  ResourceChanges begun;
  const auto text = [&](std::size_t most) { return fmt::format("10.0.0.{}", 1 + random.below(most)); };
  for (int round = 0; round < 40; ++round) {
    ResourceChanges changes;
    for (std::uint64_t i = 0; i <= random.below(3); ++i) {
      const auto name = std::string(1, static_cast<char>('a' + random.below(5)));
      if (random.below(12) == 0) {
        changes.update(kSettings, floating_setting(random.below(3) == 0 ? "Disabled" : "Enabled"));
      } else if (random.below(10) == 0) {
        Node node;
        node.metadata.name = random.below(2) == 0 ? "host1" : "host2";
        node.ipv4 = test::prefix(text(12) + "/24");
        changes.update({Kind::kNode, "", node.metadata.name}, node);
      } else if (random.below(4) == 0) {
        changes.remove(endpoint_key(name));
      } else {
        std::vector<std::string> floating;
        for (auto left = random.below(4); left > 0; --left) floating.push_back(text(12));
        changes.update(endpoint_key(name),
                       floating_endpoint(name, random.below(2) == 0 ? "host1" : "host2",
                                         fmt::format("cali{}", random.below(4)), text(12), floating));
      }
    }
    begun.absorb(changes);
    host.step(changes);
    FloatingHost anew;
    anew.step(begun);
    all.clear();
    begun.apply_to(all);
    all.try_emplace(kSettings, floating_setting("Enabled"));
    for (const auto& [name, own] : {std::pair{"host1", "192.0.2.1/24"}, {"host2", "192.0.2.2/24"}}) {
      Node node;
      node.ipv4 = test::prefix(own);
      all.try_emplace({Kind::kNode, "", name}, node);
    }
    ASSERT_EQ(host.state.floating, translated_at("host1", all)) << "round " << round;
    ASSERT_EQ(host.state.floating, anew.state.floating) << "round " << round;
    ASSERT_EQ(host.state.routes, anew.state.routes) << "round " << round;
    ASSERT_EQ(host.refused, anew.refused) << "round " << round;
  }
}

TEST(FloatingHistory, LeadsToWhatIsSaidStraightFromAllResources) {
  test::for_seeds(200, [](std::uint64_t seed) {
    check_history(seed);
    return !testing::Test::HasFailure();
  });
}

TEST(FloatingAddresses, ThatNobodyIsReachedUnder) {
  for (const auto* text : {"0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::", "::1",
                           "fe80::1", "ff02::1"}) {
    EXPECT_FALSE(network::may_float(address(text))) << text;
  }
  for (const auto* text : {"1.1.1.1", "172.16.0.5", "223.255.255.255", "fd00::1", "2001:db8::"})
    EXPECT_TRUE(network::may_float(address(text))) << text;
}

}  // namespace
}  // namespace ocicat
