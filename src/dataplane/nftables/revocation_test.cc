#include "dataplane/nftables/revocation.h"

#include <gtest/gtest.h>

#include "kernel/simulated_connections.h"

namespace ocicat::dataplane {
namespace {

using policy::ProgramId;

constexpr std::uint32_t kBit = 0x20000;
constexpr std::uint32_t kOthersBit = 0x1, kElsewhere = 0x40000;
constexpr policy::Hook kNormalIn{policy::ChainKind::kNormal, policy::Direction::kIngress},
    kNormalOut{policy::ChainKind::kNormal, policy::Direction::kEgress},
    kForwardIn{policy::ChainKind::kForward, policy::Direction::kIngress},
    kForwardOut{policy::ChainKind::kForward, policy::Direction::kEgress},
    kPreDnat{policy::ChainKind::kPreDnat, policy::Direction::kIngress};

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

// Workload 10.0.0.1 may be asked by anybody at TCP port 80, and asks whom it likes; 10.0.0.2 may do nothing.
class Revocation : public testing::Test {
 protected:
  Revocation() {
    using policy::Outcome, policy::OutcomeId, policy::Table, policy::TableId, policy::Verdict;
    tables_.outcomes[OutcomeId{1}] = Outcome(Verdict::kAllow, {});
    tables_.outcomes[OutcomeId{2}] = Outcome(Verdict::kDeny, {});
    const auto whole = [](OutcomeId outcome) {
      return policy::Interval{0, policy::kLastTableKey, outcome, {}};
    };
    tables_.tables[TableId{1}] = Table(std::vector{whole(OutcomeId{1})});
    tables_.tables[TableId{2}] = Table(std::vector{whole(OutcomeId{2})});
    policy::Packet web;
    web.destination_port = 80;
    const auto key = policy::table_key(web);
    tables_.tables[TableId{3}] = Table(std::vector{
        policy::Interval{0, key - 1, OutcomeId{2}, {}}, policy::Interval{key, key, OutcomeId{1}, {}},
        policy::Interval{key + 1, policy::kLastTableKey, OutcomeId{2}, {}}});
    for (std::uint32_t i = 1; i <= 3; ++i) tables_.programs[ProgramId{i}] = {{}, TableId{i}};
    endpoints_[{Kind::kPod, "shop", "web"}] = {"cali1", {{address("10.0.0.1"), ProgramId{3}, ProgramId{1}}}};
    endpoints_[{Kind::kPod, "shop", "mute"}] = {"cali2", {{address("10.0.0.2"), ProgramId{2}, ProgramId{2}}}};
  }

  static kernel::Connection tcp(std::string_view from, std::string_view to, std::uint16_t port) {
    kernel::Connection connection;
    connection.source = connection.seen = address(from);
    connection.destination = connection.asked = address(to);
    connection.protocol = kTcp;
    connection.source_port = connection.seen_port = 40000;
    connection.destination_port = connection.asked_port = port;
    return connection;
  }
  bool denies(const kernel::Connection& connection) { return judge().denies(connection); }
  ConnectionJudge judge() const {
    return ConnectionJudge({.tables = tables_,
                            .endpoints = endpoints_,
                            .host_endpoints = host_endpoints_,
                            .interfaces = interfaces_,
                            .own = own_,
                            .elsewhere_mark = kElsewhere,
                            .way = [this](const IpAddress& to) {
                              const auto found = ways_.find(to);
                              return found == ways_.end() ? std::string() : found->second;
                            }});
  }
  Result<Revoked> round(const Renewed* only = nullptr) {
    auto judge = this->judge();
    return revoke(kernel_, judge, kBit, only);
  }
  // Chain 1 allows all, chain 2 denies all, chain 3 lets TCP port 80 through; of any other id: nothing to
  // say.
  void add_chains() {
    for (std::uint32_t i = 1; i <= 3; ++i)
      tables_.chains[policy::ChainId{i}] = {policy::VocabularyId{1}, ProgramId{i}};
  }
  // At an interface, or "*"; policy of one kind and direction.
  void add_host_endpoint(const std::string& interface, policy::Hook hook, std::uint32_t chain) {
    const ResourceKey key{Kind::kHostEndpoint, "", interface};
    auto& endpoint = host_endpoints_[key];
    endpoint.interface_name = interface;
    for (auto& chains : endpoint.chains) chains[policy::index_of(hook)] = policy::ChainId{chain};
    if (interface == kAllInterfaces) {
      interfaces_.all_others = key;
    } else {
      interfaces_.by_name[interface] = key;
    }
  }

