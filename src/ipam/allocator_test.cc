#include "ipam/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/claims.h"
#include "ipam/inventory.h"
#include "ipam/settings.h"
#include "ipam/simulated_documents.h"
#include "ipam/tunnel_address.h"
#include "network/pool_usage.h"

namespace ocicat::ipam {
namespace {

namespace json = boost::json;
using std::chrono::seconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Does something once, before writes of a kind of document.
class Meanwhile : public Documents {
 public:
  Meanwhile(Documents& documents, Kind kind, std::function<void()> what)
      : documents_(documents), kind_(kind), what_(std::move(what)) {}

  using Documents::get;
  Result<std::vector<json::object>> list(Kind kind) override { return documents_.list(kind); }
  std::vector<Result<json::object>> get(const std::vector<ResourceKey>& keys) override {
    return documents_.get(keys);
  }
  std::vector<Result<json::object>> write(std::vector<Write> writes) override {
    const bool is_it =
        std::ranges::any_of(writes, [&](const Write& write) { return write.key.kind == kind_; });
    if (is_it && what_) std::exchange(what_, {})();
    return documents_.write(std::move(writes));
  }

 private:
  Documents& documents_;
  const Kind kind_;
  std::function<void()> what_;
};

class Allocation : public testing::Test {
 protected:
  void put(std::string_view kind, std::string_view name, json::object spec, json::object labels = {}) {
    json::object object{{"apiVersion", kind == "Namespace" ? "v1" : "projectcalico.org/v3"},
                        {"kind", kind},
                        {"metadata", json::object{{"name", name}, {"labels", std::move(labels)}}},
                        {"spec", std::move(spec)}};
    ASSERT_TRUE(documents_.create(std::move(object)));
  }
  void pool(std::string_view name, std::string_view cidr, int block_size, json::object more = {}) {
    more["cidr"] = cidr;
    more["blockSize"] = block_size;
    put("IPPool", name, std::move(more));
  }
  void configure(json::object spec) { put("IPAMConfiguration", "default", std::move(spec)); }

  static AssignRequest request(std::string host, std::string handle, int ipv4 = 1, int ipv6 = 0) {
    AssignRequest request;
    request.host = std::move(host);
    request.handle = std::move(handle);
    request.ipv4 = ipv4;
    request.ipv6 = ipv6;
    return request;
  }
  Allocator fresh() {
    return Allocator(documents_, {[this] { return now_; }, 1});
  }
  // Addresses as text, or the error.
  std::vector<std::string> given(const Result<Assigned>& assigned) {
    if (!assigned) return {assigned.error().message};
    std::vector<std::string> texts;
    for (const auto& item : assigned->items) texts.push_back(item.address.to_string());
    return texts;
  }
  std::vector<std::string> assign(const AssignRequest& wanted) { return given(allocator_.assign(wanted)); }
  // Whether STATUS would say that the host could be given one.
  bool has_room(const std::string& host) {
    const auto settings = read_settings(documents_);
    const auto listing = list_blocks(documents_);
    std::vector<IpamBlock> blocks;
    for (const auto& [cidr, block] : listing->blocks) blocks.push_back(block.value);
    return std::ranges::any_of(settings->pools, [&](const IpPool& pool) {
      return network::has_room(pool, {BlockOwner::Type::kHost, host}, blocks, {}, settings->configuration,
                               settings->reservations, now_);
    });
  }
  // What the document of a handle says of a block; 0: there is none, or it does not name the block.
  std::int64_t says(const std::string& handle, const char* cidr) {
    const auto document = documents_.get(handle_key(handle));
    if (!document) return 0;
    const auto* count = document->at("spec").at("block").as_object().if_contains(cidr);
    return count == nullptr ? 0 : count->as_int64();
  }
  std::size_t count(Kind kind) { return shared_.list(kind).size(); }
  // Blocks and who has them: "10.0.0.0/30 host:a".
  std::vector<std::string> blocks() {
    std::vector<std::string> texts;
    const auto listing = list_blocks(documents_);
    for (const auto& [cidr, block] : listing->blocks)
      texts.push_back(fmt::format("{} {}", cidr.to_string(),
                                  block.value.affinity ? block.value.affinity->to_string() : "nobody"));
    return texts;
  }
  std::vector<std::string> affinities() {
    std::vector<std::string> texts;
    const auto listing = list_blocks(documents_);
    for (const auto& affinity : listing->affinities)
      texts.push_back(fmt::format("{} {} {}", affinity.value.cidr.to_string(),
                                  affinity.value.owner.to_string(), to_string(affinity.value.state)));
    return texts;
  }

