#include "dataplane/routes/route_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "kernel/simulated_routes.h"

namespace ocicat::dataplane {
namespace {

constexpr int kOurs = 80;

IpAddress ip(const std::string& text) {
  return *IpAddress::parse(text);
}

// Two hosts, each with some blocks; one link leads to either.
class RouteTableTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kBlocks = 50;  // of each host

  RouteTableTest() {
    kernel_.link_by_index[2] = {2, "eth0", true};
    kernel_.link_by_index[3] = {3, "cali1", true};
    kernel_.next_hops[host(0)] = {2, std::nullopt};
    kernel_.next_hops[host(1)] = {2, ip("192.0.2.254")};
  }

  static IpAddress host(std::uint32_t number) { return IpAddress::v4(0xC0000201U + number); }
  static Prefix block(std::uint32_t host, std::uint32_t number) {
    return {IpAddress::v4(0x0A410000U + (host * kBlocks + number) * 64), 26};
  }
  static Route by(std::uint32_t number) { return {Route::Kind::kHost, "", host(number)}; }
  static void want_blocks(std::uint32_t host, const Route& route, Changes<Prefix, Route>& changes) {
    for (std::uint32_t number = 0; number < kBlocks; ++number) changes.update(block(host, number), route);
  }
  void want_all() {
    Changes<Prefix, Route> changes;
    want_blocks(0, by(0), changes);
    want_blocks(1, by(1), changes);
    changes.update(*Prefix::parse("10.66.0.0/26"), {Route::Kind::kNowhere, "", {}});
    changes.update(*Prefix::parse("10.66.0.1/32"), {Route::Kind::kInterface, "cali1", {}});
    table_.want(changes, {});
  }
  void want(const Prefix& prefix, const Route& route) {
    Changes<Prefix, Route> changes;
    changes.update(prefix, route);
    table_.want(changes, {});
  }
  // How many writes a sync took.
  std::uint64_t sync() {
    const auto before = table_.writes();
    EXPECT_TRUE(table_.sync());
    return table_.writes() - before;
  }
  std::set<kernel::KernelRoute>& there() { return kernel_.routes_by_protocol[kOurs]; }

