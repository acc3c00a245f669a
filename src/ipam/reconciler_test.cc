#include "ipam/reconciler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/allocator.h"
#include "ipam/inventory.h"
#include "ipam/simulated_documents.h"

namespace ocicat::ipam {
namespace {

namespace json = boost::json;
using std::chrono::minutes;
using testing::ElementsAre;
using testing::IsEmpty;

class Reconciling : public testing::Test {
 protected:
  Reconciling() {
    put("IPPool", "p", {{"cidr", "10.0.0.0/24"}, {"blockSize", 26}});
    put("Node", "a", json::object{});
  }
  void put(std::string_view kind, std::string_view name, json::object spec) {
    ASSERT_TRUE(documents_.create({{"apiVersion", "projectcalico.org/v3"},
                                   {"kind", kind},
                                   {"metadata", json::object{{"name", name}}},
                                   {"spec", std::move(spec)}}));
  }
  void give(const std::string& host, const std::string& handle, Labels attributes) {
    Allocator allocator(documents_, {[this] { return now_; }, 1});
    AssignRequest request{.host = host, .handle = handle, .ipv4 = 1};
    request.attributes = std::move(attributes);
    request.attributes.insert_or_assign("node", host);
    ASSERT_TRUE(allocator.assign(request));
  }
  void give_to_pod(const std::string& host, const std::string& pod) {
    give(host, "net." + pod, {{"namespace", "shop"}, {"pod", pod}});
  }
  Reconciler::Round look() {
    const auto round = reconciler_.look(documents_, now_);
    EXPECT_TRUE(round) << round.error().message;
    return round.value_or(Reconciler::Round{});
  }
  std::vector<std::string> freed(const Reconciler::Round& round) {
    std::vector<std::string> all;
    for (const auto& [finding, outcome] : round.freed) {
      EXPECT_TRUE(outcome) << outcome.error().message;
      all.push_back(fmt::format("{} {}", to_string(finding.fault), finding.subject));
    }
    return all;
  }
  std::size_t handles() const { return shared_.list(Kind::kIpamHandle).size(); }

