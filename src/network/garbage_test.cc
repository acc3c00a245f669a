#include "network/garbage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "network/ipam_block.h"
#include "network/pool_split.h"
#include "network/pool_usage.h"
#include "resources/decode.h"

namespace ocicat::network {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TimePoint kNow{seconds(1'700'000'000)};

Prefix net(std::string_view text) {
  return *Prefix::parse(text);
}
IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

// One host, one pool, and what is put into it.
class Garbage : public testing::Test {
 protected:
  Garbage() {
    IpPool pool;
    pool.metadata.name = "a";
    pool.cidr = net("10.0.0.0/24");
    pool.block_size = 29;
    pool.allowed_uses = static_cast<std::uint8_t>(PoolUse::kWorkload);
    there_.pools.push_back(pool);
    there_.nodes = {"host1", "host2"};
    add_block("10.0.0.0/29", "host1");
  }

  void add_block(std::string_view cidr, std::string_view host) {
    const BlockOwner owner{BlockOwner::Type::kHost, std::string(host)};
    there_.blocks.push_back(new_block(net(cidr), owner, kNow));
    there_.affinities.push_back({net(cidr), owner, BlockAffinity::State::kConfirmed, false});
  }
  // An address of a block, and the handle's document.
  IpAddress assign(const std::string& handle, Labels attributes, std::size_t block = 0) {
    const auto given = give(there_.blocks[block], 1, {handle, std::move(attributes)}, {}).front();
    const auto at = std::ranges::find(there_.handles, handle, &IpamHandle::id);
    auto& document =
        at == there_.handles.end() ? there_.handles.emplace_back(IpamHandle{handle, {}, false}) : *at;
    ++document.blocks[there_.blocks[block].cidr];
    return given.address;
  }
  static Labels pod(std::string name, std::string node = "host1") {
    return {{"namespace", "shop"}, {"pod", std::move(name)}, {"node", std::move(node)}};
  }
  WorkloadEndpoint& add_pod(const std::string& name, std::vector<IpAddress> addresses) {
    auto& endpoint = there_.endpoints.emplace_back();
    endpoint.metadata.ns = "shop";
    endpoint.metadata.name = name;
    endpoint.workload = name;
    endpoint.node = "host1";
    endpoint.addresses = std::move(addresses);
    return endpoint;
  }
  // "LeakedAddress free 10.0.0.0", of all or of one fault.
  std::vector<std::string> found(TimePoint now = kNow, std::optional<Fault> fault = {}) {
    std::vector<std::string> lines;
    last_ = find_garbage(there_, seen_, now);
    for (const auto& finding : last_) {
      if (!fault || finding.fault == *fault)
        lines.push_back(
            fmt::format("{} {} {}", to_string(finding.fault), to_string(finding.verdict), finding.subject));
    }
    return lines;
  }
  // As if `found` were kept.
  void remember() {
    for (const auto& finding : last_) seen_.emplace(finding.key(), finding.since);
  }

  Inventory there_;
  Sightings seen_;
  std::vector<Finding> last_;
};

TEST_F(Garbage, IsNothingThatAnEndpointHasOrIsAboutToHave) {
  add_pod("web", {assign("h.web", pod("web"))});
  assign("h.new", pod("new"));
  add_pod("new", {});
  there_.endpoints.push_back({});
  there_.endpoints.back().addresses = {assign("h.other", {{"node", "host1"}})};  // of another orchestrator
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(Garbage, IsAnAddressWhoseOwnerHasBeenGoneSinceAnEarlierLook) {
  assign("h.web", pod("web"));
  EXPECT_THAT(found(), ElementsAre("LeakedAddress wait 10.0.0.0"));
  remember();
  EXPECT_THAT(found(kNow + minutes(14)), ElementsAre("LeakedAddress wait 10.0.0.0"));
  EXPECT_THAT(found(kNow + minutes(15)), ElementsAre("LeakedAddress free 10.0.0.0"));
  // A grace period that nobody looked at in between is none: without a former sight it waits.
  seen_.clear();
  EXPECT_THAT(found(kNow + minutes(60)), ElementsAre("LeakedAddress wait 10.0.0.0"));
  // Given anew, it is another finding.
  remember();
  auto& block = there_.blocks[0];
  ++block.sequence;
  release_handle(block, "h.web", kNow, seconds(0));
  ASSERT_TRUE(give_this(block, ip("10.0.0.0"), {"h.web", pod("web")}));
  EXPECT_THAT(found(kNow + minutes(90)), ElementsAre("LeakedAddress wait 10.0.0.0"));
}

TEST_F(Garbage, OfAHandleIsAllOfItOrNothing) {
  assign("h.web", pod("web"));
  add_pod("db", {assign("h.web", pod("db"))});
  found();
  remember();
  EXPECT_THAT(found(kNow + minutes(20)), ElementsAre("LeakedAddress wait 10.0.0.0"));
  EXPECT_THAT(last_[0].reason, HasSubstr("handle"));
}

TEST_F(Garbage, OfAHostThatIsGoneIsFreedAtOnceTunnelAddressesLast) {
  assign("vxlan-tunnel-addr-gone", {{"node", "gone"}, {"type", "vxlanTunnelAddress"}});
  assign("h.web", pod("web", "gone"));
  EXPECT_THAT(found(), ElementsAre("LeakedAddress free 10.0.0.0", "LeakedAddress free 10.0.0.1"));
  there_.endpoints.push_back({});
  there_.endpoints.back().addresses = {ip("10.0.0.1")};  // somebody says that he still has it
  EXPECT_THAT(found(), ElementsAre("LeakedAddress wait 10.0.0.0"));
  // Where no host is known, none is known to be gone.
  there_.endpoints.clear();
  there_.nodes.clear();
  EXPECT_THAT(found(kNow, Fault::kLeakedAddress), ElementsAre("LeakedAddress wait 10.0.0.1"));
}

TEST_F(Garbage, IsOnlyReportedWhereInDoubt) {
  assign("h.x", {{"node", "host1"}});
  add_pod("other", {assign("h.web", pod("web"))});
  add_pod("stray", {ip("10.0.0.6")});
  there_.blocks[0].allocations[7] = 99;
  std::erase(there_.blocks[0].unallocated, 7U);
  found();
  remember();
  EXPECT_THAT(found(kNow + minutes(60)),
              ElementsAre("UnownedAddress report 10.0.0.0", "UnownedAddress report 10.0.0.7",
                          "ContestedAddress report 10.0.0.1", "StrayAddress report 10.0.0.6"));
}

TEST_F(Garbage, IsAnAddressThatTwoHave) {
  const auto address = assign("h.web", pod("web"));
  add_pod("web", {address});
  auto& endpoint = add_pod("web-endpoint", {address});
  endpoint.workload = "web";
  EXPECT_THAT(found(), IsEmpty()) << "a pod and its endpoint are one";
  add_pod("other", {address, ip("192.0.2.1")});
  add_pod("outside", {ip("192.0.2.1")});
  EXPECT_THAT(found(), ElementsAre("ContestedAddress report 10.0.0.0"));
  EXPECT_THAT(last_.front().reason, AllOf(HasSubstr("shop/web"), HasSubstr("shop/other")));
}

TEST_F(Garbage, IsADocumentThatCannotBeReadAndNothingElseForIt) {
  add_pod("web", {assign("h.web", pod("web"))});
  add_pod("db", {ip("10.0.0.9")});
  const BlockOwner host2{BlockOwner::Type::kHost, "host2"};
  there_.affinities.push_back({net("10.0.0.8/29"), host2, BlockAffinity::State::kConfirmed, false});
  there_.unreadable = {{block_key(net("10.0.0.8/29")), "spec.allocations: too few", net("10.0.0.8/29")},
                       {affinity_key(there_.affinities.front().owner, net("10.0.0.0/29")), "spec: none", {}},
                       {handle_key("h.web"), "spec: none", {}}};
  there_.affinities.erase(there_.affinities.begin());
  there_.handles.clear();
  EXPECT_THAT(found(), ElementsAre("UnreadableDocument report BlockAffinity host1-10-0-0-0-29",
                                   "UnreadableDocument report IPAMBlock 10-0-0-8-29",
                                   "UnreadableDocument report IPAMHandle h.web"));
  EXPECT_EQ(last_.at(1).reason, "cannot be read: spec.allocations: too few");
}

TEST_F(Garbage, IsAHandleThatSaysMoreThanThereIs) {
  there_.handles.push_back({"h.gone", {{net("10.0.0.0/29"), 1}}, false});
  add_pod("web", {assign("h.web", pod("web"))});
  there_.handles.back().blocks[net("10.0.0.0/29")] = 2;
  EXPECT_THAT(found(), ElementsAre("StaleHandle wait h.gone", "StaleHandle wait h.web"));
  remember();
  EXPECT_THAT(found(kNow + minutes(20)), ElementsAre("StaleHandle free h.gone", "StaleHandle free h.web"));
  there_.handles.clear();
  EXPECT_THAT(found(), ElementsAre("MissingHandle report 10.0.0.0"));
}

TEST_F(Garbage, IsAnEmptyBlockSeenTwiceButNotAHostsLast) {
  add_block("10.0.0.8/29", "host1");
  add_block("10.0.0.16/29", "host2");
  add_block("10.0.0.24/29", "gone");
  EXPECT_THAT(found(), ElementsAre("EmptyBlock wait 10.0.0.0/29", "EmptyBlock wait 10.0.0.8/29",
                                   "EmptyBlock wait 10.0.0.24/29"));
  remember();
  EXPECT_THAT(found(kNow + minutes(1)),
              ElementsAre("EmptyBlock free 10.0.0.0/29", "EmptyBlock free 10.0.0.24/29"));
}

TEST_F(Garbage, IsAnAffinityToNothingOrToAnothersBlock) {
  const BlockOwner host2{BlockOwner::Type::kHost, "host2"};
  there_.affinities.push_back({net("10.0.0.8/29"), host2, BlockAffinity::State::kPending, false});
  there_.affinities.push_back({net("10.0.0.0/29"), host2, BlockAffinity::State::kConfirmed, false});
  there_.affinities[0].state = BlockAffinity::State::kPendingDeletion;  // of host1, which has it
  found();
  remember();
  EXPECT_THAT(found(kNow + minutes(20)),
              ElementsAre("BrokenAffinity wait 10.0.0.0/29", "BrokenAffinity free 10.0.0.0/29",
                          "BrokenAffinity free 10.0.0.8/29"));
  there_.affinities.clear();
  there_.pools.clear();
  EXPECT_THAT(found(), ElementsAre("EmptyBlock wait 10.0.0.0/29", "MissingAffinity report 10.0.0.0/29"));
}

TEST_F(Garbage, OfAPoolThatIsGoneAreItsBlocksOnceTheyAreEmpty) {
  const auto address = assign("h.web", pod("web"));
  add_pod("web", {address});
  there_.pools.clear();
  EXPECT_THAT(found(), ElementsAre("BlockOutsidePools report 10.0.0.0/29"));
  release_handle(there_.blocks[0], "h.web", kNow, seconds(0));
  there_.handles.clear();
  there_.endpoints.clear();
  EXPECT_THAT(found(), ElementsAre("EmptyBlock wait 10.0.0.0/29"));
  remember();
  EXPECT_THAT(found(kNow + minutes(2)), ElementsAre("EmptyBlock free 10.0.0.0/29"))
      << "also the host's last one";
}

TEST_F(Garbage, LeavesAddressesThatCoolDownAlone) {
  assign("h.web", pod("web"));
  release_handle(there_.blocks[0], "h.web", kNow, seconds(60));
  there_.handles.clear();
  EXPECT_THAT(found(), IsEmpty());
}

// --- how full it is

TEST_F(Garbage, PoolsSayHowLongTheyWillLast) {
  for (int i = 0; i < 6; ++i)
    assign("h",
           {{"timestamp", i < 2 ? "2023-11-14 22:10:00.5 +0000 UTC" : seconds_text(kNow - minutes(90))}});
  release_handle(there_.blocks[0], "nobody", kNow, seconds(0));
  IpReservation reservation{"r", {net("10.0.0.128/25"), net("10.0.0.7/32")}};
  const auto usage = usage_of(there_.pools, there_.blocks, Reservations(std::span(&reservation, 1)), kNow);
  ASSERT_EQ(usage.pools.size(), 1U);
  const auto& pool = usage.pools[0];
  EXPECT_EQ(pool.used, 6U);
  EXPECT_TRUE(pool.reserved == 129);
  EXPECT_TRUE(pool.free == 256 - 6 - 129);
  ASSERT_TRUE(pool.forecast);
  EXPECT_EQ(pool.forecast->given_last_hour, 2U);
  EXPECT_EQ(pool.forecast->full_in.count(), 60);
  EXPECT_FALSE(pool.running_out);
  EXPECT_EQ(usage.blocks[0].counts.reserved, 1U);
}

TEST(SplitPool, MakesPartsThatKeepEverythingElse) {
  const boost::json::object pool{
      {"apiVersion", "projectcalico.org/v3"},
      {"kind", "IPPool"},
      {"metadata",
       boost::json::object{{"name", "a"}, {"uid", "x"}, {"labels", boost::json::object{{"l", "1"}}}}},
      {"spec", boost::json::object{{"cidr", "10.0.0.0/24"}, {"blockSize", 26}, {"natOutgoing", true}}}};
  const auto parts = split_pool(pool, 4);
  ASSERT_TRUE(parts) << parts.error().message;
  ASSERT_EQ(parts->size(), 4U);
  const auto& last = parts->back();
  EXPECT_EQ(last.at("metadata").at("name"), "a-4");
  EXPECT_EQ(last.at("metadata").at("labels").at("l"), "1");
  EXPECT_FALSE(last.at("metadata").as_object().contains("uid"));
  EXPECT_EQ(last.at("spec").at("cidr"), "10.0.0.192/26");
  EXPECT_EQ(last.at("spec").at("natOutgoing"), true);
  EXPECT_FALSE(split_pool(pool, 8));
  EXPECT_FALSE(split_pool(pool, 3));
  auto longest = pool;
  longest["metadata"].as_object()["name"] = std::string(251, 'a');
  EXPECT_TRUE(split_pool(longest, 4));
  longest["metadata"].as_object()["name"] = std::string(252, 'a');
  EXPECT_FALSE(split_pool(longest, 4)) << "nobody could make the parts of what is gone by then";
}

}  // namespace
}  // namespace ocicat::network
