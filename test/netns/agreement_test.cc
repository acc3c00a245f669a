// The same random policies and the same packets, put to all four that say what policy means: the evaluator,
// the decision tables in memory, and both datapaths in real kernels. All agree: about first packets, about what
// answers them, about ICMP errors, and about fragments.
#include <gtest/gtest.h>

#include <numeric>

#include "engine/engine.h"
#include "netns/conversation.h"
#include "netns/policy_of_host.h"
#include "policy/evaluator.h"
#include "policy/model.h"
#include "policy/simulator.h"
#include "test/support/boundary_packets.h"
#include "test/support/describe.h"
#include "test/support/for_seeds.h"
#include "test/support/random_snapshot.h"
#include "test/support/shrink.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using policy::Direction;
using policy::Snapshot;
using policy::Verdict;

constexpr int kSnapshots = 4;         // of a seed
constexpr std::size_t kPackets = 60;  // on each way, and what follows them

// Who sends first packets to whom; outside is everybody else.
struct Way {
  Place from, to;
};
constexpr std::array kWays{Way{Place::kOutside, Place::kA}, Way{Place::kA, Place::kOutside},
                           Way{Place::kA, Place::kB}, Way{Place::kB, Place::kA}};

Addresses addresses(Place place) {
  const auto both = [](const char* v4, const char* v6) {
    return Addresses{*IpAddress::parse(v4), *IpAddress::parse(v6)};
  };
  switch (place) {
    case Place::kA:
      return both("10.65.0.2", "fd00:65::2");
    case Place::kB:
      return both("10.65.0.3", "fd00:65::3");
    case Place::kOutside:
      return both("203.0.113.9", "2001:db8:9::9");
  }
  CHECK(false);
}

// Which parts of a packet may pass, or have arrived (parts_of()).
struct Answers {
  unsigned evaluator = 0, tables = 0, nftables = 0, ebpf = 0;
  Shape shape = Shape::kWhole;

  // Of what is judged by its first fragment, eBPF has none that comes before that; nftables keeps it.
  bool agree() const {
    return evaluator == tables && tables == nftables &&
           ebpf == (shape == Shape::kReversed ? evaluator & 1U : evaluator);
  }
};

// A host with workloads a and b that one of the datapaths serves.
struct Kernel {
  explicit Kernel(Datapath datapath) : policy(bed, datapath) {
    // Linux checks sums of UDP-Lite over IPv4 as if they were of UDP, and takes right ones for wrong.
    bed.host().run([] { shell("sysctl -qw net.netfilter.nf_conntrack_checksum=0"); });
  }

  Station& station(Place place) {
    return place == Place::kOutside ? bed.outside() : place == Place::kA ? a : b;
  }
  std::set<std::uint32_t> arriving(const Phase& phase) {
    return bed.arriving(station(phase.to), [&] {
      std::vector<Station::Bytes> packets;
      for (const auto& said : phase.said) std::ranges::move(bytes_of(said), std::back_inserter(packets));
      station(phase.from).send_past_rules(packets);
    });
  }

  Testbed bed;
  Station& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2");
  Station& b = bed.add_pod("b", "10.65.0.3", "fd00:65::3");
  PolicyOfHost policy;
};

// All four, at one state of policy.
class Four {
 public:
  // Without any resources, so that what follows depends on nothing that was before.
  void begin() {
    engine_ = Engine({.node = "host1", .dictionary = {}});
    snapshot_.clear();
    state_ = {};
    for (auto* kernel : {&nftables_, &ebpf_}) {
      HostChanges first;
      first.settings.emplace();
      kernel->policy.start_anew();
      kernel->policy.apply(first);
      kernel->policy.resync();
    }
  }

  // `drops_invalid`: what connection tracking calls invalid is dropped, rather than judged by itself.
  void become(const Snapshot& snapshot, bool drops_invalid) {
    auto changes = engine_.update(ResourceChanges::between(snapshot_, snapshot));
    if (!changes.settings && drops_invalid != drops_invalid_) changes.settings = state_.settings;
    drops_invalid_ = drops_invalid;
    if (changes.settings) changes.settings->drop_invalid = drops_invalid;
    snapshot_ = snapshot;
    changes.apply_to(state_);
    for (auto* kernel : {&nftables_, &ebpf_}) {
      kernel->policy.apply(changes);
      if (!kernel->policy.policy().in_step()) kernel->policy.resync();
    }
  }

