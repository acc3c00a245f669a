#include "agent/own_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <random>
#include <tuple>

#include "ipam/simulated_documents.h"
#include "ipam/tunnel_address.h"
#include "resources/decode.h"
#include "test/support/for_seeds.h"

namespace ocicat::agent {
namespace {

namespace json = boost::json;
using ipam::Tunnel;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class OwnNodeTest : public testing::Test {
 protected:
  void put(std::string_view kind, std::string_view name, json::object spec, json::object labels = {}) {
    json::object object{{"apiVersion", "projectcalico.org/v3"},
                        {"kind", kind},
                        {"metadata", json::object{{"name", name}, {"labels", std::move(labels)}}},
                        {"spec", std::move(spec)}};
    ASSERT_TRUE(documents_.create(std::move(object)));
  }
  void pool(std::string_view name, std::string_view cidr, json::object more = {}) {
    more["cidr"] = cidr;
    put("IPPool", name, std::move(more));
  }
  void change(const ResourceKey& key, std::string_view field, json::value value) {
    auto document = *documents_.get(key);
    document["spec"].as_object()[field] = std::move(value);
    ASSERT_TRUE(documents_.update(std::move(document)));
  }
  void remove(const ResourceKey& key) {
    const auto document = documents_.get(key);
    if (!document) return;
    ASSERT_TRUE(documents_.remove(key, document->at("metadata").at("resourceVersion").as_string()));
  }
  void node(json::object more = {}, json::object labels = {}) {
    more["bgp"] = json::object{{"ipv4Address", "192.0.2.1/24"}, {"ipv6Address", "2001:db8::1/64"}};
    put("Node", "a", std::move(more), std::move(labels));
  }
  static std::optional<Prefix> nothing(Family /*family*/) { return std::nullopt; }
  // One that gives an address up as soon as its pool is missing.
  OwnNode own(OwnNode::Detect detect = nothing) {
    return {"a", documents_, std::move(detect), {.patience = std::chrono::milliseconds::zero()}};
  }

  Node said() {
    const auto document = documents_.get(kNode);
    const auto decoded = decode(Kind::kNode, *document);
    EXPECT_TRUE(decoded);
    return std::get<Node>(*decoded);
  }
  // Everything that is given, as "ADDRESS HANDLE".
  std::vector<std::string> given() {
    std::vector<std::string> all;
    for (const auto& document : shared_.list(Kind::kIpamBlock)) {
      const auto block = decode_block(document);
      for (IpamBlock::Ordinal i = 0; i < block->value.size(); ++i) {
        const auto& index = block->value.allocations[i];
        if (index)
          all.push_back(fmt::format("{} {}", address_at(block->value.cidr, i).to_string(),
                                    block->value.attributes.at(*index).handle.value_or("?")));
      }
    }
    return all;
  }

  const ResourceKey kNode{Kind::kNode, "", "a"};
  ipam::SharedDocuments shared_;
  ipam::SimulatedDocuments documents_{shared_, 1};
};

TEST_F(OwnNodeTest, IsMadeWhereThereIsNoneWithTheAddressesOfTheHost) {
  auto own_node = own([](Family family) {
    return Prefix::parse(family == Family::kIpv4 ? "192.0.2.7/24" : "2001:db8::7/64");
  });
  ASSERT_TRUE(own_node.settle());
  EXPECT_EQ(said().ipv4, Prefix::parse("192.0.2.7/24"));
  EXPECT_EQ(said().ipv6, Prefix::parse("2001:db8::7/64"));
  // Whoever deletes it means it, as long as the agent runs.
  remove(kNode);
  ASSERT_TRUE(own_node.settle());
  EXPECT_THAT(shared_.list(Kind::kNode), IsEmpty());
}

TEST_F(OwnNodeTest, OfAHostWithoutAnAddressIsLeftToSomebodyWhoIsToldSo) {
  const auto settled = own().settle();
  ASSERT_FALSE(settled);
  EXPECT_THAT(settled.error().message, HasSubstr("ocicat apply"));
  EXPECT_THAT(shared_.list(Kind::kNode), IsEmpty());
}

TEST_F(OwnNodeTest, ThatIsThereKeepsWhatSomebodyHasWritten) {
  node();
  const auto before = *documents_.get(kNode);
  ASSERT_TRUE(own([](Family) { return Prefix::parse("192.0.2.99/24"); }).settle());
  EXPECT_EQ(*documents_.get(kNode), before);
}

TEST_F(OwnNodeTest, SaysAnAddressOfAPoolForEachTunnelThatPoolsAskFor) {
  node();
  pool("plain", "10.0.0.0/24");
  pool("vxlan", "10.0.1.0/24", {{"vxlanMode", "CrossSubnet"}});
  pool("ipip", "10.0.2.0/24", {{"ipipMode", "Always"}});
  pool("six", "fd00::/120", {{"vxlanMode", "Always"}});
  auto own_node = own();
  ASSERT_TRUE(own_node.settle());
  const auto now = said();
  ASSERT_TRUE(now.vxlan[0].address && now.vxlan[1].address && now.ipip);
  EXPECT_TRUE(Prefix::parse("10.0.1.0/24")->contains(*now.vxlan[0].address));
  EXPECT_TRUE(Prefix::parse("fd00::/120")->contains(*now.vxlan[1].address));
  EXPECT_TRUE(Prefix::parse("10.0.2.0/24")->contains(*now.ipip));
  EXPECT_THAT(given(), ElementsAre(now.vxlan[0].address->to_string() + " vxlan-tunnel-addr-a",
                                   now.ipip->to_string() + " ipip-tunnel-addr-a",
                                   now.vxlan[1].address->to_string() + " vxlan-v6-tunnel-addr-a"));
  const auto writes = shared_.writes();
  ASSERT_TRUE(own_node.settle());
  ASSERT_TRUE(own().settle());
  EXPECT_EQ(shared_.writes(), writes) << "what is right is left alone";
}

TEST_F(OwnNodeTest, KeepsTheAddressUntilItsPoolHasGoneAndThenGivesItBack) {
  node();
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(own().settle());
  const auto address = said().vxlan[0].address;
  const ResourceKey key{Kind::kIpPool, "", "p"};
  change(key, "disabled", true);
  ASSERT_TRUE(own().settle());
  change(key, "vxlanMode", "Never");
  ASSERT_TRUE(own().settle());
  EXPECT_EQ(said().vxlan[0].address, address) << "for the next time";
  EXPECT_EQ(given().size(), 1U);
  remove(key);
  ASSERT_TRUE(own().settle());
  EXPECT_FALSE(said().vxlan[0].address);
  EXPECT_THAT(given(), IsEmpty());
  EXPECT_THAT(shared_.list(Kind::kIpamHandle), IsEmpty());
}

TEST_F(OwnNodeTest, OfAFamilyWithoutAnAddressHasNoTunnelOfIt) {
  put("Node", "a", {{"bgp", json::object{{"ipv4Address", "192.0.2.1/24"}}}});
  pool("six", "fd00::/120", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(own().settle());
  EXPECT_THAT(given(), IsEmpty());
}

TEST_F(OwnNodeTest, LeavesATunnelAloneWhoseAddressLiesInNoPool) {
  node({{"ipv4VXLANTunnelAddr", "172.20.0.1"}});
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(own().settle());
  EXPECT_EQ(said().vxlan[0].address, IpAddress::parse("172.20.0.1"));
  EXPECT_THAT(given(), IsEmpty());
}

// As kubectl replace makes it, and ocicat ipam split.
TEST_F(OwnNodeTest, KeepsItsAddressWhileItsPoolIsMissingForAMoment) {
  node();
  auto now = OwnNode::Clock::time_point();
  OwnNode calm("a", documents_, nothing, {.patience = std::chrono::seconds(5), .now = [&] { return now; }});
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  pool("other", "10.0.9.0/24", {{"vxlanMode", "Always"}});
  pool("six", "fd00::/120", {{"vxlanMode", "Always"}});
  EXPECT_EQ(*calm.settle(), OwnNode::kNextLook);
  const auto before = said();
  const std::string home = Prefix::parse("10.0.1.0/24")->contains(*before.vxlan[0].address) ? "p" : "other";
  const auto cidr = home == "p" ? "10.0.1.0/24" : "10.0.9.0/24";
  const auto all = given();
  const auto writes = shared_.writes();
  remove({Kind::kIpPool, "", home});
  EXPECT_EQ(*calm.settle(), std::chrono::seconds(5));
  now += std::chrono::milliseconds(4999);
  EXPECT_EQ(*calm.settle(), std::chrono::milliseconds(1));
  pool(home, cidr, {{"vxlanMode", "Always"}});
  EXPECT_EQ(*calm.settle(), OwnNode::kNextLook);
  EXPECT_EQ(shared_.writes(), writes + 2) << "those of the pool";
  EXPECT_EQ(given(), all);
  // The next time it is missing is another.
  remove({Kind::kIpPool, "", home});
  EXPECT_EQ(*calm.settle(), std::chrono::seconds(5));
  pool("larger", "10.0.0.0/20", {{"vxlanMode", "Always"}});
  now += std::chrono::seconds(60);
  EXPECT_EQ(*calm.settle(), OwnNode::kNextLook) << "one that contains it does as well";
  EXPECT_EQ(given(), all);
  EXPECT_EQ(said().vxlan[0].address, before.vxlan[0].address);
}

TEST_F(OwnNodeTest, GivesItsAddressUpOnceItsPoolIsMissingForLonger) {
  node();
  auto now = OwnNode::Clock::time_point();
  OwnNode calm("a", documents_, nothing, {.patience = std::chrono::seconds(5), .now = [&] { return now; }});
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(calm.settle());
  const auto address = said().vxlan[0].address;
  remove({Kind::kIpPool, "", "p"});
  ASSERT_TRUE(calm.settle());
  pool("q", "10.0.2.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(calm.settle());
  EXPECT_EQ(said().vxlan[0].address, address);
  now += std::chrono::seconds(5);
  EXPECT_EQ(*calm.settle(), OwnNode::kNextLook);
  EXPECT_TRUE(Prefix::parse("10.0.2.0/24")->contains(*said().vxlan[0].address));
  EXPECT_EQ(given().size(), 1U);
}

TEST_F(OwnNodeTest, MovesToAnotherPoolWhereTheOneOfItsAddressHasGone) {
  node();
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(own().settle());
  remove({Kind::kIpPool, "", "p"});
  pool("q", "10.0.2.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(own().settle());
  EXPECT_TRUE(Prefix::parse("10.0.2.0/24")->contains(*said().vxlan[0].address));
  EXPECT_EQ(given().size(), 1U);
}

TEST_F(OwnNodeTest, SaysNothingAndThatSomethingIsWrongUntilThereIsAPoolForThisHostAgain) {
  node({}, {{"zone", "x"}});
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}, {"nodeSelector", "zone == 'x'"}});
  pool("q", "10.0.2.0/24", {{"vxlanMode", "Always"}, {"nodeSelector", "zone == 'y'"}});
  ASSERT_TRUE(own().settle());
  remove({Kind::kIpPool, "", "p"});
  for (int i = 0; i < 2; ++i) {
    const auto settled = own().settle();
    ASSERT_FALSE(settled) << "also when it is looked at again";
    EXPECT_EQ(settled.error().code, ErrorCode::kExhausted);
    EXPECT_FALSE(said().vxlan[0].address);
    EXPECT_THAT(given(), IsEmpty());
  }
  pool("r", "10.0.3.0/24", {{"vxlanMode", "Always"}, {"nodeSelector", "zone == 'x'"}});
  ASSERT_TRUE(own().settle());
  EXPECT_TRUE(Prefix::parse("10.0.3.0/24")->contains(*said().vxlan[0].address));
}

TEST_F(OwnNodeTest, SaysWhatWasGivenAndNotSaidForAWriteThatSaysItMayStillBeOnItsWay) {
  node();
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  auto request = ipam::tunnel_request(Tunnel::kVxlan, "a");
  request.pools.ipv4 = {"p"};
  ASSERT_TRUE(ipam::Allocator(documents_).assign(request));
  const auto before = given();
  ASSERT_TRUE(own().settle());
  EXPECT_EQ(given(), before);
  EXPECT_THAT(before, ElementsAre(said().vxlan[0].address->to_string() + " vxlan-tunnel-addr-a"));
}

TEST_F(OwnNodeTest, TakesTheAddressThatTheNodeSaysWhereNobodyHasItAndAnotherWhereSomebodyDoes) {
  node({{"ipv4VXLANTunnelAddr", "10.0.1.77"}});
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}});
  ASSERT_TRUE(own().settle());
  EXPECT_THAT(given(), ElementsAre("10.0.1.77 vxlan-tunnel-addr-a"));
  EXPECT_EQ(said().vxlan[0].address, IpAddress::parse("10.0.1.77"));

  ipam::Allocator allocator(documents_);
  ASSERT_TRUE(allocator.release("vxlan-tunnel-addr-a"));
  ipam::AssignRequest taken{.host = "b", .handle = "net.pod"};
  taken.addresses = {*IpAddress::parse("10.0.1.77")};
  ASSERT_TRUE(allocator.assign(taken));
  ASSERT_TRUE(own().settle());
  EXPECT_NE(said().vxlan[0].address, IpAddress::parse("10.0.1.77"));
  EXPECT_THAT(given(),
              testing::UnorderedElementsAre("10.0.1.77 net.pod",
                                            said().vxlan[0].address->to_string() + " vxlan-tunnel-addr-a"));
}

