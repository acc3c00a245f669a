#include "network/ipam_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "network/address_block.h"
#include "network/pool_choice.h"

namespace ocicat::network {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr TimePoint kNow{seconds(1'700'000'000)};

Prefix net(std::string_view text) {
  return *Prefix::parse(text);
}
IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}
IpamBlock block(std::string_view cidr = "10.0.0.0/29") {
  return new_block(net(cidr), {BlockOwner::Type::kHost, "host1"}, kNow);
}
std::vector<std::string> texts(const std::vector<Given>& given) {
  std::vector<std::string> result;
  for (const auto& one : given) result.push_back(one.address.to_string());
  return result;
}
Reservations reserve(std::initializer_list<const char*> cidrs) {
  IpReservation document;
  for (const auto* cidr : cidrs) document.cidrs.push_back(net(cidr));
  return Reservations(std::span(&document, 1));
}

TEST(Reservations, OfOneFamilyHoldBesideThoseOfTheOther) {
  const auto all = reserve({"::/0", "10.0.0.0/8", "fd00::/8"});
  for (const auto* inside : {"fd65::/64", "2001:db8::1/128", "10.1.2.3/32"}) {
    EXPECT_NE(all.covering(net(inside)), nullptr) << inside;
    EXPECT_TRUE(all.touches(net(inside))) << inside;
  }
  EXPECT_EQ(all.covering(net("11.0.0.1/32")), nullptr);
  const auto some = reserve({"0.0.0.0/0", "fd65::8/125"});
  EXPECT_TRUE(some.touches(net("fd65::/64")));
  EXPECT_EQ(some.covering(net("fd65::/64")), nullptr);
  EXPECT_EQ(some.count_in(net("fd65::/64")), 8U);
}

TEST(Block, MakesNobodyTheOwnerOfAnAddressWhoseAttributeIsMissing) {
  auto b = block();
  b.allocations[3] = 0;
  std::erase(b.unallocated, 3U);
  EXPECT_THAT(texts(give(b, 1, {"a", {}}, {})), ElementsAre("10.0.0.0"));
  release_handle(b, "a", kNow, seconds(0));
  EXPECT_TRUE(b.allocations[3]);
  EXPECT_THAT(texts(give(b, 9, {"b", {}}, {})), testing::Not(testing::Contains("10.0.0.3")));
}

TEST(Block, GivesWhatWasFreeLongest) {
  auto b = block();
  EXPECT_THAT(texts(give(b, 2, {"a", {}}, {})), ElementsAre("10.0.0.0", "10.0.0.1"));
  release_handle(b, "a", kNow, seconds(0));
  EXPECT_THAT(texts(give(b, 2, {"b", {}}, {})), ElementsAre("10.0.0.2", "10.0.0.3"));
  EXPECT_THAT(texts(give(b, 9, {"c", {}}, {})),
              ElementsAre("10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.0", "10.0.0.1"));
  EXPECT_THAT(give(b, 1, {"d", {}}, {}), SizeIs(0));
}

TEST(Block, PassesReservedAddressesByUnlessTheyAreNamed) {
  auto b = block();
  const auto reserved = reserve({"10.0.0.0/30", "10.0.0.5/32"});
  EXPECT_THAT(texts(give(b, 9, {"a", {}}, reserved)), ElementsAre("10.0.0.4", "10.0.0.6", "10.0.0.7"));
  EXPECT_EQ(counts_of(b, reserved).reserved, 5U);
  EXPECT_TRUE(give_this(b, ip("10.0.0.5"), {"b", {}}));
}

TEST(Block, SaysWhoHasAnAddressThatIsAskedFor) {
  auto b = block();
  ASSERT_TRUE(give_this(b, ip("10.0.0.3"), {"net.a", {}}));
  const auto again = give_this(b, ip("10.0.0.3"), {"net.b", {}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kAlreadyExists);
  EXPECT_THAT(again.error().message, HasSubstr("net.a"));
  EXPECT_EQ(give_this(b, ip("10.0.0.8"), {"net.b", {}}).error().code, ErrorCode::kInvalid);
  EXPECT_THAT(texts(give(b, 4, {"c", {}}, {})), ElementsAre("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.4"));
}

TEST(Block, LetsReleasedAddressesCoolDown) {
  auto b = block("10.0.0.0/31");
  give(b, 2, {"a", {}}, {});
  EXPECT_THAT(release_handle(b, "a", kNow, seconds(60)), SizeIs(2));
  EXPECT_THAT(release_handle(b, "a", kNow, seconds(60)), SizeIs(0));
  EXPECT_FALSE(settle(b, kNow + seconds(59), seconds(60)));
  EXPECT_THAT(give(b, 1, {"b", {}}, {}), SizeIs(0));
  EXPECT_EQ(give_this(b, ip("10.0.0.1"), {"b", {}}).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(counts_of(b, {}).cooling, 2U);
  EXPECT_FALSE(is_empty(b));
  EXPECT_TRUE(settle(b, kNow + seconds(60), seconds(60)));
  EXPECT_TRUE(is_empty(b));
  EXPECT_THAT(b.attributes, SizeIs(0));
}

TEST(Block, KnowsOneGivingOfAnAddressFromTheNext) {
  auto b = block();
  const auto first = give(b, 1, {"a", {}}, {}).front();
  ++b.sequence;  // as a write does
  EXPECT_EQ(*release_this(b, {first.address, "a", first.sequence}, kNow, seconds(0)), true);
  EXPECT_EQ(*release_this(b, {first.address, "a", first.sequence}, kNow, seconds(0)), false);
  const auto second = *give_this(b, first.address, {"a", {}});
  EXPECT_TRUE(holds(b, "a", second));
  EXPECT_FALSE(holds(b, "a", first));
  EXPECT_EQ(release_this(b, {first.address, "a", first.sequence}, kNow, seconds(0)).error().code,
            ErrorCode::kConflict);
  EXPECT_EQ(release_this(b, {first.address, "b", {}}, kNow, seconds(0)).error().code, ErrorCode::kConflict);
  // Made anew it begins with another number.
  EXPECT_NE(new_block(b.cidr, *b.affinity, kNow + seconds(1)).sequence, b.sequence);
}

TEST(Block, AfterTheLargestNumberComesTheLeast) {
  auto b = block();
  b.sequence = std::numeric_limits<std::int64_t>::max() - 1;
  raise_sequence(b);
  EXPECT_EQ(b.sequence, std::numeric_limits<std::int64_t>::max());
  raise_sequence(b);
  EXPECT_EQ(b.sequence, 0);
  EXPECT_TRUE(decode_block(encode(Stored<IpamBlock>{b, {}})));
}

TEST(Block, IsCalledAfterItsCidr) {
  auto document = encode(Stored<IpamBlock>{block(), {}});
  EXPECT_TRUE(decode_block(document));
  document["metadata"].as_object()["name"] = "another";
  EXPECT_THAT(decode_block(document).error().message, HasSubstr("metadata.name"));
}

TEST(Block, KeepsOneAttributeForAllAddressesOfAnOwner) {
  auto b = block();
  give(b, 2, {"a", {{"pod", "x"}}}, {});
  give(b, 1, {"b", {}}, {});
  give(b, 1, {"a", {{"pod", "x"}}}, {});
  EXPECT_THAT(b.attributes, SizeIs(2));
  release_handle(b, "a", kNow, seconds(0));
  ASSERT_THAT(b.attributes, SizeIs(1));
  EXPECT_EQ(attribute_of(b, 2)->handle, "b");
}

TEST(Block, IsEmptyWithNothingButWhatWindowsKeeps) {
  auto b = block();
  give(b, 3, {std::string(kWindowsHandle), {}}, {});
  EXPECT_TRUE(is_empty(b));
  give(b, 1, {"a", {}}, {});
  EXPECT_FALSE(is_empty(b));
}

TEST(BlockDocument, ComesBackAsItWasWritten) {
  Stored<IpamBlock> stored{block(), {}};
  give(stored.value, 2, {"a", {{"node", "host1"}, {"pod", "x"}}}, {});
  give(stored.value, 1, {"b", {}}, {});
  release_handle(stored.value, "b", kNow, seconds(60));
  const auto read = decode_block(encode(stored));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->value, stored.value);
}

TEST(BlockDocument, NeverGivesWhatItIsNotSureOf) {
  auto document = encode(Stored<IpamBlock>{block("10.0.0.0/30"), {}});
  auto& spec = document["spec"].as_object();
  spec["allocations"] = {nullptr, 7, nullptr, nullptr};  // of somebody who is not known
  spec["unallocated"] = {3, 1, 3, 9};  // one that is taken, one twice, one that is not there
  auto read = decode_block(document);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->value.unallocated, ElementsAre(3, 0, 2));
  EXPECT_THAT(texts(give(read->value, 9, {"a", {}}, {})), ElementsAre("10.0.0.3", "10.0.0.0", "10.0.0.2"));
  EXPECT_THAT(release_handle(read->value, "a", kNow, seconds(0)), SizeIs(3));
  EXPECT_FALSE(is_free(read->value, 1));
  spec["allocations"] = boost::json::array{nullptr};
  EXPECT_FALSE(decode_block(document));
}

TEST(Affinity, IsCalledAndLabelledAsCalicosClientsLookItUp) {
  const BlockOwner owner{BlockOwner::Type::kHost, "node-a"};
  EXPECT_EQ(affinity_key(owner, net("10.0.0.0/26")).name, "node-a-10-0-0-0-26");
  EXPECT_EQ(block_key(net("fd00:1::/122")).name, "fd00-1---122");
  const auto document = encode(Stored<BlockAffinity>{{net("10.0.0.0/26"), owner}, {}});
  EXPECT_EQ(document.at("metadata").at("labels").at("projectcalico.org/hostname-hash"),
            "PY3TQE2E3XMTETLM2MJO3UITKPFB27YUJ4T4E5XGPEJON3SM4QAA");
  const BlockOwner longest{BlockOwner::Type::kHost, std::string(250, 'h')};
  EXPECT_LE(affinity_key(longest, net("10.0.0.0/26")).name.size(), 252U);
}

// --- pools

IpPool pool(std::string name, std::string_view cidr, int block_size) {
  IpPool made;
  made.metadata.name = std::move(name);
  made.cidr = net(cidr);
  made.block_size = block_size;
  made.allowed_uses =
      static_cast<std::uint8_t>(PoolUse::kWorkload) | static_cast<std::uint8_t>(PoolUse::kTunnel);
  return made;
}

std::vector<std::string> names(const Result<std::vector<const IpPool*>>& pools) {
  std::vector<std::string> result;
  if (!pools) return {pools.error().message};
  for (const auto* one : *pools) result.push_back(one->metadata.name);
  return result;
}

TEST(PoolChoice, GoesByUseModeAndSelectors) {
  std::vector<IpPool> pools{pool("a", "10.0.0.0/24", 26), pool("b", "10.0.1.0/24", 26),
                            pool("c", "10.0.2.0/24", 26), pool("d", "10.0.3.0/24", 26),
                            pool("e", "10.0.4.0/24", 26), pool("six", "fd00::/64", 122)};
  pools[0].disabled = true;
  pools[1].node_selector = "rack == 'r1'";
  pools[2].namespace_selector = "team == 'web'";
  pools[3].automatic = false;
  pools[4].allowed_uses = static_cast<std::uint8_t>(PoolUse::kTunnel);
  PoolQuery query{Family::kIpv4, PoolUse::kWorkload, {}, "host1", {{"rack", "r1"}}, Labels{{"team", "web"}}};
  EXPECT_THAT(names(choose_pools(pools, query)), ElementsAre("b", "c"));
  query.host_labels = {};
  query.namespace_labels.reset();
  EXPECT_THAT(names(choose_pools(pools, query)),
              ElementsAre(testing::AllOf(HasSubstr("a (10.0.0.0/24) is disabled"), HasSubstr("rack == 'r1'"),
                                         HasSubstr("d (10.0.3.0/24) has assignmentMode Manual"),
                                         HasSubstr("not for the use Workload"))));
  // Who names pools gets them in that order, whatever they select; a disabled one not even then.
  query.named = {"10.0.3.0/24", "b", "a"};
  EXPECT_THAT(names(choose_pools(pools, query)), ElementsAre("d", "b"));
  query.named = {"b", "six"};
  EXPECT_THAT(choose_pools(pools, query).error().message, HasSubstr("IPPool six ("))
      << "it is of the other family";
  query.named = {"z"};
  EXPECT_EQ(choose_pools(pools, query).error().code, ErrorCode::kNotFound);
}

TEST(NextBlock, FindsEachBlockOnceAndPassesByWhatIsReserved) {
  const auto p = pool("a", "10.0.0.0/24", 28);
  const auto reserved = reserve({"10.0.0.0/26", "10.0.0.128/28"});
  std::set<Prefix> taken;
  while (const auto next = next_block(p, {BlockOwner::Type::kHost, "host1"}, taken, reserved))
    ASSERT_TRUE(taken.insert(*next).second);
  EXPECT_EQ(taken.size(), 11U);
  EXPECT_FALSE(taken.contains(net("10.0.0.48/28")));
}

TEST(NextBlock, OverlapsNoneOfAnotherSizeThatSomebodyHasMade) {
  const auto p = pool("p", "10.0.0.0/27", 29);
  const BlockOwner owner{BlockOwner::Type::kHost, "host1"};
  EXPECT_EQ(next_block(p, owner, {net("10.0.0.4/30"), net("10.0.0.8/29"), net("10.0.0.17/32")}, {}),
            net("10.0.0.24/29"));
  EXPECT_EQ(next_block(p, owner, {net("10.0.0.0/28"), net("10.0.0.24/29")}, {}), net("10.0.0.16/29"));
  EXPECT_FALSE(next_block(p, owner, {net("10.0.0.0/27")}, {}));
}

TEST(NextBlock, TakesNoLongerInAVastPoolOrBehindAVastReservation) {
  const auto p = pool("six", "fd00::/32", 122);
  const BlockOwner owner{BlockOwner::Type::kHost, "host1"};
  const auto first = next_block(p, owner, {}, {});
  ASSERT_TRUE(first);
  const auto reserved = reserve({"fd00::/33"});
  const auto second = next_block(p, owner, {}, reserved);
  ASSERT_TRUE(second);
  EXPECT_TRUE(net("fd00:0:8000::/33").contains(*second));
  EXPECT_FALSE(next_block(p, owner, {}, reserve({"fd00::/16"})));
  EXPECT_NE(first, next_block(p, {BlockOwner::Type::kHost, "host2"}, {}, {}));
}

TEST(AddressBlock, CountsInBothFamilies) {
  const auto p = pool("six", "fd00::/64", 122);
  EXPECT_TRUE(blocks_in(p) == Count{1} << 58);
  const auto last = block_at(p, blocks_in(p) - 1);
  EXPECT_EQ(last, net("fd00::ffff:ffff:ffff:ffc0/122"));
  EXPECT_EQ(address_at(last, 63), ip("fd00::ffff:ffff:ffff:ffff"));
  EXPECT_EQ(ordinal_of(last, ip("fd00::ffff:ffff:ffff:ffc1")), 1U);
  EXPECT_FALSE(ordinal_of(last, ip("10.0.0.1")));
  EXPECT_EQ(block_of(pool("a", "10.0.0.0/8", 26), ip("10.1.2.200")), net("10.1.2.192/26"));
}

}  // namespace
}  // namespace ocicat::network
