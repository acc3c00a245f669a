#include "policy/tables.h"

namespace ocicat::policy {
namespace {

// As Changes::apply_to(), for maps of which much changes at once: each entry is looked for beside the one before.
template <class Key, class Value>
void apply_in_order(const Changes<Key, Value>& changes, std::map<Key, Value>& map) {
  auto next = map.begin();
  for (const auto& [key, value] : changes.entries()) {
    if (next == map.end() || next->first < key) next = map.lower_bound(key);
    const bool there = next != map.end() && next->first == key;
    if (there && value) {
      (next++)->second = *value;
    } else if (there) {
      next = map.erase(next);
    } else if (value) {
      map.emplace_hint(next, key, *value);
    }
  }
}

}  // namespace

void TablesChanges::absorb(TablesChanges later) {
  outcomes.absorb(std::move(later.outcomes));
  tables.absorb(std::move(later.tables));
  programs.absorb(std::move(later.programs));
  chains.absorb(std::move(later.chains));
  chain_programs.absorb(std::move(later.chain_programs));
  tables_by_projection.absorb(std::move(later.tables_by_projection));
  projections.absorb(std::move(later.projections));
  classes.absorb(std::move(later.classes));
  dictionary.absorb(std::move(later.dictionary));
}

bool TablesChanges::empty() const {
  return outcomes.empty() && tables.empty() && programs.empty() && chains.empty() && chain_programs.empty() &&
         tables_by_projection.empty() && projections.empty() && classes.empty() && dictionary.empty();
}

void Tables::apply(const TablesChanges& changes) {
  changes.outcomes.apply_to(outcomes);
  changes.tables.apply_to(tables);
  changes.programs.apply_to(programs);
  changes.chains.apply_to(chains);
  changes.chain_programs.apply_to(chain_programs);
  changes.tables_by_projection.apply_to(tables_by_projection);
  changes.projections.apply_to(projections);
  apply_in_order(changes.classes, classes);
  changes.dictionary.apply_to(dictionary);
}

}  // namespace ocicat::policy
