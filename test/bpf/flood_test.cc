// What becomes of connections when there are more than there is room for.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "bpf/crowd.h"
#include "bpf/frames.h"
#include "dataplane/ebpf/address_image.h"
#include "maps/connections.h"
#include "maps/counters.h"
#include "maps/holders.h"
#include "maps/host.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

constexpr std::string_view kA = "10.65.0.2", kB = "10.65.0.3";
constexpr int kPass = -1, kDrop = 2, kRedirect = 7;
constexpr std::uint32_t kModest = 4'000, kFlood = 20'000;

// Workloads a and b may send anything and are sent nothing but replies.
class ConnectionTable : public testing::Test {
 protected:
  ConnectionTable() {
    bed_.silence_ipv6();
    auto changes = first_state(1);
    add_pod(changes, "a", a_, kDenyAll, kAllowAll);
    add_pod(changes, "b", b_, kDenyAll, kAllowAll);
    agent_.apply(changes);
    from_ = open("from_workload");
    to_ = open("to_workload");
    all_ = pins_.connections();
    secret_ = pins_.host_values();
    holders_ = pins_.holders();
    CHECK(all_ && secret_ && holders_);
  }
  std::span<bpf::tracked> all() const { return all_->as<bpf::tracked>(); }
  std::uint32_t places_of(const bpf::connection_key& key) const {
    return bpf::places_of(&key, &secret_->as<bpf::host>().front().secret);
  }
  // As if who has this address, of whom only one is known, and that with `other`, had opened so many more. Faster than to
  // send them.
  void add_like_the_only_one(const IpAddress& own, std::uint32_t count,
                             std::optional<IpAddress> other = {}) const {
    const auto one = std::ranges::find_if(
        all(), [&](const auto& place) { return is_of(place, own) && is_of(place, other.value_or(own)); });
    ASSERT_NE(one, all().end());
    auto more = *one;
    auto& peer = more.key.address[more.connection.flags & bpf::CONNECTION_BEGUN_BY_SECOND ? 0 : 1];
    std::uint32_t added = 0;
    for (std::uint32_t number = 0; added < count; ++number) {
      peer.word[3] = number;  // any net, in any order
      const auto places = places_of(more.key);
      for (std::uint32_t i = 0; i < bpf::CONNECTION_WAYS; ++i) {
        auto& place = all()[bpf::place_in(places, i)];
        if (place.version != 0) continue;
        place = more;
        ++added;
        break;
      }
    }
    const auto holder = holder_of(more);
    holders().owner[holder.owner] += static_cast<std::int32_t>(added);
    holders().beginner[holder.beginner] += static_cast<std::int32_t>(added);
  }
  // So that there is no place left.
  void fill_like_the_only_one(std::string_view own) const {
    const auto taken = std::ranges::count_if(all(), [](const auto& one) { return one.version != 0; });
    add_like_the_only_one(*IpAddress::parse(own), bpf::CONNECTIONS_MAX - static_cast<std::uint32_t>(taken));
  }
  bpf::holders& holders() const { return holders_->as<bpf::holders>().front(); }
  bpf::holder holder_of(const bpf::tracked& one) const {
    return bpf::holder_of(&one.key, &one.connection, &secret_->as<bpf::host>().front().secret);
  }
  // Whatever a test has done to the table.
  void TearDown() override {
    const auto counted = std::make_unique<bpf::holders>();
    for (const auto& one : all()) {
      if (one.version == 0) continue;
      const auto holder = holder_of(one);
      ++counted->owner[holder.owner];
      ++counted->beginner[holder.beginner];
    }
    EXPECT_TRUE(std::ranges::equal(counted->owner, holders().owner));
    EXPECT_TRUE(std::ranges::equal(counted->beginner, holders().beginner));
  }
  UniqueFd open(const char* name) const {
    auto program = kernel::bpf::open_pin(pins_.path() / "programs" / name);
    CHECK(program);
    return std::move(*program);
  }
  // In the host's network namespace.
  int send(const char* interface, const Bytes& frame) const {
    const auto index = static_cast<int>(::if_nametoindex(interface));
    const auto done = kernel::bpf::run(from_.get(), frame, index, index);
    CHECK(done);
    return done->answer;
  }
  int receive(const char* interface, const Bytes& frame, const char* came_in_by = "uplink") const {
    const auto index = static_cast<int>(::if_nametoindex(interface));
    const auto done =
        kernel::bpf::run(to_.get(), frame, index, static_cast<int>(::if_nametoindex(came_in_by)));
    CHECK(done);
    return done->answer;
  }
  // Between that workload's port of this number, and the peer that makes it one of 32 bits.
  static IpAddress peer_of(std::uint32_t number) { return IpAddress::v4(0x0a630000U | number >> 16); }
  static Bytes request(std::string_view own, std::uint32_t number) {
    const auto peer = peer_of(number).to_string();
    return ethernet(ipv4({.source = own, .destination = peer}, udp(static_cast<std::uint16_t>(number), 53)));
  }
  static Bytes reply(std::string_view own, std::uint32_t number) {
    const auto peer = peer_of(number).to_string();
    return ethernet(ipv4({.source = peer, .destination = own}, udp(53, static_cast<std::uint16_t>(number))));
  }
  // How many of the workload's connections are known; `answered`: of which both ends have sent something.
  std::size_t known_of(const Station& workload, bool answered) const {
    return static_cast<std::size_t>(std::ranges::count_if(all(), [&](const auto& one) {
      return is_of(one, workload.address(Family::kIpv4)) &&
             (!answered || (one.connection.packets[0] != 0 && one.connection.packets[1] != 0));
    }));
  }
  static bool is_of(const bpf::tracked& one, const IpAddress& own) {
    return one.version != 0 && std::ranges::any_of(one.key.address, [&](const auto& address) {
             return dataplane::ebpf::address_of(address) == own;
           });
  }

