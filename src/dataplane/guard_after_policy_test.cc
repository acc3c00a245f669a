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