TEST_F(OwnNodeTest, OneTunnelWithoutAnAddressIsNamedAndKeepsNoOtherFromHavingOne) {
  node();
  pool("p", "10.0.1.0/24", {{"vxlanMode", "Always"}, {"nodeSelector", "zone == 'x'"}});
  pool("six", "fd00::/120", {{"vxlanMode", "Always"}});
  const auto settled = own().settle();
  ASSERT_FALSE(settled);
  EXPECT_THAT(settled.error().message, HasSubstr("VXLAN (IPv4): no address"));
  EXPECT_THAT(settled.error().message, HasSubstr("ocicat get ippools"));
  EXPECT_FALSE(said().vxlan[0].address);
  EXPECT_TRUE(said().vxlan[1].address);
}

// Documents that refuse, lose answers and put conflicts in between, an agent that dies at any of them, pools that
// come, change and go, for this host or for others: at no time does the Node say an address that is not given to
// it, and in the end each tunnel has the one that the Node says, of a pool that is there, or none.
TEST_F(OwnNodeTest, PropertyEndsAsWantedAfterAnyFailures) {
  node({}, {{"zone", "x"}});
  struct Pool {
    const char* name;
    const char* cidr;
    const char* field;
    std::string mode{};  // empty: there is no such pool
    bool selects = true;
  };
  std::array pools{Pool{"p", "10.0.1.0/24", "vxlanMode"}, Pool{"r", "10.0.3.0/24", "vxlanMode"},
                   Pool{"q", "10.0.2.0/24", "ipipMode"}};
  const auto expect_given = [&](const std::optional<IpAddress>& address, std::string_view handle) {
    if (!address) return;
    EXPECT_THAT(given(), testing::Contains(fmt::format("{} {}", address->to_string(), handle)));
  };
  test::for_seeds(20, [&](std::uint64_t seed) {
    SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
    std::mt19937_64 random(seed);
    for (int round = 0; round < 20 && !HasFailure(); ++round) {
      for (auto& [name, cidr, field, mode, selects] : pools) {
        remove({Kind::kIpPool, "", name});
        mode = std::array{"Always", "Never", ""}[random() % 3];
        selects = random() % 3 != 0;
        if (!mode.empty())
          pool(name, cidr, {{field, mode}, {"nodeSelector", selects ? "zone == 'x'" : "zone == 'y'"}});
      }
      const auto expect_all_given = [&] {
        const auto now = said();
        expect_given(now.vxlan[0].address, "vxlan-tunnel-addr-a");
        expect_given(now.ipip, "ipip-tunnel-addr-a");
      };
      for (int tries = 0; tries < 5; ++tries) {
        ipam::SimulatedDocuments failing(
            shared_, random(), {.refused = 40, .lost = 60, .conflict = 60, .crash = 60, .late = 500},
            expect_all_given);
        OwnNode agent("a", failing, nothing,
                      {.patience = std::chrono::milliseconds(random() % 2 == 0 ? 0 : 60'000)});
        try {
          std::ignore = agent.settle();
        } catch (const ipam::Crash&) {
        }
      }
      // What is on its way comes before the next look, or only after it.
      if (random() % 2 == 0) shared_.land();
      std::ignore = own().settle();
      shared_.land();
      expect_all_given();
      const auto settled = own().settle();
      const auto now = said();
      std::vector<std::string> wanted;
      if (now.vxlan[0].address) wanted.push_back(now.vxlan[0].address->to_string() + " vxlan-tunnel-addr-a");
      if (now.ipip) wanted.push_back(now.ipip->to_string() + " ipip-tunnel-addr-a");
      EXPECT_THAT(given(), testing::UnorderedElementsAreArray(wanted));
      bool lacks = false;
      for (const auto& [field, address] :
           {std::pair{"vxlanMode", now.vxlan[0].address}, std::pair{"ipipMode", now.ipip}}) {
        bool asked = false;
        bool possible = false;
        bool in_pool = false;
        for (const auto& one : pools) {
          if (std::string_view(one.field) != field) continue;
          asked = asked || one.mode == "Always";
          possible = possible || (one.mode == "Always" && one.selects);
          in_pool = in_pool || (!one.mode.empty() && address && Prefix::parse(one.cidr)->contains(*address));
        }
        EXPECT_EQ(address.has_value(), in_pool) << field;
        EXPECT_TRUE(address || !possible) << field;
        lacks = lacks || (asked && !address);
      }
      EXPECT_EQ(settled.has_value(), !lacks) << "nothing else is in the way any more";
    }
    return !HasFailure();
  });
}

}  // namespace
}  // namespace ocicat::agent
