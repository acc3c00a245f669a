// The same random policies and the same packets, put to all four that say what policy means: the evaluator,
// the decision tables in memory, and both datapaths in real kernels. All agree.
#include <gtest/gtest.h>

#include <numeric>

#include "engine/engine.h"
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
constexpr std::size_t kPackets = 50;  // on each way

// Who sends to whom; outside is everybody else.
enum class Way { kOutsideToA, kAToOutside, kAToB, kBToA };
constexpr std::array kWays{Way::kOutsideToA, Way::kAToOutside, Way::kAToB, Way::kBToA};

struct Answers {
  bool evaluator = false, tables = false, nftables = false, ebpf = false;

  bool agree() const { return evaluator == tables && tables == nftables && nftables == ebpf; }
};

// A host with workloads a and b that one of the datapaths serves.
struct Kernel {
  explicit Kernel(Datapath datapath) : policy(bed, datapath) {}

  std::set<std::uint32_t> arriving(Way way, const std::vector<RawPacket>& packets) {
    policy.forget_connections();  // or one packet is another's reply
    auto& from = way == Way::kOutsideToA ? bed.outside() : way == Way::kBToA ? b : a;
    auto& to = way == Way::kAToOutside ? bed.outside() : way == Way::kAToB ? b : a;
    return bed.arriving(from, to, packets);
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
      // Which packets connection tracking calls odd is not asked here.
      HostChanges first;
      first.settings.emplace().drop_invalid = false;
      kernel->policy.start_anew();
      kernel->policy.apply(first);
      kernel->policy.resync();
    }
  }

  void become(const Snapshot& snapshot) {
    auto changes = engine_.update(ResourceChanges::between(snapshot_, snapshot));
    if (changes.settings) changes.settings->drop_invalid = false;
    snapshot_ = snapshot;
    changes.apply_to(state_);
    for (auto* kernel : {&nftables_, &ebpf_}) {
      kernel->policy.apply(changes);
      if (!kernel->policy.policy().in_step()) kernel->policy.resync();
    }
  }

  std::vector<Answers> ask(Way way, const std::vector<RawPacket>& packets) {
    const policy::Evaluator evaluator(snapshot_);
    const policy::Simulator simulator(state_.tables);
    const auto by_nftables = nftables_.arriving(way, packets), by_ebpf = ebpf_.arriving(way, packets);
    std::vector<Answers> answers;
    for (const auto& packet : packets) {
      Answers answer{true, true, by_nftables.contains(packet.token), by_ebpf.contains(packet.token)};
      const auto at = [&](const char* pod, Direction direction) {
        const auto& key = key_of(pod);
        answer.evaluator &= evaluator.evaluate(key, direction, packet.packet).verdict == Verdict::kAllow;
        answer.tables &= tables_allow(simulator, key, direction, packet.packet);
      };
      if (way == Way::kAToOutside || way == Way::kAToB) at("calia", Direction::kEgress);
      if (way == Way::kBToA) at("calib", Direction::kEgress);
      if (way == Way::kOutsideToA || way == Way::kBToA) at("calia", Direction::kIngress);
      if (way == Way::kAToB) at("calib", Direction::kIngress);
      answers.push_back(answer);
    }
    return answers;
  }

 private:
  const ResourceKey& key_of(const std::string& interface) const {
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
  std::vector<RawPacket> packets;
  std::uint32_t token = 0;
  for (int tries = 0; packets.size() < kPackets && tries < 5'000; ++tries) {
    const bool v4 = random.percent(50);
    const auto a = *IpAddress::parse(v4 ? "10.65.0.2" : "fd00:65::2");
    const auto b = *IpAddress::parse(v4 ? "10.65.0.3" : "fd00:65::3");
    const auto direction = way == Way::kOutsideToA ? Direction::kIngress : Direction::kEgress;
    auto packet =
        random_boundary_packets(random, boundaries, way == Way::kBToA ? b : a, direction, 1).front();
    if (!can_be_sent(packet, way == Way::kBToA ? b : a)) continue;
    if (way == Way::kAToB) packet.destination = b;
    if (way == Way::kBToA) packet.destination = a;
    packets.push_back({packet, 0x02, ++token});
  }
  return packets;
}

std::string text_of(const policy::Packet& packet, const Answers& answers) {
  const auto said = [](bool allowed) { return allowed ? "allows" : "denies"; };
  return fmt::format(
      "{} -> {} protocol {} ports {} {} icmp {}/{}: the evaluator {}, tables {}, nftables {}, eBPF {}",
      packet.source.to_string(), packet.destination.to_string(), packet.protocol, packet.source_port,
      packet.destination_port, packet.icmp_type, packet.icmp_code, said(answers.evaluator),
      said(answers.tables), said(answers.nftables), said(answers.ebpf));
}

// The fewest resources, beside a and b, at which they still disagree about the packet.
std::string smallest_case(Four& four, const Snapshot& snapshot, Way way, const RawPacket& packet) {
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
    four.become(with_ours(some));
    return !four.ask(way, {packet}).front().agree();
  };
  const auto left = shrink(others, disagree, 200);
  four.become(with_ours(left));
  std::string text = text_of(packet.packet, four.ask(way, {packet}).front());
  for (const auto& [key, resource] : with_ours(left))
    text += fmt::format("\n{}: {}", key.to_string(), describe(resource));
  return text;
}

TEST(Agreement, OfEvaluatorTablesNftablesAndEbpfAboutRandomPolicies) {
  Four four;
  std::size_t allowed = 0, asked = 0;
  for_seeds(1, [&](std::uint64_t seed) {
    Random random(seed);
    four.begin();
    for (int i = 0; i < kSnapshots; ++i) {
      const auto snapshot = snapshot_for_two(random);
      const auto boundaries = boundaries_of(snapshot);
      four.become(snapshot);
      for (const auto way : kWays) {
        const auto packets = packets_for(random, boundaries, way);
        const auto answers = four.ask(way, packets);
        for (std::size_t j = 0; j < packets.size(); ++j) {
          ++asked;
          allowed += answers[j].evaluator ? 1U : 0U;
          if (answers[j].agree()) continue;
          ADD_FAILURE() << text_of(packets[j].packet, answers[j])
                        << "\nmade smaller: " << smallest_case(four, snapshot, way, packets[j]);
          return false;
        }
      }
    }
    return true;
  });
  std::printf("%zu packets, %zu of them allowed\n", asked, allowed);
  EXPECT_GT(asked, kSnapshots * kPackets);
}

}  // namespace
}  // namespace ocicat::test
