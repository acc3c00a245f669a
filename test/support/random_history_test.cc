#include "test/support/random_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "test/support/describe.h"

namespace ocicat::test {
namespace {

const WorkloadEndpoint* endpoint_in(const policy::Snapshot& snapshot, const ResourceKey& key) {
  const auto it = snapshot.find(key);
  return it == snapshot.end() ? nullptr : std::get_if<WorkloadEndpoint>(&it->second);
}

std::set<IpAddress> addresses_of(const WorkloadEndpoint& endpoint) {
  return {endpoint.addresses.begin(), endpoint.addresses.end()};
}

bool overlap(const std::set<IpAddress>& a, const std::set<IpAddress>& b) {
  return std::ranges::any_of(a, [&](const auto& address) { return b.contains(address); });
}

// What the promise of the header names, as far as it has been seen.
struct Seen {
  bool name_in_another_kind = false;
  bool address_of_one_that_goes = false;
  bool policy_in_another_tier = false;
  bool tier_changed = false;
  bool tier_gone = false;
  bool nets_changed = false;
  bool host_moved = false;
  bool many_at_once = false;

  void note(const policy::Snapshot& before, const Step& step) {
    std::size_t gone = 0;
    for (const auto& [key, resource] : step.entries()) {
      const auto old = before.find(key);
      gone += old != before.end() && !resource ? 1 : 0;
      if (key.kind == Kind::kTier && old != before.end()) {
        tier_gone |= !resource;
        tier_changed |= resource && *resource != old->second;
      }
      if (old == before.end() || !resource) continue;
      if (const auto* policy = std::get_if<NetworkPolicy>(&*resource))
        policy_in_another_tier |= policy->tier != std::get<NetworkPolicy>(old->second).tier;
      if (const auto* set = std::get_if<NetworkSet>(&*resource))
        nets_changed |= set->nets != std::get<NetworkSet>(old->second).nets;
      host_moved |= key.kind == Kind::kNode && *resource != old->second;
    }
    many_at_once |= gone > 4;
    note_heirs(before, step);
  }

  void note_heirs(const policy::Snapshot& before, const Step& step) {
    for (const auto& [gone, nothing] : step.entries()) {
      const auto* old = nothing ? nullptr : endpoint_in(before, gone);
      if (old == nullptr) continue;
      for (const auto& [key, resource] : step.entries()) {
        const auto* heir = resource ? std::get_if<WorkloadEndpoint>(&*resource) : nullptr;
        if (heir == nullptr) continue;
        name_in_another_kind |= key.name == gone.name && key != gone;
        address_of_one_that_goes |= overlap(addresses_of(*heir), addresses_of(*old));
      }
    }
  }
};

TEST(RandomHistory, TriesTheMemoryOfWhoeverFollows) {
  Random random{5};
  auto snapshot = random_snapshot(random);
  Seen seen;
  for (int i = 0; i < 3'000; ++i) {
    const auto step = random_step(random, snapshot);
    seen.note(snapshot, step);
    step.apply_to(snapshot);
  }
  EXPECT_TRUE(seen.name_in_another_kind);
  EXPECT_TRUE(seen.address_of_one_that_goes);
  EXPECT_TRUE(seen.policy_in_another_tier);
  EXPECT_TRUE(seen.tier_changed);
  EXPECT_TRUE(seen.tier_gone);
  EXPECT_TRUE(seen.nets_changed);
  EXPECT_TRUE(seen.host_moved);
  EXPECT_TRUE(seen.many_at_once);
}

TEST(Describe, SaysWhoIsThereAndWhoIsGone) {
  Step step;
  step.update({Kind::kTier, "", "first"}, Tier{.order = 3, .default_action = Action::kPass});
  step.remove({Kind::kPod, "shop", "api"});
  EXPECT_EQ(describe(step), "    Tier first: else pass order 3\n    Pod shop/api: gone\n");
}

}  // namespace
}  // namespace ocicat::test