  // Of connections of one who is modest. At random: of numbers in a row a secret leads nine to the same eight places
  // once in a thousand times.
  static std::vector<std::uint32_t> draw_numbers() {
    std::mt19937 random(1);
    std::vector<std::uint32_t> numbers(kModest);
    for (auto& number : numbers) number = static_cast<std::uint32_t>(random());
    return numbers;
  }

  const std::vector<std::uint32_t> modest_ = draw_numbers();
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(dataplane::Datapath::kEbpf)};
  UniqueFd from_, to_;
  std::optional<kernel::bpf::MappedArray> all_, secret_, holders_;
};

TEST_F(ConnectionTable, AFloodThatNobodyAnswersPushesOutNobodyElsesAnsweredConnections) {
  bed_.host().run([&] {
    ASSERT_EQ(send("calia", request(kA, 0)), kPass);
    fill_like_the_only_one(kA);
    for (const auto i : modest_) {
      ASSERT_EQ(send("calib", request(kB, i)), kPass);
      ASSERT_EQ(receive("calib", reply(kB, i)), kPass);
    }
    for (std::uint32_t i = 0; i < kFlood; ++i) ASSERT_EQ(send("calia", request(kA, i)), kPass);
    EXPECT_EQ(known_of(b_, true), kModest);
    EXPECT_EQ(known_of(a_, false), bpf::CONNECTIONS_MAX - kModest);
    for (const auto i : modest_) ASSERT_EQ(receive("calib", reply(kB, i)), kPass) << i;
  });
}

TEST_F(ConnectionTable, AFloodThatIsAnsweredPushesOutItsOwn) {
  bed_.host().run([&] {
    ASSERT_EQ(send("calia", request(kA, 0)), kPass);
    ASSERT_EQ(receive("calia", reply(kA, 0)), kPass);
    fill_like_the_only_one(kA);
    // The newcomer has room as well, though the other has taken all.
    for (const auto i : modest_) {
      ASSERT_EQ(send("calib", request(kB, i)), kPass);
      ASSERT_EQ(receive("calib", reply(kB, i)), kPass);
    }
    EXPECT_EQ(known_of(b_, true), kModest);
    for (std::uint32_t i = 0; i < kFlood; ++i) {
      ASSERT_EQ(send("calia", request(kA, i)), kPass);
      ASSERT_EQ(receive("calia", reply(kA, i)), kPass);
    }
    EXPECT_EQ(known_of(b_, true), kModest);
    EXPECT_EQ(pins_.counters()[bpf::DROP_NO_MEMORY], 0U);
  });
}

