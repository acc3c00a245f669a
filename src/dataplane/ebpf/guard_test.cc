#include "dataplane/ebpf/guard.h"

#include <gtest/gtest.h>

#include <random>

#include "kernel/simulated_nft.h"
#include "test/support/for_seeds.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::nft::SimulatedKernel;

using Peers = Changes<IpAddress, network::Peer>;

IpAddress host(std::uint32_t number) {
  return number % 2 == 0 ? IpAddress::v4(0xc0000200 + number)
                         : *IpAddress::parse(fmt::format("2001:db8::{:x}", number));
}

SimulatedKernel::Elements elements_in(const SimulatedKernel& kernel) {
  auto elements = kernel.all_elements();
  std::erase_if(elements, [](const auto& set) { return set.second.empty(); });
  return elements;
}

// What a guard leaves that is told of everything at once.
SimulatedKernel::Elements straight(const GuardState& state) {
  SimulatedKernel kernel;
  Guard guard(kernel);
  EXPECT_TRUE(guard.sync(state));
  return elements_in(kernel);
}

TEST(Guard, HostsThatComeAndGoLeaveWhatAllAtOnceLeaves) {
  test::for_seeds(50, [](std::uint64_t seed) {
    std::minstd_rand random(static_cast<std::uint32_t>(seed));
    SimulatedKernel kernel;
    Guard guard(kernel);
    GuardState state{.settings = {}, .names = {"odd"}, .attached = {7}, .hosts = {host(2), host(3)}};
    EXPECT_TRUE(guard.sync(state));
    for (int round = 0; round < 30; ++round) {
      Peers peers;
      for (auto left = random() % 4; left > 0; --left) {
        const auto address = host(2 + static_cast<std::uint32_t>(random() % 12));
        if (random() % 2 == 0) {
          peers.update(address, {});
          state.hosts.insert(address);
        } else {
          peers.remove(address);
          state.hosts.erase(address);
        }
      }
      const bool fails = random() % 4 == 0, lost = random() % 2 == 0;
      kernel.fail_when([&](int) -> std::optional<SimulatedKernel::Fault> {
        if (!fails) return std::nullopt;
        return SimulatedKernel::Fault{{ErrorCode::kUnavailable, "busy"}, lost};
      });
      const auto done = guard.sync_hosts(peers);
      kernel.fail_when({});
      EXPECT_TRUE(done || guard.sync(state));
      EXPECT_EQ(elements_in(kernel), straight(state));
      if (testing::Test::HasFailure()) return false;
    }
    return true;
  });
}

TEST(Guard, AHostWhoseTunnelAloneChangesWritesNothing) {
  SimulatedKernel kernel;
  Guard guard(kernel);
  ASSERT_TRUE(guard.sync({.settings = {}, .names = {}, .attached = {}, .hosts = {host(2)}}));
  const auto writes = guard.writes();
  Peers peers;
  peers.update(host(2), {});
  EXPECT_TRUE(guard.sync_hosts(peers));
  EXPECT_EQ(guard.writes(), writes);
  peers.update(host(4), {});
  EXPECT_TRUE(guard.sync_hosts(peers));
  EXPECT_EQ(guard.writes(), writes + 1);
}

TEST(Guard, PacketsOnTheirWayThroughAPolicyTableFindItsMapsAndThenNothingOfItIsLeft) {
  using namespace kernel::nft;
  const Set verdicts{.name = "spoofed", .key_length = 4, .verdicts = true};
  const Chain forward{"forward", Hook{2, 0}}, led_to{"led_to", {}};
  SimulatedKernel kernel;
  ASSERT_TRUE(kernel.commit({AddTable{}, AddSet{verdicts}, AddChain{forward}, AddChain{led_to},
                             AddRule{marked_rule("forward", {})}, AddRule{marked_rule("led_to", {})},
                             AddElements{verdicts,
                                         {{.key = ElementKey(std::array<std::uint8_t, 4>{1, 2, 3, 4}),
                                           .data = verdict_data(-4, "led_to")}}}}));
  const GuardState state{.settings = {}, .names = {"odd"}, .attached = {7}, .hosts = {host(2)}};
  Guard guard(kernel);
  EXPECT_EQ(guard.stands_for_policy(), true);
  ASSERT_TRUE(guard.sync(state));
  EXPECT_EQ(guard.stands_for_policy(), false);
  EXPECT_TRUE(kernel.pulled_away().empty());
  EXPECT_EQ(elements_in(kernel), straight(state));
  SimulatedKernel fresh;
  Guard alone(fresh);
  ASSERT_TRUE(alone.sync(state));
  EXPECT_EQ(*kernel.read_shape(), *fresh.read_shape());
}