  SharedDocuments shared_;
  SimulatedDocuments documents_{shared_, 1};
  TimePoint now_{std::chrono::seconds(1'700'000'000)};
  Reconciler reconciler_{{}};
};

TEST_F(Reconciling, FreesAnAddressWhosePodHasBeenGoneForTheGracePeriodAndNoSooner) {
  give_to_pod("a", "web");
  EXPECT_THAT(freed(look()), IsEmpty());
  now_ += minutes(14);
  auto round = look();
  EXPECT_THAT(freed(round), IsEmpty());
  EXPECT_EQ(round.waiting, 1U);
  now_ += minutes(1);
  EXPECT_THAT(freed(look()), ElementsAre(testing::StartsWith("LeakedAddress 10.0.0.")));
  EXPECT_EQ(handles(), 0U);
  EXPECT_THAT(freed(look()), IsEmpty());
}

TEST_F(Reconciling, SeesEverythingForTheFirstTimeAfterARestart) {
  give_to_pod("a", "web");
  look();
  now_ += minutes(10);
  Reconciler restarted{{}};
  ASSERT_TRUE(restarted.look(documents_, now_));
  now_ += minutes(10);
  const auto round = restarted.look(documents_, now_);
  ASSERT_TRUE(round);
  EXPECT_TRUE(round->freed.empty()) << "to a new one it is new";
}

TEST_F(Reconciling, FreesAtOnceWhatAHostHadThatIsGone) {
  give_to_pod("gone", "web");
  give("gone", "vxlan-tunnel-addr-gone", {{"type", "vxlanTunnelAddress"}});
  EXPECT_THAT(freed(look()),
              ElementsAre(testing::StartsWith("LeakedAddress"), testing::StartsWith("LeakedAddress")));
  look();
  now_ += minutes(2);
  EXPECT_THAT(freed(look()), ElementsAre(testing::StartsWith("EmptyBlock"))) << "also its last one";
  EXPECT_EQ(handles(), 0U);
}

TEST_F(Reconciling, TellsOnceOfWhatIsInDoubtAndLeavesIt) {
  give("a", "by-hand", {});
  const auto round = look();
  ASSERT_EQ(round.doubtful.size(), 1U);
  EXPECT_EQ(round.doubtful.front().fault, network::Fault::kUnownedAddress);
  now_ += minutes(60);
  const auto later = look();
  EXPECT_TRUE(later.doubtful.empty());
  EXPECT_TRUE(later.freed.empty());
  EXPECT_EQ(handles(), 1U);
}

TEST_F(Reconciling, KeepsTheLastBlockOfAHostAndFreesOthersThatStayEmpty) {
  for (int i = 0; i < 65; ++i) give_to_pod("a", "web" + std::to_string(i));
  Allocator allocator(documents_, {[this] { return now_; }, 1});
  for (int i = 0; i < 65; ++i) ASSERT_TRUE(allocator.release("net.web" + std::to_string(i)));
  EXPECT_EQ(shared_.list(Kind::kIpamBlock).size(), 2U);
  EXPECT_THAT(freed(look()), IsEmpty());
  now_ += minutes(2);
  EXPECT_THAT(freed(look()), ElementsAre(testing::StartsWith("EmptyBlock")));
  now_ += minutes(2);
  EXPECT_THAT(freed(look()), IsEmpty());
  EXPECT_EQ(shared_.list(Kind::kIpamBlock).size(), 1U);
}

// As a lost answer leaves it, under the end of a tunnel that lasts as long as its host.
TEST_F(Reconciling, PutsAHandleRightThatSaysMoreThanThereIsAndTakesNothingFromIt) {
  give("a", "vxlan-tunnel-addr-a", {{"type", "vxlanTunnelAddress"}});
  auto handle = *decode_handle(*documents_.get(handle_key("vxlan-tunnel-addr-a")));
  ++handle.value.blocks.begin()->second;
  ASSERT_TRUE(documents_.update(encode(handle)));
  EXPECT_THAT(freed(look()), IsEmpty());
  now_ += minutes(16);
  EXPECT_THAT(freed(look()), ElementsAre("StaleHandle vxlan-tunnel-addr-a"));
  now_ += minutes(16);
  EXPECT_EQ(look().waiting, 0U);
  Allocator allocator(documents_);
  EXPECT_EQ(allocator.release("vxlan-tunnel-addr-a")->addresses.size(), 1U);
}

TEST_F(Reconciling, TakesNoAddressThatIsGivenUnderAHandleAfterItWasFoundEmpty) {
  ASSERT_TRUE(documents_.create(encode(Stored<IpamHandle>{{"vxlan-tunnel-addr-a", {}, false}, {}})));
  const auto read = read_inventory(documents_);
  ASSERT_TRUE(read);
  const auto first = network::find_garbage(read->inventory, {}, now_);
  ASSERT_EQ(first.size(), 1U);
  now_ += minutes(16);
  const auto findings = network::find_garbage(read->inventory, {{first[0].key(), first[0].since}}, now_);
  give("a", "vxlan-tunnel-addr-a", {{"type", "vxlanTunnelAddress"}});
  for (const auto& [finding, outcome] : free_garbage(documents_, findings, now_)) EXPECT_TRUE(outcome);
  Allocator allocator(documents_);
  EXPECT_EQ(allocator.release("vxlan-tunnel-addr-a")->addresses.size(), 1U) << "it was given";
}

TEST_F(Reconciling, DoesNothingWhereNotEverythingCanBeRead) {
  give_to_pod("gone", "web");
  SimulatedDocuments refused(shared_, 1, {.refused = 1000});
  EXPECT_FALSE(reconciler_.look(refused, now_));
  EXPECT_EQ(handles(), 1U);
}

}  // namespace
}  // namespace ocicat::ipam