  kernel::SimulatedRoutes kernel_;
  RouteTable table_{kernel_, {.protocol = kOurs}};
};

TEST_F(RouteTableTest, WritesEachRouteOnceAndTheBlackholeOfAnOwnBlockWithoutALink) {
  want_all();
  EXPECT_EQ(sync(), 2 * kBlocks + 2);
  EXPECT_EQ(sync(), 0U);
  EXPECT_TRUE(there().contains({*Prefix::parse("10.66.0.0/26"), 0, std::nullopt, kRouteMetric, true}));
  EXPECT_TRUE(there().contains({block(0, 3), 2, host(0), kRouteMetric}));
  EXPECT_TRUE(there().contains({block(1, 3), 2, ip("192.0.2.254"), kRouteMetric}));
}

TEST_F(RouteTableTest, OfLinksInDoubtOthersAreNotRead) {
  want_all();
  sync();
  kernel_.link_by_index[3].name = "cali2";
  kernel_.link_by_index[4] = {4, "cali1", true};
  kernel_.link_by_index.erase(2);
  table_.distrust_links({.all = false, .some = {3, 4, 5}});
  EXPECT_FALSE(table_.knows_links());
  ASSERT_TRUE(table_.learn_links());
  EXPECT_TRUE(table_.knows_links());
  const auto index = [&](const std::string& name) { return table_.links().at(name).index; };
  EXPECT_EQ(index("cali2"), 3);
  EXPECT_EQ(index("cali1"), 4);
  EXPECT_EQ(index("eth0"), 2);  // nobody has told that it has gone
  sync();
  EXPECT_TRUE(there().contains({*Prefix::parse("10.66.0.1/32"), 4, std::nullopt, kRouteMetric}));
  table_.distrust_links({.all = false, .some = {2}});
  ASSERT_TRUE(table_.learn_links());
  EXPECT_FALSE(table_.links().contains("eth0"));
}

// What is in doubt and cannot be read stays in doubt.
TEST_F(RouteTableTest, LinksThatCannotBeReadAreReadAgain) {
  want_all();
  sync();
  kernel_.link_by_index[3].up = false;
  table_.distrust_links({.all = false, .some = {3}});
  kernel_.fail_when = [](int) { return std::optional(Error{ErrorCode::kUnavailable, "busy"}); };
  EXPECT_FALSE(table_.learn_links());
  kernel_.fail_when = {};
  ASSERT_TRUE(table_.learn_links());
  EXPECT_FALSE(table_.links().at("cali1").up);
}

TEST_F(RouteTableTest, AHostThatMovesCostsTwoWritesForEachOfItsBlocks) {
  want_all();
  sync();
  kernel_.next_hops[host(7)] = {2, std::nullopt};
  Changes<Prefix, Route> moved;
  want_blocks(1, by(7), moved);
  table_.want(moved, {});
  EXPECT_EQ(sync(), 2 * kBlocks);
  table_.want(moved, {});
  EXPECT_EQ(sync(), 0U) << "what is as before";
}

TEST_F(RouteTableTest, ANextHopThatIsReachedOtherwiseMovesTheRoutesByItAndNoOther) {
  want_all();
  sync();
  kernel_.next_hops[host(1)] = {2, ip("192.0.2.253")};
  EXPECT_EQ(sync(), 0U) << "nobody has said so yet";
  table_.distrust_next_hops();
  EXPECT_EQ(sync(), 2 * kBlocks);
}

TEST_F(RouteTableTest, AsksForANextHopOnceUnlessItIsInDoubtOrNotReached) {
  want_all();
  const auto asked = [&] {
    kernel_.asked_for_hops = 0;
    sync();
    return kernel_.asked_for_hops;
  };
  EXPECT_EQ(asked(), 2);
  EXPECT_EQ(asked(), 0);
  want(block(7, 0), by(7));
  EXPECT_EQ(asked(), 1);
  EXPECT_EQ(asked(), 1) << "there is no way there so far";
  kernel_.next_hops[host(7)] = {2, std::nullopt};
  EXPECT_EQ(asked(), 1);
  EXPECT_EQ(asked(), 0);
  table_.distrust_next_hops();
  EXPECT_EQ(asked(), 3);
  Changes<Prefix, Route> gone;
  gone.remove(block(7, 0));
  table_.want(gone, {});
  EXPECT_EQ(asked(), 0);
  want(block(7, 0), by(7));
  EXPECT_EQ(asked(), 1) << "it may be reached otherwise by now";
}

TEST_F(RouteTableTest, WhatWaitsForItsNextHopOrLinkIsWrittenWhenThatIsThere) {
  kernel_.next_hops.erase(host(1));
  kernel_.link_by_index[3].up = false;
  want_all();
  EXPECT_EQ(sync(), kBlocks + 1);
  kernel_.next_hops[host(1)] = {2, std::nullopt};
  EXPECT_EQ(sync(), kBlocks);
  kernel_.link_by_index[3].up = true;
  table_.distrust_links();
  EXPECT_EQ(sync(), 1U);
}

TEST_F(RouteTableTest, ALinkThatIsMadeAnewGetsItsRouteAgain) {
  want_all();
  sync();
  kernel_.link_by_index.erase(3);
  kernel_.link_by_index[9] = {9, "cali1", true};
  there().erase({*Prefix::parse("10.66.0.1/32"), 3, std::nullopt, kRouteMetric});
  table_.distrust_links();
  EXPECT_EQ(sync(), 1U);
  EXPECT_TRUE(there().contains({*Prefix::parse("10.66.0.1/32"), 9, std::nullopt, kRouteMetric}));
}

TEST_F(RouteTableTest, ALinkOfWhoseEndOnlyItsRoutesHaveToldFailsNothing) {
  want_all();
  sync();
  kernel_.link_by_index.erase(3);
  const auto address = *Prefix::parse("10.66.0.1/32");
  there().erase({address, 3, std::nullopt, kRouteMetric});
  table_.distrust_routes();
  EXPECT_EQ(sync(), 0U);
  EXPECT_TRUE(table_.lacks(address));
  kernel_.link_by_index[9] = {9, "cali1", true};
  table_.distrust_links();
  EXPECT_EQ(sync(), 1U);
}

TEST_F(RouteTableTest, MendsWhatOthersHaveDoneToItsRoutesAndNothingElse) {
  want_all();
  sync();
  const auto all = there();
  there().erase({block(0, 3), 2, host(0), kRouteMetric});
  there().erase({block(0, 4), 2, host(0), kRouteMetric});
  there().insert({block(0, 4), 2, ip("192.0.2.99"), kRouteMetric});
  there().insert({block(0, 5), 2, ip("192.0.2.99"), kRouteMetric});
  there().insert({*Prefix::parse("10.99.0.0/26"), 2, ip("192.0.2.99"), kRouteMetric});
  EXPECT_EQ(sync(), 0U);
  table_.distrust_routes();
  EXPECT_EQ(sync(), 5U) << "two come, three go";
  EXPECT_EQ(there(), all);
}

TEST_F(RouteTableTest, ANewTableAdoptsWhatItFindsAndSweepsWhatNobodyWants) {
  want_all();
  sync();
  const auto all = there();
  there().insert({*Prefix::parse("10.99.0.0/26"), 2, ip("192.0.2.99"), kRouteMetric});
  RouteTable second(kernel_, {.protocol = kOurs});
  Changes<Prefix, Route> changes;
  want_blocks(0, by(0), changes);
  second.want(changes, {});
  ASSERT_TRUE(second.sync());
  EXPECT_EQ(second.writes(), kBlocks + 3);
  EXPECT_EQ(there().size(), kBlocks);
}

// A host that comes to have a router keeps the routes that it had, of lower rank.
TEST_F(RouteTableTest, RoutesByOtherHostsThatGetAnotherMetricAreNeverMissing) {
  want_all();
  sync();
  constexpr std::uint32_t kWorse = 4'000'000'000;
  RouteTable second(kernel_, {.protocol = kOurs, .host_metric = kWorse});
  Changes<Prefix, Route> changes;
  want_blocks(0, by(0), changes);
  want_blocks(1, by(1), changes);
  changes.update(*Prefix::parse("10.66.0.1/32"), {Route::Kind::kInterface, "cali1", {}});
  second.want(changes, {});
  ASSERT_TRUE(second.sync());
  EXPECT_TRUE(there().contains({block(0, 3), 2, host(0), kWorse}));
  EXPECT_TRUE(there().contains({*Prefix::parse("10.66.0.1/32"), 3, std::nullopt, kRouteMetric}));
  EXPECT_EQ(there().size(), 2 * kBlocks + 1);
}

TEST_F(RouteTableTest, WithoutASweepOnlyWhatWasWantedIsRemoved) {
  const kernel::KernelRoute foreign{*Prefix::parse("10.99.0.0/26"), 2, ip("192.0.2.99"), kRouteMetric};
  there().insert(foreign);
  RouteTable careful(kernel_, {.protocol = kOurs, .sweep = false});
  Changes<Prefix, Route> changes;
  changes.update(block(0, 1), by(0));
  careful.want(changes, {});
  ASSERT_TRUE(careful.sync());
  changes.remove(block(0, 1));
  careful.want(changes, {});
  ASSERT_TRUE(careful.sync());
  EXPECT_EQ(there(), std::set{foreign});
}

// One kernel that another program wrote to before: its blackhole is the same to IPv6, and not to IPv4.
TEST_F(RouteTableTest, AnIpv6RouteInThePlaceOfOneOfOursIsLeftAloneAndOursIsNotTakenToBeThere) {
  constexpr int kOthers = 12;
  const auto own4 = *Prefix::parse("10.66.0.0/26"), own6 = *Prefix::parse("fd00:66::/122");
  auto& others = kernel_.routes_by_protocol[kOthers];
  for (const auto& own : {own4, own6}) {
    others.insert({own, 0, std::nullopt, kRouteMetric, true});
    want(own, {Route::Kind::kNowhere, "", {}});
  }
  for (int i = 0; i < 2; ++i) {
    const auto done = table_.sync();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kAlreadyExists);
    EXPECT_TRUE(table_.lacks(own6));
    EXPECT_FALSE(table_.lacks(own4));
    EXPECT_EQ(table_.writes(), 1U) << "what was refused has changed nothing";
    EXPECT_EQ(others.size(), 2U);
  }
  others.clear();
  EXPECT_EQ(sync(), 1U);
  EXPECT_FALSE(table_.lacks(own6));
  EXPECT_TRUE(there().contains({own6, 0, std::nullopt, kRouteMetric, true}));
}

