// The same four as in agreement_test.cc, where the host has host endpoints: about what is for the host, what it sends,
// also to itself, and what it forwards, and about answers and ICMP errors.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "netns/agreement.h"
#include "test/support/for_seeds.h"
#include "test/support/random_snapshot.h"

namespace ocicat::test {
namespace {

using policy::Direction;
using policy::Snapshot;

constexpr int kSeeds = 12;            // at most: one or two will do
constexpr int kSnapshots = 6;         // of a seed
constexpr std::size_t kPackets = 40;  // on each way, and what follows them

constexpr std::array kWays{Way{Place::kOutside, Place::kHost}, Way{Place::kHost, Place::kOutside},
                           Way{Place::kOutside, Place::kA},    Way{Place::kA, Place::kOutside},
                           Way{Place::kA, Place::kHost},       Way{Place::kHost, Place::kA},
                           Way{Place::kA, Place::kB},          Way{Place::kHost, Place::kHost}};

// By which failsafe ports packets come through that tell when all others have (host_ear.h, testbed.h).
constexpr const char* kMarkers = "udp:9";

// Who has the uplink, and who all else.
void add_host_endpoints(Random& random, Snapshot& snapshot, Four::Census& census) {
  const auto add = [&](const char* name, const char* interface) {
    auto endpoint = random_host_endpoint(random);
    endpoint.metadata.name = name;
    endpoint.node = "host1";
    endpoint.interface_name = interface;
    endpoint.expected_addresses = {addresses_of(Place::kHost).v4, addresses_of(Place::kHost).v6};
    snapshot.emplace(ResourceKey{Kind::kHostEndpoint, "", name}, std::move(endpoint));
    ++census[fmt::format("{} at \"{}\"", name, interface)];
  };
  const bool edge = random.percent(75);
  if (edge) add("edge", random.percent(50) ? "uplink" : "");
  if (edge && random.percent(25)) add("later", random.percent(50) ? "uplink" : "");  // in vain
  if (!edge || random.percent(40)) add("rest", "*");
}

void add_configuration(Random& random, Snapshot& snapshot) {
  static const std::vector<std::string> kFailsafes{"", ",tcp:80,udp:81", ",sctp:80,22",
                                                   ",tcp:203.0.113.0/24:8080", ",tcp:[2000::/3]:80"};
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values["failsafeInboundHostPorts"] = kMarkers + random.pick(kFailsafes);
  configuration.values["failsafeOutboundHostPorts"] = kMarkers + random.pick(kFailsafes);
  configuration.values["defaultEndpointToHostAction"] = random.percent(70) ? "Accept" : "Drop";
  snapshot.emplace(ResourceKey{Kind::kFelixConfiguration, "", "default"}, std::move(configuration));
}

// Of the kinds that count at host endpoints alone there are as many as of others.
constexpr std::size_t kChains = 5;
void set_chain(NetworkPolicy& policy, std::size_t chain) {
  policy.apply_on_forward = chain > 0;
  policy.do_not_track = chain == 2;
  policy.pre_dnat = chain == 3;
}

// Those of a snapshot seldom select a host endpoint, and say much about few packets. These say little about many.
void add_broad_policies(Random& random, Snapshot& snapshot) {
  static const std::vector<Protocol> kProtocols{kTcp, kUdp, kSctp, kUdpLite, 99};
  for (std::size_t i = 0; i < kChains; ++i) {
    if (random.percent(40)) continue;
    NetworkPolicy policy;
    policy.kind = Kind::kGlobalNetworkPolicy;
    policy.metadata.name = fmt::format("broad{}", i);
    policy.tier = "default";
    policy.order = 1;
    policy.selector = random.percent(50) ? "all()" : "!has(projectcalico.org/orchestrator)";
    policy.applies_to_ingress = policy.applies_to_egress = true;
    set_chain(policy, i);
    for (auto* rules : {&policy.ingress, &policy.egress}) {
      for (std::size_t n = random.below(4); n > 0; --n) {
        auto& rule = rules->emplace_back();
        rule.action = random.percent(50) ? Action::kAllow : Action::kDeny;
        rule.protocol = ProtocolMatch{random.pick(kProtocols), false};
      }
    }
    snapshot.emplace(ResourceKey{policy.kind, "", policy.metadata.name}, std::move(policy));
  }
}

Snapshot snapshot_with_host_endpoints(Random& random, Four::Census& census) {
  auto snapshot = snapshot_for_two(random, 20);
  for (auto& [key, resource] : snapshot) {
    if (key.kind == Kind::kGlobalNetworkPolicy)
      set_chain(std::get<NetworkPolicy>(resource), random.below(kChains));
  }
  add_broad_policies(random, snapshot);
  add_host_endpoints(random, snapshot, census);
  add_configuration(random, snapshot);
  return snapshot;
}

bool is_answer(const policy::Packet& one, const policy::Packet& other) {
  return one.protocol == other.protocol && one.source_port == other.destination_port &&
         one.destination_port == other.source_port;
}

// Of one family: who listens at the host does so by family.
std::vector<RawPacket> packets_for(Random& random, const Boundaries& boundaries, Way way, Family family) {
  const bool out = way.from != Place::kOutside;
  const auto own = addresses_of(out ? way.from : way.to).of(family);
  std::vector<RawPacket> packets;
  std::uint32_t token = 0;
  for (int tries = 0; packets.size() < kPackets && tries < 5'000; ++tries) {
    auto packet =
        random_boundary_packets(random, boundaries, own, out ? Direction::kEgress : Direction::kIngress, 1)
            .front();
    // Nobody listens to GRE at the host (host_ear.cc).
    if (packet.source.family() != family || packet.protocol == 47 || !can_be_sent(packet, own)) continue;
    if (out && way.to != Place::kOutside) packet.destination = addresses_of(way.to).of(family);
    // What a host says to itself must not answer what it has said before.
    if (way.from == way.to &&
        std::ranges::any_of(packets, [&](const RawPacket& other) { return is_answer(other.packet, packet); }))
      continue;
    packets.push_back({.packet = packet, .token = ++token, .about = {}});
  }
  return packets;
}

// All of it whole: fragments are put together before host endpoints are asked (test/e2e/test_fragments.py).
std::vector<Phase> whole_conversation(Way way, const std::vector<RawPacket>& first) {
  std::vector<Phase> phases{{"first packet", way.from, way.to, {}}};
  for (auto& phase : conversation(way.from, way.to, first, addresses_of)) {
    for (auto& said : phase.said) said.shape = Shape::kWhole;
    if (phase.what.starts_with("first packet"))
      std::ranges::move(phase.said, std::back_inserter(phases.front().said));
    else
      phases.push_back(std::move(phase));
  }
  return phases;
}

// What a run has to have seen, or it shows little.
std::vector<std::string> all_kinds() {
  std::vector<std::string> kinds{"edge at \"uplink\"", "edge at \"\"", "rest at \"*\""};
  for (const auto* family : {"IPv4", "IPv6"}) {
    const auto add = [&](const char* chain, std::initializer_list<const char*> directions,
                         std::initializer_list<const char*> verdicts) {
      for (const auto* direction : directions) {
        for (const auto* verdict : verdicts)
          kinds.push_back(fmt::format("{} {} {}: {}", chain, direction, family, verdict));
      }
    };
    add("normal", {"ingress", "egress"}, {"allow", "deny", "allow by failsafe port"});
    add("forward", {"ingress", "egress"}, {"allow", "deny", "none"});
    add("untracked", {"ingress", "egress"}, {"allow", "deny", "none", "none by failsafe port"});
    add("preDNAT", {"ingress"}, {"allow", "deny", "none", "none by failsafe port"});
    add("workload", {"ingress", "egress"}, {"allow", "deny"});
  }
  for (const auto way : kWays) {
    const bool may_end = way.from != Place::kHost || way.to != Place::kA;
    const auto there = fmt::format("from {} to {}", name_of(way.from), name_of(way.to)),
               back = fmt::format("from {} to {}", name_of(way.to), name_of(way.from));
    kinds.push_back(fmt::format("first packet {}: passes", there));
    if (may_end) kinds.push_back(fmt::format("first packet {}: ends", there));
    kinds.push_back(fmt::format("answer {}: passes", back));
    kinds.push_back(fmt::format("error {}: passes", back));
  }
  return kinds;
}

std::vector<std::string> missing_in(const Four::Census& census) {
  auto missing = all_kinds();
  std::erase_if(missing, [&](const auto& kind) { return census.contains(kind); });
  return missing;
}

TEST(HostAgreement, OfEvaluatorTablesNftablesAndEbpfAboutRandomPoliciesOfHostEndpoints) {
  Four four;
  Four::Census census;
  const bool for_long = std::getenv("OCICAT_PROPERTY_SECONDS") != nullptr;
  for_seeds(kSeeds, [&](std::uint64_t seed) {
    if (!for_long && missing_in(census).empty()) return true;
    Random random(seed);
    four.begin();
    for (int i = 0; i < kSnapshots; ++i) {
      const auto snapshot = snapshot_with_host_endpoints(random, census);
      const auto boundaries = boundaries_of(snapshot);
      const bool drops_invalid = random.percent(50);
      four.become(snapshot, drops_invalid);
      for (const auto way : kWays) {
        for (const auto family : kFamilies) {
          const auto phases = whole_conversation(way, packets_for(random, boundaries, way, family));
          const auto found = first_disagreement(phases, four.ask(phases, &census));
          if (!found) continue;
          ADD_FAILURE() << found->text << (drops_invalid ? "" : "\nwhat is invalid is judged")
                        << "\nmade smaller: "
                        << smallest_case(four, snapshot, drops_invalid,
                                         whole_conversation(way, {found->first}));
          return false;
        }
      }
    }
    return true;
  });
  for (const auto& [what, times] : census) std::printf("%s: %zu\n", what.c_str(), times);
  if (!HasFailure() && !for_long) {
    EXPECT_EQ(missing_in(census), std::vector<std::string>());
  }
}

}  // namespace
}  // namespace ocicat::test
