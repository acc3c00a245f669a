// The dataplane over simulated kernels that fail at any moment.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "dataplane/host_keeper.h"
#include "dataplane/nftables/policy_table.h"
#include "kernel/simulated_connections.h"
#include "kernel/simulated_nft.h"
#include "kernel/simulated_queues.h"
#include "kernel/simulated_routes.h"
#include "kernel/simulated_tunnels.h"
#include "netns/random_tables.h"
#include "policy/simulator.h"
#include "sim/kernel_lookup.h"
#include "test/support/random.h"

namespace ocicat::test {
namespace {

using dataplane::HostKeeper;
using kernel::nft::SimulatedKernel;
using policy::Direction;
using policy::ProgramId;

const Error kNoMemory{ErrorCode::kExhausted, "no memory"};

IpAddress address(const std::string& text) {
  return *IpAddress::parse(text);
}
ResourceKey pod_key(std::size_t number) {
  return {Kind::kPod, "shop", fmt::format("pod{}", number)};
}
std::string interface_of(std::size_t number) {
  return fmt::format("cali{}", number);
}
IpAddress pod_address(std::size_t number) {
  return IpAddress::v4(0x0a410000 + static_cast<std::uint32_t>(number));
}

// How many lookups a packet has behind it when a step comes: none, or some of those of a round of rules.
std::array<int, 3> moments(Random& random) {
  const auto some = [&] { return 1 + static_cast<int>(random.below(13)); };
  return {0, some(), some()};
}

// The same tables under other ids.
policy::Tables with_new_ids(policy::Tables tables, std::uint32_t by) {
  const auto moved = [&](policy::TableId id) { return policy::TableId{static_cast<std::uint32_t>(id) + by}; };
  for (auto& [key, id] : tables.tables_by_projection) id = moved(id);
  for (auto& [key, program] : tables.programs) program.base = moved(program.base);
  for (auto& [id, table] : std::exchange(tables.tables, {})) {
    std::vector<policy::Interval> intervals;
    for (auto interval : table) {
      if (interval.source_ports != policy::TableId{}) interval.source_ports = moved(interval.source_ports);
      intervals.push_back(interval);
    }
    tables.tables.emplace(moved(id), policy::Table(intervals));
  }
  return tables;
}

// A host with three workloads' interfaces, and what is wanted of it.
class KeptHost {
 public:
  explicit KeptHost(std::uint64_t seed) : random(seed) {
    for (int i = 0; i < 3; ++i)
      routes.link_by_index[10 + i] = {10 + i, interface_of(static_cast<std::size_t>(i)), true};
    routes.link_by_index[2] = {2, "uplink", true, {address("192.0.2.254")}};
    routes.link_by_index[3] = {3, "eth1", true};
    routes.settings["net/ipv4/ip_forward"] = "0";
    routes.next_hops[address("192.0.2.1")] = {2, std::nullopt};
  }

  // A random next state; the step that leads there.
  HostChanges step() {
    RandomTablesOptions options;
    options.chains = policy::ChainId{kChains};
    for (std::size_t i = 0; i < 6; ++i) options.peers.push_back(pod_address(i));
    for (const auto* net : {"10.65.0.0/30", "10.65.0.2/31", "10.65.0.4/31", "10.65.0.0/16", "0.0.0.0/0"})
      options.nets.push_back(*Prefix::parse(net));
    auto tables = random_tables(random, options);
    if (new_tables) tables = with_new_ids(tables, 1000 * static_cast<std::uint32_t>(revision));
    HostChanges changes;
    changes.tables = changes_between(wanted.tables, tables);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto prefix = Prefix::host(pod_address(i));
      if (random.percent(20)) {
        changes.endpoints.remove(pod_key(i));
        changes.routes.update(prefix, {Route::Kind::kHost, {}, address("192.0.2.1")});
      } else {
        const ProgramId ingress{static_cast<std::uint32_t>(1 + random.below(4))},
            egress{static_cast<std::uint32_t>(1 + random.below(4))};
        EndpointState pod{interface_of(i), {{pod_address(i), ingress, egress}}};
        for (auto* limit : {&pod.limits.ingress, &pod.limits.egress}) {
          if (random.percent(40)) *limit = {.rate = 8'000 * (1 + random.below(3)), .burst = 8'000};
        }
        changes.endpoints.update(pod_key(i), pod);
        changes.routes.update(prefix, {Route::Kind::kInterface, interface_of(i), {}});
      }
    }
    for (std::uint32_t i = 1; i <= 3; ++i) {
      const ResourceKey key{Kind::kHostEndpoint, "", fmt::format("edge{}", i)};
      if (random.percent(40)) {
        changes.host_endpoints.remove(key);
      } else {
        changes.host_endpoints.update(key, random_host(i));
      }
    }
    if (random.percent(10)) changes.settings.emplace().reject = random.percent(50);
    changes.revisions[Kind::kPod].revision = ++revision;
    changes.apply_to(wanted);
    return changes;
  }