  // Of all that is said, in order.
  std::vector<Answers> ask(const std::vector<Phase>& phases) {
    const policy::Evaluator evaluator(snapshot_);
    const policy::Simulator simulator(state_.tables);
    for (auto* kernel : {&nftables_, &ebpf_}) kernel->policy.forget_connections();
    Memory of_evaluator, of_tables;
    std::vector<Answers> all;
    for (const auto& phase : phases) {
      const auto by_nftables = nftables_.arriving(phase), by_ebpf = ebpf_.arriving(phase);
      const auto both_ends = [&](const auto& allows) {
        return [&](const policy::Packet& packet) {
          return (phase.from == Place::kOutside || allows(key_of(phase.from), Direction::kEgress, packet)) &&
                 (phase.to == Place::kOutside || allows(key_of(phase.to), Direction::kIngress, packet));
        };
      };
      const auto evaluates = both_ends([&](const auto& key, auto direction, const auto& packet) {
        return evaluator.evaluate(key, direction, packet).verdict == Verdict::kAllow;
      });
      const auto looks_up = both_ends([&](const auto& key, auto direction, const auto& packet) {
        return tables_allow(simulator, key, direction, packet);
      });
      for (const auto& said : phase.said) {
        const unsigned whole = all_parts_of(said);
        all.push_back({.evaluator = of_evaluator.passes(said, evaluates, drops_invalid_) ? whole : 0,
                       .tables = of_tables.passes(said, looks_up, drops_invalid_) ? whole : 0,
                       .nftables = parts_of(said, by_nftables),
                       .ebpf = parts_of(said, by_ebpf),
                       .shape = said.shape});
      }
    }
    return all;
  }

 private:
  const ResourceKey& key_of(Place place) const {
    const std::string_view interface = place == Place::kA ? "calia" : "calib";
    const auto found = std::ranges::find_if(
        state_.endpoints, [&](const auto& entry) { return entry.second.interface_name == interface; });
    CHECK(found != state_.endpoints.end());
    return found->first;
  }
  bool tables_allow(const policy::Simulator& simulator, const ResourceKey& key, Direction direction,
                    const policy::Packet& packet) const {
    const bool in = direction == Direction::kIngress;
    const auto &own = in ? packet.destination : packet.source,
               &peer = in ? packet.source : packet.destination;
    const auto& addresses = state_.endpoints.at(key).addresses;
    const auto programs = std::ranges::find(addresses, own, &AddressPrograms::address);
    if (programs == addresses.end()) return false;
    const auto program = in ? programs->ingress : programs->egress;
    return simulator.lookup(program, peer, packet).verdict == Verdict::kAllow;
  }

  Kernel nftables_{Datapath::kNftables}, ebpf_{Datapath::kEbpf};
  Engine engine_{{.node = "host1", .dictionary = {}}};
  Snapshot snapshot_;
  HostState state_;
  bool drops_invalid_ = true;
};

bool is_ours(const Resource& resource) {
  const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
  return endpoint != nullptr && endpoint->node == "host1";
}

// Of a policy whose selector cannot be read, the last version that could be stays in force: what it means depends
// on what it was, which the evaluator does not know.
bool is_unreadable(const Resource& resource) {
  const auto* policy = std::get_if<NetworkPolicy>(&resource);
  return policy != nullptr && !policy::effective(*policy);
}

// What concerns workloads. Two of them are a and b here, with labels, ports and profiles as they came; all
// others are elsewhere.
Snapshot snapshot_for_two(Random& random) {
  auto snapshot = random_snapshot(random, {.policies = 10});
  constexpr std::array kLeftOut{Kind::kHostEndpoint, Kind::kFelixConfiguration, Kind::kNode, Kind::kIpPool,
                                Kind::kIpamBlock};
  std::erase_if(snapshot, [&](const auto& entry) {
    return std::ranges::find(kLeftOut, entry.first.kind) != kLeftOut.end() || is_unreadable(entry.second);
  });
  std::size_t number = 0;
  for (auto& [key, resource] : snapshot) {
    auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
    if (endpoint == nullptr) continue;
    endpoint->node = "host0";
    endpoint->allowed_source_prefixes.clear();
    if (number == 2) continue;
    endpoint->node = "host1";
    endpoint->interface_name = number == 0 ? "calia" : "calib";
    endpoint->addresses = {IpAddress::v4(0x0a410002U + static_cast<std::uint32_t>(number)),
                           *IpAddress::parse(number == 0 ? "fd00:65::2" : "fd00:65::3")};
    ++number;
  }
  if (number < 2) return snapshot_for_two(random);
  return snapshot;
}

// Whether both kernels carry such a packet as it is, between a workload and somebody outside.
bool can_be_sent(const policy::Packet& packet, const IpAddress& own) {
  static const std::vector<Prefix> kNowhere = [] {
    std::vector<Prefix> nets;
    for (const auto* text :
         {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24", "224.0.0.0/3", "10.65.0.2/31", "::/8",
          "fe80::/10", "ff00::/8", "2001:db8::/64", "fd00:65::2/127"})
      nets.push_back(*Prefix::parse(text));
    return nets;
  }();
  const auto& peer = packet.source == own ? packet.destination : packet.source;
  if (std::ranges::any_of(kNowhere, [&](const Prefix& net) { return net.contains(peer); })) return false;
  switch (packet.protocol) {
    case kTcp:
    case kUdp:
    case kSctp:
    case kUdpLite:
    case 47:
    case 99:
      return true;
    case kIcmp:
      return own.is_v4() && packet.icmp_type == 8;
    case kIcmpV6:
      return !own.is_v4() && packet.icmp_type == 128;
    default:
      return false;
  }
}

