// Names, traces and sums of flows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "dataplane/ebpf/connection_ledger.h"
#include "flows/aggregator.h"
#include "flows/event.h"
#include "flows/log_lines.h"
#include "flows/recorder.h"
#include "flows/trace.h"
#include "maps/counters.h"

namespace ocicat::flows {
namespace {

using policy::Direction;
using policy::TraceStep;
using policy::Verdict;
using testing::ElementsAre;

IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

Resource pod(const std::string& name, const std::string& address, Labels labels = {}) {
  WorkloadEndpoint endpoint;
  endpoint.metadata.ns = "shop";
  endpoint.metadata.name = "host1-k8s-" + name + "-eth0";
  endpoint.metadata.labels = std::move(labels);
  endpoint.workload = name;
  endpoint.addresses = {ip(address)};
  return endpoint;
}
ResourceKey pod_key(const std::string& name) {
  return {Kind::kPod, "shop", name};
}
Resource network_set(const std::string& name, const std::string& net) {
  NetworkSet set;
  set.metadata.name = name;
  set.nets = {*Prefix::parse(net)};
  return set;
}

using Parties = Changes<ResourceKey, Resource>;

TEST(Directory, NamesWhoHasAnAddressAndGroupsStrangers) {
  Directory directory;
  Parties parties;
  parties.update(pod_key("db"), pod("db", "10.65.0.2"));
  parties.update({Kind::kGlobalNetworkSet, "", "near"}, network_set("near", "10.0.0.0/8"));
  parties.update({Kind::kGlobalNetworkSet, "", "nearer"}, network_set("nearer", "10.65.0.0/16"));
  directory.update(parties);
  EXPECT_EQ(directory.party_of(ip("10.65.0.2")).name, "db");
  EXPECT_EQ(*directory.party_of(ip("10.65.0.2")).group, (Group{PartyType::kWorkload, "shop", "db"}));
  EXPECT_EQ(directory.party_of(ip("10.65.0.3")).name, "nearer");
  EXPECT_EQ(directory.party_of(ip("10.1.0.3")).name, "near");
  EXPECT_EQ(directory.party_of(ip("192.168.0.1")).group->name, "pvt");
  EXPECT_EQ(directory.party_of(ip("fd00::1")).group->name, "pvt");
  EXPECT_EQ(directory.party_of(ip("203.0.113.1")).group->name, "pub");
  EXPECT_EQ(directory.party_of(ip("203.0.113.1")).name, "");
}

TEST(Directory, AnAddressGoesToTheNextWhoHasIt) {
  Directory directory;
  Parties parties;
  for (const char* name : {"a", "b"}) parties.update(pod_key(name), pod(name, "10.65.0.2"));
  parties.update({Kind::kGlobalNetworkSet, "", "set"}, network_set("set", "10.65.0.2/32"));
  directory.update(parties);
  for (const char* first : {"a", "b"}) {
    EXPECT_EQ(directory.party_of(ip("10.65.0.2")).name, first);
    Parties gone;
    gone.remove(pod_key(first));
    directory.update(gone);
  }
  EXPECT_EQ(directory.party_of(ip("10.65.0.2")).name, "set");
  Parties gone;
  gone.remove({Kind::kGlobalNetworkSet, "", "set"});
  directory.update(gone);
  EXPECT_EQ(directory.party_of(ip("10.65.0.2")).group->name, "pvt");
}

// Whatever came and went before: ids of those that have gone are used again.
TEST(Directory, SaysWhatTheLastWordOnEachKeySays) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](unsigned most) { return static_cast<unsigned>(random() % most); };
  Directory directory;
  std::map<std::string, std::pair<std::string, Labels>> pods;  // by name: address and labels
  for (int round = 0; round < 300; ++round) {
    Parties parties;
    for (int i = 0; i < 4; ++i) {
      const auto name = "pod-" + std::to_string(upto(20));
      if (upto(3) == 0) {
        pods.erase(name);
        parties.remove(pod_key(name));
      } else {
        const Labels labels{{"app", "a" + std::to_string(upto(3))}, {"tier", std::string(upto(30), 'x')}};
        const auto& [address, shown] = pods[name] = {"10.65.0." + std::to_string(upto(8)), labels};
        parties.update(pod_key(name), pod(name, address, shown));
      }
    }
    directory.update(parties);
    for (unsigned host = 0; host < 8; ++host) {
      const auto address = "10.65.0." + std::to_string(host);
      const auto owner =
          std::ranges::find(pods, address, [](const auto& entry) { return entry.second.first; });
      const auto& party = directory.party_of(ip(address));
      ASSERT_EQ(party.name, owner == pods.end() ? "" : owner->first) << address;
      if (owner == pods.end()) continue;
      ASSERT_EQ(*party.labels, owner->second.second);
      ASSERT_EQ(*party.group, (Group{PartyType::kWorkload, "shop", owner->first}));
    }
  }
}