  // By name, by address or for all that is left; with chains at some hooks.
  HostEndpointState random_host(std::uint32_t id) {
    HostEndpointState host{.id = id};
    switch (random.below(4)) {
      case 0:
        host.interface_name = kAllInterfaces;
        break;
      case 1:
        host.expected_addresses = {address("192.0.2.254")};
        break;
      default:
        host.interface_name = random.percent(50) ? "uplink" : "eth1";
    }
    for (auto& chain : host.chains[0]) {
      if (random.percent(80)) chain = policy::ChainId{static_cast<std::uint32_t>(1 + random.below(kChains))};
    }
    return host;
  }

  static constexpr std::uint32_t kChains = 5;
  Random random;
  bool new_tables = false;  // in every step, as an engine gives them ids
  HostKeeper::Kernels kernels() { return {nft, nat, routes, tunnels, connections, queues}; }

  SimulatedKernel nft, nat;
  kernel::SimulatedRoutes routes;
  kernel::SimulatedTunnels tunnels;
  kernel::SimulatedConnections connections;
  kernel::SimulatedQueues queues;
  HostState wanted;
  std::uint64_t revision = 0;
};

std::optional<ProgramId> program_of(const HostState& state, Direction direction, std::size_t pod) {
  const auto found = state.endpoints.find(pod_key(pod));
  if (found == state.endpoints.end()) return std::nullopt;
  const auto& programs = found->second.addresses.front();
  return direction == Direction::kIngress ? programs.ingress : programs.egress;
}

// Whether a pod gets or may send a packet, by the state that is wanted.
bool passes(const HostState& state, Direction direction, std::size_t pod, const IpAddress& peer,
            const policy::Packet& packet) {
  const auto program = program_of(state, direction, pod);
  if (!program) return false;
  return policy::Simulator(state.tables).lookup(*program, peer, packet).verdict == policy::Verdict::kAllow;
}

// Whether a packet goes on at a hook of an interface, by the state that is wanted.
bool goes_on(const HostState& state, const kernel::SimulatedRoutes& routes, policy::Hook hook,
             const std::string& interface_name, const IpAddress& own, const IpAddress& peer,
             const policy::Packet& packet) {
  dataplane::Links links;
  for (const auto& [index, link] : routes.link_by_index) links.emplace(link.name, link);
  const auto hosts = dataplane::assign_interfaces(state.host_endpoints, links);
  const auto named = hosts.by_name.find(interface_name);
  const auto& key = named != hosts.by_name.end() ? std::optional(named->second) : hosts.all_others;
  if (!key) return true;
  const auto chain = state.host_endpoints.at(*key).chain(Family::kIpv4, hook);
  return policy::Simulator(state.tables).lookup(chain, own, peer, packet).verdict != policy::Verdict::kDeny;
}

// Asks a kernel about every pod, both directions and some packets; and about every hook of host endpoints.
class Questions {
 public:
  explicit Questions(KeptHost& host) : routes_(host.routes) {
    for (int i = 0; i < 12; ++i) packets_.push_back(random_packet(host.random, Family::kIpv4));
  }
  // `lookup` is a fresh one for each.
  void ask(const KernelLookup& fresh, const auto& check) const {
    for (std::size_t pod = 0; pod < 3; ++pod) {
      for (const auto direction : policy::kDirections) {
        for (const auto& packet : packets_) {
          const auto peer = pod_address(packet.destination_port % 6);
          SCOPED_TRACE(fmt::format("pod {} {}", pod, policy::to_string(direction)));
          auto lookup = fresh;
          check(lookup.passes(direction, interface_of(pod), pod_address(pod), peer, packet),
                [&](const HostState& state) { return passes(state, direction, pod, peer, packet); });
        }
      }
    }
    ask_at_hosts(fresh, check);
  }

 private:
  // A table that somebody has removed judges nobody.
  void ask_at_hosts(const KernelLookup& fresh, const auto& check) const {
    if (!fresh.is_there()) return;
    for (const auto* interface_name : {"uplink", "eth1", "lo"}) {
      for (const auto hook : policy::kHooks) {
        const auto& packet = packets_[index_of(hook)];
        const auto own = pod_address(packet.source_port % 6), peer = pod_address(packet.destination_port % 6);
        SCOPED_TRACE(fmt::format("{} {} {}", interface_name, policy::to_string(hook.chain),
                                 policy::to_string(hook.direction)));
        auto lookup = fresh;
        check(lookup.at_host(hook, interface_name, own, peer, packet) != policy::Verdict::kDeny,
              [&](const HostState& state) {
                return goes_on(state, routes_, hook, interface_name, own, peer, packet);
              });
      }
    }
  }