TEST(Guard, WhatIsLeftOfAPolicyTableWhereItWasStoppedGoesTheNextTime) {
  using namespace kernel::nft;
  const Set verdicts{.name = "spoofed", .key_length = 4, .verdicts = true};
  SimulatedKernel kernel;
  ASSERT_TRUE(kernel.commit({AddTable{}, AddSet{verdicts}, AddChain{{"forward", Hook{2, 0}}},
                             AddRule{marked_rule("forward", {})}}));
  const GuardState state{.settings = {}, .names = {}, .attached = {7}, .hosts = {}};
  Guard guard(kernel);
  kernel.fail_when([&](int) -> std::optional<SimulatedKernel::Fault> {
    if (kernel.commits() < 2) return std::nullopt;
    return SimulatedKernel::Fault{{ErrorCode::kUnavailable, "killed"}};
  });
  EXPECT_FALSE(guard.sync(state));
  kernel.fail_when({});
  EXPECT_TRUE((*kernel.read_shape())->sets.contains("spoofed"));
  EXPECT_EQ(guard.stands_for_policy(), false);
  Guard next(kernel);
  ASSERT_TRUE(next.sync(state));
  EXPECT_FALSE((*kernel.read_shape())->sets.contains("spoofed"));
  EXPECT_FALSE((*kernel.read_shape())->chains.contains("forward"));
  EXPECT_TRUE(kernel.pulled_away().empty());
}

ProgramsAtHooks programs_at_hooks(std::uint32_t first) {
  return {{1, first}, {2, first + 1}, {3, first + 2}};
}

// As when nftables hands over: its policy is in force until the guard takes its place.
TEST(Guard, HasProgramsAskedBesideWhateverStandsInTheTable) {
  using namespace kernel::nft;
  const Chain forward{"forward", Hook{2, 0}};
  SimulatedKernel kernel;
  ASSERT_TRUE(kernel.commit({AddTable{}, AddChain{forward}, AddRule{marked_rule("forward", {})}}));
  Guard guard(kernel);
  const GuardState state{
      .settings = {}, .names = {}, .attached = {}, .hosts = {}, .at_hooks = programs_at_hooks(5)};
  for (const std::uint32_t first : {1U, 5U}) {  // another agent's, which has died of it, are replaced
    ASSERT_TRUE(guard.ask(programs_at_hooks(first)));
    const auto shape = *kernel.read_shape();
    EXPECT_TRUE(shape->rules_by_chain.contains("forward"));
    EXPECT_EQ(guard.stands_for_policy(), true);
    for (const auto* chain : {"asked_input", "asked_forward", "asked_output"}) {
      ASSERT_TRUE(shape->rules_by_chain.contains(chain));
      EXPECT_EQ(shape->rules_by_chain.at(chain).size(), 1U);
      EXPECT_EQ(shape->chains.at(chain).hook->priority, 7);
    }
  }
  const auto asked = (*kernel.read_shape())->rules_by_chain.at("asked_forward");
  ASSERT_TRUE(guard.sync(state));
  const auto shape = *kernel.read_shape();
  EXPECT_FALSE(shape->chains.contains("forward"));
  EXPECT_EQ(shape->rules_by_chain.at("asked_forward"), asked);
  const auto writes = guard.writes();
  EXPECT_TRUE(guard.sync(state));
  EXPECT_EQ(guard.writes(), writes);
}

TEST(Guard, ProgramsOfAnotherBuildAreAskedInTheSameTransactionInWhichTheOldOnesGo) {
  SimulatedKernel kernel;
  Guard guard(kernel);
  GuardState state{
      .settings = {}, .names = {}, .attached = {}, .hosts = {}, .at_hooks = programs_at_hooks(1)};
  ASSERT_TRUE(guard.sync(state));
  const auto before = *kernel.read_shape();
  const auto commits = kernel.commits();
  state.at_hooks = programs_at_hooks(5);
  ASSERT_TRUE(guard.sync(state));
  EXPECT_EQ(kernel.commits(), commits + 1);
  EXPECT_NE((*kernel.read_shape())->rules_by_chain.at("asked_input"),
            before->rules_by_chain.at("asked_input"));
  state.at_hooks.reset();
  ASSERT_TRUE(guard.sync(state));
  EXPECT_FALSE((*kernel.read_shape())->chains.contains("asked_input"));
}

TEST(Guard, WhatItDoesNotKnowItDoesNotChange) {
  SimulatedKernel kernel;
  Guard guard(kernel);
  Peers peers;
  peers.update(host(2), {});
  EXPECT_FALSE(guard.sync_hosts(peers));
  EXPECT_EQ(kernel.commits(), 0);
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
