#include "dataplane/limits/bandwidth_table.h"

#include <gtest/gtest.h>

#include "kernel/simulated_queues.h"

namespace ocicat::dataplane {
namespace {

using kernel::Passage;
using kernel::Passing;

constexpr std::uint64_t kMega = 1'000'000;
const ResourceKey kPod{Kind::kPod, "shop", "pod"};

TEST(Bucket, HoldsAPacketAtLeastAndLetsWaitWhatFitsTheRate) {
  const auto small = bucket_of({.rate = 1'000, .burst = 1'000}, 1500);
  EXPECT_EQ(small, (kernel::Bucket{.rate = 125, .burst = 1518, .queue = 128 << 10}));
  const auto large = bucket_of({.rate = 1'000'000'000 * kMega, .burst = 34'359'738'360}, 1500);
  EXPECT_EQ(large, (kernel::Bucket{.rate = 125'000'000 * kMega, .burst = 0xffffffff, .queue = 16 << 20}));
  const auto peaked =
      bucket_of({.rate = 8 * kMega, .burst = 8 * kMega, .peak = 16 * kMega, .least_burst = 1000}, 9000);
  EXPECT_EQ(peaked,
            (kernel::Bucket{
                .rate = kMega, .burst = kMega, .peak = 2 * kMega, .peak_burst = 9018, .queue = 128 << 10}));
}

class BandwidthTableTest : public testing::Test {
 protected:
  static EndpointState pod(std::uint64_t to, std::uint64_t from) {
    EndpointState state{.interface_name = "cali0", .addresses = {}};
    state.limits.ingress = {.rate = to, .burst = to};
    state.limits.egress = {.rate = from, .burst = from};
    return state;
  }
  Result<void> want(std::optional<EndpointState> state) {
    Changes<ResourceKey, EndpointState> changes;
    if (state) {
      changes.update(kPod, *state);
    } else {
      changes.remove(kPod);
    }
    table_.want(changes);
    return table_.sync(links_);
  }

  void look_again() {
    table_.distrust();
    ASSERT_TRUE(table_.sync(links_));
  }

  kernel::SimulatedQueues kernel_;
  Links links_{{"cali0", {.index = 7, .name = "cali0", .up = true, .mtu = 1500}}};
  BandwidthTable table_{kernel_};
};

TEST_F(BandwidthTableTest, GivesEachLimitedDirectionAQueueOfItsOwn) {
  const auto both = pod(8 * kMega, 16 * kMega);
  ASSERT_TRUE(want(both));
  ASSERT_EQ(kernel_.held.size(), 2);
  EXPECT_EQ(kernel_.held.at({7, Passage::kOut}).bucket.rate,
            kMega);  // what goes to the workload leaves the host
  EXPECT_EQ(kernel_.held.at({7, Passage::kIn}).bucket.rate, 2 * kMega);
  EXPECT_EQ(kernel_.detours.at(7), kernel_.held.at({7, Passage::kIn}).holder);
  EXPECT_TRUE(table_.is_ready(both));
  const auto writes = table_.writes();
  look_again();
  EXPECT_EQ(table_.writes(), writes);
  ASSERT_TRUE(want(pod(8 * kMega, 0)));
  EXPECT_TRUE(kernel_.detours.empty());
  look_again();
  EXPECT_EQ(kernel_.held.size(), 1);
  ASSERT_TRUE(want(std::nullopt));
  EXPECT_TRUE(kernel_.detours.empty());
  look_again();
  EXPECT_TRUE(kernel_.held.empty());
}

TEST_F(BandwidthTableTest, AQueueGoesWhenItIsEmpty) {
  ASSERT_TRUE(want(pod(0, 8 * kMega)));
  auto& relay = kernel_.held.at({7, Passage::kIn});
  ASSERT_TRUE(want(std::nullopt));
  EXPECT_TRUE(kernel_.detours.empty());
  relay.waiting = 3000;  // what was on its way into it
  look_again();
  ASSERT_EQ(kernel_.held.size(), 1);
  EXPECT_GT(kernel_.held.begin()->second.bucket.rate, 1'000 * kMega);
  relay.waiting = 0;
  look_again();
  EXPECT_TRUE(kernel_.held.empty());
}

TEST_F(BandwidthTableTest, WhatOthersHaveTakenAwayOrALinkHasLeftIsSeenTo) {
  const auto limited = pod(0, 8 * kMega);
  ASSERT_TRUE(want(limited));
  kernel_.held.clear();
  look_again();
  EXPECT_EQ(kernel_.detours.at(7), kernel_.held.at({7, Passage::kIn}).holder);
  // The interface is made anew.
  kernel_.held.at({7, Passage::kIn}).waiting = 3000;
  links_.at("cali0").index = 8;
  look_again();
  EXPECT_EQ(kernel_.held.size(), 1);
  EXPECT_TRUE(kernel_.held.contains({8, Passage::kIn}));
  links_.clear();
  look_again();
  EXPECT_TRUE(kernel_.held.empty());
  EXPECT_FALSE(table_.is_ready(limited));
}

TEST_F(BandwidthTableTest, WhatFailsIsNotReadyAndTriedAgain) {
  kernel_.fail_when = [](int) { return Error{ErrorCode::kUnsupported, "no ifb"}; };
  const auto limited = pod(8 * kMega, 0);
  EXPECT_FALSE(want(limited));
  EXPECT_FALSE(table_.is_ready(limited));
  EXPECT_TRUE(table_.is_ready({.interface_name = "cali0", .addresses = {}}));
  kernel_.fail_when = {};
  ASSERT_TRUE(table_.sync(links_));
  EXPECT_TRUE(table_.is_ready(limited));
}

TEST(RelayName, TellsWhoseItIsAndNobodyElsesNameIsTakenForOne) {
  for (const int link : {31, 0xfffffff}) {
    const auto name = kernel::relay_name(link);
    EXPECT_LE(name.size(), 15U);
    EXPECT_EQ(kernel::link_of_relay(name), link);
  }
  for (const auto* name :
       {"ocicat-", "ocicat-i", "ocicat-x1", "ocicat-i0", "ocicat-ig", "ocicat-i1z", "eth0", ""})
    EXPECT_FALSE(kernel::link_of_relay(name)) << name;
}

}  // namespace
}  // namespace ocicat::dataplane