// Of eight places, chance gives another now and then more than it gives the one who floods.
TEST_F(ConnectionTable, AFloodThatIsAnsweredPushesOutNothingOfOneWhoHasAThirdOfTheTable) {
  constexpr std::uint32_t kThird = bpf::CONNECTIONS_MAX / 3;
  bed_.host().run([&] {
    for (const auto& [interface, own] : {std::pair{"calia", kA}, {"calib", kB}}) {
      ASSERT_EQ(send(interface, request(own, 0)), kPass);
      ASSERT_EQ(receive(interface, reply(own, 0)), kPass);
    }
    add_like_the_only_one(*IpAddress::parse(kB), kThird);
    fill_like_the_only_one(kA);
    for (std::uint32_t i = 1; i < kFlood; ++i) {
      const auto noted = send("calia", request(kA, i)) == kPass;
      ASSERT_EQ(receive("calia", reply(kA, i)), noted ? kPass : kDrop);
    }
    EXPECT_EQ(known_of(b_, true), kThird + 1);
  });
}

// Each of them has been answered, and nobody has gone on with it.
TEST_F(ConnectionTable, AFloodOfHalfOpenTcpConnectionsPushesOutNobodyElses) {
  const auto out = [](std::string_view own, std::uint32_t number, std::uint8_t flags) {
    const auto peer = peer_of(number).to_string();
    const auto port = static_cast<std::uint16_t>(number);
    return ethernet(ipv4({.source = own, .destination = peer, .protocol = 6}, tcp(port, 80, flags)));
  };
  const auto in = [](std::string_view own, std::uint32_t number, std::uint8_t flags) {
    const auto peer = peer_of(number).to_string();
    const auto port = static_cast<std::uint16_t>(number);
    return ethernet(ipv4({.source = peer, .destination = own, .protocol = 6}, tcp(80, port, flags)));
  };
  constexpr std::uint8_t kSyn = 2, kAck = 16;
  bed_.host().run([&] {
    ASSERT_EQ(send("calia", out(kA, 0, kSyn)), kPass);
    ASSERT_EQ(receive("calia", in(kA, 0, kSyn | kAck)), kPass);
    fill_like_the_only_one(kA);
    for (const auto i : modest_) {
      ASSERT_EQ(send("calib", out(kB, i, kSyn)), kPass);
      ASSERT_EQ(receive("calib", in(kB, i, kSyn | kAck)), kPass);
      ASSERT_EQ(send("calib", out(kB, i, kAck)), kPass);
    }
    for (std::uint32_t i = 0; i < kFlood; ++i) {
      ASSERT_EQ(send("calia", out(kA, i, kSyn)), kPass);
      ASSERT_EQ(receive("calia", in(kA, i, kSyn | kAck)), kPass);
    }
    EXPECT_EQ(known_of(b_, true), kModest);
    for (const auto i : modest_) ASSERT_EQ(receive("calib", in(kB, i, kAck)), kPass) << i;
  });
}

// Whatever address it is from.
TEST_F(ConnectionTable, CountsWhatAHostEndpointHasLetThroughForTheWorkloadByWhoseInterfaceItCame) {
  constexpr policy::ChainId kOpen{1};
  HostChanges changes;
  changes.tables.chains.update(kOpen, {policy::VocabularyId{1}, kAllowAll});
  HostEndpointState everywhere{.id = 1, .interface_name = "*"};
  for (auto& chains : everywhere.chains)
    chains[policy::index_of({policy::ChainKind::kForward, policy::Direction::kEgress})] = kOpen;
  changes.host_endpoints.update({Kind::kHostEndpoint, "", "all"}, everywhere);
  EndpointState sender{a_.interface(), {{a_.address(Family::kIpv4), kDenyAll, kAllowAll}}};
  sender.sources = {*Prefix::parse("10.99.0.0/16")};
  sender.source_chains = {kOpen, kOpen};
  changes.endpoints.update(pod_key("a"), sender);
  agent_.apply(changes);
  const auto elsewhere = *IpAddress::parse("10.99.0.1");
  const auto packet = probe(elsewhere, bed_.outside().address(Family::kIpv4), kUdp, 53);
  ASSERT_FALSE(bed_.arriving(a_, bed_.outside(), {packet}).empty());
  const auto noted = [&](bool at_host) {
    const auto found = std::ranges::find_if(
        all(), [&](const auto& one) { return is_of(one, elsewhere) && (one.key.at_host != 0) == at_host; });
    CHECK(found != all().end());
    return *found;
  };
  const auto at_workload = noted(false).connection, at_host = noted(true).connection;
  const auto slot = at_workload.endpoint[bpf::beginner(&at_workload)];
  EXPECT_NE(slot, 0);
  EXPECT_EQ(bpf::workload_at_host(&at_host), slot);
}