  const kernel::SimulatedRoutes& routes_;
  std::vector<policy::Packet> packets_;
};

class AnyFailure : public testing::TestWithParam<int> {};

TEST_P(AnyFailure, NeverOpensWhatNeitherTheOldNorTheNewStateAllowsAndIsMendedOnceItIsOver) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  KeptHost host(seed);
  HostKeeper keeper(host.kernels(), {});
  bool failing = true;
  host.nft.fail_when([&](int) -> std::optional<SimulatedKernel::Fault> {
    if (!failing || !host.random.percent(25)) return std::nullopt;
    return SimulatedKernel::Fault{kNoMemory, host.random.percent(50)};
  });
  host.routes.fail_when = [&](int) {
    return failing && host.random.percent(10) ? std::optional(kNoMemory) : std::nullopt;
  };
  host.queues.fail_when = [&](int) {
    return failing && host.random.percent(10) ? std::optional(kNoMemory) : std::nullopt;
  };

  std::vector<HostState> since_success{HostState{}};  // any of them may be in force
  const Questions questions(host);
  const auto is_granted = [&](const KernelLookup& lookup) {
    questions.ask(lookup, [&](bool passes, const auto& by) {
      EXPECT_TRUE(!passes || std::ranges::any_of(since_success, by));
    });
  };
  host.nft.watch([&](const SimulatedKernel& kernel) { is_granted(KernelLookup(kernel.all_elements())); });
  host.nft.watch_late([&](const auto& now, const auto& before) {
    for (const int early : moments(host.random)) is_granted(KernelLookup(now, before, early));
  });

  for (int i = 0; i < 15; ++i) {
    const auto changes = host.step();
    since_success.push_back(host.wanted);
    keeper.take(changes);
    if (host.random.percent(70) && keeper.attempt())
      since_success.erase(since_success.begin(), std::prev(since_success.end()));
    if (host.random.percent(20)) {
      host.nft.drop_table();  // somebody else
      keeper.doubt({.policy = true});
    }
  }
  failing = false;
  keeper.attempt();
  ASSERT_TRUE(keeper.attempt()) << keeper.report().error;

  // As if made from nothing.
  SimulatedKernel fresh_nft, fresh_nat;
  kernel::SimulatedRoutes fresh_routes = host.routes;
  fresh_routes.routes_by_protocol.clear();
  fresh_routes.fail_when = {};
  kernel::SimulatedTunnels fresh_tunnels;
  kernel::SimulatedConnections fresh_connections;
  kernel::SimulatedQueues fresh_queues;
  HostKeeper fresh({fresh_nft, fresh_nat, fresh_routes, fresh_tunnels, fresh_connections, fresh_queues}, {});
  HostChanges whole;
  whole.settings = host.wanted.settings;
  whole.tables = changes_between({}, host.wanted.tables);
  whole.endpoints = decltype(whole.endpoints)::between({}, host.wanted.endpoints);
  whole.host_endpoints = decltype(whole.host_endpoints)::between({}, host.wanted.host_endpoints);
  whole.routes = decltype(whole.routes)::between({}, host.wanted.routes);
  fresh.take(whole);
  ASSERT_TRUE(fresh.attempt());
  for (const auto& [set, elements] : fresh_nft.all_elements()) {
    if (set.starts_with("step")) continue;  // how many there were
    EXPECT_EQ(host.nft.elements(set), elements) << set;
  }
  EXPECT_EQ(*host.nft.read_shape(), *fresh_nft.read_shape());
  keeper.doubt({.links = true});  // what was let go is empty
  ASSERT_TRUE(keeper.attempt());
  ASSERT_EQ(host.queues.held.size(), fresh_queues.held.size());
  for (const auto& [passing, held] : fresh_queues.held) {
    EXPECT_EQ(host.queues.held.at(passing).bucket, held.bucket);
    if (passing.passage == kernel::Passage::kIn) {
      EXPECT_EQ(host.queues.detours.at(passing.link), host.queues.held.at(passing).holder);
    }
  }
  EXPECT_EQ(host.queues.detours.size(), fresh_queues.detours.size());
  EXPECT_EQ(host.routes.routes_by_protocol[80], fresh_routes.routes_by_protocol[80]);
  EXPECT_EQ(keeper.report().revisions.at(Kind::kPod).revision, host.revision);
}

INSTANTIATE_TEST_SUITE_P(Histories, AnyFailure, testing::Range(0, 40));

class EveryMoment : public testing::TestWithParam<int> {};

