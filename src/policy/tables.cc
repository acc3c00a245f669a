#include "policy/tables.h"

namespace ocicat::policy {

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
  changes.classes.apply_to(classes);
  changes.dictionary.apply_to(dictionary);
}

}  // namespace ocicat::policy