// At the edges of what policy says; between a and b these are the shapes alone.
std::vector<RawPacket> packets_for(Random& random, const Boundaries& boundaries, Way way) {
  const bool out = way.from != Place::kOutside;
  std::vector<RawPacket> packets;
  std::uint32_t token = 0;
  for (int tries = 0; packets.size() < kPackets && tries < 5'000; ++tries) {
    const auto family = random.percent(50) ? Family::kIpv4 : Family::kIpv6;
    const auto own = addresses(out ? way.from : way.to).of(family);
    const auto direction = out ? Direction::kEgress : Direction::kIngress;
    auto packet = random_boundary_packets(random, boundaries, own, direction, 1).front();
    if (!can_be_sent(packet, own)) continue;
    if (out && way.to != Place::kOutside) packet.destination = addresses(way.to).of(family);
    packets.push_back({.packet = packet, .token = ++token, .about = {}});
  }
  return packets;
}

std::string text_of(const Phase& phase, const Said& said, const Answers& answers) {
  const auto& packet = said.packet.packet;
  return fmt::format(
      "{}: {} -> {} protocol {} ports {} {} icmp {}/{}: the evaluator {}, tables {}, nftables {}, eBPF {}",
      phase.what, packet.source.to_string(), packet.destination.to_string(), packet.protocol,
      packet.source_port, packet.destination_port, packet.icmp_type, packet.icmp_code, answers.evaluator,
      answers.tables, answers.nftables, answers.ebpf);
}

// What they do not agree about, the first of it.
struct Disagreement {
  std::string text;
  RawPacket first;  // by which it began
};
std::optional<Disagreement> disagreement(Four& four, Way way, const std::vector<RawPacket>& first,
                                         std::size_t* asked = nullptr, std::size_t* passed = nullptr) {
  const auto phases = conversation(way.from, way.to, first, addresses);
  const auto answers = four.ask(phases);
  std::optional<Disagreement> found;
  auto answer = answers.begin();
  for (const auto& phase : phases) {
    for (const auto& said : phase.said) {
      if (asked != nullptr) ++*asked;
      if (passed != nullptr && answer->evaluator != 0) ++*passed;
      if (!found && !answer->agree()) {
        const auto begun = std::ranges::find(first, first_token_of(said), &RawPacket::token);
        found = {text_of(phase, said, *answer), *begun};
      }
      ++answer;
    }
  }
  return found;
}

// The fewest resources, beside a and b, at which they still disagree about what follows the packet.
std::string smallest_case(Four& four, const Snapshot& snapshot, bool drops_invalid, Way way,
                          const RawPacket& packet) {
  using Entry = std::pair<ResourceKey, Resource>;
  Snapshot ours;
  std::vector<Entry> others;
  for (const auto& [key, resource] : snapshot) {
    if (is_ours(resource)) ours.emplace(key, resource);
    if (!is_ours(resource)) others.emplace_back(key, resource);
  }
  const auto with_ours = [&](const std::vector<Entry>& some) {
    auto all = ours;
    all.insert(some.begin(), some.end());
    return all;
  };
  const auto disagree = [&](const std::vector<Entry>& some) {
    four.become(with_ours(some), drops_invalid);
    return disagreement(four, way, {packet}).has_value();
  };
  const auto left = shrink(others, disagree, 200);
  four.become(with_ours(left), drops_invalid);
  const auto still = disagreement(four, way, {packet});
  std::string text = still ? still->text : "(not when it is asked alone)";
  for (const auto& [key, resource] : with_ours(left))
    text += fmt::format("\n{}: {}", key.to_string(), describe(resource));
  return text;
}

TEST(Agreement, OfEvaluatorTablesNftablesAndEbpfAboutRandomPoliciesAndWhatFollowsAFirstPacket) {
  Four four;
  std::size_t passed = 0, asked = 0;
  for_seeds(1, [&](std::uint64_t seed) {
    Random random(seed);
    four.begin();
    for (int i = 0; i < kSnapshots; ++i) {
      const auto snapshot = snapshot_for_two(random);
      const auto boundaries = boundaries_of(snapshot);
      const bool drops_invalid = random.percent(50);
      four.become(snapshot, drops_invalid);
      for (const auto way : kWays) {
        const auto packets = packets_for(random, boundaries, way);
        const auto found = disagreement(four, way, packets, &asked, &passed);
        if (!found) continue;
        ADD_FAILURE() << found->text << (drops_invalid ? "" : "\nwhat is invalid is judged")
                      << "\nmade smaller: "
                      << smallest_case(four, snapshot, drops_invalid, way, found->first);
        return false;
      }
    }
    return true;
  });
  std::printf("%zu packets, %zu of them may pass\n", asked, passed);
  EXPECT_GE(asked, kSnapshots * kPackets);
}

}  // namespace
}  // namespace ocicat::test