// Of these peers, the workload's end comes first in the key.
constexpr std::uint32_t kFirst = 0x30000;

TEST_F(ConnectionTable, OneThatWasPushedOutGoesOnWhereTheSideThatMayBeginSpeaksFirst) {
  bed_.host().run([&] {
    ASSERT_EQ(send("calia", request(kA, kFirst)), kPass);
    const auto place = std::ranges::find_if(all(), [](const auto& one) { return one.version != 0; });
    const auto mine = place->key;
    fill_like_the_only_one(kA);
    // Those that share its places.
    for (auto i = kFirst + 1; std::memcmp(&place->key, &mine, sizeof mine) == 0; ++i) {
      ASSERT_LT(i, 0x1000000U);
      auto other = mine;
      other.address[1] = dataplane::ebpf::address_of(peer_of(i));
      other.port[0] = htons(static_cast<std::uint16_t>(i));
      if (places_of(other) != places_of(mine)) continue;
      ASSERT_EQ(send("calia", request(kA, i)), kPass);
    }
    EXPECT_EQ(receive("calia", reply(kA, kFirst)), kDrop);
    EXPECT_EQ(send("calia", request(kA, kFirst)), kPass);
    EXPECT_EQ(receive("calia", reply(kA, kFirst)), kPass);
  });
}

// Workloads c, d and e that take anything, beside a and b; all that is asked is answered. One family at a time.
class FloodedWorkload : public ConnectionTable, public testing::WithParamInterface<Family> {
 protected:
  FloodedWorkload() {
    HostChanges changes;
    add_pod(changes, "c", c_, kAllowAll, kAllowAll);
    add_pod(changes, "d", d_, kAllowAll, kAllowAll);
    add_pod(changes, "e", e_, kAllowAll, kAllowAll);
    agent_.apply(changes);
  }
  std::string of(const Station& pod) const { return pod.address(GetParam()).to_string(); }
  static std::string outside(std::uint32_t number) {
    return GetParam() == Family::kIpv4 ? peer_of(number << 16).to_string()
                                       : fmt::format("fd00:99::{:x}", number);
  }
  std::string interface_of(const std::string& address) const {
    for (const auto* pod : {&a_, &b_, &c_, &d_, &e_, &f_}) {
      if (address == of(*pod)) return pod->interface();
    }
    return "uplink";
  }
  int pass(const std::string& from, const std::string& to, const Bytes& packet) const {
    const auto in = interface_of(from), out = interface_of(to);
    const auto frame = ethernet(packet);
    const auto sent = in == "uplink" ? kPass : send(in.c_str(), frame);
    if (sent == kRedirect) return kPass;
    return sent != kPass || out == "uplink" ? sent : receive(out.c_str(), frame, in.c_str());
  }
  std::vector<Flow> open(std::size_t count, const std::string& source, const std::string& destination) {
    std::vector<Flow> flows;
    bed_.host().run([&] {
      while (flows.size() < count) {
        const auto& flow = flows.emplace_back(crowd_.between(source, destination));
        EXPECT_EQ(pass(source, destination, flow.request()), kPass);
        EXPECT_EQ(pass(destination, source, flow.answer()), kPass);
      }
    });
    return flows;
  }