TEST_P(EveryMoment, OfAStepIsAsTheOldStateSaysOrAsTheNewOneSays) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  KeptHost host(seed);
  host.new_tables = true;
  HostKeeper keeper(host.kernels(), {});
  keeper.take(host.step());
  ASSERT_TRUE(keeper.attempt());
  const Questions questions(host);
  HostState before;
  bool lacking = false;  // what changes in interval maps is nowhere, in every other view
  const auto is_one_of_both = [&](const KernelLookup& lookup) {
    questions.ask(lookup, [&](bool passes, const auto& by) {
      EXPECT_TRUE(passes == by(before) || passes == by(host.wanted) || (lacking && !passes));
    });
  };
  host.nft.watch([&](const SimulatedKernel& kernel) { is_one_of_both(KernelLookup(kernel.all_elements())); });
  host.nft.watch_late([&](const auto& now, const auto& earlier) {
    for (const int early : moments(host.random)) is_one_of_both(KernelLookup(now, earlier, early));
    lacking = !lacking;
  });
  for (int i = 0; i < 10; ++i) {
    before = host.wanted;
    keeper.take(host.step());
    ASSERT_TRUE(keeper.attempt());
  }
}

INSTANTIATE_TEST_SUITE_P(Histories, EveryMoment, testing::Range(0, 20));

TEST(HostKeeper, ReplacesATableOfAnOlderLayoutInOneTransaction) {
  KeptHost host(8);
  const kernel::nft::Set older{"ranges4", 7, 4, 4, false, true};
  ASSERT_TRUE(host.nft.commit({kernel::nft::AddTable{}, kernel::nft::AddSet{older}}));
  HostKeeper keeper(host.kernels(), {});
  const auto commits = host.nft.commits();
  keeper.take(host.step());
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(host.nft.commits(), commits + 1);
  const auto shape = host.nft.read_shape();
  EXPECT_EQ((*shape)->sets.at("ranges4"), dataplane::set_of(dataplane::Map::kRanges4));
}

TEST(HostKeeper, WritesNothingBeforeItKnowsWhatIsWanted) {
  KeptHost host(1);
  HostKeeper keeper(host.kernels(), {});
  keeper.doubt({true, true, true, true});
  EXPECT_TRUE(keeper.attempt());
  EXPECT_EQ(host.nft.commits(), 0);
}

TEST(HostKeeper, ReportsNoRevisionThatIsNotInTheKernel) {
  KeptHost host(2);
  HostKeeper keeper(host.kernels(), {});
  keeper.take(host.step());
  ASSERT_TRUE(keeper.attempt());
  host.nft.fail_when([](int) { return SimulatedKernel::Fault{kNoMemory, false}; });
  keeper.take(host.step());
  EXPECT_FALSE(keeper.attempt());
  EXPECT_EQ(keeper.report().revisions.at(Kind::kPod).revision, 1U);
  EXPECT_NE(keeper.report().error.find("no memory"), std::string::npos);
  EXPECT_EQ(keeper.report().endpoints_ready, 0U);
  host.nft.fail_when({});
  EXPECT_TRUE(keeper.attempt());
  EXPECT_EQ(keeper.report().revisions.at(Kind::kPod).revision, 2U);
}

// An interval of the kernel is late: what goes is gone before the step, what comes is there after it, and
// what stays is there throughout.
TEST(HostKeeper, ChangesFromWhereAWorkloadMaySendAroundTheStep) {
  KeptHost host(9);
  HostKeeper keeper(host.kernels(), {});
  const auto state = [](std::initializer_list<const char*> sources, std::uint32_t address_class) {
    HostChanges changes;
    changes.tables.chains.update(policy::ChainId{1}, {{}, ProgramId{1}});
    EndpointState endpoint{.interface_name = "cali1", .addresses = {}};
    for (const auto* source : sources) endpoint.sources.push_back(*Prefix::parse(source));
    endpoint.source_chains[0] = policy::ChainId{1};
    changes.endpoints.update(pod_key(1), endpoint);
    changes.tables.classes.update(Prefix::host(IpAddress::v4(1)), policy::ClassId{address_class});
    return changes;
  };
  keeper.take(state({"10.0.0.0/8", "192.0.2.0/24"}, 1));
  ASSERT_TRUE(keeper.attempt());
  const auto may = [&](const SimulatedKernel::Elements& elements, const char* address) {
    return KernelLookup(elements).may_send_from("cali1", *IpAddress::parse(address));
  };
  std::vector<std::string> seen;
  const auto before = host.nft.elements("classes4");
  host.nft.watch([&](const SimulatedKernel& kernel) {
    const auto& now = kernel.all_elements();
    std::string text = now.at("classes4") == before ? "old" : "new";
    for (const auto* address : {"10.1.0.1", "10.2.0.1", "192.0.2.1", "198.51.100.1"})
      text += may(now, address) ? "+" : "-";
    seen.push_back(text);
  });
  keeper.take(state({"10.1.0.0/16", "198.51.100.0/24"}, 2));
  EXPECT_EQ(seen, (std::vector<std::string>{"old+---", "new+---", "new+--+"}));
}

