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
#include "policy/tables.h"

namespace ocicat::dataplane {

// Those whose elements follow the HostState. One whose keys or data come to be others, or to mean something else, gets
// another name: after an upgrade it is filled beside the old one, and packets meet either of them whole.
enum class Map : std::uint8_t {
  kCells,     // (table . protocol . detail) interval → (0 . outcome or second table . 0 . answer), or a LogId
              // for the last two
  kPrograms,  // program → (0 . base table . vocabulary)
  kTables,    // (program . projection) → (0 . table); the catch-all says kNoTable
  kProjections,  // (vocabulary . class) → projection; the catch-all says 0, the empty one
  kStep,         // anything → (0 . number of the step)
  kSteps,        // the same number: what a rule has read may be judged by if this still holds
  kDictionary,   // (meaning . space) → id; no rule reads it
  kRanges4,  // (class . address) interval → net. Of kUnknownClass: the longest net there; all addresses are
             // in one. Of all classes: no net
  kRanges6,
  kNets4,  // (kUnknownClass . net) → its class; (class . no net) → the same class, of those that kClasses4
           // names. A net is written as net_key() says
  kNets6,
  // What answers lead to; verdict maps. The first is for second tables, which lead nowhere further.
  kAnswers,
  kAnswersIngress4,
  kAnswersIngress6,
  kAnswersEgress4,
  kAnswersEgress6,
  kClasses4,  // address → (class . class), to be read into either register; the catch-all says kUnknownClass
  kClasses6,
  kInterfaces,  // workloads' interfaces that no workload prefix matches
  kIngress4,    // (interface . own address) → (0 . program)
  kIngress6,
  kEgress4,
  kEgress6,
  kHostInterfaces,  // interface → (0 . host endpoint); the catch-all is that of "*", or 0
  kHostChains,      // (host endpoint . hook_number()) → (0 . chain . vocabulary of the own side); the
                    // catch-all says chain 0: nobody is asked
  kChainPrograms,   // (chain . projection of the own address) → (0 . program); projection 0: the base program
  kSources4,        // intervals of (interface . address): from where else a workload may send; a plain set
  kSources6,
  kSourceChains4,  // interface → (0 . chain . vocabulary of the own side), for what it sends from there
  kSourceChains6,
  kHosts4,  // addresses of the other hosts of the cluster; a plain set
  kHosts6,
  // What answers at host endpoints lead to, as above: of second tables, by how a chain may end; then of each
  // hook and family.
  kAnswersQuiet,
  kAnswersUntracked,
  kAnswersPreDnat,
  kHostAnswers,
};
inline constexpr std::size_t kHostWays = 2 * policy::kHooks.size();
inline constexpr std::size_t kMapCount = static_cast<std::size_t>(Map::kHostAnswers) + kHostWays;

const kernel::nft::Set& set_of(Map map);
std::span<const kernel::nft::Set> all_maps();
// A hook in one family, as a key.
constexpr std::uint32_t hook_number(Family family, policy::Hook hook) {
  return static_cast<std::uint32_t>(policy::index_of(hook)) | (family == Family::kIpv4 ? 0U : 8U);
}
Map programs_map(policy::Direction direction, Family family);
Map answers_map(policy::Direction direction, Family family);
Map answers_map(policy::Hook hook, Family family);

// What a chain may do with a packet that it does not let go on.
enum class Ending : std::uint8_t {
  kFilter,     // drop or reject
  kQuiet,      // drop: the kernel rejects nothing that leaves the host
  kUntracked,  // drop; what is allowed is not tracked and carries the mark
  kPreDnat,    // drop; what is allowed carries the mark
};
Ending ending_of(policy::Hook hook);
// Of second tables.
Map answers_map(Ending ending);
Map classes_map(Family family);
Map ranges_map(Family family);
Map nets_map(Family family);
Map sources_map(Family family);
Map source_chains_map(Family family);
Map hosts_map(Family family);

// What kClasses4 and kClasses6 answer for an address that is not in them. Never the id of a class, and beyond
// all of them.
inline constexpr std::uint32_t kUnknownClass = 0xffffffff;
// The table of those for whom a program has none: all its cells ask the base table.
inline constexpr policy::TableId kNoTable{0};

// The last two words of a cell are zero and one of these, or the id of a log chain.
enum class Answer : std::uint32_t {
  kAllow = 1,
  kDeny = 2,
  kSourcePorts = 3,  // the word before them is the table that decides by source port
  kAskBase = 4,      // the program's base table decides
  kNone = 5,         // the chain of a host endpoint has ended without an answer
};

}  // namespace ocicat::dataplane
