// Every program over honest frames, the same cut off at every length, and the same with bits changed, while
// policy is random. Whatever comes: what passes can be read and may pass, and what does not is counted.
#include <map>
#include <set>

#include "bpf/random_frames.h"
#include "bpf/read_packet.h"
#include "bpf/workload_programs.h"
#include "netns/random_tables.h"
#include "policy/simulator.h"
#include "test/support/for_seeds.h"

namespace ocicat::test {
namespace {

using kernel::bpf::NetfilterHook;
using policy::Direction;
using policy::ProgramId;
using policy::Verdict;

constexpr std::size_t kFrames = 160;  // honest ones, of a seed
constexpr int kMutations = 12;        // of each
constexpr std::size_t kCounters = bpf::COUNTERS_MAX;
using Counters = std::array<std::uint64_t, kCounters>;

enum class Place { kFromA, kFromB, kToA, kToB, kHostToA, kNetwork, kInput, kForward, kOutput, kDriver };
constexpr std::array kPlaces{Place::kFromA,   Place::kFromB, Place::kToA,     Place::kToB,    Place::kHostToA,
                             Place::kNetwork, Place::kInput, Place::kForward, Place::kOutput, Place::kDriver};

// Chains of the host endpoint, which has all interfaces.
constexpr policy::ChainId kIn{1}, kOut{2}, kUntrackedIn{3}, kUntrackedOut{4};

// What has passed at one workload, or at the host, since the maps were empty.
struct Passed {
  std::set<Flow> flows;
  std::set<Flow> of_host;  // those that the host itself began, which policy is not asked about
  // Where what follows their headers begins, at the least.
  std::map<std::tuple<bool, IpAddress, IpAddress, std::uint32_t, Protocol>, std::size_t> first_fragments;
};

class RandomFrames : public WorkloadPrograms {
 protected:
  RandomFrames() {
    HostEndpointState everywhere{.id = 3, .interface_name = "*"};
    using enum policy::ChainKind;
    for (auto& chains : everywhere.chains) {
      for (const auto kind : {kNormal, kForward}) {
        chains[policy::index_of({kind, Direction::kIngress})] = kIn;
        chains[policy::index_of({kind, Direction::kEgress})] = kOut;
      }
      chains[policy::index_of({kUntracked, Direction::kIngress})] = kUntrackedIn;
      chains[policy::index_of({kUntracked, Direction::kEgress})] = kUntrackedOut;
    }
    HostState state;
    auto changes = first_state(1);
    changes.apply_to(state);
    before_ = state.tables;
    changes = {};
    changes.host_endpoints.update({Kind::kHostEndpoint, "", "all"}, everywhere);
    add_pod(changes, "a", a_, ProgramId{1}, ProgramId{2});
    add_pod(changes, "b", b_, ProgramId{3}, ProgramId{4});
    change(changes);
    for (const auto* name : {"from_workload", "to_workload", "from_network", "at_driver"}) {
      auto program = kernel::bpf::open_pin(pins_.path() / "programs" / name);
      CHECK(program);
      programs_.emplace(name, std::move(*program));
    }
    bed_.host().run([&] {
      shell("ip link set uplink address ee:ee:ee:ee:ee:ee");  // whom the frames are for
      for (const auto* name : {"calia", "calib", "uplink"})
        interfaces_.emplace(name, static_cast<int>(::if_nametoindex(name)));
    });
  }

  // Another policy, and empty maps.
  void begin(Random& random) {
    RandomTablesOptions options;
    options.chains = policy::ChainId{4};
    for (const auto text : {kA4, kB4, kFar4, kHost4, kA6, kB6, kFar6})
      options.peers.push_back(*IpAddress::parse(text));
    options.nets = {*Prefix::parse("10.65.0.0/16"), *Prefix::parse("0.0.0.0/0"),
                    *Prefix::parse("fd00:65::/64"), *Prefix::parse("::/0")};
    auto tables = random_tables(random, options);
    HostChanges changes;
    changes.tables = changes_between(before_, tables);
    before_ = std::move(tables);
    change(changes);
    pins_.forget_connections();
    passed_.clear();
  }

  bool allows(ProgramId program, const IpAddress& peer, const policy::Packet& packet) const {
    return policy::Simulator(before_).lookup(program, peer, packet).verdict == Verdict::kAllow;
  }
  Verdict says(policy::ChainId chain, const policy::Packet& packet) const {
    const bool inward = chain == kIn || chain == kUntrackedIn;
    const auto &own = inward ? packet.destination : packet.source,
               &peer = inward ? packet.source : packet.destination;
    return policy::Simulator(before_).lookup(chain, own, peer, packet).verdict;
  }

