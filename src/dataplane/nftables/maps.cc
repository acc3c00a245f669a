#include "dataplane/nftables/maps.h"

#include "dataplane/edges/edges.h"

namespace ocicat::dataplane {
namespace {

// Datatypes of the `nft` command, for whoever lists the table; a concatenation packs six bits each.
constexpr std::uint32_t kInteger = 4, kAddress4 = 7, kAddress6 = 8, kNumber = 19, kName = 41;
constexpr std::uint32_t both(std::uint32_t first, std::uint32_t second) {
  return first << 6 | second;
}

using kernel::nft::Set;

const std::array<Set, kMapCount>& sets() {
  static const std::array<Set, kMapCount> all{
      Set{"cells", kInteger, 12, 16, false, true},
      Set{"programs", kNumber, 4, 12, false, false},
      Set{"tables", both(kNumber, kNumber), 8, 8, false, false},
      Set{"projections", both(kNumber, kNumber), 8, 4, false, false},
      Set{"step", kNumber, 4, 8, false, false},
      Set{"steps", kNumber, 4, 0, false, false},
      Set{"dictionary", kInteger, 20, 4, false, false},
      Set{"ranges4", kInteger, 8, 4, false, true},
      Set{"ranges6", kInteger, 20, 16, false, true},
      Set{"nets4", both(kNumber, kAddress4), 8, 4, false, false},
      Set{"nets6", both(kNumber, kAddress6), 20, 4, false, false},
      Set{"answers", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_ingress4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_ingress6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_egress4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_egress6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"classes4", kAddress4, 4, 8, false, false},
      Set{"classes6", kAddress6, 16, 8, false, false},
      Set{"interfaces", kName, 16, 0, false, false},
      Set{"ingress4", both(kName, kAddress4), 20, 8, false, false},
      Set{"ingress6", both(kName, kAddress6), 32, 8, false, false},
      Set{"egress4", both(kName, kAddress4), 20, 8, false, false},
      Set{"egress6", both(kName, kAddress6), 32, 8, false, false},
      Set{"host_interfaces", kName, 16, 8, false, false},
      Set{"host_chains", both(kNumber, kNumber), 8, 12, false, false},
      Set{"chain_programs", both(kNumber, kNumber), 8, 8, false, false},
      Set{"sources4", kInteger, 20, 0, false, true},
      Set{"sources6", kInteger, 32, 0, false, true},
      Set{"source_chains4", kName, 16, 12, false, false},
      Set{"source_chains6", kName, 16, 12, false, false},
      hosts_set(Family::kIpv4),
      hosts_set(Family::kIpv6),
      Set{"answers_quiet", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_untracked", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_prednat", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_normal_in4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_normal_out4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_forward_in4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_forward_out4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_untracked_in4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_untracked_out4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_prednat_in4", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_normal_in6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_normal_out6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_forward_in6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_forward_out6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_untracked_in6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_untracked_out6", both(kNumber, kNumber), 8, 0, true, false},
      Set{"answers_prednat_in6", both(kNumber, kNumber), 8, 0, true, false},
  };
  return all;
}

}  // namespace

const Set& set_of(Map map) {
  return sets()[static_cast<std::size_t>(map)];
}
std::span<const Set> all_maps() {
  return sets();
}

Map programs_map(policy::Direction direction, Family family) {
  const bool v4 = family == Family::kIpv4;
  if (direction == policy::Direction::kIngress) return v4 ? Map::kIngress4 : Map::kIngress6;
  return v4 ? Map::kEgress4 : Map::kEgress6;
}

Map answers_map(policy::Direction direction, Family family) {
  const bool v4 = family == Family::kIpv4;
  if (direction == policy::Direction::kIngress) return v4 ? Map::kAnswersIngress4 : Map::kAnswersIngress6;
  return v4 ? Map::kAnswersEgress4 : Map::kAnswersEgress6;
}

Map answers_map(policy::Hook hook, Family family) {
  const auto first = static_cast<std::size_t>(Map::kHostAnswers);
  return static_cast<Map>(first + index_of(hook) + (family == Family::kIpv4 ? 0 : policy::kHooks.size()));
}

Ending ending_of(policy::Hook hook) {
  switch (hook.chain) {
    case policy::ChainKind::kNormal:
      return hook.direction == policy::Direction::kIngress ? Ending::kFilter : Ending::kQuiet;
    case policy::ChainKind::kForward:
      break;
    case policy::ChainKind::kUntracked:
      return Ending::kUntracked;
    case policy::ChainKind::kPreDnat:
      return Ending::kPreDnat;
  }
  return Ending::kFilter;
}

Map answers_map(Ending ending) {
  switch (ending) {
    case Ending::kFilter:
      break;
    case Ending::kQuiet:
      return Map::kAnswersQuiet;
    case Ending::kUntracked:
      return Map::kAnswersUntracked;
    case Ending::kPreDnat:
      return Map::kAnswersPreDnat;
  }
  return Map::kAnswers;
}

Map classes_map(Family family) {
  return family == Family::kIpv4 ? Map::kClasses4 : Map::kClasses6;
}
Map ranges_map(Family family) {
  return family == Family::kIpv4 ? Map::kRanges4 : Map::kRanges6;
}
Map nets_map(Family family) {
  return family == Family::kIpv4 ? Map::kNets4 : Map::kNets6;
}
Map sources_map(Family family) {
  return family == Family::kIpv4 ? Map::kSources4 : Map::kSources6;
}
Map source_chains_map(Family family) {
  return family == Family::kIpv4 ? Map::kSourceChains4 : Map::kSourceChains6;
}
Map hosts_map(Family family) {
  return family == Family::kIpv4 ? Map::kHosts4 : Map::kHosts6;
}

}  // namespace ocicat::dataplane