// Both sides of a packet are in the net whose class changes: one half of the old state and one of the new
// would let it go on.
TEST(HostKeeper, BothSidesOfAPacketHaveTheirClassOfOneState) {
  using namespace policy;
  KeptHost host(4);
  HostKeeper keeper(host.kernels(), {});
  HostChanges first;
  auto& tables = first.tables;
  tables.outcomes.update(OutcomeId{1}, Outcome(Verdict::kAllow, {}));
  tables.outcomes.update(OutcomeId{2}, Outcome(Verdict::kDeny, {}));
  for (const std::uint32_t id : {1U, 2U})
    tables.tables.update(TableId{id}, Table(std::vector{Interval{0, kLastTableKey, OutcomeId{id}, {}}}));
  // A program for each class of the own side, each with a table for each class of the other: who has another
  // class than the own side is allowed.
  tables.chains.update(ChainId{1}, {VocabularyId{1}, ProgramId{1}});
  for (const std::uint32_t own : {1U, 2U}) {
    tables.projections.update({VocabularyId{1}, ClassId{own}}, ProjectionId{own});
    tables.chain_programs.update({ChainId{1}, ProjectionId{own}}, ProgramId{own});
    tables.programs.update(ProgramId{own}, {VocabularyId{1}, TableId{2}});
    for (const std::uint32_t peer : {1U, 2U})
      tables.tables_by_projection.update({ProgramId{own}, ProjectionId{peer}},
                                         TableId{own == peer ? 2U : 1U});
  }
  const auto net = *Prefix::parse("10.65.0.0/16");
  tables.classes.update(net, ClassId{1});
  HostEndpointState edge{.id = 1, .interface_name = "uplink"};
  for (auto& chain : edge.chains[0]) chain = ChainId{1};
  first.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, edge);
  keeper.take(first);
  ASSERT_TRUE(keeper.attempt());

  int moments = 0;
  host.nft.watch_late([&](const auto& now, const auto& before) {
    for (int early = 0; early < 40; ++early, ++moments) {
      KernelLookup lookup(now, before, early);
      EXPECT_EQ(lookup.at_host(kHooks[0], "uplink", pod_address(1), pod_address(2), Packet{}),
                std::optional(Verdict::kDeny))
          << early << " lookups before the step";
    }
  });
  HostChanges other_class;
  other_class.tables.classes.update(net, ClassId{2});
  keeper.take(other_class);
  ASSERT_TRUE(keeper.attempt());
  EXPECT_GT(moments, 0);
}

TEST(HostKeeper, WritesOneElementForOneAddressThatChangesItsClass) {
  KeptHost host(3);
  HostKeeper keeper(host.kernels(), {});
  HostChanges first;
  for (std::uint32_t i = 0; i < 100; ++i) {
    first.tables.classes.update(Prefix::host(IpAddress::v4(0x0a000000 + i)), policy::ClassId{1 + i / 50});
  }
  keeper.take(first);
  ASSERT_TRUE(keeper.attempt());
  const auto writes = keeper.report().kernel_writes;
  HostChanges one;
  one.tables.classes.update(Prefix::host(IpAddress::v4(0x0a000007)), policy::ClassId{2});
  keeper.take(one);
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(keeper.report().kernel_writes, writes + 2);  // out, and in again
  keeper.take(one);
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(keeper.report().kernel_writes, writes + 2);
}

TEST(HostKeeper, WritesOneElementMoreForAClassThatIsTheFirstOrLastOfItsKind) {
  KeptHost host(3);
  HostKeeper keeper(host.kernels(), {});
  const auto take = [&](std::uint32_t address, std::uint32_t address_class) {
    HostChanges changes;
    changes.tables.classes.update(Prefix::host(IpAddress::v4(address)), policy::ClassId{address_class});
    const auto writes = keeper.report().kernel_writes;
    keeper.take(changes);
    EXPECT_TRUE(keeper.attempt());
    return keeper.report().kernel_writes - writes;
  };
  take(1, 1);
  EXPECT_EQ(take(2, 1), 1U);
  EXPECT_EQ(take(2, 2), 3U);
  EXPECT_EQ(take(1, 2), 3U);
}