  // As if the address had begun that many connections with e, and one more.
  void open_elsewhere(const std::string& source, std::uint32_t count) {
    const Flow flow{source, of(e_), 1, 1};
    bed_.host().run([&] {
      ASSERT_EQ(pass(flow.source, flow.destination, flow.request()), kPass);
      ASSERT_EQ(pass(flow.destination, flow.source, flow.answer()), kPass);
    });
    add_like_the_only_one(*IpAddress::parse(source), count, e_.address(GetParam()));
  }
  // a has gone by then, and what it has had is still in the table.
  void f_comes_after_a(const IpAddress& own) {
    HostChanges goes, comes;
    remove_pod(goes, "a", a_);
    agent_.apply(goes);
    comes.endpoints.update(pod_key("f"), EndpointState{f_.interface(), {{own, kDenyAll, kAllowAll}}});
    agent_.apply(comes);
  }
  // As if what the address has begun had been idle for so many seconds more.
  void age(const std::string& address, std::uint32_t seconds) {
    for (auto& one : all()) {
      if (is_of(one, *IpAddress::parse(address)))
        one.connection.seen -= static_cast<std::uint32_t>(seconds * 1'000'000'000ULL >> bpf::TICK_SHIFT);
    }
  }
  std::uint64_t refused() const { return pins_.counters()[bpf::DROP_NO_MEMORY]; }

  Station& c_ = bed_.add_pod("c", "10.65.0.4", "fd00:65::4", Testbed::Routes::kMissing);
  Station& d_ = bed_.add_pod("d", "10.65.0.5", "fd00:65::5", Testbed::Routes::kMissing);
  Station& e_ = bed_.add_pod("e", "10.65.0.6", "fd00:65::6", Testbed::Routes::kMissing);
  Station& f_ = bed_.add_pod("f", "10.65.0.7", "fd00:65::7", Testbed::Routes::kMissing);  // not there yet
  Crowd crowd_{pins_, false};
};

constexpr std::size_t kMany = 24;  // for eight places

TEST_P(FloodedWorkload, LosesNothingThatOthersHaveWithItWhereOneFromOutsideFloods) {
  std::vector<Flow> others;
  for (const auto& [source, destination] :
       {std::pair{outside(1), of(c_)}, {outside(2), of(c_)}, {of(a_), of(c_)}, {of(c_), outside(3)}}) {
    others.push_back(open(1, source, destination).front());
  }
  open(4, outside(4), of(c_));
  open_elsewhere(outside(4), bpf::HOLDS_MANY);
  const auto flood = open(kMany, outside(4), of(c_));
  for (const auto& one : others) EXPECT_TRUE(crowd_.knows(one)) << one.source << " to " << one.destination;
  EXPECT_EQ(crowd_.count_known(flood), 4);
}

// As the one who floods has most, though each of the flooded ones has little.
TEST_P(FloodedWorkload, LosesNothingThatOthersHaveWithItWhereOneFromOutsideFloodsItsNeighbours) {
  std::vector<Flow> others;
  for (std::uint32_t i = 0; i < 4; ++i) others.push_back(open(1, outside(i), of(c_)).front());
  for (const auto* flooded : {&d_, &d_, &e_, &e_}) open(1, outside(9), of(*flooded));
  open_elsewhere(outside(9), bpf::HOLDS_MANY);
  for (std::size_t i = 0; i < kMany / 2; ++i) {
    open(1, outside(9), of(d_));
    open(1, outside(9), of(e_));
  }
  EXPECT_EQ(crowd_.count_known(others), 4);
}

// The one who floods has most, whoever comes.
TEST_P(FloodedWorkload, LosesNothingToANewcomerWhereAnotherHasFloodedItsNeighboursAndHasMore) {
  const auto others = open(2, outside(1), of(c_));
  std::vector<Flow> flood;
  for (const auto* flooded : {&d_, &d_, &e_, &e_}) flood.push_back(open(1, outside(8), of(*flooded)).front());
  for (const auto* beginner : {&a_, &b_}) open(1, of(*beginner), outside(1));
  open_elsewhere(outside(8), bpf::HOLDS_MANY);
  open(1, outside(9), of(c_));
  EXPECT_EQ(crowd_.count_known(others), 2);
  EXPECT_EQ(crowd_.count_known(flood), 3);
}

TEST_P(FloodedWorkload, TakesNothingFromOtherWorkloadsFromHoweverManyAddressesItIsFlooded) {
  std::vector<Flow> others;
  for (const auto& [source, destination] :
       {std::pair{of(a_), outside(1)}, {of(b_), outside(1)}, {of(a_), of(c_)}}) {
    others.push_back(open(1, source, destination).front());
  }
  const auto own = open(1, outside(2), of(c_));
  for (std::uint32_t i = 0; i < kMany; ++i) open(1, outside(100 + i), of(c_));
  for (const auto& one : others) EXPECT_TRUE(crowd_.knows(one)) << one.source << " to " << one.destination;
  EXPECT_EQ(crowd_.count_known(own), 0) << "a flood that pushes out nothing shows nothing";
}

TEST_P(FloodedWorkload, LosesNothingThatOneHasWithItWhereAnotherBeginsMore) {
  const auto before = open(6, outside(1), of(c_));
  open(kMany, outside(2), of(c_));
  EXPECT_EQ(crowd_.count_known(before), 6);
}

// A proxy, among many who have one connection each.
TEST_P(FloodedWorkload, LosesWhatIsIdleForLongestAndNotWhatOneAddressHasMostOf) {
  std::vector<Flow> idle;
  for (std::uint32_t i = 0; i < 4; ++i) idle.push_back(open(1, outside(100 + i), of(c_)).front());
  const auto proxy = open(4, outside(1), of(c_));
  open_elsewhere(outside(1), bpf::HOLDS_MANY / 2);
  for (std::uint32_t i = 0; i < 4; ++i) age(outside(100 + i), 20);
  age(outside(1), 10);
  for (std::uint32_t i = 0; i < 4; ++i) open(1, outside(200 + i), of(c_));
  EXPECT_EQ(crowd_.count_known(proxy), 4);
  EXPECT_EQ(crowd_.count_known(idle), 0);
}

// Each of the addresses has little; the workload that they flood has much.
TEST_P(FloodedWorkload, TakesNothingFromOthersThroughManyAddressesOnceItHasMany) {
  std::vector<Flow> others;
  for (const auto* other : {&a_, &b_}) {
    for (int i = 0; i < 4; ++i) others.push_back(open(1, of(*other), outside(1)).front());
  }
  open_elsewhere(outside(2), bpf::HOLDS_MANY);
  bed_.host().run([&] {
    const auto flow = crowd_.between(outside(3), of(e_));
    EXPECT_EQ(pass(flow.source, flow.destination, flow.request()), kDrop);
  });
  EXPECT_EQ(refused(), 1U);
  EXPECT_EQ(crowd_.count_known(others), 8);
}

TEST_P(FloodedWorkload, KeepsOutNobodyWhoHasManyButLessWhateverAddressesItIsFloodedFrom) {
  for (std::uint32_t i = 0; i < bpf::CONNECTION_WAYS; ++i) open(1, outside(100 + i), of(e_));
  open_elsewhere(outside(2), 3 * bpf::HOLDS_MANY);
  const Flow before{of(a_), outside(3), 1, 1};
  bed_.host().run([&] {
    ASSERT_EQ(pass(before.source, before.destination, before.request()), kPass);
    ASSERT_EQ(pass(before.destination, before.source, before.answer()), kPass);
  });
  add_like_the_only_one(a_.address(GetParam()), 2 * bpf::HOLDS_MANY);
  const auto newcomers = open(2, of(a_), outside(3));
  EXPECT_EQ(crowd_.count_known(newcomers), 2);
  EXPECT_EQ(refused(), 0U);
}

TEST_P(FloodedWorkload, KeepsOutNobodyWhoComesAfterOneThatHasFlooded) {
  const auto others = open(bpf::CONNECTION_WAYS, of(b_), outside(1));
  open_elsewhere(of(a_), bpf::HOLDS_MANY);
  f_comes_after_a(f_.address(GetParam()));
  const auto newcomer = open(1, of(f_), outside(1));
  EXPECT_EQ(crowd_.count_known(newcomer), 1);
  EXPECT_EQ(crowd_.count_known(others), bpf::CONNECTION_WAYS - 1);
}

TEST_P(FloodedWorkload, IsNotTakenForTheOneThatHadItsAddressAndHasFlooded) {
  const auto others = open(bpf::CONNECTION_WAYS, of(b_), outside(1));
  open_elsewhere(of(a_), bpf::HOLDS_MANY);
  f_comes_after_a(a_.address(GetParam()));
  std::vector<Flow> own;
  bed_.host().run([&] {
    for (int i = 0; i < 3; ++i) {
      const auto& flow = own.emplace_back(crowd_.between(of(a_), outside(1)));
      EXPECT_EQ(send(f_.interface().c_str(), ethernet(flow.request())), kPass);
      EXPECT_EQ(receive(f_.interface().c_str(), ethernet(flow.answer())), kPass);
    }
  });
  EXPECT_EQ(crowd_.count_known(own), 3);
}

// Where it may send from anywhere.
TEST_P(FloodedWorkload, TakesNothingFromTheOneWhoseAddressItFloodsFrom) {
  const auto neighbours = open(4, of(b_), outside(1)), others = open(4, of(c_), outside(1));
  constexpr policy::ChainId kOpen{1};
  EndpointState sender{a_.interface(), {{a_.address(GetParam()), kDenyAll, kAllowAll}}};
  sender.sources = {*Prefix::parse(GetParam() == Family::kIpv4 ? "0.0.0.0/0" : "::/0")};
  sender.source_chains = {kOpen, kOpen};
  HostChanges may;
  may.tables.chains.update(kOpen, {policy::VocabularyId{1}, kAllowAll});
  may.endpoints.update(pod_key("a"), sender);
  agent_.apply(may);
  const Flow flow{of(b_), outside(7), 1, 1};
  bed_.host().run([&] { ASSERT_EQ(send("calia", ethernet(flow.request())), kPass); });
  add_like_the_only_one(b_.address(GetParam()), bpf::HOLDS_MANY, *IpAddress::parse(flow.destination));
  const auto more = open(4, of(c_), outside(2));  // who has as many as b
  EXPECT_EQ(crowd_.count_known(neighbours), 4);
  EXPECT_EQ(crowd_.count_known(others) + crowd_.count_known(more), 4);
}

TEST_P(FloodedWorkload, AndAnotherLoseOfTheOneThatHasMoreUntilBothHaveAsMany) {
  const auto before = open(6, of(a_), outside(1));
  for (std::uint32_t i = 0; i < kMany; ++i) open(1, outside(100 + i), of(c_));
  EXPECT_EQ(crowd_.count_known(before), 4);
}

TEST_P(FloodedWorkload, TakesNothingFromOthersOnceItHasManyItselfButDoesWhileItHasFew) {
  const auto others = open(bpf::CONNECTION_WAYS, of(b_), outside(1));
  const auto open_apart = [&](std::uint16_t port) {
    const Flow flow{of(a_), outside(2), port, port};
    bed_.host().run([&] {
      ASSERT_EQ(pass(flow.source, flow.destination, flow.request()), kPass);
      ASSERT_EQ(pass(flow.destination, flow.source, flow.answer()), kPass);
    });
  };
  open_apart(1);
  add_like_the_only_one(a_.address(GetParam()), bpf::HOLDS_MANY - 1);
  ASSERT_EQ(refused(), 0U);
  const auto last = open(1, of(a_), outside(1));
  EXPECT_EQ(crowd_.count_known(others), bpf::CONNECTION_WAYS - 1);
  const auto more = open(3, of(a_), outside(1));  // takes the place of the last one
  EXPECT_EQ(crowd_.count_known(others), bpf::CONNECTION_WAYS - 1);
  EXPECT_EQ(crowd_.count_known(more), 1);
  open(1, of(b_), outside(2));
  open_apart(2);
  bed_.host().run([&] {
    const auto flow = crowd_.between(of(a_), outside(1));
    EXPECT_EQ(pass(flow.source, flow.destination, flow.request()), kDrop);
  });
  EXPECT_EQ(refused(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Families, FloodedWorkload, testing::ValuesIn(kFamilies),
                         [](const auto& family) { return family.param == Family::kIpv4 ? "v4" : "v6"; });

}  // namespace
}  // namespace ocicat::test
