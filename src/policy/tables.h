// Decision tables: what ordered, tiered policy has become when it reaches a datapath.
//
// The lookup, the same in every datapath and in the simulator, for one direction of one endpoint:
//
//   1. program  = the endpoint's program for its own address and the direction; none: deny.
//      At a host endpoint whose side may have any address, by the hook's chain: projections[(chain's
//      vocabulary, class of the own address)], then chain_programs[(chain, projection)]; what is absent: the
//      chain's base program
//   2. class    = class of the peer address: exact host entry, else longest prefix, else class 0
//   3. projection = projections[(program's vocabulary, class)]; absent: 0, the empty projection
//   4. table    = tables_by_projection[(program, projection)]; absent: the program's base table
//   5. cell     = interval of `table` that holds the key; where it leads to source ports, the interval of
//      that second table; none: the same in the base table
//   6. outcome  = cell's outcome
//
// A base table covers every key, and its second tables every source port. Other tables, and their second
// ones, keep only where they differ from the base table of the programs that use them.
//
// Ids are dense, so that a datapath may use arrays, and survive a restart (Dictionary). Id 0 is reserved for
// the class of no set and the empty projection, and is otherwise unused.
//
//   design   docs/design/decision-tables.md
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "base/changes.h"
#include "base/digest.h"
#include "base/ip.h"
#include "policy/table.h"
#include "policy/verdict.h"

namespace ocicat::policy {

enum class ClassId : std::uint32_t {};
enum class VocabularyId : std::uint32_t {};
enum class ProjectionId : std::uint32_t {};
enum class ProgramId : std::uint32_t {};
enum class ChainId : std::uint32_t {};

struct Program {
  VocabularyId vocabulary{};
  TableId base{};

  bool operator==(const Program&) const = default;
};

// What decides at one hook of a host endpoint, in one family. Its side of a packet is open: the class of the
// address there picks the program. A chain may end without an answer (Verdict::kNone), and the packet goes
// on.
struct Chain {
  VocabularyId vocabulary{};  // the sets that rules ask of the own side
  ProgramId base{};           // for an own address in none of them

  bool operator==(const Chain&) const = default;
};

struct ChainKey {
  ChainId chain{};
  ProjectionId projection{};  // of the own address's class
  auto operator<=>(const ChainKey&) const = default;
};

struct ProjectionKey {
  VocabularyId vocabulary{};
  ClassId address_class{};
  auto operator<=>(const ProjectionKey&) const = default;
};

struct TableKey {
  ProgramId program{};
  ProjectionId projection{};
  auto operator<=>(const TableKey&) const = default;
};

// Leads from the digest of a meaning, in names, to its id, one space of ids for each `space`. Kept beside the
// kernel's tables, so a restart finds the same ids and writes nothing.
enum class IdSpace : std::uint8_t {
  kClass,
  kVocabulary,
  kProjection,
  kProgram,
  kTable,
  kOutcome,
  kChain,
  kHostEndpoint
};
inline constexpr std::size_t kIdSpaceCount = 8;
struct DictionaryKey {
  IdSpace space{};
  Digest meaning;
  auto operator<=>(const DictionaryKey&) const = default;
};
using Dictionary = std::map<DictionaryKey, std::uint32_t>;

// All of policy's output for a set of endpoints, as one value; Changes of it field by field, in the order in
// which a datapath shows them.
struct TablesChanges {
  Changes<OutcomeId, Outcome> outcomes;
  Changes<TableId, Table> tables;
  Changes<ProgramId, Program> programs;
  Changes<ChainId, Chain> chains;
  Changes<ChainKey, ProgramId> chain_programs;
  Changes<TableKey, TableId> tables_by_projection;
  Changes<ProjectionKey, ProjectionId> projections;
  // Single addresses are /32 and /128 prefixes. A class counts the sets of every covering prefix.
  Changes<Prefix, ClassId> classes;
  Changes<DictionaryKey, std::uint32_t> dictionary;

  void absorb(TablesChanges later);
  bool empty() const;
  bool operator==(const TablesChanges&) const = default;
};

struct Tables {
  std::map<OutcomeId, Outcome> outcomes;
  std::map<TableId, Table> tables;
  std::map<ProgramId, Program> programs;
  std::map<ChainId, Chain> chains;
  std::map<ChainKey, ProgramId> chain_programs;
  std::map<TableKey, TableId> tables_by_projection;
  std::map<ProjectionKey, ProjectionId> projections;
  std::map<Prefix, ClassId> classes;
  Dictionary dictionary;

  void apply(const TablesChanges& changes);
};

}  // namespace ocicat::policy