// The kernel shows a transaction's new intervals a moment after its other elements.
TEST(HostKeeper, NothingLeadsToATableInTheTransactionThatBringsItsCells) {
  KeptHost host(6);
  HostKeeper keeper(host.kernels(), {});
  const auto table = [](std::uint32_t id) {
    HostChanges changes;
    changes.tables.tables.update(policy::TableId{id}, {{{0, policy::kLastTableKey, {}, {}}}});
    changes.tables.tables_by_projection.update({ProgramId{1}, policy::ProjectionId{1}}, policy::TableId{id});
    return changes;
  };
  keeper.take(table(1));
  ASSERT_TRUE(keeper.attempt());
  const auto led_to = host.nft.elements("tables");
  std::vector<bool> leads;  // after each transaction
  std::vector<std::size_t> cells;
  host.nft.watch([&](const SimulatedKernel& kernel) {
    leads.push_back(kernel.all_elements().at("tables") != led_to);
    cells.push_back(kernel.all_elements().at("cells").size());
  });
  auto changes = table(2);
  changes.tables.tables.remove(policy::TableId{1});
  keeper.take(changes);
  EXPECT_EQ(leads, (std::vector{false, true}));
  EXPECT_EQ(cells, (std::vector<std::size_t>{6, 4}));

  // When the kernel has been read anew, too.
  keeper.take(table(2));
  host.nft.elements("tables") = led_to;
  host.nft.elements("cells").clear();
  leads.clear(), cells.clear();
  keeper.doubt({.policy = true});
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(leads, (std::vector{false, true}));
  EXPECT_EQ(cells, (std::vector<std::size_t>{2, 4}));  // those of the table for all who have none come later
}

TEST(HostKeeper, WhatAPacketMayStillBeOnItsWayToGoesInATransactionOfItsOwn) {
  KeptHost host(7);
  HostKeeper keeper(host.kernels(), {});
  const auto served_by = [](std::uint32_t program, std::uint32_t gone) {
    HostChanges changes;
    changes.tables.tables_by_projection.remove({ProgramId{gone}, policy::ProjectionId{1}});
    changes.tables.tables_by_projection.update({ProgramId{program}, policy::ProjectionId{1}},
                                               policy::TableId{1});
    changes.tables.dictionary.update({policy::IdSpace::kProgram, Digest::of("its meaning")}, program);
    changes.endpoints.update(pod_key(0),
                             {"cali0", {{pod_address(0), ProgramId{program}, ProgramId{program}}}});
    return changes;
  };
  keeper.take(served_by(1, 2));
  ASSERT_TRUE(keeper.attempt());
  std::vector<std::size_t> ways;  // after each transaction
  host.nft.watch(
      [&](const SimulatedKernel& kernel) { ways.push_back(kernel.all_elements().at("tables").size()); });
  keeper.take(served_by(2, 1));
  EXPECT_EQ(ways, (std::vector<std::size_t>{3, 3, 2}));  // with the one for all who have none
}

// One table, of which all is logged by a policy and allowed.
HostChanges logged_by(const std::string& policy) {
  HostChanges changes;
  policy::Outcome outcome{policy::Verdict::kAllow, {}};
  outcome.trace.push_back({"default", {Kind::kGlobalNetworkPolicy, "", policy}, 0, Action::kLog, {}});
  const policy::OutcomeId id{static_cast<std::uint32_t>(policy.size())};
  changes.tables.outcomes.update(id, outcome);
  changes.tables.tables.update(policy::TableId{1}, {{{0, policy::kLastTableKey, id, {}}}});
  return changes;
}

// The chain of an allowed packet, and its twins at host endpoints.
constexpr std::size_t kWithTwins = 3;
std::size_t log_chains(SimulatedKernel& kernel) {
  const auto shape = kernel.read_shape();
  return static_cast<std::size_t>(std::ranges::count_if(
      (*shape)->chains, [](const auto& chain) { return chain.first.starts_with("log_"); }));
}

TEST(HostKeeper, AChainOfLogRulesIsThereAsLongAsAnOutcomePassesThem) {
  KeptHost host(9);
  HostKeeper keeper(host.kernels(), {});
  keeper.take(logged_by("first"));
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(log_chains(host.nft), kWithTwins);
  auto other = logged_by("second");
  other.tables.outcomes.remove(policy::OutcomeId{5});
  keeper.take(other);
  ASSERT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_EQ(log_chains(host.nft), kWithTwins);
  // Found by a new agent, that wants another.
  HostKeeper restarted(host.kernels(), {});
  restarted.take(logged_by("third"));
  ASSERT_TRUE(restarted.attempt()) << restarted.report().error;
  EXPECT_EQ(log_chains(host.nft), kWithTwins);
  HostChanges none;
  none.tables.outcomes.remove(policy::OutcomeId{5});
  none.tables.tables.remove(policy::TableId{1});
  restarted.take(none);
  ASSERT_TRUE(restarted.attempt()) << restarted.report().error;
  EXPECT_EQ(log_chains(host.nft), 0U);
}