TEST(GroupName, IsWhatKubernetesMadeThePodsNameFrom) {
  EXPECT_EQ(group_name("web-6d4cf56db6-abcde", {{"pod-template-hash", "6d4cf56db6"}}), "web-6d4cf56db6-*");
  EXPECT_EQ(group_name("agent-x7k2p", {{"controller-revision-hash", "5f"}}), "agent-*");
  EXPECT_EQ(group_name("db-0", {{"controller-revision-hash", "db-5f"},
                                {"statefulset.kubernetes.io/pod-name", "db-0"}}),
            "db-0");
  EXPECT_EQ(group_name("frontend", {{"app", "frontend"}}), "frontend");
}

TEST(Trace, IsWrittenAsCalicoWritesIt) {
  const policy::Judgement judgement{
      Verdict::kDeny,
      {{"security", {Kind::kGlobalNetworkPolicy, "", "log-all"}, 0, Action::kLog, {}},
       {"security", {Kind::kGlobalNetworkPolicy, "", "pci"}, 1, Action::kPass, {}},
       {"default",
        {},
        TraceStep::kTierDefault,
        Action::kDeny,
        {{Kind::kNetworkPolicy, "shop", "api"}, {Kind::kKubernetesNetworkPolicy, "shop", "deny"}}}}};
  EXPECT_THAT(hits_of(judgement),
              ElementsAre("0|security|gnp:pci|pass|1", "1|default|knp:shop/deny|deny|-1"));
  const policy::Judgement by_profile{
      Verdict::kAllow,
      {{std::string(policy::kProfileTier), {Kind::kProfile, "", "kns.shop"}, 0, Action::kAllow, {}}}};
  EXPECT_THAT(hits_of(by_profile), ElementsAre("0|__PROFILE__|pro:kns.shop|allow|0"));
}

bpf::event told(std::uint8_t reason, std::uint8_t flags) {
  bpf::event told{};
  const auto set = [](bpf::address& to, const char* from) {
    std::memcpy(&to, ip(from).bytes().data(), sizeof to);
  };
  set(told.source, "10.65.0.2");
  set(told.destination, "10.65.0.3");
  told.source_port = __builtin_bswap16(1000);
  told.destination_port = __builtin_bswap16(80);
  told.protocol = kTcp;
  told.outcome[0] = 7;
  told.outcome[1] = 8;
  told.reason = reason;
  told.flags = flags;
  told.interface = 5;
  told.size = 60;
  return told;
}

TEST(Event, OfARefusedAnswerIsTheFlowThatItBelongsTo) {
  const auto sent = event_of(told(bpf::DROP_POLICY, bpf::EVENT_FROM_ENDPOINT), std::chrono::seconds(5));
  EXPECT_EQ(sent.source, ip("10.65.0.2"));
  EXPECT_EQ(sent.destination_port, 80);
  EXPECT_EQ(sent.end, Direction::kEgress);
  EXPECT_EQ(sent.reason, Reason::kPolicy);
  EXPECT_EQ(sent.outcomes[static_cast<std::size_t>(Direction::kEgress)], policy::OutcomeId{7});
  EXPECT_EQ(sent.outcomes[static_cast<std::size_t>(Direction::kIngress)], policy::OutcomeId{8});
  EXPECT_EQ(sent.time, Moment(std::chrono::seconds(5)));

  const auto answer = event_of(told(bpf::DROP_REVOKED, bpf::EVENT_FROM_ENDPOINT | bpf::EVENT_IS_REPLY), {});
  EXPECT_EQ(answer.source, ip("10.65.0.3"));
  EXPECT_EQ(answer.source_port, 80);
  EXPECT_EQ(answer.end, Direction::kIngress) << "who sends the answer is the receiver of the flow";
  EXPECT_EQ(event_of(told(200, 0), {}).reason, Reason::kOther);
}

