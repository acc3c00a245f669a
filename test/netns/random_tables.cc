#include "netns/random_tables.h"

#include <algorithm>
#include <array>

namespace ocicat::test {
namespace {

using namespace policy;

constexpr std::array<std::uint16_t, 8> kPorts{0, 1, 53, 80, 443, 8080, 65534, 65535};
constexpr std::array<Protocol, 4> kPortProtocols{kTcp, kUdp, kSctp, kUdpLite};
constexpr std::uint32_t kTables = 12, kOutcomes = 6, kClasses = 5, kVocabularies = 3, kProjections = 4;

std::uint16_t random_port(Random& random) {
  return kPorts[random.below(kPorts.size())];
}

OutcomeId random_outcome(Random& random) {
  return OutcomeId{static_cast<std::uint32_t>(1 + random.below(kOutcomes))};
}

// Cuts of the key space: ports and types that packets use, their neighbours, and ends of protocols.
std::uint32_t random_key(Random& random) {
  const std::uint32_t ends[] = {0,
                                kLastTableKey,
                                table_key(kTcp, 0),
                                table_key(kTcp, 65535),
                                table_key(kUdp, 0),
                                table_key(kIcmp, 8 << 8),
                                table_key(kIcmpV6, 128 << 8),
                                table_key(99, 0)};
  if (random.percent(40)) return ends[random.below(std::size(ends))];
  const auto protocol = kPortProtocols[random.below(kPortProtocols.size())];
  return table_key(protocol, random_port(random)) + static_cast<std::uint32_t>(random.below(2));
}

Interval random_interval(Random& random, std::uint32_t first, std::uint32_t last, TableId second) {
  Interval interval{first, last, random_outcome(random), {}};
  const auto protocol = static_cast<Protocol>(first >> 16);
  const bool ports = std::ranges::find(kPortProtocols, protocol) != kPortProtocols.end();
  if (ports && first >> 16 == last >> 16 && random.percent(30)) interval = {first, last, {}, second};
  return interval;
}

Table random_table(Random& random, bool whole, std::uint32_t last_key, TableId second) {
  std::vector<std::uint32_t> cuts{0};
  for (std::size_t i = random.below(8); i > 0; --i) {
    cuts.push_back(last_key == kLastTableKey ? random_key(random) : random_port(random));
  }
  std::ranges::sort(cuts);
  cuts.erase(std::ranges::unique(cuts).begin(), cuts.end());
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    const auto last = i + 1 < cuts.size() ? cuts[i + 1] - 1 : last_key;
    if (whole || random.percent(50)) {
      intervals.push_back(last_key == kLastTableKey ? random_interval(random, cuts[i], last, second)
                                                    : Interval{cuts[i], last, random_outcome(random), {}});
    }
  }
  return Table(intervals);
}

}  // namespace

