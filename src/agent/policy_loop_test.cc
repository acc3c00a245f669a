#include "agent/policy_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/policy_keeper.h"

namespace ocicat::agent {
namespace {

using testing::Contains;
using testing::Key;
using testing::Pair;
using testing::SizeIs;

// Far more than anything here takes; only a failure waits that long.
constexpr std::chrono::seconds kPatience{60};

ResourceKey pod(std::string name) {
  return {Kind::kPod, "x", std::move(name)};
}

api::Update pod_update(const std::string& name, const char* address, std::uint64_t revision) {
  WorkloadEndpoint endpoint;
  endpoint.metadata.name = name;
  endpoint.metadata.ns = "x";
  endpoint.node = "host1";
  endpoint.workload = name;
  endpoint.interface_name = "cali" + name;
  endpoint.addresses = {*IpAddress::parse(address)};
  api::Update update;
  update.resources.update(pod(name), endpoint);
  update.revisions[Kind::kPod].revision = revision;
  return update;
}

class PolicyLoopTest : public testing::Test {
 protected:
  Mailbox<HostChanges> to_dataplane_;
  Mailbox<News> told_;
  PolicyLoop loop_{Engine({.node = "host1", .dictionary = {}}),
                   {&to_dataplane_, [this](News news) { told_.put(std::move(news)); },
                    [](const HostChanges&) {}, [](const api::Update&) {}}};
};

TEST_F(PolicyLoopTest, NothingLeavesBeforeTheSnapshotIsWholeAndThenItIsOneMessage) {
  loop_.put(pod_update("a", "10.0.0.1", 1));
  EXPECT_FALSE(loop_.in_sync());
  api::Update last = pod_update("b", "10.0.0.2", 2);
  last.in_sync = true;
  loop_.put(std::move(last));
  const auto first = to_dataplane_.take_within(kPatience);
  ASSERT_TRUE(first);
  EXPECT_TRUE(loop_.in_sync());
  EXPECT_THAT(first->endpoints.entries(), SizeIs(2));
  EXPECT_THAT(first->revisions, Contains(Pair(Kind::kPod, Progress{2, ""})));
}

TEST_F(PolicyLoopTest, AfterThatOnlyWhatChangesLeavesAndRevisionsEvenWithoutAChange) {
  api::Update all = pod_update("a", "10.0.0.1", 1);
  all.in_sync = true;
  loop_.put(all);
  ASSERT_TRUE(to_dataplane_.take_within(kPatience));

  api::Update bookmark;
  bookmark.in_sync = true;
  bookmark.revisions[Kind::kPod] = {9, "now"};
  loop_.put(bookmark);
  const auto progress = to_dataplane_.take_within(kPatience);
  ASSERT_TRUE(progress);
  EXPECT_TRUE(progress->endpoints.empty());
  EXPECT_THAT(progress->revisions, Contains(Pair(Kind::kPod, Progress{9, "now"})));

  api::Update gone;
  gone.in_sync = true;
  gone.resources.remove(pod("a"));
  loop_.put(gone);
  const auto removal = to_dataplane_.take_within(kPatience);
  ASSERT_TRUE(removal);
  EXPECT_THAT(removal->endpoints.entries(), Contains(Pair(pod("a"), std::nullopt)));
}

TEST(PolicyKeeper, TellsCountersWhereTheyDiffer) {
  PolicyKeeper keeper(Engine({.node = "host1", .dictionary = {}}));
  api::Update update = pod_update("a", "10.0.0.1", 1);
  update.in_sync = true;
  const auto first = keeper.take(update);
  ASSERT_TRUE(first.news && first.news->counters);
  EXPECT_EQ(first.news->counters->endpoints, 1U);
  update.revisions[Kind::kPod].revision = 2;
  const auto same = keeper.take(update);
  EXPECT_FALSE(same.news) << "there is nothing to tell the server of before it is in the kernel";
  EXPECT_TRUE(same.changes);
  const auto more = keeper.take(pod_update("b", "10.0.0.2", 3));
  ASSERT_TRUE(more.news && more.news->counters);
  EXPECT_EQ(more.news->counters->endpoints, 2U);
}

TEST_F(PolicyLoopTest, WhatCannotBeReadIsToldEvenBeforeTheSnapshotIsWhole) {
  api::Update update;
  update.unreadable.update(pod("odd"), "why");
  loop_.put(update);
  const auto news = told_.take_within(kPatience);
  ASSERT_TRUE(news);
  EXPECT_THAT(news->unreadable.entries(), Contains(Key(pod("odd"))));
}

TEST_F(PolicyLoopTest, APolicyThatCannotBeCompiledIsToldAndDenies) {
  api::Update all = pod_update("a", "10.0.0.1", 1);
  NetworkPolicy policy;
  policy.metadata.name = "odd";
  policy.metadata.ns = "x";
  policy.applies_to_ingress = true;
  policy.broken = "rule 1 makes no sense";
  const ResourceKey key{Kind::kNetworkPolicy, "x", "odd"};
  all.resources.update(key, policy);
  all.in_sync = true;
  loop_.put(std::move(all));
  ASSERT_TRUE(to_dataplane_.take_within(kPatience));
  const auto news = told_.take_within(kPatience);
  ASSERT_TRUE(news);
  EXPECT_THAT(news->refused.entries(), Contains(Key(key)));
  EXPECT_EQ(news->counters->local_endpoints, 1u);
}

}  // namespace
}  // namespace ocicat::agent
