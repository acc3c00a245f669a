#include "policy/simulator.h"

namespace ocicat::policy {

Simulator::Simulator(const Tables& tables) : tables_(tables) {
  for (const auto& [prefix, class_id] : tables.classes) *classes_.try_emplace(prefix).first = class_id;
}

void Simulator::changed(const Changes<Prefix, ClassId>& classes) {
  for (const auto& [prefix, class_id] : classes.entries()) {
    if (class_id) {
      *classes_.try_emplace(prefix).first = *class_id;
    } else {
      classes_.erase(prefix);
    }
  }
}

ClassId Simulator::class_of(const IpAddress& address) const {
  const auto* longest = classes_.longest(address);
  return longest == nullptr ? ClassId{} : *longest;
}

const Table* Simulator::table(ProgramId program, VocabularyId vocabulary, ClassId class_id) const {
  const auto projection = tables_.projections.find({vocabulary, class_id});
  if (projection == tables_.projections.end()) return nullptr;
  const auto table = tables_.tables_by_projection.find({program, projection->second});
  return table == tables_.tables_by_projection.end() ? nullptr : &tables_.tables.at(table->second);
}

OutcomeId Simulator::find(ProgramId id, const IpAddress& peer, const Packet& packet) const {
  const auto program = tables_.programs.find(id);
  if (program == tables_.programs.end()) return {};
  const auto key = table_key(packet);
  const auto answer = [&](const Table& table) {
    const auto cell = table.find(key);
    if (!cell || cell->source_ports == TableId{}) return cell;
    return tables_.tables.at(cell->source_ports).find(packet.source_port);
  };
  std::optional<Interval> cell;
  if (const auto* own = table(id, program->second.vocabulary, class_of(peer))) cell = answer(*own);
  if (!cell) cell = answer(tables_.tables.at(program->second.base));
  return cell ? cell->outcome : OutcomeId{};
}

std::optional<ProgramId> Simulator::program_of(ChainId id, const IpAddress& own) const {
  const auto chain = tables_.chains.find(id);
  if (chain == tables_.chains.end()) return std::nullopt;
  const auto projection = tables_.projections.find({chain->second.vocabulary, class_of(own)});
  if (projection == tables_.projections.end()) return chain->second.base;
  const auto found = tables_.chain_programs.find({id, projection->second});
  return found == tables_.chain_programs.end() ? chain->second.base : found->second;
}

OutcomeId Simulator::find(ChainId id, const IpAddress& own, const IpAddress& peer,
                          const Packet& packet) const {
  const auto program = program_of(id, own);
  return program ? find(*program, peer, packet) : OutcomeId{};
}

const Outcome& Simulator::lookup(ProgramId id, const IpAddress& peer, const Packet& packet) const {
  static const Outcome kNoProgram;
  const auto outcome = find(id, peer, packet);
  return outcome == OutcomeId{} ? kNoProgram : tables_.outcomes.at(outcome);
}

const Outcome& Simulator::lookup(ChainId id, const IpAddress& own, const IpAddress& peer,
                                 const Packet& packet) const {
  static const Outcome kNothing{Judgement{.verdict = Verdict::kNone, .trace = {}}};
  const auto program = program_of(id, own);
  return program ? lookup(*program, peer, packet) : kNothing;
}

}  // namespace ocicat::policy
