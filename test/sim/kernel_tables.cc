#include "sim/kernel_tables.h"

#include "dataplane/nftables/entries.h"

namespace ocicat::test {
namespace {

using dataplane::Answer;
using dataplane::Entries;
using dataplane::Map;
using namespace policy;

constexpr OutcomeId kPasses{1}, kDropped{2};

Entries entries_in(const kernel::nft::SimulatedKernel& kernel, Map map) {
  const auto found = kernel.all_elements().find(dataplane::set_of(map).name);
  if (found == kernel.all_elements().end()) return {};
  const auto entries = dataplane::entries_of(map, {found->second.begin(), found->second.end()});
  CHECK(entries);
  return *entries;
}

IpAddress address_in(const kernel::nft::ElementKey& key) {
  if (key.size() == 4) return IpAddress::v4(key.be32_at(0));
  IpAddress::Bytes bytes{};
  std::ranges::copy(key.view(), bytes.begin());
  return IpAddress::v6(bytes);
}

std::uint32_t table_key_in(const kernel::nft::ElementKey& key) {
  return std::uint32_t{key.view()[4]} << 16 | std::uint32_t{key.view()[8]} << 8 | key.view()[9];
}

}  // namespace

Tables tables_of(const kernel::nft::SimulatedKernel& kernel) {
  Tables tables;
  tables.outcomes.emplace(kPasses, Outcome{Verdict::kAllow, {}});
  tables.outcomes.emplace(kDropped, Outcome{Verdict::kDeny, {}});
  for (const auto& entry : entries_in(kernel, Map::kCells)) {
    Interval interval{table_key_in(entry.key), 0, {}, {}};
    const bool to_the_end = entry.end.be32_at(0) != entry.key.be32_at(0);
    interval.last = to_the_end ? kLastTableKey : table_key_in(entry.end) - 1;
    const auto answer = static_cast<Answer>(entry.data.be32_at(8));
    if (answer == Answer::kSourcePorts) {
      interval.source_ports = TableId{entry.data.be32_at(4)};
    } else {
      interval.outcome = answer == Answer::kAllow || answer == Answer::kLogAllow ? kPasses : kDropped;
    }
    tables.tables[TableId{entry.key.be32_at(0)}].intervals.push_back(interval);
  }
  for (const auto& entry : entries_in(kernel, Map::kPrograms)) {
    tables.programs.emplace(ProgramId{entry.key.be32_at(0)},
                            Program{VocabularyId{entry.data.be32_at(8)}, TableId{entry.data.be32_at(4)}});
  }
  for (const auto& entry : entries_in(kernel, Map::kTables)) {
    tables.tables_by_projection.emplace(
        TableKey{ProgramId{entry.key.be32_at(0)}, ProjectionId{entry.key.be32_at(4)}},
        TableId{entry.data.be32_at(4)});
    tables.tables[TableId{entry.data.be32_at(4)}];  // one without intervals has no cells
  }
  for (const auto& entry : entries_in(kernel, Map::kProjections)) {
    tables.projections.emplace(
        ProjectionKey{VocabularyId{entry.key.be32_at(0)}, ClassId{entry.key.be32_at(4)}},
        ProjectionId{entry.data.be32_at(0)});
  }
  for (const auto map : {Map::kClasses4, Map::kClasses6}) {
    for (const auto& entry : entries_in(kernel, map)) {
      if (!entry.key.empty()) {
        tables.classes.emplace(Prefix::host(address_in(entry.key)), ClassId{entry.data.be32_at(0)});
      }
    }
  }
  return tables;
}

std::optional<ProgramId> program_of(const kernel::nft::SimulatedKernel& kernel, Direction direction,
                                    std::string_view interface_name, const IpAddress& address) {
  const auto wanted = dataplane::endpoint_entry(direction, interface_name, address, {});
  for (const auto& entry : entries_in(kernel, wanted->map)) {
    if (entry.key == wanted->key) return ProgramId{entry.data.be32_at(4)};
  }
  return std::nullopt;
}

}  // namespace ocicat::test