TEST_F(RouteTableTest, WhatFailedIsDoneByTheNextSync) {
  want_all();
  kernel_.refuse = [](const kernel::KernelRoute& route) {
    return route.destination == block(1, 7) ? std::optional(Error{ErrorCode::kExhausted, "full"})
                                            : std::nullopt;
  };
  EXPECT_FALSE(table_.sync());
  EXPECT_EQ(there().size(), 2 * kBlocks + 1);
  kernel_.refuse = {};
  kernel_.fail_when = [](int) { return std::optional(Error{ErrorCode::kUnavailable, "busy"}); };
  EXPECT_FALSE(table_.sync());
  kernel_.fail_when = {};
  EXPECT_EQ(sync(), 1U);
  EXPECT_EQ(there().size(), 2 * kBlocks + 2);
}

// Hosts at the ends of VXLAN tunnels, with some blocks each.
class RoutesByObjects : public RouteTableTest {
 protected:
  RoutesByObjects() {
    kernel_.link_by_index[4] = {4, "vxlan.calico", true};
    learn_ends(table_);
  }

  static IpAddress end(std::uint32_t host) { return IpAddress::v4(0x0A640000U + host); }
  static void learn_ends(RouteTable& table) {
    Changes<IpAddress, TunnelEnd> ends;
    for (std::uint32_t host = 0; host < 3; ++host) ends.update(end(host), TunnelEnd{});
    table.learn_ends(Family::kIpv4, ends);
  }
  static Changes<Prefix, Route> tunnels() {
    Changes<Prefix, Route> changes;
    for (std::uint32_t host = 0; host < 2; ++host)
      want_blocks(host, {Route::Kind::kVxlan, "", end(host)}, changes);
    return changes;
  }
  void leave(RouteTable& table, std::uint32_t host) {
    Changes<Prefix, Route> changes;
    for (std::uint32_t number = 0; number < kBlocks; ++number) changes.remove(block(host, number));
    table.want(changes, {});
  }
  static kernel::KernelRoute way(std::uint32_t host, std::uint32_t number, std::uint32_t object) {
    return {block(host, number), 4, end(host), kRouteMetric, false, false, object};
  }
  // All blocks of both hosts, by these objects and nothing else.
  void expect_by(std::uint32_t first, std::uint32_t second) {
    std::set<kernel::KernelRoute> all;
    for (std::uint32_t number = 0; number < kBlocks; ++number) {
      all.insert(way(0, number, first));
      all.insert(way(1, number, second));
    }
    EXPECT_EQ(there(), all);
  }
  std::set<std::uint32_t> objects(int protocol = kOurs) {
    std::set<std::uint32_t> numbers;
    for (const auto& [number, hop] : kernel_.hop_by_number) {
      if (hop.first == protocol) numbers.insert(number);
    }
    return numbers;
  }
  void put(int protocol, const kernel::HopObject& hop) {
    kernel_.hop_by_number[hop.number] = {protocol, hop};
  }
};