Tables random_tables(Random& random, const RandomTablesOptions& options) {
  Tables tables;
  // 1: allow, 2: deny, 3: none, or deny where there are no chains; 4 to 6: the same with a Log rule on the
  // way.
  for (std::uint32_t id = 1; id <= kOutcomes; ++id) {
    Outcome outcome;
    if (id % 3 == 1) outcome.verdict = Verdict::kAllow;
    if (id % 3 == 0 && options.chains != ChainId{}) outcome.verdict = Verdict::kNone;
    if (id > 3) outcome.trace.push_back({"default", {}, 0, Action::kLog, {}});
    tables.outcomes.emplace(OutcomeId{id}, outcome);
  }
  // Ids 1 to 12: partial tables; 101 on: base tables; 201 on: second tables of base tables; 301 on: of
  // others.
  for (std::uint32_t id = 1; id <= kTables; ++id) {
    const TableId second{200 + id}, partial{300 + id};
    tables.tables.emplace(second, random_table(random, true, 65535, {}));
    tables.tables.emplace(partial, random_table(random, false, 65535, {}));
    tables.tables.emplace(TableId{id}, random_table(random, false, kLastTableKey, partial));
    tables.tables.emplace(TableId{100 + id}, random_table(random, true, kLastTableKey, second));
  }
  for (std::uint32_t id = 1; id <= static_cast<std::uint32_t>(options.programs); ++id) {
    tables.programs.emplace(ProgramId{id},
                            Program{VocabularyId{static_cast<std::uint32_t>(1 + random.below(kVocabularies))},
                                    TableId{static_cast<std::uint32_t>(101 + random.below(kTables))}});
    for (std::uint32_t projection = 1; projection <= kProjections; ++projection) {
      if (random.percent(70)) {
        tables.tables_by_projection.emplace(TableKey{ProgramId{id}, ProjectionId{projection}},
                                            TableId{static_cast<std::uint32_t>(1 + random.below(kTables))});
      }
    }
  }
  for (std::uint32_t vocabulary = 1; vocabulary <= kVocabularies; ++vocabulary) {
    for (std::uint32_t id = 1; id <= kClasses; ++id) {
      if (random.percent(70)) {
        tables.projections.emplace(ProjectionKey{VocabularyId{vocabulary}, ClassId{id}},
                                   ProjectionId{static_cast<std::uint32_t>(1 + random.below(kProjections))});
      }
    }
  }
  const auto random_program = [&] {
    return ProgramId{
        static_cast<std::uint32_t>(1 + random.below(static_cast<std::uint32_t>(options.programs)))};
  };
  for (std::uint32_t id = 1; id <= static_cast<std::uint32_t>(options.chains); ++id) {
    const VocabularyId vocabulary{static_cast<std::uint32_t>(random.below(kVocabularies + 1))};
    tables.chains.emplace(ChainId{id}, Chain{vocabulary, random_program()});
    for (const auto& [key, projection] : tables.projections) {
      if (key.vocabulary == vocabulary)
        tables.chain_programs.emplace(ChainKey{ChainId{id}, projection}, random_program());
    }
  }
  const auto random_class = [&] { return ClassId{static_cast<std::uint32_t>(random.below(kClasses + 1))}; };
  for (const auto& peer : options.peers) {
    if (random.percent(40)) tables.classes.emplace(Prefix::host(peer), random_class());
  }
  for (const auto& net : options.nets) {
    if (random.percent(40)) tables.classes.emplace(net.masked(), random_class());
  }
  tables.dictionary.emplace(DictionaryKey{IdSpace::kClass, Digest::of(std::to_string(random.below(1000)))},
                            1);
  return tables;
}

Packet random_packet(Random& random, Family family) {
  Packet packet;
  switch (random.below(7)) {
    case 5:
      packet.protocol = family == Family::kIpv4 ? kIcmp : kIcmpV6;
      packet.icmp_type = family == Family::kIpv4 ? 8 : 128;
      packet.icmp_code = static_cast<std::uint8_t>(random.below(2));
      return packet;
    case 6:
      packet.protocol = static_cast<Protocol>(98 + random.below(3));
      return packet;
    default:
      packet.protocol = kPortProtocols[random.below(kPortProtocols.size())];
      break;
  }
  packet.source_port = random_port(random);
  packet.destination_port = random_port(random);
  return packet;
}

TablesChanges changes_between(const Tables& before, const Tables& after) {
  TablesChanges changes;
  changes.outcomes = decltype(changes.outcomes)::between(before.outcomes, after.outcomes);
  changes.tables = decltype(changes.tables)::between(before.tables, after.tables);
  changes.programs = decltype(changes.programs)::between(before.programs, after.programs);
  changes.tables_by_projection = decltype(changes.tables_by_projection)::between(before.tables_by_projection,
                                                                                 after.tables_by_projection);
  changes.chains = decltype(changes.chains)::between(before.chains, after.chains);
  changes.chain_programs =
      decltype(changes.chain_programs)::between(before.chain_programs, after.chain_programs);
  changes.projections = decltype(changes.projections)::between(before.projections, after.projections);
  changes.classes = decltype(changes.classes)::between(before.classes, after.classes);
  changes.dictionary = decltype(changes.dictionary)::between(before.dictionary, after.dictionary);
  return changes;
}

}  // namespace ocicat::test
