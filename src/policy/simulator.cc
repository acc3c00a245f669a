#include "policy/simulator.h"

namespace ocicat::policy {

namespace {

std::size_t index_of(Family family) {
  return family == Family::kIpv4 ? 0 : 1;
}

}  // namespace

Simulator::Simulator(const Tables& tables) : tables_(tables) {
  for (const auto& [prefix, class_id] : tables.classes) {
    class_by_prefix_.emplace(prefix, class_id);
    ++lengths_[index_of(prefix.family())][prefix.length];
  }
}

void Simulator::changed(const Changes<Prefix, ClassId>& classes) {
  for (const auto& [prefix, class_id] : classes.entries()) {
    auto& lengths = lengths_[index_of(prefix.family())];
    if (class_id) {
      if (class_by_prefix_.insert_or_assign(prefix, *class_id).second) ++lengths[prefix.length];
    } else if (class_by_prefix_.erase(prefix) != 0 && --lengths[prefix.length] == 0) {
      lengths.erase(prefix.length);
    }
  }
}

ClassId Simulator::class_of(const IpAddress& address) const {
  for (const auto& [length, count] : lengths_[index_of(address.family())]) {
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
