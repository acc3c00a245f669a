// Compiling for peers in many sets.
//
// Where the rules that ask for a set ask for nothing else, and no rule that asks for another set speaks of
// the same keys, what they say is the same whatever else a peer is in. It is swept once, and given to every
// peer that is in the set.
#include <algorithm>
#include <utility>

#include "policy/compiler.h"

namespace ocicat::policy {

void Compiler::find_lone_sets() {
  struct Area {
    std::uint32_t first;
    std::uint32_t last;
    SetId set;
  };
  std::vector<bool> shares(peer_.size());
  std::vector<Area> areas;
  std::vector<SetId> asked;
  for (const auto& [set, place] : filed_) {
    const auto& rule = rules_[place.rule];
    asked.clear();
    add_sets(*rule.peer, members_, asked);
    if (rule.names_peer_ports || asked.size() > 1) {
      for (const auto one : asked) shares[one] = true;
    }
    if (rule.names_peer_ports) areas.push_back({0, kLastTableKey, set});
    for (const auto& area : rule.areas) areas.push_back({area.first, area.last, set});
  }
  std::ranges::sort(areas, {}, &Area::first);
  for (auto widest = areas.begin(), area = areas.begin(); area != areas.end(); ++area) {
    if (area->first <= widest->last && area->set != widest->set)
      shares[area->set] = shares[widest->set] = true;
    if (area->last > widest->last) widest = area;
  }
  lone_.resize(filed_.size());
  for (std::size_t at = 0; at < filed_.size(); ++at) lone_[at].is_lone = !shares[filed_[at].first];
}

// Null where it is none.
Compiler::Lone* Compiler::lone(SetId set) {
  if (set + 1 >= filed_from_.size() || filed_from_[set] == filed_from_[set + 1]) return nullptr;
  auto& found = lone_[filed_from_[set]];
  return found.is_lone ? &found : nullptr;
}

std::span<const Cell* const> Compiler::compile(std::span<const SetId> peer) {
  auto& cells = bench_.cells;
  auto& others = bench_.not_lone_sets;
  cells.clear();
  others.clear();
  // Looking for lone sets goes over all rules: that is worth it where there are more peers than rules.
  if (++peers_ <= rules_.size()) {
    others.assign(peer.begin(), peer.end());
  } else {
    if (lone_.empty()) find_lone_sets();
    for (const auto set : peer) {
      auto* const one = lone(set);
      if (one == nullptr) {
        others.push_back(set);
        continue;
      }
      if (!one->cells) one->cells = compile_together({&set, 1});
      for (const auto& cell : *one->cells) cells.push_back(&cell);
    }
  }
  if (!others.empty()) {
    bench_.not_lone = compile_together(others);
    for (const auto& cell : bench_.not_lone) cells.push_back(&cell);
  }
  const auto first = [](const Cell* cell) { return cell->first; };
  if (!std::ranges::is_sorted(cells, {}, first)) std::ranges::sort(cells, {}, first);
  return cells;
}

}  // namespace ocicat::policy