TEST_F(RoutesByObjects, ShareOneForEachEndWhichGoesAfterThem) {
  table_.want(tunnels(), {});
  EXPECT_EQ(sync(), 2 * kBlocks + 2);
  expect_by(kFirstHop, kFirstHop + 1);
  EXPECT_TRUE(table_.has_hop(kFirstHop));
  EXPECT_FALSE(table_.has_hop(kFirstHop + 2));
  Changes<Prefix, Route> moved;
  want_blocks(1, {Route::Kind::kVxlan, "", end(2)}, moved);
  table_.want(moved, {});
  EXPECT_EQ(sync(), 2 * kBlocks + 2);
  EXPECT_EQ(objects(), (std::set{kFirstHop, kFirstHop + 2}));
  leave(table_, 0);
  EXPECT_EQ(sync(), kBlocks + 1);
  EXPECT_EQ(objects(), (std::set{kFirstHop + 2}));
  EXPECT_EQ(kernel_.routes_lost, 0);
}

TEST_F(RoutesByObjects, AreFoundByTheNextAgentAndWhatNobodyNeedsIsSwept) {
  table_.want(tunnels(), {});
  sync();
  put(kOurs, {kFirstHop + 7, 4, end(0)});  // a second one for the same
  put(kOurs, {kFirstHop + 8, 4, end(9)});
  put(kOurs, {kFirstHop + 9});  // of some other kind
  RouteTable next(kernel_, {.protocol = kOurs});
  next.want(tunnels(), {});
  ASSERT_TRUE(next.sync());
  EXPECT_EQ(objects(), (std::set{kFirstHop, kFirstHop + 1})) << "before anything is said of ends";
  learn_ends(next);
  ASSERT_TRUE(next.sync());
  EXPECT_EQ(next.writes(), 3U);
  expect_by(kFirstHop, kFirstHop + 1);
  // Their numbers are not given again.
  next.want(tunnels(), {});
  Changes<Prefix, Route> third;
  want_blocks(2, {Route::Kind::kVxlan, "", end(2)}, third);
  next.want(third, {});
  ASSERT_TRUE(next.sync());
  EXPECT_EQ(objects(), (std::set{kFirstHop, kFirstHop + 1, kFirstHop + 2}));
}