  // Nothing: the kernel does not run programs over that.
  std::optional<int> run_at(Place place, const Bytes& frame) const {
    const auto skb = [&](const char* program, const char* at, const char* came_in_by) -> std::optional<int> {
      const auto done = kernel::bpf::run(programs_.at(program).get(), frame, interfaces_.at(at),
                                         came_in_by == nullptr ? 0 : interfaces_.at(came_in_by));
      if (!done) return std::nullopt;
      return done->answer;
    };
    const auto hook = [&](NetfilterHook at) -> std::optional<int> {
      const auto done = pins_.run_at_host(at, std::span(frame).subspan(14));
      if (!done) return std::nullopt;
      return *done ? kPass : kDrop;
    };
    switch (place) {
      case Place::kFromA:
        return skb("from_workload", "calia", "calia");
      case Place::kFromB:
        return skb("from_workload", "calib", "calib");
      case Place::kToA:
        return skb("to_workload", "calia", "uplink");
      case Place::kToB:
        return skb("to_workload", "calib", "uplink");
      case Place::kHostToA:
        return skb("to_workload", "calia", nullptr);
      case Place::kNetwork:
        return skb("from_network", "uplink", "uplink");
      case Place::kInput:
        return hook(NetfilterHook::kInput);
      case Place::kForward:
        return hook(NetfilterHook::kForward);
      case Place::kOutput:
        return hook(NetfilterHook::kOutput);
      case Place::kDriver: {
        const auto done = kernel::bpf::run_in_driver(programs_.at("at_driver").get(), frame);
        if (!done) return std::nullopt;
        return *done == 2 ? kPass : kDrop;  // XDP_PASS
      }
    }
    return std::nullopt;
  }

  // Whether what a connection's packet claims has been let through before, as its sender or its receiver.
  static bool is_known(const Passed& passed, const Flow& flow) {
    return passed.flows.contains(flow) || passed.flows.contains(reversed(flow));
  }
  static bool is_of_known(const Passed& passed, const Reading& reading) {
    if (reading.is_error) return reading.about && is_known(passed, *reading.about);
    constexpr std::uint8_t kAsked = kSyn | kFin | kRst | kAck;
    if ((reading.tcp_flags & kAsked) == kSyn) return false;
    return passed.flows.contains(reversed(reading.flow));
  }
  static auto fragment_of(const Reading& reading, bool from) {
    const bool v4 = reading.packet.source.is_v4();
    return std::tuple{from, reading.packet.source, reading.packet.destination, reading.fragment_id,
                      v4 ? reading.packet.protocol : Protocol{0}};
  }

  // Why the packet must not pass at a workload's interface; nullptr: it may.
  const char* refused_at_workload(Place place, const std::optional<Reading>& reading) {
    const bool at_a = place == Place::kFromA || place == Place::kToA;
    const bool from = place == Place::kFromA || place == Place::kFromB;
    const auto& workload = at_a ? a_ : b_;
    if (!reading) return "it cannot be read";
    if (from && is_discovery(*reading)) return nullptr;
    const auto& packet = reading->packet;
    if ((from ? packet.source : packet.destination) != workload.address(packet.source.family()))
      return "the address is not the workload's";
    auto& passed = passed_[at_a ? "a" : "b"];
    if (reading->part == Reading::Part::kLater) {
      const auto first = passed.first_fragments.find(fragment_of(*reading, from));
      if (first == passed.first_fragments.end()) return "it follows no first fragment";
      return reading->begins < first->second ? "it begins before the end of the first one's headers"
                                             : nullptr;
    }
    if (is_of_known(passed, *reading) || passed.of_host.contains(reading->flow)) return nullptr;
    const ProgramId program{(at_a ? 1U : 3U) + (from ? 1U : 0U)};
    if (!reading->is_error && allows(program, from ? packet.destination : packet.source, packet))
      return nullptr;
    return "policy refuses it";
  }

  // Whether the host endpoint does, of what is forwarded.
  bool lets_begin(const Flow& flow) const {
    const auto& [protocol, source, source_port, destination, destination_port] = flow;
    policy::Packet first{source, destination, protocol, source_port, destination_port};
    if (protocol == kIcmp || protocol == kIcmpV6) {
      first.icmp_type = static_cast<std::uint8_t>(destination_port >> 8);
      first.icmp_code = static_cast<std::uint8_t>(destination_port & 0xff);
    }
    return says(kIn, first) != Verdict::kDeny && says(kOut, first) != Verdict::kDeny;
  }