// What has been carried from 10.65.0.2:1000 to 10.65.0.3:80: three packets there, two back.
dataplane::ebpf::Booking booking(bool at_host, std::uint8_t flags, std::array<std::uint16_t, 2> endpoints) {
  dataplane::ebpf::Booking booking{.outcomes = {7, 8}, .packets = {2, 3}, .bytes = {200, 300}};
  const auto event = told(bpf::COUNT_JUDGED, 0);
  booking.key.address[1] = event.source;
  booking.key.address[0] = event.destination;
  booking.key.port[1] = event.source_port;
  booking.key.port[0] = event.destination_port;
  booking.key.protocol = event.protocol;
  booking.key.at_host = at_host;
  booking.connection.flags = flags | bpf::CONNECTION_BEGUN_BY_SECOND;
  booking.connection.endpoint[1] = endpoints[0];
  booking.connection.endpoint[0] = endpoints[1];
  return booking;
}

TEST(Event, OfAConnectionTellsWhatItCarriesAtTheEndsThatHaveToldOfIt) {
  using testing::UnorderedElementsAre;
  constexpr auto kSource = Direction::kEgress, kDestination = Direction::kIngress;
  const auto ends = [](const dataplane::ebpf::Booking& booking) {
    std::vector<Direction> all;
    events_of(booking, {}, [&](const Event& event) {
      all.push_back(event.end);
      const bool out = event.end == Direction::kEgress;
      EXPECT_EQ(event.source, ip("10.65.0.2"));
      EXPECT_EQ(event.source_port, 1000);
      EXPECT_EQ(event.destination_port, 80);
      EXPECT_FALSE(event.begins());
      EXPECT_EQ(event.carried->packets_out, out ? 3U : 2U);
      EXPECT_EQ(event.carried->bytes_in, out ? 200U : 300U);
      EXPECT_EQ(event.outcomes[static_cast<std::size_t>(kSource)], policy::OutcomeId{out ? 7U : 0U});
      EXPECT_EQ(event.outcomes[static_cast<std::size_t>(kDestination)], policy::OutcomeId{out ? 0U : 8U});
    });
    return all;
  };
  constexpr std::uint16_t kByInterface = END_OUTSIDE | 2;
  EXPECT_THAT(ends(booking(false, 0, {1, 2})), UnorderedElementsAre(kSource, kDestination));
  EXPECT_THAT(ends(booking(false, 0, {1, kByInterface})), UnorderedElementsAre(kSource));
  EXPECT_THAT(ends(booking(false, 0, {0, 2})), UnorderedElementsAre(kDestination));
  // At a host, by the host endpoint where it comes in, and by that where it goes out.
  EXPECT_THAT(ends(booking(true, 0, {1, 0})), UnorderedElementsAre(kDestination));
  EXPECT_THAT(ends(booking(true, 0, {0, 1})), UnorderedElementsAre(kSource));
  EXPECT_THAT(ends(booking(true, bpf::HOST_CONNECTION_FORWARDED, {1, 2})),
              UnorderedElementsAre(kDestination));
}

