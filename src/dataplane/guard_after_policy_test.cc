#include <gtest/gtest.h>

#include "dataplane/ebpf/guard.h"
#include "dataplane/nftables/policy_table.h"
#include "kernel/simulated_nft.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::SimulatedKernel;

HostSettings with_everything() {
  HostSettings settings;
  settings.allow_spoofing = settings.reject = true;
  settings.overlays.vxlan4 = settings.overlays.vxlan6 = settings.overlays.ipip = true;
  settings.service_nets = {*Prefix::parse("10.96.0.0/12")};
  return settings;
}

TEST(GuardAfterPolicy, LeavesPacketsOnTheirWayThroughThePolicyItsMapsWhateverTheSettings) {
  for (const auto& settings : {HostSettings(), with_everything()}) {
    SimulatedKernel kernel, fresh;
    PolicyTable policy(kernel);
    HostChanges changes;
    changes.settings = settings;
    ASSERT_TRUE(policy.apply(changes));
    ASSERT_TRUE(policy.resync());
    const ebpf::GuardState state{.settings = settings, .names = {}, .attached = {7}, .hosts = {}};
    ebpf::Guard after(kernel), alone(fresh);
    ASSERT_TRUE(after.sync(state));
    ASSERT_TRUE(alone.sync(state));
    EXPECT_TRUE(kernel.pulled_away().empty());
    EXPECT_EQ(*kernel.read_shape(), *fresh.read_shape());
  }
}

TEST(PolicyAfterGuard, LeavesNothingOfIt) {
  SimulatedKernel kernel, fresh;
  ebpf::Guard guard(kernel);
  ASSERT_TRUE(guard.sync({.settings = with_everything(), .names = {}, .attached = {7}, .hosts = {}}));
  HostChanges changes;
  changes.settings = with_everything();
  for (auto* of : {&kernel, &fresh}) {
    PolicyTable policy(*of);
    ASSERT_TRUE(policy.apply(changes));
    const auto done = policy.resync();
    ASSERT_TRUE(done) << done.error().message;
  }
  EXPECT_EQ(*kernel.read_shape(), *fresh.read_shape());
  for (const auto& [set, elements] : fresh.all_elements()) {
    if (set.starts_with("step")) continue;  // how many there were
    EXPECT_TRUE(kernel.elements(set) == elements) << set;
  }
}

TEST(TrackConnections, GoesOnWhereACleanUpWasEndedHalfWay) {
  SimulatedKernel kernel;
  ASSERT_TRUE(track_connections(kernel));
  const auto whole = *kernel.read_shape();
  ASSERT_TRUE(track_connections(kernel));
  EXPECT_EQ(*kernel.read_shape(), whole);
  ASSERT_TRUE(kernel.commit({kernel::nft::DeleteRules{}}));
  ASSERT_TRUE(track_connections(kernel));
  EXPECT_EQ(*kernel.read_shape(), whole);
}

}  // namespace
}  // namespace ocicat::dataplane
