#include "policy/simulator.h"

#include <algorithm>
#include <functional>
#include <optional>

namespace ocicat::policy {

namespace {

std::size_t index_of(Family family) {
  return family == Family::kIpv4 ? 0 : 1;
}

}  // namespace

Simulator::Simulator(const Tables& tables) : tables_(tables) {
  for (const auto& [prefix, class_id] : tables.classes) {
    class_by_prefix_.emplace(prefix, class_id);
    lengths_[index_of(prefix.family())].push_back(prefix.length);
  }
  for (auto& lengths : lengths_) {
    std::ranges::sort(lengths, std::greater{});
    lengths.erase(std::ranges::unique(lengths).begin(), lengths.end());
  }
}

ClassId Simulator::class_of(const IpAddress& address) const {
  for (const auto length : lengths_[index_of(address.family())]) {
    const auto it = class_by_prefix_.find(Prefix{address, length}.masked());
    if (it != class_by_prefix_.end()) return it->second;
  }
  return {};
}

const Table* Simulator::table(ProgramId program, VocabularyId vocabulary, ClassId class_id) const {
  const auto projection = tables_.projections.find({vocabulary, class_id});
  if (projection == tables_.projections.end()) return nullptr;
  const auto table = tables_.tables_by_projection.find({program, projection->second});
  return table == tables_.tables_by_projection.end() ? nullptr : &tables_.tables.at(table->second);
}

const Outcome& Simulator::lookup(ProgramId id, const IpAddress& peer, const Packet& packet) const {
  static const Outcome kNoProgram;
  const auto program = tables_.programs.find(id);
  if (program == tables_.programs.end()) return kNoProgram;
  const auto key = table_key(packet);
  const auto answer = [&](const Table& table) {
    const auto cell = table.find(key);
    if (!cell || cell->source_ports == TableId{}) return cell;
    return tables_.tables.at(cell->source_ports).find(packet.source_port);
  };
  std::optional<Interval> cell;
  if (const auto* own = table(id, program->second.vocabulary, class_of(peer))) cell = answer(*own);
  if (!cell) cell = answer(tables_.tables.at(program->second.base));
  if (!cell) return kNoProgram;
  return tables_.outcomes.at(cell->outcome);
}

const Outcome& Simulator::lookup(ChainId id, const IpAddress& own, const IpAddress& peer,
                                 const Packet& packet) const {
  static const Outcome kNothing{Judgement{.verdict = Verdict::kNone, .trace = {}}};
  const auto chain = tables_.chains.find(id);
  if (chain == tables_.chains.end()) return kNothing;
  auto program = chain->second.base;
  const auto projection = tables_.projections.find({chain->second.vocabulary, class_of(own)});
  if (projection != tables_.projections.end()) {
    const auto found = tables_.chain_programs.find({id, projection->second});
    if (found != tables_.chain_programs.end()) program = found->second;
  }
  return lookup(program, peer, packet);
}

}  // namespace ocicat::policy