TEST(LogLines, SayALineForEachLogRuleInTheOrderInWhichTheyArePassed) {
  using policy::Outcome;
  const ResourceKey watch{Kind::kGlobalNetworkPolicy, "", "watch"}, web{Kind::kNetworkPolicy, "shop", "web"};
  Changes<policy::OutcomeId, policy::Outcome> outcomes;
  outcomes.update(policy::OutcomeId{7},
                  Outcome(Verdict::kAllow, {{"security", watch, 0, Action::kLog, {}},
                                            {"security", watch, 1, Action::kAllow, {}}}));
  outcomes.update(policy::OutcomeId{8}, Outcome(Verdict::kDeny, {{"security", watch, 0, Action::kLog, {}},
                                                                 {"default", web, 0, Action::kLog, {}},
                                                                 {"default", web, 1, Action::kDeny, {}}}));
  Recorder recorder;
  recorder.update(outcomes);
  const auto lines = [&](std::uint8_t reason, std::uint8_t flags, auto&&... change) {
    auto raw = told(reason, flags);
    (change(raw), ...);
    const auto event = event_of(raw, {});
    return log_lines(
        recorder.sighting_of(event), "%t %k %p",
        [](std::uint32_t index) { return index == 5 ? std::string("cali1") : std::string(); },
        [](const std::string&) { return true; });
  };
  const std::string packet = "SRC=10.65.0.2 DST=10.65.0.3 LEN=60 PROTO=TCP SPT=1000 DPT=80";
  EXPECT_THAT(lines(bpf::DROP_POLICY, bpf::EVENT_FROM_ENDPOINT | bpf::EVENT_COMES_IN),
              ElementsAre("security gnp watch: IN=cali1 OUT= " + packet,
                          "security gnp watch: IN=cali1 OUT= " + packet,
                          "default np shop/web: IN=cali1 OUT= " + packet));
  const auto only_egress = [](bpf::event& event) { event.outcome[1] = 0; };
  for (const auto reason : {bpf::COUNT_JUDGED, bpf::COUNT_LOGGED, bpf::DROP_TO_HOST}) {
    EXPECT_THAT(lines(reason, 0, only_egress), ElementsAre("security gnp watch: IN= OUT=cali1 " + packet));
  }
  const auto ping = [&](bpf::event& event) {
    only_egress(event);
    event.protocol = kIcmp;
    event.source_port = 0;
    event.destination_port = __builtin_bswap16(8 << 8);
  };
  EXPECT_THAT(
      lines(bpf::COUNT_JUDGED, 0, ping),
      ElementsAre("security gnp watch: IN= OUT=cali1 SRC=10.65.0.2 DST=10.65.0.3 LEN=60 PROTO=ICMP TYPE=8 "
                  "CODE=0"));
  for (const auto reason : {bpf::DROP_REVOKED, bpf::DROP_SPOOFED, bpf::DROP_INVALID})
    EXPECT_THAT(lines(reason, 0), ElementsAre()) << "no rule has been asked about this very packet";
}

TEST(LogLimiter, LetsEachPolicySayABurstAndThenSoMuchInATime) {
  using std::chrono::seconds;
  LogLimiter limiter;
  const auto begin = LogLimiter::Moment();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(limiter.take("a", begin));  // nothing limits it
  limiter.limit({.lines = 6, .per = std::chrono::minutes(1), .burst = 2});
  const auto said = [&](const std::string& policy, seconds after) {
    int lines = 0;
    while (limiter.take(policy, begin + after)) ++lines;
    return lines;
  };
  EXPECT_EQ(said("a", seconds(0)), 2);
  EXPECT_EQ(said("b", seconds(0)), 2);
  EXPECT_EQ(said("a", seconds(9)), 0);
  EXPECT_EQ(said("a", seconds(11)), 1);
  EXPECT_EQ(said("a", seconds(1000)), 2);
  limiter.limit({.lines = 6, .per = std::chrono::minutes(1), .burst = 3});
  EXPECT_EQ(said("a", seconds(1000)), 3);
}

TEST(LogLimiter, ForgetsPoliciesThatHaveNothingToSay) {
  LogLimiter limiter;
  limiter.limit({.lines = 1, .per = std::chrono::seconds(1), .burst = 1});
  const auto begin = LogLimiter::Moment();
  for (int i = 0; i < 10'000; ++i) {
    const auto now = begin + std::chrono::seconds(i);
    EXPECT_TRUE(limiter.take(std::to_string(i), now));
    EXPECT_FALSE(limiter.take(std::to_string(i), now));
  }
  EXPECT_LE(limiter.size(), 4096U);
}

TEST(Reason, HasOneWordEach) {
  for (int i = 0; i <= static_cast<int>(Reason::kOther); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_EQ(find_reason(to_string(reason)), reason);
  }
  EXPECT_EQ(find_reason("nonsense"), std::nullopt);
}

class Sums : public testing::Test {
 protected:
  Sums() {
    Parties parties;
    for (int i = 0; i < 8; ++i) {
      const auto name = "web-abc-" + std::to_string(i);
      parties.update(pod_key(name), pod(name, "10.65.0." + std::to_string(i),
                                        {{"pod-template-hash", "abc"}, {"i", std::to_string(i)}}));
    }
    recorder_.update(parties);
    Changes<policy::OutcomeId, policy::Outcome> outcomes;
    outcomes.update(policy::OutcomeId{1}, {Verdict::kAllow, {}});
    outcomes.update(policy::OutcomeId{2}, {Verdict::kDeny, {}});
    recorder_.update(outcomes);
  }
  Event event(int from, int to, std::uint16_t port, Reason reason, std::uint32_t size) const {
    Event event;
    event.time = Moment(std::chrono::seconds(size));
    event.source = IpAddress::v4(0x0a410000U + static_cast<std::uint32_t>(from));
    event.destination = IpAddress::v4(0xcb007100U + static_cast<std::uint32_t>(to));
    event.source_port = static_cast<std::uint16_t>(40000 + from);
    event.destination_port = port;
    event.protocol = kTcp;
    event.reason = reason;
    event.outcome(Direction::kEgress) = policy::OutcomeId{reason == Reason::kAllowed ? 1U : 2U};
    event.size = size;
    return event;
  }
  void add(Aggregator& aggregator, const Event& event) { aggregator.add(recorder_.sighting_of(event)); }