TEST(HostKeeper, AnotherLogPrefixChangesRulesAndNoElement) {
  KeptHost host(10);
  HostKeeper keeper(host.kernels(), {});
  keeper.take(logged_by("first"));
  ASSERT_TRUE(keeper.attempt());
  const auto elements = host.nft.all_elements();
  const auto rules = (*host.nft.read_shape())->rules_by_chain;
  HostChanges other;
  other.settings.emplace().log_prefix = "%p";
  keeper.take(other);
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(host.nft.all_elements(), elements);
  EXPECT_NE((*host.nft.read_shape())->rules_by_chain, rules);
}

// Interfaces that no workload prefix covers are elements of their own: which those are changes with the
// settings, and with the endpoints, and here with both at once.
TEST(PolicyTable, WritesSettingsAndEndpointsThatChangeTogetherAsOneStep) {
  struct Together {
    const char* name;
    std::string prefix_before, prefix_after;
    bool there_before, there_after;
    std::size_t outside;  // interfaces that the prefixes do not cover in the end
  };
  const std::array cases{
      Together{"no longer covered, and gone", "cali", "tap", true, false, 0},
      Together{"no longer covered, and new", "cali", "tap", false, true, 1},
      Together{"no longer covered, and stays", "cali", "tap", true, true, 1},
      Together{"covered from now on, and gone", "tap", "cali", true, false, 0},
      Together{"covered from now on, and new", "tap", "cali", false, true, 0},
  };
  for (const auto& [name, prefix_before, prefix_after, there_before, there_after, outside] : cases) {
    SCOPED_TRACE(name);
    SimulatedKernel nft;
    dataplane::PolicyTable table(nft);
    ASSERT_TRUE(table.resync());
    const auto apply = [&](const std::string& prefix, bool there, ProgramId program) {
      HostChanges changes;
      changes.settings.emplace().workload_prefixes = {prefix};
      if (there) {
        changes.endpoints.update(pod_key(0), {interface_of(0), {{pod_address(0), program, program}}});
      } else {
        changes.endpoints.remove(pod_key(0));
      }
      return table.apply(changes);
    };
    ASSERT_TRUE(apply(prefix_before, there_before, ProgramId{1}));
    const auto done = apply(prefix_after, there_after, ProgramId{2});
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    EXPECT_TRUE(table.in_step());
    EXPECT_EQ(nft.elements(dataplane::set_of(dataplane::Map::kInterfaces).name).size(), outside);
  }
}

// A host endpoint that is found by its address, and denies everything.
HostChanges closed_edge() {
  HostChanges changes;
  changes.settings.emplace();
  changes.tables.outcomes.update(policy::OutcomeId{1}, policy::Outcome{});
  changes.tables.tables.update(policy::TableId{1},
                               policy::Table{{0, policy::kLastTableKey, policy::OutcomeId{1}, {}}});
  changes.tables.programs.update(ProgramId{1}, policy::Program{policy::VocabularyId{1}, policy::TableId{1}});
  changes.tables.chains.update(policy::ChainId{1}, policy::Chain{{}, ProgramId{1}});
  HostEndpointState edge{.id = 1, .expected_addresses = {address("192.0.2.254")}};
  edge.chains[0].fill(policy::ChainId{1});
  changes.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, edge);
  return changes;
}

TEST(HostKeeper, LetsNoInterfaceGoBeforeItKnowsTheAddressesThere) {
  KeptHost host(6);
  HostKeeper first(host.kernels(), {});
  first.take(closed_edge());
  ASSERT_TRUE(first.attempt());
  const policy::Hook hook{policy::ChainKind::kNormal, Direction::kIngress};
  const auto verdict = [&] {
    return KernelLookup(host.nft.all_elements())
        .at_host(hook, "uplink", address("192.0.2.254"), address("192.0.2.1"), {});
  };
  ASSERT_EQ(verdict(), policy::Verdict::kDeny);
  HostKeeper again(host.kernels(), {});
  host.routes.fail_when = [](int) { return std::optional(kNoMemory); };
  again.take(closed_edge());
  EXPECT_FALSE(again.attempt());
  EXPECT_EQ(verdict(), policy::Verdict::kDeny);
  EXPECT_NE(again.report().error, "");
  host.routes.fail_when = {};
  EXPECT_TRUE(again.attempt());
  EXPECT_EQ(verdict(), policy::Verdict::kDeny);
}

TEST(HostKeeper, InstallsOtherRoutesWhereOneIsRefused) {
  KeptHost host(4);
  HostKeeper keeper(host.kernels(), {});
  host.routes.refuse = [](const kernel::KernelRoute& route) {
    return route.destination.address == pod_address(1) ? std::optional(kNoMemory) : std::nullopt;
  };
  HostChanges changes;
  for (std::size_t i = 0; i < 3; ++i) {
    changes.endpoints.update(pod_key(i), {interface_of(i), {{pod_address(i), ProgramId{1}, ProgramId{1}}}});
    changes.routes.update(Prefix::host(pod_address(i)), {Route::Kind::kInterface, interface_of(i), {}});
  }
  keeper.take(changes);
  EXPECT_FALSE(keeper.attempt());
  EXPECT_EQ(keeper.report().endpoints_ready, 2U);
  host.routes.refuse = {};
  EXPECT_TRUE(keeper.attempt());
  EXPECT_EQ(keeper.report().endpoints_ready, 3U);
}

