// What one state after another writes into the kernel's table, and what a packet on its way sees of it.
#include <gtest/gtest.h>

#include "sim/kept_host.h"

namespace ocicat::test {
namespace {

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

}  // namespace
}  // namespace ocicat::test