TEST_F(RoutesByObjects, LeaveThoseOfOthersAndTheirNumbersAlone) {
  constexpr int kOthers = 11;
  for (std::uint32_t number = 0; number < 3; ++number) put(kOthers, {kFirstHop + number, 2, host(0)});
  table_.want(tunnels(), {});
  EXPECT_EQ(sync(), 2 * kBlocks + 2);
  EXPECT_EQ(objects(kOthers), (std::set{kFirstHop, kFirstHop + 1, kFirstHop + 2}));
  const auto ours = objects();
  ASSERT_EQ(ours.size(), 2U);
  for (const auto number : ours) EXPECT_GE(number, kFirstHop + 3);
  ASSERT_TRUE(remove_routes(kernel_, kOurs));
  EXPECT_TRUE(there().empty());
  EXPECT_TRUE(objects().empty());
  EXPECT_EQ(objects(kOthers).size(), 3U);
}

TEST_F(RoutesByObjects, StayAsLongAsOthersUseThem) {
  constexpr int kOthers = 11;
  table_.want(tunnels(), {});
  sync();
  const std::set<kernel::KernelRoute> others{{block(5, 0), 4, end(0), 7, false, false, kFirstHop}};
  kernel_.routes_by_protocol[kOthers] = others;
  table_.distrust_routes();  // as they are told of
  leave(table_, 0);
  leave(table_, 1);
  EXPECT_EQ(sync(), 2 * kBlocks + 1);
  EXPECT_EQ(objects(), std::set{kFirstHop});
  RouteTable next(kernel_, {.protocol = kOurs});
  ASSERT_TRUE(next.sync());
  EXPECT_EQ(objects(), std::set{kFirstHop});
  EXPECT_EQ(kernel_.routes_by_protocol[kOthers], others);
  EXPECT_EQ(kernel_.routes_lost, 0);
  kernel_.routes_by_protocol[kOthers].clear();
  table_.distrust_routes();
  EXPECT_EQ(sync(), 1U);
  EXPECT_EQ(objects(), std::set<std::uint32_t>{});
}