  const char* refused_at_host(Place place, const std::optional<Reading>& reading) {
    if (!reading) return "it cannot be read";
    if (reading->part == Reading::Part::kLater) return "it is a later fragment";
    const auto& packet = reading->packet;
    const auto untracked = says(place == Place::kOutput ? kUntrackedOut : kUntrackedIn, packet);
    if (untracked == Verdict::kDeny) return "untracked policy refuses it";
    const bool in = place != Place::kOutput && untracked == Verdict::kNone, out = place != Place::kInput;
    if (untracked == Verdict::kAllow && place != Place::kForward) return nullptr;
    if (is_of_known(passed_["host"], *reading)) return nullptr;
    // Of a workload's connection that has passed before anybody asked here, it is known who began it. What has
    // been refused here its workload's interface knows as well: errors about it are no way past that.
    const bool is_error_of_any = reading->is_error && is_of_any(*reading);
    if (is_error_of_any && place == Place::kForward && untracked == Verdict::kNone) {
      const bool either = lets_begin(*reading->about) || lets_begin(reversed(*reading->about));
      return either ? nullptr : "policy refuses the connection that it is about";
    }
    if (is_of_any(*reading) && !(is_error_of_any && place == Place::kForward)) return nullptr;
    const char* refused = refused_as_first(packet, in, out);
    const bool may_be_older = (reading->tcp_flags & kAck) != 0 && untracked == Verdict::kNone;
    if (refused == nullptr || !may_be_older) return refused;
    // Of a TCP connection, or SCTP's, that is older than the programs, either end may have begun it. What the other
    // end may have begun this packet answers, and answers are asked about nowhere else.
    auto back = packet;
    std::swap(back.source, back.destination);
    std::swap(back.source_port, back.destination_port);
    answers_ = refused_as_first(back, out, in) == nullptr;
    return answers_ ? nullptr : refused;
  }
  const char* refused_as_first(const policy::Packet& packet, bool in, bool out) const {
    if (in && says(kIn, packet) == Verdict::kDeny) return "policy refuses it coming in";
    if (out && says(kOut, packet) == Verdict::kDeny) return "policy refuses it going out";
    return nullptr;
  }

  void note(Place place, const Reading& reading) {
    const bool at_a = place == Place::kFromA || place == Place::kToA || place == Place::kHostToA;
    const bool at_host = place >= Place::kInput;
    auto& passed = passed_[at_host ? "host" : at_a ? "a" : "b"];
    if (reading.part == Reading::Part::kLater) return;
    if (reading.part == Reading::Part::kFirst) {
      const auto fragment = fragment_of(reading, place == Place::kFromA || place == Place::kFromB);
      auto& begins = passed.first_fragments.emplace(fragment, reading.begins).first->second;
      begins = std::min(begins, reading.begins);
    }
    if (reading.is_error) return;
    passed.flows.insert(reading.flow);
    if (answers_) passed.flows.insert(reversed(reading.flow));
    if (place == Place::kHostToA) passed.of_host.insert(reading.flow);
  }

