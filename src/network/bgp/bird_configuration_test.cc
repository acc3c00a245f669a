// Configurations as they stand in testdata/, each held to BIRD's own check; and random ones.
#include "network/bgp/bird_configuration.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

#include "network/bgp/bgp_for_test.h"
#include "test/source_dir.h"
#include "test/support/random.h"

namespace ocicat::network::bgp {
namespace {

// OCICAT_WRITE_GOLDEN=1 writes the files anew; look at the difference before it is committed.
void expect_golden(const std::string& name, const BgpIntent& intent) {
  const auto text = bird_configuration(intent);
  EXPECT_EQ(complaints_of_bird(text), "") << text;
  const auto path = test::source_dir().string() + "/src/network/bgp/testdata/" + name + ".conf";
  if (std::getenv("OCICAT_WRITE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  const std::string golden(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(text, golden) << path;
}

TEST(BirdConfiguration, OfAMeshOfThreeHosts) {
  auto input = cluster(3, "host2");
  input.blocks = {{prefix("10.65.0.0/26"), "host2", true},
                  {prefix("10.65.0.64/26"), "host2", false},
                  {prefix("fd65::/122"), "host2", true}};
  expect_golden("mesh", intent_for(input, no_secrets));
}

TEST(BirdConfiguration, TellsOfNoWorkloadBesideItsBlockWhateverMetricIsOrdinary) {
  auto intent = intent_for(cluster(2), no_secrets);
  intent.families[0].confirmed_blocks = {prefix("10.65.0.0/26")};
  for (const std::uint32_t ordinary : {2000U, 1024U, 100U}) {
    intent.families[0].metric = ordinary;
    const auto better = fmt::format("route_metric() < {} then accept", std::min(ordinary, kAgentMetric));
    EXPECT_THAT(bird_configuration(intent), testing::HasSubstr(better));
  }
}

TEST(BirdConfiguration, OfARouteReflector) {
  auto input = cluster(2);
  auto& configuration = input.configurations["default"];
  configuration.mesh = false;
  configuration.service_cluster_nets = {prefix("10.96.0.0/12")};
  input.nodes["host1"].reflector_cluster = address("224.0.0.1");
  input.blocks = {{prefix("10.65.0.0/26"), "host1", true}};
  BgpPeer peer;
  peer.metadata.name = "reflectors";
  peer.peer_selector = "all()";
  put(input.peers, peer);
  expect_golden("reflector", intent_for(input, no_secrets));
}

BgpFilter every_filter() {
  BgpFilter filter;
  filter.metadata.name = "everything";
  BgpFilterRule rule;
  rule.accept = true;
  rule.cidr = prefix("10.65.0.0/16");
  rule.match = BgpFilterRule::Match::kIn;
  rule.least_length = 24;
  rule.most_length = 28;
  rule.interface_name = "eth*";
  rule.from_remote_peers = true;
  rule.peer_type = BgpFilterRule::PeerType::kExternal;
  rule.community = *Community::parse("65000:1");
  rule.as_path_prefix = {65001, 65002};
  rule.priority = 512;
  rule.operations = {BgpFilterRule::AddCommunity{*Community::parse("65000:2:3")},
                     BgpFilterRule::PrependAsPath{{65010, 65011}}, BgpFilterRule::SetPriority{7}};
  filter.export_rules[0].push_back(rule);
  BgpFilterRule not_in;
  not_in.cidr = prefix("10.0.0.0/8");
  not_in.match = BgpFilterRule::Match::kNotIn;
  not_in.community = *Community::parse("65000:1:2");
  filter.import_rules[0] = {not_in};
  BgpFilterRule not_equal;
  not_equal.cidr = prefix("fd00::/8");
  not_equal.match = BgpFilterRule::Match::kNotEqual;
  not_equal.least_length = 16;
  filter.import_rules[1] = {not_equal, BgpFilterRule{}};
  BgpFilterRule equal;
  equal.accept = true;
  equal.cidr = prefix("::/0");
  equal.match = BgpFilterRule::Match::kEqual;
  equal.peer_type = BgpFilterRule::PeerType::kInternal;
  filter.export_rules[1] = {equal};
  return filter;
}

TEST(BirdConfiguration, OfPeersWithEverythingThatCanBeSaid) {
  auto input = cluster(1);
  auto& configuration = input.configurations["default"];
  configuration.log_severity = "Debug";
  configuration.listen_port = 1179;
  configuration.bind_mode = BgpConfiguration::BindMode::kNodeAddress;
  configuration.ignored_interfaces = {"docker*"};
  configuration.service_cluster_nets = {prefix("10.96.0.0/12")};
  configuration.advertisements = {
      {prefix("10.65.0.0/16"), {*Community::parse("65000:1"), *Community::parse("65000:1:2")}}};
  auto overlay = pool("overlay", "10.67.0.0/16");
  overlay.vxlan = IpPool::Encapsulation::kAlways;
  put(input.pools, overlay);
  auto hidden = pool("hidden", "10.66.0.0/16");
  hidden.exported = false;
  put(input.pools, hidden);
  put(input.filters, every_filter());
  BgpPeer tor;
  tor.metadata.name = "tor";
  tor.address = address("10.1.0.1");
  tor.port = 2179;
  tor.as_number = 4200000000;
  tor.local_as_number = 65100;
  tor.filters = {"everything"};
  tor.next_hop = BgpPeer::NextHop::kSelf;
  tor.password = SecretKey{"bgp", "tor"};
  tor.restart_time = std::chrono::seconds(90);
  tor.keepalive_time = std::chrono::seconds(20);
  tor.allowed_local_as_numbers = 2;
  tor.ttl_hops = 1;
  tor.reachable_by = address("10.0.0.254");
  put(input.peers, tor);
  auto tor6 = tor;
  tor6.metadata.name = "tor6";
  tor6.address = address("fd01::1");
  tor6.port = 0;
  tor6.next_hop = BgpPeer::NextHop::kKeep;
  tor6.from_node_address = false;
  tor6.reachable_by = address("fd00::fe");
  put(input.peers, tor6);
  expect_golden("peers", intent_for(input, any_secret));
}

TEST(BirdConfiguration, OfAHostThatSpeaksWithNobodyIsOneAllTheSame) {
  expect_golden("alone", intent_for(cluster(0), no_secrets));
}

TEST(BirdConfiguration, TakesNoOrdersFromNamesAndValues) {
  const std::string hostile = "x\n}; protocol static evil { ipv4; route 0.0.0.0/0 blackhole; }\n#\"";
  auto input = cluster(1);
  put(input.nodes, node(hostile, "10.0.0.2"));
  auto filter = every_filter();
  filter.metadata.name = hostile;
  put(input.filters, filter);
  BgpPeer peer;
  peer.metadata.name = hostile;
  peer.address = address("10.1.0.1");
  peer.as_number = 65001;
  peer.filters = {hostile};
  put(input.peers, peer);
  input.configurations["default"].log_severity = hostile;
  const auto text = bird_configuration(intent_for(input, no_secrets));
  EXPECT_EQ(complaints_of_bird(text), "");
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\n}; protocol static evil")));
  EXPECT_THAT(text, testing::HasSubstr("# BGPPeer x?}; protocol static evil"));
}

// --- random ones

class RandomInput {
 public:
  explicit RandomInput(std::uint64_t seed) : random_(seed) {}

  Input make() {
    auto input = cluster(static_cast<int>(random_.below(5)), fmt::format("host{}", random_.below(5)));
    for (auto& [name, node] : input.nodes) {
      if (random_.percent(20))
        node.reflector_cluster = IpAddress::v4(static_cast<std::uint32_t>(random_.below(3)));
      if (random_.percent(30)) node.as_number = number();
      if (random_.percent(20)) node.ipv4.reset();
      if (random_.percent(20)) node.ipv6.reset();
      if (node.ipv4 && random_.percent(5)) node.ipv4->address = odd_address(Family::kIpv4);
      if (node.ipv6 && random_.percent(10)) node.ipv6->address = odd_address(Family::kIpv6);
      if (random_.percent(40)) node.metadata.labels = {{"a", random_.percent(50) ? "1" : "2"}};
    }
    for (const auto* name : {"default", "node.host1"}) {
      if (random_.percent(70)) input.configurations[name] = configuration();
    }
    for (std::size_t i = random_.below(4); i > 0; --i) {
      auto made = filter();
      made.metadata.name = fmt::format("filter-{}", i);
      put(input.filters, made);
    }
    for (std::size_t i = random_.below(6); i > 0; --i) {
      auto made = peer(input);
      made.metadata.name = fmt::format("peer-{}", i);
      put(input.peers, made);
    }
    for (auto& [name, pool] : input.pools) {
      pool.exported = random_.percent(70);
      if (random_.percent(30)) pool.vxlan = IpPool::Encapsulation::kCrossSubnet;
    }
    for (std::size_t i = random_.below(6); i > 0; --i)
      input.blocks.push_back({net(), fmt::format("host{}", random_.below(5)), random_.percent(70)});
    for (std::size_t i = random_.below(4); i > 0; --i) {
      input.services.push_back({"s",
                                random_.percent(50) ? Service::From::kLocal : Service::From::kCluster,
                                random_.percent(50),
                                {net().address},
                                {net().address},
                                {net().address}});
    }
    if (random_.percent(50)) input.workloads = {{"w", {{"a", "1"}}, {net().address}}};
    return input;
  }

 private:
  // Such as a BGPFilter can name. What is to be somebody's own is never 0 once it is read.
  AsNumber any_number() { return random_.percent(10) ? 0 : number(); }
  AsNumber number() {
    return static_cast<AsNumber>(random_.percent(30) ? 4294967295U - random_.below(9)
                                                     : 1 + random_.below(65000));
  }
  std::chrono::seconds seconds() { return std::chrono::seconds(random_.below(5) * random_.below(20000)); }
  Prefix net() {
    const bool v4 = random_.percent(60);
    auto text = v4 ? fmt::format("10.{}.{}.{}", random_.below(256), random_.below(256), random_.below(256))
                   : fmt::format("fd{:02x}:{:x}::{:x}", random_.below(256), random_.below(65536),
                                 random_.below(65536));
    return Prefix{address(text), static_cast<std::uint8_t>(random_.below(v4 ? 33 : 129))}.masked();
  }
  // Addresses that are well-formed, and nobody's alone.
  IpAddress odd_address(Family family) {
    const std::vector<std::string> odd4{"0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.5",
                                        "255.255.255.255"};
    const std::vector<std::string> odd6{"::", "::1", "fe80::1", "ff02::1"};
    return address(random_.pick(family == Family::kIpv4 ? odd4 : odd6));
  }
  // Of a neighbour, or on the way to one.
  IpAddress end(Family family) { return random_.percent(15) ? odd_address(family) : net(family).address; }
  Prefix net(Family family) {
    for (auto some = net();; some = net()) {
      if (some.family() == family) return some;
    }
  }
  Community community() {
    const bool large = random_.percent(40);
    const auto part = [&] {
      return static_cast<std::uint32_t>(random_.percent(20) ? (large ? 4294967295U : 65535U)
                                                            : random_.below(65536));
    };
    return {large, {part(), part(), large ? part() : 0}};
  }
  std::string pattern() {
    return random_.pick(std::vector<std::string>{"eth*", "a.b_c-d", "*", "x*y*z", "123"});
  }

  BgpConfiguration configuration() {
    BgpConfiguration made;
    if (random_.percent(40)) made.as_number = number();
    if (random_.percent(30)) made.mesh = random_.percent(50);
    if (random_.percent(30)) made.bind_mode = BgpConfiguration::BindMode::kNodeAddress;
    if (random_.percent(30)) made.listen_port = static_cast<std::uint16_t>(1 + random_.below(65535));
    if (random_.percent(50))
      made.log_severity =
          random_.pick(std::vector<std::string>{"Trace", "Debug", "Info", "Warning", "Error", "Fatal"});
    if (random_.percent(30)) made.ignored_interfaces = {pattern(), pattern()};
    if (random_.percent(30)) made.priorities[0] = static_cast<std::uint32_t>(1 + random_.below(2147483646));
    if (random_.percent(30)) made.mesh_restart_time = seconds();
    if (random_.percent(30)) made.mesh_password = SecretKey{"s", "k"};
    if (random_.percent(50)) made.advertisements = {{net(), {community(), community()}}, {net(), {}}};
    if (random_.percent(50)) made.service_cluster_nets = {net()};
    if (random_.percent(50)) made.service_load_balancer_nets = {net(), net()};
    made.aggregates_load_balancers = random_.percent(50);
    return made;
  }

  BgpPeer peer(const Input& input) {
    BgpPeer made;
    const auto selector = [&] {
      return random_.pick(std::vector<std::string>{"all()", "a == '1'", "has(a)", "a != '2'"});
    };
    if (random_.percent(30))
      made.node = fmt::format("host{}", random_.below(5));
    else if (random_.percent(50))
      made.node_selector = selector();
    if (random_.percent(60)) {
      made.address = end(random_.percent(60) ? Family::kIpv4 : Family::kIpv6);
      if (random_.percent(30)) made.port = static_cast<std::uint16_t>(1 + random_.below(65535));
      if (random_.percent(80)) made.as_number = any_number();
      if (random_.percent(30)) made.reachable_by = end(made.address->family());
    } else if (random_.percent(70)) {
      made.peer_selector = selector();
    } else {
      made.local_workload_selector = selector();
      made.as_number = any_number();
    }
    for (const auto& [name, filter] : input.filters) {
      if (random_.percent(40)) made.filters.push_back(name);
    }
    if (random_.percent(30)) made.local_as_number = number();
    made.next_hop =
        random_.pick(std::vector{BgpPeer::NextHop::kAuto, BgpPeer::NextHop::kSelf, BgpPeer::NextHop::kKeep});
    made.from_node_address = random_.percent(80);
    made.reverse = random_.percent(80);
    if (random_.percent(30)) made.password = SecretKey{"s", "k"};
    if (random_.percent(30)) made.restart_time = seconds();
    if (random_.percent(30)) made.keepalive_time = seconds();
    if (random_.percent(30)) made.allowed_local_as_numbers = static_cast<std::uint32_t>(random_.below(12));
    if (random_.percent(30)) made.ttl_hops = static_cast<std::uint8_t>(random_.below(256));
    return made;
  }

  BgpFilterRule rule(Family family) {
    BgpFilterRule made;
    made.accept = random_.percent(60);
    if (random_.percent(60)) {
      made.cidr = net(family);
      made.match = static_cast<BgpFilterRule::Match>(random_.below(4));
      const auto bits = static_cast<std::size_t>(bits_of(family)) + 1;
      if (random_.percent(50)) made.least_length = static_cast<std::uint8_t>(random_.below(bits));
      if (random_.percent(50)) made.most_length = static_cast<std::uint8_t>(random_.below(bits));
    }
    if (random_.percent(30)) made.interface_name = pattern();
    made.from_remote_peers = random_.percent(30);
    if (random_.percent(30)) made.peer_type = static_cast<BgpFilterRule::PeerType>(random_.below(2));
    if (random_.percent(30)) made.community = community();
    if (random_.percent(30)) made.as_path_prefix = {any_number(), any_number()};
    if (random_.percent(30)) made.priority = static_cast<std::uint32_t>(1 + random_.below(2147483646));
    if (!made.accept) return made;
    for (std::size_t i = random_.below(4); i > 0; --i) {
      if (random_.percent(33))
        made.operations.emplace_back(BgpFilterRule::AddCommunity{community()});
      else if (random_.percent(50))
        made.operations.emplace_back(BgpFilterRule::PrependAsPath{{any_number(), any_number()}});
      else
        made.operations.emplace_back(
            BgpFilterRule::SetPriority{static_cast<std::uint32_t>(1 + random_.below(2147483646))});
    }
    return made;
  }

  BgpFilter filter() {
    BgpFilter made;
    for (const auto family : kFamilies) {
      const std::size_t i = family == Family::kIpv4 ? 0 : 1;
      for (std::size_t n = random_.below(4); n > 0; --n) made.export_rules[i].push_back(rule(family));
      for (std::size_t n = random_.below(4); n > 0; --n) made.import_rules[i].push_back(rule(family));
    }
    return made;
  }

  test::Random random_;
};

TEST(BirdConfigurationProperty, BirdTakesWhateverResourcesAmountTo) {
  const auto first = test::any_seed();
  std::printf("first seed %llu\n", static_cast<unsigned long long>(first));
  for (std::uint64_t seed = first; seed < first + 60; ++seed) {
    const auto input = RandomInput(seed).make();
    const auto text = bird_configuration(intent_for(input, any_secret));
    ASSERT_EQ(complaints_of_bird(text), "") << "seed " << seed << "\n" << text;
  }
}

}  // namespace
}  // namespace ocicat::network::bgp
