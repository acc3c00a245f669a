// The dataplane over simulated kernels that fail at any moment.
#include <gtest/gtest.h>

#include "sim/kept_host.h"

namespace ocicat::test {
namespace {

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
  keeper.doubt({.links = {.all = true}});  // what was let go is empty
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

// What an agent of an older layout has left, where some maps and chains had other names.
void become_older(SimulatedKernel& nft) {
  using namespace kernel::nft;
  const auto shape = *nft.read_shape();
  const auto elements = nft.all_elements();
  const auto older = [](const std::string& name) {
    const bool other = name == "cells" || name == "classes4" || name == "answers_ingress4" || name == "step";
    return other ? "older_" + name : name;
  };
  nft.drop_table();
  Batch batch{AddTable{}, AddChain{{"older", {}}}};
  for (const auto& [name, chain] : shape->chains) batch.emplace_back(AddChain{chain});
  for (const auto& [name, marks] : shape->rules_by_chain) batch.emplace_back(AddRule{{name, {}, {1}}});
  for (const auto& [name, found] : shape->sets) {
    auto set = found;
    set.name = older(name);
    batch.emplace_back(AddSet{set});
    const auto there = elements.find(name);
    if (there == elements.end()) continue;
    batch.emplace_back(AddElements{set, {there->second.begin(), there->second.end()}});
  }
  const auto done = nft.commit(batch);
  ASSERT_TRUE(done) << done.error().message;
}

TEST(HostKeeper, ReplacesAnOlderLayoutByOneThatIsWholeBehindPacketsOnTheirWay) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  KeptHost host(seed);
  HostKeeper keeper(host.kernels(), {});
  keeper.take(host.step());
  ASSERT_TRUE(keeper.attempt());
  const auto shape = *host.nft.read_shape();
  const auto elements = host.nft.all_elements();
  become_older(host.nft);
  const Questions questions(host);
  int views = 0;
  const auto is_right = [&](const SimulatedKernel::Elements& now) {
    if ((*host.nft.read_shape())->rules_by_chain != shape->rules_by_chain) return;
    ++views;
    questions.ask(KernelLookup(now),
                  [&](bool passes, const auto& by) { EXPECT_EQ(passes, by(host.wanted)); });
  };
  host.nft.watch([&](const SimulatedKernel& kernel) { is_right(kernel.all_elements()); });
  host.nft.watch_late([&](const auto& now, const auto&) { is_right(now); });
  keeper.doubt({.policy = true});
  ASSERT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_GE(views, 6);  // the step, and what has become left over
  EXPECT_TRUE(host.nft.pulled_away().empty());
  EXPECT_EQ(*host.nft.read_shape(), shape);
  for (const auto& [set, there] : elements) {
    if (set.starts_with("step")) continue;  // how many there were
    EXPECT_TRUE(host.nft.elements(set) == there) << set;
  }
}

TEST(HostKeeper, ReplacesATableInOneTransactionWhereTheOldHasOtherMapsOfItsNames) {
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

TEST(HostKeeper, LeavesTheKernelAloneWhereARevisionBringsNothingForIt) {
  KeptHost host(4);
  HostKeeper keeper(host.kernels(), {});
  keeper.take(host.step());
  ASSERT_TRUE(keeper.attempt());
  int calls = 0;
  host.routes.fail_when = [&](int) -> std::optional<Error> { return ++calls, std::nullopt; };
  const auto reaches = [&](std::uint64_t revision) {
    HostChanges told;
    told.revisions[Kind::kPod] = {revision, ""};
    keeper.take(told);
    EXPECT_TRUE(keeper.attempt());
    EXPECT_EQ(keeper.report().revisions.at(Kind::kPod).revision, revision);
    return std::exchange(calls, 0);
  };
  EXPECT_EQ(reaches(10), 0);
  keeper.doubt({.links = {.all = true}});
  EXPECT_GT(reaches(11), 0) << "unless something there is in doubt";
  EXPECT_EQ(reaches(12), 0);
  // Nor does it pass for success what has failed before.
  host.nft.fail_when([](int) { return SimulatedKernel::Fault{kNoMemory, false}; });
  keeper.doubt({.policy = true});
  HostChanges told;
  told.revisions[Kind::kPod] = {13, ""};
  keeper.take(told);
  EXPECT_FALSE(keeper.attempt());
  EXPECT_EQ(keeper.report().revisions.at(Kind::kPod).revision, 12U);
  host.nft.fail_when({});
  EXPECT_GT(reaches(14), 0);
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

TEST(HostKeeper, JudgesWhatIsOpenAtAnAddressThatIsDeniedAllWhateverIsToStay) {
  KeptHost host(4);
  HostKeeper keeper(host.kernels(), {});
  for (std::size_t i = 0; i < 2; ++i) {
    kernel::Connection connection;
    connection.source = connection.seen = address("192.0.2.7");
    connection.destination = connection.asked = pod_address(i);
    connection.protocol = kUdp;
    host.connections.connections.push_back(connection);
  }
  const auto marked_after = [&](const EndpointState& endpoint) {
    HostChanges changes;
    changes.settings.emplace().open_connections = OpenConnections::kStay;
    changes.endpoints.update(pod_key(0), endpoint);
    keeper.take(changes);
    EXPECT_TRUE(keeper.attempt() && keeper.judge_connections());
    return std::ranges::count_if(host.connections.connections, [](const auto& one) { return one.mark != 0; });
  };
  EndpointState endpoint{interface_of(0), {{pod_address(0), ProgramId{1}, ProgramId{1}}}};
  EXPECT_EQ(marked_after(endpoint), 0);
  endpoint.denied = {std::exchange(endpoint.addresses, {}).front().address};
  EXPECT_EQ(marked_after(endpoint), 1);
  endpoint.denied.push_back(pod_address(1));
  EXPECT_EQ(marked_after(endpoint), 2);
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

TEST(HostKeeper, AnEndpointIsInForceOnceItIsReachedUnderItsFloatingAddress) {
  KeptHost host(1);
  HostKeeper keeper(host.kernels(), {});
  const auto floating = Prefix::host(address("172.16.0.5"));
  HostChanges changes;
  changes.settings.emplace();
  changes.endpoints.update(pod_key(0), {interface_of(0), {{pod_address(0), ProgramId{1}, ProgramId{1}}}});
  changes.floating.update(floating.address, pod_address(0));
  for (const auto& prefix : {Prefix::host(pod_address(0)), floating})
    changes.routes.update(prefix, {Route::Kind::kInterface, interface_of(0), {}});
  keeper.take(changes);
  host.routes.refuse = [&](const kernel::KernelRoute& route) {
    return route.destination == floating ? std::optional(kNoMemory) : std::nullopt;
  };
  EXPECT_FALSE(keeper.attempt());
  EXPECT_EQ(keeper.in_force(pod_key(0)), nullptr);
  EXPECT_EQ(keeper.report().endpoints_ready, 0U);
  host.routes.refuse = {};
  host.nat.fail_when([](int) { return SimulatedKernel::Fault{kNoMemory}; });
  HostChanges other;  // to be translated, too
  other.floating.update(address("172.16.0.6"), pod_address(0));
  keeper.take(other);
  EXPECT_FALSE(keeper.attempt());
  EXPECT_EQ(keeper.in_force(pod_key(0)), nullptr);
  host.nat.fail_when({});
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_NE(keeper.in_force(pod_key(0)), nullptr);
  other.floating.clear();
  other.floating.remove(address("172.16.0.6"));
  other.floating.remove(floating.address);
  keeper.take(other);
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_NE(keeper.in_force(pod_key(0)), nullptr);
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
  const kernel::KernelRoute way{far, 900, hop, dataplane::kRouteMetric, false, false, dataplane::kFirstHop};
  EXPECT_FALSE(host.routes.routes_by_protocol[80].contains(way));
  host.tunnels.fail_when = {};
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  ASSERT_EQ(host.tunnels.devices.size(), 1U);
  const auto& tunnel = host.tunnels.devices.begin()->second;
  EXPECT_EQ(tunnel.name, "tunl0");
  EXPECT_TRUE(tunnel.link.up);
  EXPECT_EQ(tunnel.link.mtu, 1480U);
  host.routes.link_by_index[900] = {.index = 900, .name = "tunl0", .up = true};
  keeper.doubt({.links = {.all = true}});
  EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  EXPECT_TRUE(host.routes.routes_by_protocol[80].contains(way));
}

}  // namespace
}  // namespace ocicat::test