  // One frame at one place, and what has to hold of it.
  void check(Place place, const Bytes& frame) {
    const auto before = fates();
    const auto answer = run_at(place, frame);
    if (!answer) return;
    const auto after = fates();
    ++runs_;
    std::uint64_t counted = 0, dropped = 0, unread = 0;
    for (std::size_t i = 0; i < kCounters; ++i) {
      const auto more = after[i] - before[i];
      const bool is_drop = (i >= bpf::DROP_MALFORMED && i <= bpf::DROP_CHANGING) ||
                           i == bpf::DROP_NO_WAY_BACK || i == bpf::DROP_NO_ROUTE;
      if (i == bpf::COUNT_FORWARDED || is_drop) counted += more;
      if (is_drop) dropped += more;
      if (i == bpf::DROP_MALFORMED || i == bpf::DROP_NOT_IP) unread += more;
    }
    drops_ += dropped;
    // What is answered goes back as what tells its sender that it is refused.
    const bool passes = *answer != kDrop && after[bpf::COUNT_ANSWERED] == before[bpf::COUNT_ANSWERED];
    const bool at_netfilter = place >= Place::kInput && place <= Place::kOutput;
    const unsigned type = static_cast<unsigned>(frame[12]) << 8 | frame[13];
    bool six = type == 0x86dd;
    if (at_netfilter) six = frame[14] >> 4 == 6;
    const bool is_ip = at_netfilter || six || type == 0x0800;
    const auto reading =
        is_ip ? read_packet(std::span(frame).subspan(14), six ? Family::kIpv6 : Family::kIpv4) : std::nullopt;
    const auto where = fmt::format("place {}, frame {}", static_cast<int>(place), in_hex(frame));
    EXPECT_EQ(dropped, passes ? 0U : 1U) << "each drop has one reason: " << where;
    const char* refused = nullptr;
    bool counts = true;  // as one packet
    answers_ = false;
    switch (place) {
      case Place::kHostToA:  // a host may always reach its own
        counts = false;
        break;
      case Place::kNetwork:
        EXPECT_EQ(counted, *answer == kPass ? 0U : 1U) << where;
        if (*answer != kPass && *answer != kDrop && (!reading || !is_of_any(*reading)))
          refused = "nobody knows it";
        counts = false;
        break;
      case Place::kDriver:
        EXPECT_EQ(!passes, reading && reading->part == Reading::Part::kWhole &&
                               says(kUntrackedIn, reading->packet) == Verdict::kDeny)
            << where;
        counts = false;
        break;
      case Place::kInput:
      case Place::kForward:
      case Place::kOutput:
        refused = refused_at_host(place, reading);
        break;
      default:
        if (type == 0x0806) return;
        refused = refused_at_workload(place, reading);
        counts = !reading || !is_discovery(*reading);
        EXPECT_EQ(unread == 1, !reading) << "what can be read is: " << where;
    }
    if (counts) {
      EXPECT_EQ(counted, 1U) << where;
    }
    EXPECT_LE(counted, 1U) << where;
    EXPECT_FALSE(passes && refused != nullptr) << refused << ": " << where;
    if (passes && reading && place != Place::kDriver && place != Place::kNetwork) note(place, *reading);
  }
  // Of a connection of a workload.
  bool is_of_any(const Reading& reading) {
    if (reading.is_error && !reading.about) return false;
    const auto& flow = reading.is_error ? *reading.about : reading.flow;
    return is_known(passed_["a"], flow) || is_known(passed_["b"], flow);
  }

  void expect_maps_within_bounds() {
    std::set<Flow> flows;
    std::size_t firsts = 0;
    for (const auto* workload : {"a", "b"}) {
      for (const auto& flow : passed_[workload].flows) flows.insert(std::min(flow, reversed(flow)));
      firsts += passed_[workload].first_fragments.size();
    }
    const auto there = noted();
    EXPECT_LE(there.connections, flows.size() + passed_["host"].flows.size());
    EXPECT_LE(there.fragments, firsts_before_ + firsts);
    firsts_before_ += firsts;
  }

  Counters fates() const {
    const auto all = counters();
    Counters result{};
    std::ranges::copy(all, result.begin());
    return result;
  }
  static std::string in_hex(const Bytes& frame) { return fmt::format("{:02x}", fmt::join(frame, "")); }

  static constexpr int kPass = -1, kDrop = 2;
  policy::Tables before_;
  std::map<std::string, UniqueFd> programs_;
  std::map<std::string, int> interfaces_;
  std::map<std::string, Passed> passed_;
  // Whether the packet that is looked at is of a connection which its receiver has begun, for all that is known.
  bool answers_ = false;
  std::size_t firsts_before_ = 0;  // the map of fragments is never emptied
  std::uint64_t runs_ = 0, drops_ = 0;
};

TEST_F(RandomFrames, PassOnlyIfTheyCanBeReadAndMayPassAndAreCountedOnce) {
  for_seeds(1, [&](std::uint64_t seed) {
    Random random(seed);
    begin(random);
    const auto anywhere = [&] { return kPlaces[random.below(kPlaces.size())]; };
    bed_.host().run([&] {
      for (std::size_t i = 0; i < kFrames && !HasFailure(); ++i) {
        const auto frame = random_frame(random);
        for (const auto place : kPlaces) check(place, frame);
        for (auto size = frame.size() - 1; size >= 14; --size)
          check(anywhere(), cut(frame, size, random.percent(50)));
        for (int j = 0; j < kMutations; ++j) check(anywhere(), mutated(random, frame));
      }
    });
    expect_maps_within_bounds();
    return !HasFailure();
  });
  std::printf("%llu runs, %llu of them refused\n", static_cast<unsigned long long>(runs_),
              static_cast<unsigned long long>(drops_));
  EXPECT_GT(runs_, 5'000U);
  EXPECT_GT(drops_, 1'000U);
  EXPECT_LT(drops_, runs_ - 500);
}

}  // namespace
}  // namespace ocicat::test