TEST(HostKeeper, DoesNotCallAnEndpointReadyThatIsDeniedAll) {
  KeptHost host(4);
  HostKeeper keeper(host.kernels(), {});
  HostChanges changes;
  for (std::size_t i = 0; i < 2; ++i) {
    changes.endpoints.update(pod_key(i), {interface_of(i), {{pod_address(i), ProgramId{1}, ProgramId{1}}}});
    changes.routes.update(Prefix::host(pod_address(i)), {Route::Kind::kInterface, interface_of(i), {}});
  }
  // As the engine has it where policy would take more entries than it may.
  changes.endpoints.update(pod_key(1), {interface_of(1), {}});
  keeper.take(changes);
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(keeper.report().endpoints, 2U);
  EXPECT_EQ(keeper.report().endpoints_ready, 1U);
}

TEST(HostKeeper, GivesAnInterfaceAndAddressClaimedTwiceToTheSmallerName) {
  KeptHost host(5);
  HostKeeper keeper(host.kernels(), {});
  const auto claim = [&](std::size_t pod, std::uint32_t program) {
    HostChanges changes;
    changes.endpoints.update(pod_key(pod),
                             {"cali0", {{pod_address(0), ProgramId{program}, ProgramId{program}}}});
    return changes;
  };
  const auto holder = [&] {
    return KernelLookup(host.nft.all_elements()).program_of(Direction::kEgress, "cali0", pod_address(0));
  };
  keeper.take(claim(2, 2));
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(holder(), ProgramId{2});
  keeper.take(claim(1, 1));
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(holder(), ProgramId{1});
  HostChanges gone;
  gone.endpoints.remove(pod_key(1));
  keeper.take(gone);
  ASSERT_TRUE(keeper.attempt());
  EXPECT_EQ(holder(), ProgramId{2});
}

TEST(HostKeeper, KeepsRoutesAloneWhereSomebodyAsksForThatAndSaysSo) {
  KeptHost host(1);
  dataplane::Options options;
  options.datapath = dataplane::Datapath::kNone;
  HostKeeper keeper(host.kernels(), options);
  keeper.take(host.step());
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_FALSE(keeper.enforces());
  EXPECT_EQ(keeper.report().notes, std::vector{std::string(dataplane::kNoPolicy)});
  EXPECT_FALSE(host.routes.routes_by_protocol[80].empty());
  EXPECT_FALSE(*host.nft.read_shape()) << "there is no table";
  for (const auto& [key, status] : keeper.report().host_endpoints)
    EXPECT_EQ(status, dataplane::HostEndpointStatus::kError);
}

TEST(HostKeeper, SaysThatTheKernelHasNoIpipAndUsesItOnceItHas) {
  KeptHost host(1);
  HostKeeper keeper(host.kernels(), {});
  const auto own = address("192.0.2.254"), hop = address("192.0.2.7");
  host.tunnels.parents[own] = {2, 1500};
  host.tunnels.fail_when = [](int) { return std::optional(Error{ErrorCode::kUnsupported, "no IPIP"}); };
  HostChanges changes;
  changes.settings.emplace();
  const auto far = Prefix::host(*IpAddress::parse("10.66.0.1"));
  changes.routes.update(far, Route{Route::Kind::kIpip, "", hop});
  changes.ipip.emplace(IpipDevice{.host = own, .address = {}, .mtu = 0});
  keeper.take(changes);
  EXPECT_FALSE(keeper.attempt());
  EXPECT_NE(keeper.report().error.find("no IPIP"), std::string::npos) << keeper.report().error;
  EXPECT_FALSE(host.routes.routes_by_protocol[80].contains({far, 900, hop, dataplane::kRouteMetric}));
  host.tunnels.fail_when = {};
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  ASSERT_EQ(host.tunnels.devices.size(), 1U);
  const auto& tunnel = host.tunnels.devices.begin()->second;
  EXPECT_EQ(tunnel.name, "tunl0");
  EXPECT_TRUE(tunnel.link.up);
  EXPECT_EQ(tunnel.link.mtu, 1480U);
  host.routes.link_by_index[900] = {.index = 900, .name = "tunl0", .up = true};
  keeper.doubt({.links = true});
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_TRUE(host.routes.routes_by_protocol[80].contains({far, 900, hop, dataplane::kRouteMetric}));
}

}  // namespace
}  // namespace ocicat::test