// There may be a million of others' routes.
TEST_F(RoutesByObjects, CostALookAtOthersRoutesOnceAndOnlyWhereOneIsToGo) {
  table_.want(tunnels(), {});
  sync();
  EXPECT_EQ(kernel_.dumps_of_all, 0);
  for (const auto host : {0U, 1U}) {
    leave(table_, host);
    sync();
    EXPECT_EQ(kernel_.dumps_of_all, 1);
  }
  EXPECT_EQ(objects(), std::set<std::uint32_t>{});
}

TEST_F(RoutesByObjects, WithoutASweepWhatWasThereStays) {
  put(kOurs, {kFirstHop + 8, 4, end(9)});
  RouteTable careful(kernel_, {.protocol = kOurs, .sweep = false});
  learn_ends(careful);
  careful.want(tunnels(), {});
  ASSERT_TRUE(careful.sync());
  leave(careful, 0);
  leave(careful, 1);
  ASSERT_TRUE(careful.sync());
  EXPECT_EQ(objects(), std::set{kFirstHop + 8});
}

TEST_F(RoutesByObjects, AreMendedWhereSomebodyTakesOneAwayOrMakesAnotherOfIt) {
  table_.want(tunnels(), {});
  sync();
  ASSERT_TRUE(kernel_.remove(std::vector<kernel::HopObject>{{.number = kFirstHop}}));
  EXPECT_EQ(std::exchange(kernel_.routes_lost, 0), static_cast<int>(kBlocks));
  table_.distrust_routes();
  EXPECT_EQ(sync(), kBlocks + 1);
  expect_by(kFirstHop + 2, kFirstHop + 1);
  // Whoever changes one moves the routes by it.
  put(kOurs, {kFirstHop + 1, 2, host(5)});
  for (const auto& route : std::exchange(there(), {})) {
    auto changed = route;
    if (route.object == kFirstHop + 1) std::tie(changed.link, changed.gateway) = std::tuple(2, host(5));
    there().insert(changed);
  }
  table_.distrust_routes();
  EXPECT_EQ(sync(), 2 * kBlocks + 2);
  expect_by(kFirstHop + 2, kFirstHop + 3);
  EXPECT_EQ(objects(), (std::set{kFirstHop + 2, kFirstHop + 3}));
  EXPECT_EQ(kernel_.routes_lost, 0);
}

// As an agent has them that knows of no objects: the kernel takes the new one beside the old one.
TEST_F(RoutesByObjects, TakeThePlaceOfThoseWithoutWhichStayWhereTheKernelRefusesAnObject) {
  for (std::uint32_t number = 0; number < kBlocks; ++number) {
    there().insert(way(0, number, 0));
    there().insert(way(1, number, 0));
  }
  const auto before = there();
  table_.want(tunnels(), {});
  kernel_.refuse_hop = [](const kernel::HopObject&) {
    return std::optional(Error{ErrorCode::kExhausted, "full"});
  };
  EXPECT_FALSE(table_.sync());
  EXPECT_EQ(there(), before);
  EXPECT_FALSE(table_.lacks(block(0, 1)));
  kernel_.refuse_hop = {};
  kernel_.refuse = [&](const kernel::KernelRoute&) -> std::optional<Error> {
    EXPECT_TRUE(std::ranges::includes(there(), before));
    return std::nullopt;
  };
  EXPECT_EQ(sync(), 2 * 2 * kBlocks + 2);
  const auto ours = objects();
  ASSERT_EQ(ours.size(), 2U);
  expect_by(*ours.begin(), *ours.rbegin());
}