  SharedDocuments shared_;
  SimulatedDocuments documents_{shared_, 1};
  TimePoint now_{seconds(1'700'000'000)};
  Allocator allocator_ = fresh();
};

TEST_F(Allocation, ClaimsABlockAndGoesOnInIt) {
  pool("a", "10.0.0.0/30", 30);
  EXPECT_THAT(assign(request("a", "h1")), ElementsAre("10.0.0.0"));
  EXPECT_THAT(assign(request("a", "h2", 2)), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_THAT(affinities(), ElementsAre("10.0.0.0/30 host:a confirmed"));
  EXPECT_EQ(count(Kind::kIpamHandle), 2U);
  const auto again = fresh().assign(request("a", "h3"));
  EXPECT_THAT(given(again), ElementsAre("10.0.0.3"));
  EXPECT_EQ(again->items[0].block.to_string(), "10.0.0.0/30");
}

TEST_F(Allocation, IsOfBothFamiliesOrOfNone) {
  pool("a", "10.0.0.0/30", 30);
  EXPECT_THAT(assign(request("a", "h1", 1, 1)), ElementsAre(HasSubstr("no IPPool gives a an IPv6 address")));
  pool("six", "fd00::/127", 127);
  EXPECT_THAT(assign(request("a", "h1", 1, 1)), ElementsAre("10.0.0.0", "fd00::"));
  EXPECT_THAT(assign(request("a", "h2", 1, 2)), ElementsAre(HasSubstr("no IPv6 address is left")));
  EXPECT_EQ(count(Kind::kIpamHandle), 1U);
  EXPECT_THAT(assign(request("a", "h3", 3)), SizeIs(3));
}

TEST_F(Allocation, BorrowsWhereThereIsNoBlockLeftUnlessAffinityIsStrict) {
  pool("a", "10.0.0.0/30", 31);
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  EXPECT_THAT(assign(request("b", "h2")), SizeIs(1));
  EXPECT_TRUE(has_room("c"));
  const auto borrowed = assign(request("c", "h3"));
  ASSERT_THAT(borrowed, SizeIs(1));
  EXPECT_THAT(borrowed[0], HasSubstr("10.0.0."));
  EXPECT_THAT(blocks(), SizeIs(2));
  configure({{"strictAffinity", true}});
  EXPECT_FALSE(has_room("c"));
  EXPECT_THAT(assign(request("c", "h4")),
              ElementsAre(AllOf(HasSubstr("no IPv4 address is left for c"), HasSubstr("a (10.0.0.0/30)"),
                                HasSubstr("strictAffinity"))));
}

TEST_F(Allocation, EndsAtTheLimitOfBlocksWithoutBorrowing) {
  pool("a", "10.0.0.0/29", 31);
  configure({{"strictAffinity", true}, {"maxBlocksPerHost", 1}});
  EXPECT_THAT(assign(request("a", "h1", 2)), SizeIs(2));
  EXPECT_FALSE(has_room("a"));
  EXPECT_TRUE(has_room("b"));
  const auto refused = allocator_.assign(request("a", "h2"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(refused.error().message, HasSubstr("maxBlocksPerHost"));
  EXPECT_THAT(assign(request("b", "h2")), SizeIs(1));
  // The blocks are of all pools together, and those that it has may have room for others than who asks.
  pool("other", "10.0.1.0/29", 31);
  auto elsewhere = request("b", "h3");
  elsewhere.pools.ipv4 = {"other"};
  EXPECT_THAT(given(allocator_.assign(elsewhere)),
              ElementsAre(HasSubstr("in none of IPPool other (10.0.1.0/29)")));
}

// As an agent's does for pods and its other one for the end of a tunnel, both before the host has any.
TEST_F(Allocation, TwoThatClaimBlocksOfAHostAtOnceStayWithinItsLimit) {
  pool("a", "10.0.0.0/29", 31);
  configure({{"strictAffinity", true}, {"maxBlocksPerHost", 1}});
  Meanwhile documents(documents_, Kind::kBlockAffinity,
                      [&] { EXPECT_THAT(assign(request("a", "h1")), SizeIs(1)); });
  Allocator other(documents, {[this] { return now_; }, 1});
  EXPECT_THAT(given(other.assign(request("a", "h2"))), SizeIs(1)) << "in the one that there is";
  EXPECT_THAT(given(other.assign(request("a", "h3"))), ElementsAre(HasSubstr("maxBlocksPerHost")));
  EXPECT_THAT(blocks(), SizeIs(1));
  EXPECT_THAT(affinities(), SizeIs(1));
}

// An announcement that a third has lost on the way comes when the last block that there may be is counted already and
// not made yet. The second, that starts then, finds one announcement too many.
TEST_F(Allocation, ABlockThatHasBeenCountedKeepsItsPlaceWhoeverComesThen) {
  pool("a", "10.0.0.0/28", 31);
  configure({{"strictAffinity", true}, {"maxBlocksPerHost", 1}});
  const BlockOwner owner{BlockOwner::Type::kHost, "a"};
  const auto claimed = *Prefix::parse("10.0.0.2/31"), late = *Prefix::parse("10.0.0.8/31");
  Meanwhile documents(documents_, Kind::kIpamBlock, [&] {
    ASSERT_TRUE(
        documents_.create(encode(Stored<BlockAffinity>{{late, owner, BlockAffinity::State::kPending}})));
    for (const auto* handle : {"h1", "h2"}) std::ignore = fresh().assign(request("a", handle));
  });
  EXPECT_TRUE(claim_block(documents, claimed, owner, now_, 1));
  EXPECT_THAT(blocks(), ElementsAre("10.0.0.2/31 host:a"));
  EXPECT_THAT(affinities(), ElementsAre("10.0.0.2/31 host:a confirmed"));
}

TEST_F(Allocation, ClaimsNothingWhereHostsMayNot) {
  pool("a", "10.0.0.0/29", 31);
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  configure({{"strictAffinity", true}, {"autoAllocateBlocks", false}});
  EXPECT_TRUE(has_room("a"));
  EXPECT_FALSE(has_room("b"));
  EXPECT_THAT(assign(request("a", "h2")), SizeIs(1));
  EXPECT_FALSE(has_room("a"));
  EXPECT_THAT(assign(request("a", "h3")), ElementsAre(HasSubstr("no IPv4 address is left")));
  EXPECT_THAT(blocks(), SizeIs(1));
}

TEST_F(Allocation, TakesAnEmptyBlockOfAnotherHostOnlyAfterAMinute) {
  pool("a", "10.0.0.0/31", 31);
  configure({{"strictAffinity", true}});
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  ASSERT_TRUE(allocator_.release("h1"));
  EXPECT_FALSE(has_room("b"));
  EXPECT_THAT(assign(request("b", "h2")), ElementsAre(HasSubstr("no IPv4 address is left")));
  now_ += seconds(60);
  EXPECT_TRUE(has_room("b"));
  EXPECT_THAT(assign(request("b", "h2")), SizeIs(1));
  EXPECT_THAT(blocks(), ElementsAre("10.0.0.0/31 host:b"));
  EXPECT_THAT(affinities(), ElementsAre("10.0.0.0/31 host:b confirmed"));
  // The first one thinks that it still has it.
  EXPECT_THAT(assign(request("a", "h3")), ElementsAre(HasSubstr("no IPv4 address is left")));
}

TEST_F(Allocation, GoesByTheSelectorsOfHostAndNamespace) {
  pool("a", "10.0.0.0/30", 30, {{"nodeSelector", "rack == 'r1'"}});
  pool("b", "10.0.1.0/30", 30, {{"namespaceSelector", "team == 'web'"}});
  put("Node", "n1", {}, {{"rack", "r1"}});
  put("Namespace", "shop", {}, {{"team", "web"}});
  EXPECT_THAT(assign(request("n1", "h1")), ElementsAre(HasSubstr("10.0.0.")));
  auto in_shop = request("n2", "h2");
  EXPECT_THAT(assign(in_shop), ElementsAre(HasSubstr("does not select host n2")));
  in_shop.ns = "shop";
  EXPECT_THAT(assign(in_shop), ElementsAre(HasSubstr("10.0.1.")));
  auto named = request("n2", "h3");
  named.pools.ipv4 = {"a"};
  EXPECT_THAT(assign(named), ElementsAre(HasSubstr("10.0.0.")));
}

TEST_F(Allocation, GivesUpEmptyBlocksOfPoolsThatDoNotSelectTheHostAnyMore) {
  pool("a", "10.0.0.0/31", 31);
  EXPECT_THAT(assign(request("n1", "h1")), SizeIs(1));
  ASSERT_TRUE(allocator_.release("h1"));
  auto document = *documents_.get(ResourceKey{Kind::kIpPool, "", "a"});
  document["spec"].as_object()["nodeSelector"] = "rack == 'r1'";
  ASSERT_TRUE(documents_.update(document));
  pool("b", "10.0.1.0/31", 31);
  EXPECT_THAT(assign(request("n1", "h2")), ElementsAre(HasSubstr("10.0.1.")));
  EXPECT_THAT(blocks(), ElementsAre("10.0.1.0/31 host:n1"));
  EXPECT_THAT(affinities(), ElementsAre("10.0.1.0/31 host:n1 confirmed"));
}

TEST_F(Allocation, OfANamedAddressSaysWhyNot) {
  pool("a", "10.0.0.0/30", 31);
  pool("off", "10.0.1.0/30", 31, {{"disabled", true}});
  put("IPReservation", "r", {{"reservedCIDRs", json::array{"10.0.0.1/32"}}});
  const auto named = [](std::string host, std::string handle, const char* address) {
    auto wanted = request(std::move(host), std::move(handle), 0);
    wanted.addresses = {*IpAddress::parse(address)};
    return wanted;
  };
  EXPECT_THAT(assign(named("a", "h1", "10.0.0.1")), ElementsAre("10.0.0.1"));  // reserved for who names it
  EXPECT_THAT(blocks(), ElementsAre("10.0.0.0/31 host:a"));
  EXPECT_THAT(assign(named("b", "h2", "10.0.0.1")), ElementsAre(HasSubstr("assigned already, to handle h1")));
  EXPECT_THAT(assign(named("b", "h2", "10.9.0.1")), ElementsAre(HasSubstr("in no IPPool")));
  EXPECT_THAT(assign(named("b", "h2", "10.0.1.1")), ElementsAre(HasSubstr("disabled")));
  EXPECT_THAT(assign(named("b", "h3", "10.0.0.0")), ElementsAre("10.0.0.0"));  // in a's block
  configure({{"strictAffinity", true}});
  ASSERT_TRUE(allocator_.release("h3"));
  EXPECT_THAT(assign(named("b", "h4", "10.0.0.0")), ElementsAre(HasSubstr("strictAffinity")));
  EXPECT_EQ(count(Kind::kIpamHandle), 1U);
}

TEST_F(Allocation, TakesABlockOfAnotherHostWhoseAddressesHaveCooledDown) {
  pool("a", "10.0.0.0/31", 31);
  configure({{"strictAffinity", true}, {"ipCooldownSeconds", 30}});
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  ASSERT_TRUE(allocator_.release("h1"));
  now_ += seconds(60);
  EXPECT_TRUE(has_room("b"));
  EXPECT_THAT(assign(request("b", "h2")), SizeIs(1));
}

TEST_F(Allocation, KeepsReleasedAddressesBackForAWhile) {
  pool("a", "10.0.0.0/31", 31);
  configure({{"ipCooldownSeconds", 30}});
  EXPECT_THAT(assign(request("a", "h1", 2)), SizeIs(2));
  EXPECT_THAT(allocator_.release("h1")->addresses, SizeIs(2));
  EXPECT_FALSE(has_room("a"));
  EXPECT_THAT(assign(request("a", "h2")), ElementsAre(HasSubstr("no IPv4 address is left")));
  now_ += seconds(30);
  EXPECT_TRUE(has_room("a"));
  EXPECT_THAT(assign(request("a", "h2")), ElementsAre("10.0.0.0"));
}

TEST_F(Allocation, LoadBalancersShareBlocksOfTheirOwn) {
  pool("lb", "10.0.0.0/30", 30, {{"allowedUses", json::array{"LoadBalancer"}}});
  EXPECT_THAT(assign(request("a", "h1")), ElementsAre(HasSubstr("not for the use Workload")));
  auto service = request("a", "lb-1");
  service.use = PoolUse::kLoadBalancer;
  EXPECT_THAT(assign(service), ElementsAre("10.0.0.0"));
  EXPECT_THAT(blocks(), ElementsAre("10.0.0.0/30 virtual:load-balancer"));
}

TEST_F(Allocation, TunnelAddressesComeFromPoolsForTunnelsAndAreNotedAsSuch) {
  pool("a", "10.0.0.0/30", 30, {{"allowedUses", json::array{"Workload"}}});
  pool("t", "10.0.1.0/30", 30, {{"allowedUses", json::array{"Tunnel"}}});
  EXPECT_THAT(assign(tunnel_request(Tunnel::kVxlan, "a")), ElementsAre("10.0.1.0"));
  EXPECT_TRUE(documents_.get(handle_key("vxlan-tunnel-addr-a")));
  EXPECT_THAT(assign(tunnel_request(Tunnel::kVxlanV6, "a")), ElementsAre(HasSubstr("IPv6")));
  auto read = read_inventory(documents_);
  ASSERT_TRUE(read);
  read->inventory.nodes = {"a"};
  EXPECT_THAT(network::find_garbage(read->inventory, {}, now_), IsEmpty());
  read->inventory.nodes = {"b"};
  EXPECT_EQ(network::find_garbage(read->inventory, {}, now_)[0].verdict, network::Verdict::kFree);
}

TEST_F(Allocation, ARequestThatMakesNoSenseIsAnError) {
  pool("a", "10.0.0.0/30", 30);
  EXPECT_THAT(assign(request("a", "h1", 0)), ElementsAre(HasSubstr("no address is asked for")));
  EXPECT_THAT(assign(request("", "h1")), ElementsAre(HasSubstr("host and a handle")));
}

TEST_F(Allocation, RequestsOfOneBatchShareTheWriteOfTheBlock) {
  pool("a", "10.0.0.0/26", 26);
  EXPECT_THAT(assign(request("a", "h0")), SizeIs(1));
  std::vector<AssignRequest> requests;
  for (int i = 1; i <= 20; ++i) requests.push_back(request("a", fmt::format("h{}", i)));
  requests.push_back(request("a", "greedy", 99));
  const auto before = shared_.writes();
  const auto answers = allocator_.assign(requests);
  EXPECT_EQ(std::ranges::count_if(answers, [](const auto& answer) { return answer.has_value(); }), 20);
  EXPECT_EQ(shared_.writes() - before, 21U);  // twenty handles, one block
}

// Calico's client does not set them, its reference shows one of them.
TEST_F(Allocation, SettingsThatCalicosClientWouldNotSetAreFollowedToTheLetter) {
  pool("a", "10.0.0.0/29", 31);
  configure({{"strictAffinity", false}, {"maxBlocksPerHost", 1}});
  EXPECT_THAT(assign(request("a", "h1", 2)), SizeIs(2));
  EXPECT_THAT(assign(request("a", "h2")), ElementsAre(HasSubstr("raise maxBlocksPerHost")));
  EXPECT_THAT(assign(request("b", "h3")), SizeIs(1));
  ASSERT_TRUE(documents_.remove(ipam_configuration_key(), {}));
  configure({{"strictAffinity", false}, {"autoAllocateBlocks", false}});
  EXPECT_THAT(given(fresh().assign(request("c", "h4"))), SizeIs(1)) << "of b's block";
  EXPECT_THAT(given(fresh().assign(request("c", "h5"))), ElementsAre(HasSubstr("autoAllocateBlocks is off")));
  EXPECT_THAT(blocks(), SizeIs(2));
}

// --- after a crash

TEST_F(Allocation, WhatACrashLeftOfAClaimIsPutRightByItsOwner) {
  pool("a", "10.0.0.0/29", 31);
  const BlockOwner a{BlockOwner::Type::kHost, "a"};
  const auto announce = [&](const char* cidr, BlockAffinity::State state) {
    ASSERT_TRUE(
        documents_.create(encode(Stored<BlockAffinity>{{*Prefix::parse(cidr), a, state, false}, {}})));
  };
  announce("10.0.0.0/31", BlockAffinity::State::kPending);          // and no block was made
  announce("10.0.0.2/31", BlockAffinity::State::kPendingDeletion);  // and the block is gone
  ASSERT_TRUE(claim_block(documents_, *Prefix::parse("10.0.0.4/31"), {BlockOwner::Type::kHost, "b"}, now_));
  announce("10.0.0.4/31", BlockAffinity::State::kConfirmed);  // but b has it
  EXPECT_THAT(assign(request("a", "h1")), ElementsAre("10.0.0.0"));
  EXPECT_THAT(affinities(), ElementsAre("10.0.0.0/31 host:a confirmed", "10.0.0.4/31 host:b confirmed"));
  EXPECT_THAT(blocks(), ElementsAre("10.0.0.0/31 host:a", "10.0.0.4/31 host:b"));
}

// As by `kubectl delete blockaffinity`.
TEST_F(Allocation, ABlockWhoseAffinityIsGoneIsAnnouncedAgainFirstAndWhateverTheLimit) {
  pool("a", "10.0.0.0/29", 31);
  const BlockOwner a{BlockOwner::Type::kHost, "a"};
  for (const auto* cidr : {"10.0.0.0/31", "10.0.0.4/31"})
    ASSERT_TRUE(claim_block(documents_, *Prefix::parse(cidr), a, now_));
  ASSERT_TRUE(documents_.remove(affinity_key(a, *Prefix::parse("10.0.0.0/31")), ""));
  ASSERT_TRUE(documents_.create(encode(
      Stored<BlockAffinity>{{*Prefix::parse("10.0.0.2/31"), a, BlockAffinity::State::kPending, false}, {}})));
  configure({{"strictAffinity", true}, {"maxBlocksPerHost", 2}});
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  const auto two = ElementsAre("10.0.0.0/31 host:a confirmed", "10.0.0.4/31 host:a confirmed");
  EXPECT_THAT(affinities(), two) << "what was announced besides is one too many";
  EXPECT_THAT(blocks(), SizeIs(2));

  ASSERT_TRUE(documents_.remove(affinity_key(a, *Prefix::parse("10.0.0.0/31")), ""));
  auto configuration = *documents_.get(ipam_configuration_key());
  configuration.at("spec").as_object()["maxBlocksPerHost"] = 1;
  ASSERT_TRUE(documents_.update(configuration));
  std::ignore = fresh().assign(request("a", "h2"));
  EXPECT_THAT(affinities(), two) << "it is there, whatever the limit";
}

TEST_F(Allocation, ABlockThatHasGoneSinceItWasListedIsNotAnnounced) {
  pool("a", "10.0.0.0/29", 31);
  const auto cidr = *Prefix::parse("10.0.0.0/31");
  const BlockOwner a{BlockOwner::Type::kHost, "a"};
  for (const bool before : {true, false}) {
    const auto block = claim_block(documents_, cidr, a, now_);
    ASSERT_TRUE(block);
    ASSERT_TRUE(documents_.remove(affinity_key(a, cidr), ""));
    std::map<Prefix, Stored<IpamBlock>> blocks{{cidr, *block}};
    const auto give_up = [&] { EXPECT_TRUE(give_up_block(documents_, *block)); };
    if (before) give_up();
    Meanwhile documents(documents_, Kind::kBlockAffinity, before ? std::function<void()>() : give_up);
    EXPECT_TRUE(repair_claims(documents, blocks, {}, a, [](const Prefix&) { return true; }, now_, 1));
    EXPECT_THAT(affinities(), IsEmpty());
    EXPECT_EQ(count(Kind::kIpamBlock), 0U);
  }
}

TEST_F(Allocation, AnAffinityThatIsMarkedAsDeletedTakesNoPlace) {
  pool("a", "10.0.0.0/29", 31);
  configure({{"strictAffinity", true}, {"maxBlocksPerHost", 1}});
  const BlockOwner a{BlockOwner::Type::kHost, "a"};
  ASSERT_TRUE(documents_.create(encode(Stored<BlockAffinity>{
      {*Prefix::parse("10.0.0.6/31"), a, BlockAffinity::State::kConfirmed, true}, {}})));
  EXPECT_THAT(assign(request("a", "h1")), ElementsAre(HasSubstr("10.0.0.")));
}

TEST_F(Allocation, ABrokenAffinityIsSaidToBeGoneOnlyWhereItIs) {
  const auto cidr = *Prefix::parse("10.0.0.0/31");
  const BlockOwner a{BlockOwner::Type::kHost, "a"};
  for (const bool marked : {false, true}) {
    ASSERT_TRUE(documents_.create(
        encode(Stored<BlockAffinity>{{cidr, a, BlockAffinity::State::kConfirmed, marked}, {}})));
    SimulatedDocuments away(shared_, 1, {.lost = 1000, .late = 1000}),
        changed(shared_, 1, {.conflict = 1000});
    EXPECT_EQ(remove_broken_affinity(away, a, cidr).error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(remove_broken_affinity(changed, a, cidr).error().code, ErrorCode::kConflict);
    EXPECT_EQ(count(Kind::kBlockAffinity), 1U);
    EXPECT_TRUE(remove_broken_affinity(documents_, a, cidr));
    EXPECT_TRUE(remove_broken_affinity(documents_, a, cidr));
    EXPECT_EQ(count(Kind::kBlockAffinity), 0U);
  }
}

TEST_F(Allocation, AnUnreadableBlockOfItsOwnKeepsNoOtherFromGiving) {
  pool("a", "10.0.0.0/29", 30);
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  const auto own = list_blocks(documents_)->blocks.begin()->first;
  auto document = *documents_.get(block_key(own));
  document["spec"].as_object()["allocations"] = json::array{};
  ASSERT_TRUE(documents_.update(document));
  auto another = fresh();
  const auto others = given(another.assign(request("a", "h2")));
  ASSERT_THAT(others, SizeIs(1));
  EXPECT_FALSE(own.contains(*IpAddress::parse(others.front()))) << others.front();
  auto named = request("a", "h3", 0);
  named.addresses = {own.last()};
  EXPECT_THAT(given(another.assign(named)), ElementsAre(HasSubstr(name_of(own))))
      << "which of them it is, is said";
}

TEST_F(Allocation, AnotherDocumentAboutABlockIsFoundUnreadableAndChangesNothing) {
  pool("a", "10.0.0.0/30", 30);
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  auto document = *documents_.get(block_key(*Prefix::parse("10.0.0.0/30")));
  document["metadata"] = json::object{{"name", "another"}};
  document["spec"].as_object()["affinity"] = "host:b";
  ASSERT_TRUE(documents_.create(document));
  auto read = read_inventory(documents_);
  ASSERT_TRUE(read);
  ASSERT_THAT(read->inventory.unreadable, SizeIs(1));
  EXPECT_EQ(read->inventory.unreadable.front().key.name, "another");
  EXPECT_FALSE(read->inventory.unreadable.front().block);
  EXPECT_EQ(read->inventory.blocks.front().affinity->name, "a");
  auto again = fresh();
  EXPECT_THAT(given(again.assign(request("a", "h2"))), SizeIs(1));
}

TEST_F(Allocation, WhatIsInABlockThatCannotBeReadIsNotSaidToBeNobodys) {
  pool("a", "10.0.0.0/30", 30);
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  auto document = *documents_.get(block_key(*Prefix::parse("10.0.0.0/30")));
  document["spec"].as_object()["allocations"] = json::array{};
  ASSERT_TRUE(documents_.update(document));
  const network::Release release{*IpAddress::parse("10.0.0.1"), {}, {}};
  const auto answers = release_addresses(documents_, std::span(&release, 1), now_);
  EXPECT_EQ(answers.front().error().code, ErrorCode::kInvalid);
  EXPECT_THAT(answers.front().error().message, HasSubstr("10.0.0.0/30, which cannot be read"));
}

TEST_F(Allocation, AWriteThatComesAfterTheReleaseOfItsHandleGivesNothing) {
  pool("a", "10.0.0.0/30", 30);
  EXPECT_THAT(assign(request("a", "h0")), SizeIs(1));
  // The agent dies with the write of the block on its way.
  const auto before = *documents_.get(block_key(*Prefix::parse("10.0.0.0/30")));
  EXPECT_THAT(assign(request("a", "h1")), ElementsAre("10.0.0.1"));
  const auto with_h1 = *documents_.get(block_key(*Prefix::parse("10.0.0.0/30")));
  auto on_its_way = with_h1;
  auto undone = before;
  undone["metadata"].as_object()["resourceVersion"] = with_h1.at("metadata").at("resourceVersion");
  const auto now_there = documents_.update(undone);
  ASSERT_TRUE(now_there);
  on_its_way["metadata"].as_object()["resourceVersion"] = now_there->at("metadata").at("resourceVersion");
  // Whoever comes after it releases the handle; then the write arrives.
  EXPECT_THAT(fresh().release("h1")->addresses, IsEmpty());
  EXPECT_EQ(documents_.update(on_its_way).error().code, ErrorCode::kConflict);
}

// Of the next write of a block that is named neither effect nor answer comes, until it lands.
class LateWrite : public Documents {
 public:
  explicit LateWrite(Documents& documents) : documents_(documents) {}
  void delay_write_of(std::string_view cidr) { key_ = block_key(*Prefix::parse(cidr)); }

  using Documents::get;
  Result<std::vector<json::object>> list(Kind kind) override { return documents_.list(kind); }
  std::vector<Result<json::object>> get(const std::vector<ResourceKey>& keys) override {
    return documents_.get(keys);
  }
  std::vector<Result<json::object>> write(std::vector<Write> writes) override {
    std::vector<Result<json::object>> answers;
    for (auto& write : writes) {
      if (!late_ && write.key == key_) {
        late_ = write;
        answers.emplace_back(fail(ErrorCode::kUnavailable, "lost"));
      } else {
        answers.push_back(std::move(documents_.write({write}).front()));
      }
    }
    return answers;
  }
  Result<json::object> land() { return std::move(documents_.write({late_.value()}).front()); }

 private:
  Documents& documents_;
  std::optional<ResourceKey> key_;
  std::optional<Write> late_;
};

TEST_F(Allocation, AWriteThatComesAfterAnotherAddressWasPickedGivesNothing) {
  pool("a", "10.0.0.0/30", 31);
  LateWrite documents(documents_);
  Allocator allocator(documents, {[this] { return now_; }, 1});
  EXPECT_THAT(given(allocator.assign(request("a", "full", 2))), ElementsAre("10.0.0.0", "10.0.0.1"));
  EXPECT_THAT(given(allocator.assign(request("a", "half"))), ElementsAre("10.0.0.2"));
  // Released by another, so the first block still looks full, until the address that is named is looked for
  // in it.
  ASSERT_TRUE(fresh().release("full"));
  documents.delay_write_of("10.0.0.2/31");
  auto named = request("a", "h2", 0);
  named.addresses = {*IpAddress::parse("10.0.0.0")};
  const auto answers = allocator.assign(std::vector{request("a", "h1"), named});
  EXPECT_THAT(given(answers[0]), ElementsAre("10.0.0.1"));
  EXPECT_THAT(given(answers[1]), ElementsAre("10.0.0.0"));
  EXPECT_EQ(documents.land().error().code, ErrorCode::kConflict);
  EXPECT_THAT(fresh().release("h1")->addresses, ElementsAre(*IpAddress::parse("10.0.0.1")));
}

// --- what a handle says

// While `allocator_` remembers the block as it was, another agent's allocator gives an address of it.
TEST_F(Allocation, AHandleSaysNoMoreThanThereIsWhereAnotherOfItsHostWroteTheBlockFirst) {
  pool("a", "10.0.0.0/29", 29);
  EXPECT_THAT(assign(request("a", "pod0")), SizeIs(1));
  auto other = fresh();
  EXPECT_THAT(given(other.assign(tunnel_request(Tunnel::kVxlan, "a"))), ElementsAre("10.0.0.1"));
  EXPECT_THAT(assign(request("a", "pod1", 2)), ElementsAre("10.0.0.2", "10.0.0.3"));
  EXPECT_THAT(given(other.assign(tunnel_request(Tunnel::kIpip, "a"))), ElementsAre("10.0.0.4"));
  EXPECT_EQ(says("pod1", "10.0.0.0/29"), 2);
  EXPECT_EQ(says("ipip-tunnel-addr-a", "10.0.0.0/29"), 1);
}

TEST_F(Allocation, AHandleThatHadSomethingBeforeSaysThatAndWhatItWasGivenAfterAConflict) {
  pool("a", "10.0.0.0/29", 29);
  EXPECT_THAT(assign(request("a", "h1", 2)), SizeIs(2));
  EXPECT_THAT(given(fresh().assign(request("a", "h2"))), SizeIs(1));
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  EXPECT_EQ(says("h1", "10.0.0.0/29"), 3);
  // What fails after a conflict leaves it as it was.
  EXPECT_THAT(given(fresh().assign(request("a", "h3"))), SizeIs(1));
  auto named = request("a", "h1", 1);
  named.addresses = {*IpAddress::parse("10.0.0.3")};  // that is h3's, as only those know who look again
  EXPECT_THAT(assign(named), ElementsAre(HasSubstr("assigned already")));
  EXPECT_EQ(says("h1", "10.0.0.0/29"), 3);
  EXPECT_THAT(allocator_.release("h1")->addresses, SizeIs(3));
}

TEST_F(Allocation, AHandleIsPutRightOnlyAsFarAsNobodyIsBeingGivenAnything) {
  pool("a", "10.0.0.0/29", 29);
  EXPECT_THAT(assign(request("a", "h1")), SizeIs(1));
  const auto say_too_much = [&] {
    auto stored = *decode_handle(*documents_.get(handle_key("h1")));
    stored.value.blocks = {{*Prefix::parse("10.0.0.0/29"), 4}, {*Prefix::parse("10.0.1.0/29"), 1}};
    ASSERT_TRUE(documents_.update(encode(stored)));
  };
  say_too_much();
  const std::vector<std::string> handles{"h1"};
  EXPECT_TRUE(fresh().correct(handles).front());
  EXPECT_EQ(says("h1", "10.0.0.0/29"), 1);
  EXPECT_EQ(says("h1", "10.0.1.0/29"), 0);
  // It is put right between the announcement of another address and the write that gives it.
  auto between = [&] { EXPECT_TRUE(fresh().correct(handles).front()); };
  Meanwhile documents(documents_, Kind::kIpamBlock, between);
  Allocator allocator(documents, {[this] { return now_; }, 1});
  EXPECT_THAT(given(allocator.assign(request("a", "h1"))), SizeIs(1));
  EXPECT_EQ(says("h1", "10.0.0.0/29"), 2);
  // And an address is given just before what it was put right to is written.
  say_too_much();
  Meanwhile slow(documents_, Kind::kIpamHandle, [&] { EXPECT_THAT(assign(request("a", "h1")), SizeIs(1)); });
  EXPECT_TRUE(Allocator(slow).correct(handles).front());
  EXPECT_EQ(says("h1", "10.0.0.0/29"), 3);
  EXPECT_THAT(allocator_.release("h1")->addresses, SizeIs(3));
  EXPECT_EQ(count(Kind::kIpamHandle), 0U);
}

// A person takes a tunnel's address back; its agent sees that before the handle's document is lowered.
TEST_F(Allocation, AHandleThatIsGivenAnewWhileASingleAddressOfItIsReleasedIsStillFound) {
  pool("a", "10.0.0.0/29", 29);
  const auto tunnel = tunnel_request(Tunnel::kVxlan, "a");
  EXPECT_THAT(assign(tunnel), ElementsAre("10.0.0.0"));
  Meanwhile documents(documents_, Kind::kIpamHandle, [&] {
    ASSERT_TRUE(allocator_.release(tunnel.handle));
    EXPECT_THAT(assign(tunnel), ElementsAre("10.0.0.1"));
  });
  const std::vector<network::Release> releases{{*IpAddress::parse("10.0.0.0"), {}, {}}};
  EXPECT_EQ(release_addresses(documents, releases, now_).front(), true);
  EXPECT_EQ(says(tunnel.handle, "10.0.0.0/29"), 1);
  EXPECT_THAT(allocator_.release(tunnel.handle)->addresses, SizeIs(1));
}

// Another host claims the block that is about to be made.
class Rival : public Documents {
 public:
  explicit Rival(Documents& documents) : documents_(documents) {}

  using Documents::get;
  Result<std::vector<json::object>> list(Kind kind) override { return documents_.list(kind); }
  std::vector<Result<json::object>> get(const std::vector<ResourceKey>& keys) override {
    return documents_.get(keys);
  }
  std::vector<Result<json::object>> write(std::vector<Write> writes) override {
    for (const auto& write : writes) {
      if (write.verb != Write::Verb::kCreate || write.key.kind != Kind::kIpamBlock) continue;
      const auto cidr = *Prefix::parse(write.object.at("spec").at("cidr").as_string());
      EXPECT_TRUE(claim_block(documents_, cidr, {BlockOwner::Type::kHost, "rival"}, TimePoint(seconds(1))));
    }
    return documents_.write(std::move(writes));
  }

 private:
  Documents& documents_;
};

TEST_F(Allocation, ANamedAddressIsGivenFromABlockThatAnotherHostWasFasterToClaim) {
  pool("a", "10.0.0.0/30", 30);
  Rival documents(documents_);
  Allocator allocator(documents, {[this] { return now_; }, 1});
  auto named = request("a", "h1", 0);
  named.addresses = {*IpAddress::parse("10.0.0.2")};
  EXPECT_THAT(given(allocator.assign(named)), ElementsAre("10.0.0.2"));
  EXPECT_THAT(blocks(), ElementsAre("10.0.0.0/30 host:rival"));
  EXPECT_THAT(affinities(), ElementsAre("10.0.0.0/30 host:rival confirmed"));
}

// --- one by one, and what was found

TEST_F(Allocation, SingleAddressesAreReleasedAgainstWhatTheyWereGivenAs) {
  pool("a", "10.0.0.0/30", 30);
  const auto assigned = allocator_.assign(request("a", "h1", 2));
  ASSERT_TRUE(assigned);
  const auto& item = assigned->items[0];
  const std::vector<network::Release> releases{{item.address, "h1", item.sequence + 1},
                                               {assigned->items[1].address, {}, {}},
                                               {*IpAddress::parse("10.9.0.1"), {}, {}}};
  const auto answers = release_addresses(documents_, releases, now_);
  EXPECT_EQ(answers[0].error().code, ErrorCode::kConflict);
  EXPECT_EQ(answers[1], true);
  EXPECT_EQ(answers[2].error().code, ErrorCode::kNotFound);
  EXPECT_EQ(documents_.get(handle_key("h1"))->at("spec").at("block").at("10.0.0.0/30"), 1);
  EXPECT_THAT(allocator_.release("h1")->addresses, ElementsAre(item.address));
}

TEST_F(Allocation, FoundGarbageIsFreedUnlessItHasChangedSince) {
  pool("a", "10.0.0.0/29", 31);
  put("Node", "a", {});
  auto wanted = request("a", "h1");
  wanted.attributes = {{"namespace", "shop"}, {"pod", "web"}};
  ASSERT_TRUE(allocator_.assign(wanted));
  ASSERT_TRUE(documents_.create(encode(Stored<IpamHandle>{{"stale", {}, false}, {}})));
  EXPECT_THAT(assign(request("gone", "h2")), SizeIs(1));
  network::Sightings seen;
  const auto look = [&] {
    auto read = read_inventory(documents_);
    EXPECT_TRUE(read);
    auto findings = network::find_garbage(read->inventory, seen, now_);
    for (const auto& finding : findings) seen.emplace(finding.key(), finding.since);
    return findings;
  };
  look();
  now_ += std::chrono::minutes(20);
  const auto findings = look();
  for (const auto& [finding, outcome] : free_garbage(documents_, findings, now_))
    EXPECT_TRUE(outcome) << finding->subject << ": " << outcome.error().message;
  EXPECT_EQ(count(Kind::kIpamHandle), 1U);  // that of h2, of which nothing says whose it is
  // The same once more: all has been done, and nothing else happens.
  for (const auto& [finding, outcome] : free_garbage(documents_, findings, now_))
    EXPECT_TRUE(outcome) << finding->subject << ": " << outcome.error().message;
}

}  // namespace
}  // namespace ocicat::ipam
