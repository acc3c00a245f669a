// The maps of table `inet ocicat`: the decision tables, as the kernel holds them.
//
//   order    every number in network order, so that interval maps are ordered as numbers are
//   design   docs/design/dataplane.md#maps
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/ip.h"
#include "kernel/nft.h"
#include "policy/verdict.h"

namespace ocicat::dataplane {

// Those whose elements follow the HostState.
enum class Map : std::uint8_t {
  kCells,        // (table . protocol . detail) interval → (0 . outcome or second table . answer)
  kPrograms,     // program → (0 . base table . vocabulary)
  kTables,       // (program . projection) → (0 . table)
  kProjections,  // (vocabulary . class) → projection
  kDictionary,   // (meaning . space) → id; no rule reads it
  kRanges4,      // address interval → class
  kRanges6,
  kClasses4,  // address → class; the catch-all says kUnknownClass
  kClasses6,
  kInterfaces,  // workloads' interfaces that no workload prefix matches
  kIngress4,    // (interface . own address) → (0 . program)
  kIngress6,
  kEgress4,
  kEgress6,
};
inline constexpr std::size_t kMapCount = 14;

const kernel::nft::Set& set_of(Map map);
std::span<const kernel::nft::Set> all_maps();
Map programs_map(policy::Direction direction, Family family);
Map classes_map(Family family);
Map ranges_map(Family family);

// What kClasses4 and kClasses6 answer for an address that is not in them. Never the id of a class.
inline constexpr std::uint32_t kUnknownClass = 0xffffffff;

// The last word of a cell.
enum class Answer : std::uint32_t {
  kAllow = 1,
  kDeny = 2,
  kLogAllow = 3,
  kLogDeny = 4,
  kSourcePorts = 5,  // the word before it is the table that decides by source port
};

}  // namespace ocicat::dataplane
