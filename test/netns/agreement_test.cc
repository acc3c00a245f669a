// The same random policies and the same packets, put to all four that say what policy means: the evaluator,
// the decision tables in memory, and both datapaths in real kernels. All agree: about first packets, about what
// answers them, about ICMP errors, and about fragments.
#include <gtest/gtest.h>

#include "netns/agreement.h"
#include "test/support/for_seeds.h"

namespace ocicat::test {
namespace {

using policy::Direction;

constexpr int kSnapshots = 4;         // of a seed
constexpr std::size_t kPackets = 60;  // on each way, and what follows them

constexpr std::array kWays{Way{Place::kOutside, Place::kA}, Way{Place::kA, Place::kOutside},
                           Way{Place::kA, Place::kB}, Way{Place::kB, Place::kA}};

// At the edges of what policy says; between a and b these are the shapes alone.
std::vector<RawPacket> packets_for(Random& random, const Boundaries& boundaries, Way way) {
  const bool out = way.from != Place::kOutside;
  std::vector<RawPacket> packets;
  std::uint32_t token = 0;
  for (int tries = 0; packets.size() < kPackets && tries < 5'000; ++tries) {
    const auto family = random.percent(50) ? Family::kIpv4 : Family::kIpv6;
    const auto own = addresses_of(out ? way.from : way.to).of(family);
    const auto direction = out ? Direction::kEgress : Direction::kIngress;
    auto packet = random_boundary_packets(random, boundaries, own, direction, 1).front();
    if (!can_be_sent(packet, own)) continue;
    if (out && way.to != Place::kOutside) packet.destination = addresses_of(way.to).of(family);
    packets.push_back({.packet = packet, .token = ++token, .about = {}});
  }
  return packets;
}

TEST(Agreement, OfEvaluatorTablesNftablesAndEbpfAboutRandomPoliciesAndWhatFollowsAFirstPacket) {
  Four four;
  std::size_t passed = 0, asked = 0;
  for_seeds(1, [&](std::uint64_t seed) {
    Random random(seed);
    four.begin();
    for (int i = 0; i < kSnapshots; ++i) {
      const auto snapshot = snapshot_for_two(random, 10);
      const auto boundaries = boundaries_of(snapshot);
      const bool drops_invalid = random.percent(50);
      four.become(snapshot, drops_invalid);
      for (const auto way : kWays) {
        const auto phases_of = [&](const std::vector<RawPacket>& first) {
          return conversation(way.from, way.to, first, addresses_of);
        };
        const auto phases = phases_of(packets_for(random, boundaries, way));
        const auto answers = four.ask(phases);
        asked += answers.size();
        passed += static_cast<std::size_t>(
            std::ranges::count_if(answers, [](const auto& one) { return one.evaluator != 0; }));
        const auto found = first_disagreement(phases, answers);
        if (!found) continue;
        ADD_FAILURE() << found->text << (drops_invalid ? "" : "\nwhat is invalid is judged")
                      << "\nmade smaller: "
                      << smallest_case(four, snapshot, drops_invalid, phases_of({found->first}));
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