  Recorder recorder_;
};

TEST_F(Sums, DropClientPortsAndAddressesAndIntersectLabels) {
  Aggregator aggregator({});
  for (int i = 0; i < 8; ++i) add(aggregator, event(i, i, 443, Reason::kAllowed, 60));
  ASSERT_EQ(aggregator.running().aggregates.size(), 1U);
  const auto& one = aggregator.running().aggregates.front();
  EXPECT_EQ(*one.source, (Group{PartyType::kWorkload, "shop", "web-abc-*"}));
  EXPECT_EQ(*one.destination, (Group{PartyType::kNetwork, "", "pub"}));
  EXPECT_EQ(*one.source_labels, (Labels{{"pod-template-hash", "abc"}}));
  EXPECT_EQ(one.counts, (Counts{.flows = 8}));
  EXPECT_EQ(one.reporter, Direction::kEgress);
}

TEST_F(Sums, KeepNamesThatHaveGoneSince) {
  Aggregator aggregator({});
  add(aggregator, event(1, 1, 443, Reason::kPolicy, 60));
  Parties gone;
  gone.remove(pod_key("web-abc-1"));
  recorder_.update(gone);
  Changes<policy::OutcomeId, policy::Outcome> outcomes;
  outcomes.remove(policy::OutcomeId{2});
  recorder_.update(outcomes);
  const auto late = event(1, 1, 443, Reason::kPolicy, 60);
  EXPECT_TRUE(*recorder_.sighting_of(late).outcomes[static_cast<std::size_t>(Direction::kEgress)])
      << "still told by events of before";
  recorder_.forget_gone();
  EXPECT_FALSE(*recorder_.sighting_of(late).outcomes[static_cast<std::size_t>(Direction::kEgress)]);
  EXPECT_EQ(aggregator.running().aggregates.front().source->name, "web-abc-*");
}

TEST_F(Sums, NameWhoHasTheInterfaceWhereThePacketDoesNotSayWhoSentIt) {
  Recorder recorder([](std::uint32_t index) { return index == 5 ? std::string("cali5") : std::string(); });
  Parties parties;
  for (const char* name : {"here", "late"}) parties.update(pod_key(name), pod(name, "10.65.0.2"));
  recorder.update(parties);
  const auto has = [&](const char* name, const char* interface) {
    Changes<ResourceKey, EndpointState> endpoints;
    endpoints.update(pod_key(name), EndpointState{.interface_name = interface, .addresses = {}});
    recorder.update(endpoints);
  };
  has("here", "cali5");
  auto forged = event(9, 9, 443, Reason::kSpoofed, 60);
  forged.source = ip("192.0.2.7");
  forged.interface = 5;
  const auto sender = [&](Reason reason, Direction end = Direction::kEgress) {
    forged.reason = reason;
    forged.end = end;
    return recorder.sighting_of(forged).source.name;
  };
  for (const auto reason : {Reason::kSpoofed, Reason::kNotIp, Reason::kMalformed})
    EXPECT_EQ(sender(reason), "here");
  EXPECT_EQ(sender(Reason::kPolicy), "") << "it is what the address says";
  EXPECT_EQ(sender(Reason::kMalformed, Direction::kIngress), "") << "it is the receiver's interface";
  has("late", "cali5");
  has("here", "cali6");
  EXPECT_EQ(sender(Reason::kSpoofed), "late") << "an interface goes to another one";
  Changes<ResourceKey, EndpointState> gone;
  gone.remove(pod_key("late"));
  recorder.update(gone);
  EXPECT_EQ(sender(Reason::kSpoofed), "");
}