TEST_F(RoutesByObjects, AreBlackholesWhereTheKernelRefusesAnObject) {
  kernel_.refuse_hop = [](const kernel::HopObject& hop) {
    return hop.gateway == end(1) ? std::optional(Error{ErrorCode::kExhausted, "full"}) : std::nullopt;
  };
  table_.want(tunnels(), {});
  EXPECT_FALSE(table_.sync());
  EXPECT_FALSE(table_.lacks(block(0, 1)));
  EXPECT_TRUE(table_.lacks(block(1, 1)));
  EXPECT_TRUE(there().contains(blackhole_for(block(1, 1))));
  kernel_.refuse_hop = {};
  EXPECT_EQ(sync(), 2 * kBlocks + 1);
  EXPECT_EQ(there().size(), 2 * kBlocks);
  EXPECT_FALSE(table_.lacks(block(1, 1)));
}

// As the kernel refuses objects by a gateway to which it has another way.
class RoutesByATunnelsEnd : public RouteTableTest {
 protected:
  RoutesByATunnelsEnd() {
    kernel_.link_by_index[4] = {4, "vxlan-v6.calico", true};
    kernel_.next_hops[ip("fd31::3")] = {2, std::nullopt};
    kernel_.refuse = [this](const kernel::KernelRoute&) -> std::optional<Error> {
      seen_.push_back(there());
      return std::nullopt;
    };
    kernel_.refuse_hop = [this](const kernel::HopObject& hop) -> std::optional<Error> {
      if (leads_to(hop.gateway) == hop.link) return std::nullopt;
      return Error{ErrorCode::kInvalid, "invalid gateway"};
    };
    Changes<IpAddress, TunnelEnd> ends;
    ends.update(end_, TunnelEnd{});
    table_.learn_ends(Family::kIpv6, ends);
  }
  kernel::KernelRoute way(const Prefix& destination) const {
    const auto object = kernel_.hop_by_number.empty() ? 0 : kernel_.hop_by_number.begin()->first;
    return {destination, 4, end_, kRouteMetric, false, false, object};
  }
  // The link of the route that is taken to an address: the longest, then the least metric.
  int leads_to(const IpAddress& address) {
    const kernel::KernelRoute* best = nullptr;
    for (const auto& route : there()) {
      if (!route.destination.contains(address)) continue;
      if (best == nullptr || route.destination.length > best->destination.length ||
          (route.destination.length == best->destination.length && route.metric < best->metric))
        best = &route;
    }
    return best == nullptr ? 2 : best->link;
  }
  Route tunnel() const { return {Route::Kind::kVxlan, "", end_}; }

  const Prefix net_ = *Prefix::parse("fd65::40/122");
  const IpAddress end_ = ip("fd65::41");
  const Route plain_{Route::Kind::kHost, "", ip("fd31::3")};
  std::vector<std::set<kernel::KernelRoute>> seen_;  // the routes there, as each was added
};

TEST_F(RoutesByATunnelsEnd, TakeThePlaceOfOthersWithoutAMomentInWhichThereIsNone) {
  want(net_, plain_);
  EXPECT_EQ(sync(), 1U);
  const kernel::KernelRoute old{net_, 2, ip("fd31::3"), kRouteMetric};
  ASSERT_TRUE(there().contains(old));
  seen_.clear();
  want(net_, tunnel());
  sync();
  EXPECT_EQ(there(), std::set{way(net_)});
  for (const auto& routes : seen_) EXPECT_TRUE(routes.contains(old));
}

// A tunnel to it is for other pools alone.
TEST_F(RoutesByATunnelsEnd, AreAddedWhereTheEndItselfIsReachedWithoutTheTunnel) {
  const auto far = *Prefix::parse("fd71::1/128");
  for (const auto& around : {net_, Prefix::host(end_)}) {
    want(around, plain_);
    sync();
    want(far, tunnel());
    sync();
    EXPECT_TRUE(there().contains(way(far))) << around.to_string();
    EXPECT_EQ(leads_to(end_), 2);
    EXPECT_FALSE(table_.lacks(far));
    Changes<Prefix, Route> none;
    none.remove(far);
    table_.want(none, {});
    sync();
  }
  EXPECT_EQ(there().size(), 2U);
}

}  // namespace
}  // namespace ocicat::dataplane