  policy::Tables tables_;
  std::map<ResourceKey, EndpointState> endpoints_;
  HostEndpoints host_endpoints_;
  HostInterfaces interfaces_;
  std::map<IpAddress, std::string> ways_{{address("10.9.9.9"), "uplink"}, {address("10.8.8.8"), "backdoor"}};
  std::set<IpAddress> own_{address("192.0.2.1")};
  kernel::SimulatedConnections kernel_;
};

TEST_F(Revocation, JudgesBothEndsThatAreHereAsTheFirstPacketWas) {
  EXPECT_FALSE(denies(tcp("10.9.9.9", "10.0.0.1", 80)));
  EXPECT_TRUE(denies(tcp("10.9.9.9", "10.0.0.1", 81)));
  EXPECT_FALSE(denies(tcp("10.0.0.1", "10.9.9.9", 81)));
  EXPECT_TRUE(denies(tcp("10.0.0.1", "10.0.0.2", 80)));
  EXPECT_TRUE(denies(tcp("10.0.0.2", "10.0.0.1", 80)));
  EXPECT_TRUE(denies(tcp("10.0.0.2", "192.0.2.1", 80)));
}

TEST_F(Revocation, LeavesAloneWhatIsNobodysToJudge) {
  EXPECT_FALSE(denies(tcp("10.9.9.9", "10.9.9.8", 81)));
  EXPECT_FALSE(denies(tcp("192.0.2.1", "10.0.0.2", 80)));
}

TEST_F(Revocation, WhatAHelperHasOpenedTheWayForGoesByWhoAskedForIt) {
  auto data = tcp("10.0.0.1", "10.9.9.9", 81);
  data.master = std::make_shared<kernel::Connection>(tcp("10.9.9.9", "10.0.0.1", 80));
  EXPECT_FALSE(denies(data));
  data.master = std::make_shared<kernel::Connection>(tcp("10.9.9.9", "10.0.0.1", 21));
  EXPECT_TRUE(denies(data));
  auto expected_as_well = *data.master;
  expected_as_well.master = std::make_shared<kernel::Connection>(tcp("10.9.9.9", "10.0.0.1", 80));
  data.master = std::make_shared<kernel::Connection>(expected_as_well);
  EXPECT_FALSE(denies(data));
  const Renewed renewed{.addresses = {address("10.0.0.1")}};
  EXPECT_TRUE(judge().is_of(renewed, data));
}

TEST_F(Revocation, AnAddressOfSeveralIsDeniedWhereAllAre) {
  endpoints_[{Kind::kPod, "shop", "twin"}] = {"cali3", {{address("10.0.0.2"), ProgramId{1}, ProgramId{1}}}};
  EXPECT_FALSE(denies(tcp("10.9.9.9", "10.0.0.2", 81)));
}

TEST_F(Revocation, WhoIsDeniedAllForWantOfEntriesGoesOnWithNothing) {
  endpoints_[{Kind::kPod, "shop", "last"}] = {
      .interface_name = "cali3", .addresses = {}, .denied = {address("10.0.0.3")}};
  EXPECT_TRUE(denies(tcp("10.9.9.9", "10.0.0.3", 80)));
  EXPECT_TRUE(denies(tcp("10.0.0.3", "10.9.9.9", 80)));
  EXPECT_FALSE(denies(tcp("192.0.2.1", "10.0.0.3", 80)));
}

TEST_F(Revocation, AtTheHostItsEndpointOfTheInterfaceDecides) {
  add_chains();
  add_host_endpoint("uplink", kNormalIn, 3);
  EXPECT_FALSE(denies(tcp("10.9.9.9", "192.0.2.1", 80)));
  EXPECT_TRUE(denies(tcp("10.9.9.9", "192.0.2.1", 81)));
  EXPECT_FALSE(denies(tcp("10.8.8.8", "192.0.2.1", 81)));  // by another interface
  EXPECT_FALSE(denies(tcp("192.0.2.1", "10.9.9.9", 81)));  // the other direction
  add_host_endpoint("uplink", kNormalOut, 2);
  EXPECT_TRUE(denies(tcp("192.0.2.1", "10.9.9.9", 81)));
  add_host_endpoint("*", kNormalOut, 2);
  EXPECT_TRUE(denies(tcp("192.0.2.1", "10.8.8.8", 81)));
  EXPECT_FALSE(denies(tcp("192.0.2.1", "10.0.0.1", 81)));  // its own workload
  EXPECT_TRUE(denies(tcp("192.0.2.1", "192.0.2.1", 81)));  // by the loopback interface, which is one of all
}

TEST_F(Revocation, WhatIsForwardedPassesBothInterfacesAndTheWorkload) {
  add_chains();
  EXPECT_FALSE(denies(tcp("10.9.9.9", "10.8.8.8", 81)));
  add_host_endpoint("uplink", kForwardIn, 3);
  EXPECT_TRUE(denies(tcp("10.9.9.9", "10.8.8.8", 81)));
  EXPECT_FALSE(denies(tcp("10.8.8.8", "10.9.9.9", 81)));
  EXPECT_FALSE(denies(tcp("10.9.9.9", "10.0.0.1", 80)));
  add_host_endpoint("backdoor", kForwardOut, 2);
  EXPECT_TRUE(denies(tcp("10.9.9.9", "10.8.8.8", 80)));
  EXPECT_TRUE(denies(tcp("10.0.0.1", "10.8.8.8", 80)));
}

TEST_F(Revocation, PolicyBeforeTranslationAsksForWhatWasAskedFor) {
  add_chains();
  add_host_endpoint("uplink", kPreDnat, 3);
  add_host_endpoint("uplink", kNormalIn, 2);
  auto translated = tcp("10.9.9.9", "192.0.2.1", 8080);
  translated.asked_port = 80;
  EXPECT_FALSE(denies(translated));  // allowed before it, and not asked about again
  translated.asked_port = 8080;
  EXPECT_TRUE(denies(translated));
}

TEST_F(Revocation, MarksWhatIsDeniedAndUnmarksWhatIsAllowedAgainAndWritesNothingElse) {
  kernel_.connections = {tcp("10.9.9.9", "10.0.0.1", 80), tcp("10.9.9.9", "10.0.0.1", 81)};
  kernel_.connections[0].mark = kBit | kOthersBit;
  kernel_.connections[1].mark = kOthersBit;
  auto revoked = round();
  ASSERT_TRUE(revoked);
  EXPECT_EQ(revoked->denied, 1U);
  EXPECT_EQ(revoked->allowed, 1U);
  EXPECT_EQ(kernel_.connections[0].mark, kOthersBit);
  EXPECT_EQ(kernel_.connections[1].mark, kBit | kOthersBit);
  revoked = round();
  ASSERT_TRUE(revoked);
  EXPECT_EQ(revoked->denied + revoked->allowed, 0U);
  EXPECT_EQ(kernel_.changes, 2U);
}

TEST_F(Revocation, WhatAWorkloadSendsFromElsewhereItsChainDecides) {
  add_chains();
  auto& web = endpoints_.at({Kind::kPod, "shop", "web"});
  web.sources = {*Prefix::parse("0.0.0.0/0")};
  web.source_chains[0] = policy::ChainId{2};
  EXPECT_FALSE(
      denies(tcp("10.9.9.9", "10.8.8.8", 80)));  // comes from outside, whoever else may send from there
  auto sent = tcp("10.9.9.9", "10.8.8.8", 80);
  sent.mark = kElsewhere;
  EXPECT_TRUE(denies(sent));
  web.source_chains[0] = policy::ChainId{1};
  EXPECT_FALSE(denies(sent));
  web.sources.clear();
  EXPECT_TRUE(denies(sent));  // it may not send from there any more
}

TEST_F(Revocation, WhereNobodyHasNotedWhoSentItTheWayBackTells) {
  add_chains();
  auto& web = endpoints_.at({Kind::kPod, "shop", "web"});
  web.sources = {*Prefix::parse("10.9.9.0/24")};
  web.source_chains[0] = policy::ChainId{2};
  ways_[address("10.9.9.9")] = "cali1";
  ways_[address("10.9.9.8")] = "cali2";
  EXPECT_TRUE(denies(tcp("10.9.9.9", "10.8.8.8", 80)));
  EXPECT_FALSE(denies(tcp("10.9.9.8", "10.8.8.8", 80)));
}

TEST_F(Revocation, WhereConnectionsStayOnlyWhatIsAnothersByNowIsDenied) {
  kernel_.connections = {tcp("10.9.9.9", "10.0.0.1", 81), tcp("10.9.9.9", "10.0.0.2", 81),
                         tcp("10.9.9.9", "10.0.0.1", 80), tcp("10.9.9.9", "10.0.0.1", 82)};
  kernel_.connections[2].mark = kBit;
  kernel_.connections[3].mark = kBit;
  Renewed renewed;
  renewed.addresses = {address("10.0.0.2")};
  const auto revoked = round(&renewed);
  ASSERT_TRUE(revoked);
  EXPECT_EQ(kernel_.connections[0].mark, 0U);    // denied by now, and open
  EXPECT_EQ(kernel_.connections[1].mark, kBit);  // the same, at an address that has become another's
  EXPECT_EQ(kernel_.connections[2].mark, 0U);    // had been denied, and is allowed
  EXPECT_EQ(kernel_.connections[3].mark, kBit);
  EXPECT_EQ(revoked->remain, 2U);
}

TEST_F(Revocation, WhereConnectionsStaySourcesThatGoConcernWhatWasSentFromThere) {
  kernel_.connections = {tcp("10.9.9.9", "10.8.8.8", 81), tcp("10.9.9.9", "10.0.0.1", 81)};
  kernel_.connections[0].mark = kElsewhere;
  Renewed renewed;
  ASSERT_TRUE(round(&renewed));
  EXPECT_EQ(kernel_.changes, 0U);
  renewed.sources = true;
  ASSERT_TRUE(round(&renewed));
  EXPECT_EQ(kernel_.connections[0].mark, kBit | kElsewhere);
  EXPECT_EQ(kernel_.connections[1].mark, 0U);
}

TEST_F(Revocation, WhatIsFoundEarlyEndsBeforeTheRoundDoes) {
  struct Watched : kernel::SimulatedConnections {
    Result<void> list(const std::function<void(const kernel::Connection&)>& visit) override {
      return SimulatedConnections::list([&](const kernel::Connection& connection) {
        before_last = changes;
        visit(connection);
      });
    }
    std::size_t before_last = 0;
  };
  Watched watched;
  watched.connections.assign(200, tcp("10.9.9.9", "10.0.0.1", 81));
  auto judge = this->judge();
  const auto revoked = revoke(watched, judge, kBit);
  ASSERT_TRUE(revoked);
  EXPECT_EQ(revoked->denied, 200U);
  EXPECT_EQ(watched.changes, 200U);
  EXPECT_GT(watched.before_last, 0U);
}

TEST_F(Revocation, WhatTheKernelRefusesIsAnError) {
  kernel_.connections = {tcp("10.9.9.9", "10.0.0.1", 81)};
  kernel_.error = Error{ErrorCode::kExhausted, "no memory"};
  EXPECT_FALSE(round());
  EXPECT_EQ(kernel_.connections[0].mark, 0U);
}

}  // namespace
}  // namespace ocicat::dataplane