TEST_F(Sums, NameTheHostEndpointOfTheInterfaceByWhichTheHostSends) {
  Recorder recorder(
      [](std::uint32_t index) { return index == 5 ? std::string("cali5") : std::string("eth0"); });
  const ResourceKey key{Kind::kHostEndpoint, "", "edge"};
  HostEndpoint edge;
  edge.metadata.name = "edge";
  edge.interface_name = "eth0";
  Parties parties;
  parties.update(key, edge);
  parties.update(pod_key("here"), pod("here", "10.65.0.2"));
  recorder.update(parties);
  Changes<ResourceKey, EndpointState> endpoints;
  endpoints.update(pod_key("here"), EndpointState{.interface_name = "cali5", .addresses = {}});
  recorder.update(endpoints);
  auto sent = event(9, 9, 443, Reason::kAllowed, 60);
  sent.source = ip("192.0.2.7");
  const auto sender = [&](bool from_host, std::uint32_t interface) {
    sent.from_host = from_host;
    sent.interface = interface;
    return recorder.sighting_of(sent).source.name;
  };
  EXPECT_EQ(sender(true, 2), "");
  dataplane::HostInterfaces interfaces;
  interfaces.all_others = key;
  recorder.update(interfaces);
  EXPECT_EQ(sender(true, 2), "edge");
  EXPECT_EQ(sender(false, 2), "");
  EXPECT_EQ(sender(true, 5), "") << "to a workload";
}

TEST_F(Sums, GoOnWhereAWorkloadChanges) {
  Aggregator aggregator({});
  add(aggregator, event(1, 1, 443, Reason::kPolicy, 60));
  Parties changed;
  changed.update(pod_key("web-abc-1"), pod("web-abc-1", "10.65.0.1", {{"pod-template-hash", "abc"}}));
  recorder_.update(changed);
  add(aggregator, event(1, 1, 443, Reason::kPolicy, 60));
  ASSERT_EQ(aggregator.running().aggregates.size(), 1U);
  EXPECT_EQ(aggregator.running().aggregates.front().counts, (Counts{.refused = 2, .refused_bytes = 120}));
}

TEST_F(Sums, AddWhatConnectionsCarryToWhatBegan) {
  Aggregator aggregator({});
  auto begun = event(1, 1, 443, Reason::kAllowed, 60);
  begun.outcome(Direction::kIngress) = policy::OutcomeId{2};  // the other end's is no matter to who tells
  add(aggregator, begun);
  auto carried = event(1, 1, 443, Reason::kAllowed, 0);
  carried.carried = {.packets_in = 1, .packets_out = 2, .bytes_in = 30, .bytes_out = 40, .goes_on = true};
  const Counts once{
      .flows = 1, .live = 1, .packets_in = 1, .packets_out = 2, .bytes_in = 30, .bytes_out = 40};
  add(aggregator, carried);
  ASSERT_EQ(aggregator.running().aggregates.size(), 1U);
  EXPECT_EQ(aggregator.running().aggregates.front().counts, once);
  aggregator.look_again();
  carried.carried->goes_on = false;
  add(aggregator, carried);
  const Counts twice{
      .flows = 1, .completed = 1, .packets_in = 2, .packets_out = 4, .bytes_in = 60, .bytes_out = 80};
  EXPECT_EQ(aggregator.running().aggregates.front().counts, twice);

  Aggregator next({});
  carried.carried = Carried{};
  add(next, carried);
  EXPECT_TRUE(next.running().aggregates.empty()) << "of one that is idle alone there is nothing to tell";
}

// Whatever comes, nothing is lost: what has no key is among the others.
TEST_F(Sums, AreExactWhateverTheBound) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
  for (const std::size_t most : {std::size_t{1}, std::size_t{10}, std::size_t{100'000}}) {
    Aggregator aggregator({}, most);
    Counts want, got;
    const auto sum_up = [&](const Aggregator::Window& window) {
      for (const auto& one : window.aggregates) got += one.counts;
      got += window.others;
      EXPECT_LE(window.aggregates.size(), most);
    };
    for (int i = 0; i < 5'000; ++i) {
      const bool allowed = upto(3) != 0;
      const auto size = static_cast<std::uint32_t>(40 + upto(1400));
      add(aggregator, event(upto(12), upto(3), static_cast<std::uint16_t>(upto(50)),
                            allowed ? Reason::kAllowed : Reason::kPolicy, size));
      want += allowed ? Counts{.flows = 1} : Counts{.refused = 1, .refused_bytes = size};
      if (upto(1000) == 0) {
        aggregator.turn(Moment(std::chrono::seconds(i)));
        sum_up(aggregator.last());
      }
    }
    sum_up(aggregator.running());
    EXPECT_EQ(got, want);
  }
}

}  // namespace
}  // namespace ocicat::flows
