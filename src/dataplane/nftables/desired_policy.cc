#include "dataplane/nftables/desired_policy.h"

#include <algorithm>
#include <array>
#include <set>

#include "dataplane/nftables/ruleset.h"

namespace ocicat::dataplane {
namespace {

// Entries of a map whose facts are single elements. What only goes is garbage: whoever led to it leads
// elsewhere now.
template <class Key, class Value, class MakeEntry>
void update_single(const Changes<Key, Value>& changes, std::map<Key, Value>& facts, MakeEntry make_entry,
                   Entries& gone, PolicyDelta& delta) {
  for (const auto& [key, after] : changes.entries()) {
    const auto before = facts.find(key);
    if (before != facts.end() && after && before->second == *after) continue;
    if (before != facts.end()) (after ? delta.removed : gone).push_back(make_entry(key, before->second));
    if (after) delta.added.push_back(make_entry(key, *after));
  }
  changes.apply_to(facts);
}

}  // namespace

void DesiredPolicy::update_cells(const policy::TablesChanges& changes, PolicyDelta& delta) {
  // Outcomes are interned by content, so this should find nothing; but where an id does change its answer,
  // cells that name it change too. A removed outcome is one that no table names.
  std::set<policy::OutcomeId> other_answers;
  for (const auto& [id, after] : changes.outcomes.entries()) {
    const auto before = tables_.outcomes.find(id);
    if (!after || before == tables_.outcomes.end()) continue;
    if (answer_of(&before->second) != answer_of(&*after)) other_answers.insert(id);
  }
  std::set<policy::TableId> touched;
  for (const auto& [id, unused] : changes.tables.entries()) touched.insert(id);
  if (!other_answers.empty()) {
    for (const auto& [id, table] : tables_.tables) {
      if (std::ranges::any_of(table.intervals, [&](const auto& interval) {
            return other_answers.contains(interval.outcome);
          })) {
        touched.insert(id);
      }
    }
  }

  Entries before, after;
  std::set<policy::TableId> unknown;
  for (const auto id : touched) {
    const auto table = tables_.tables.find(id);
    if (table == tables_.tables.end()) {
      unknown.insert(id);
      continue;
    }
    const auto change = changes.tables.entries().find(id);
    const bool gone = change != changes.tables.entries().end() && !change->second;
    add_cells(id, table->second, tables_.outcomes, gone ? delta.garbage : before);
  }
  changes.outcomes.apply_to(tables_.outcomes);
  changes.tables.apply_to(tables_.tables);
  for (const auto id : touched) {
    const auto table = tables_.tables.find(id);
    if (table == tables_.tables.end()) continue;
    add_cells(id, table->second, tables_.outcomes, unknown.contains(id) ? delta.prepared : after);
  }
  std::ranges::sort(before);
  std::ranges::sort(after);
  std::ranges::set_difference(before, after, std::back_inserter(delta.removed));
  std::ranges::set_difference(after, before, std::back_inserter(delta.added));
}

void DesiredPolicy::update_classes(const Changes<Prefix, policy::ClassId>& changes, PolicyDelta& delta) {
  using NetChanges = std::vector<std::pair<Prefix, std::optional<policy::ClassId>>>;
  NetChanges nets4, nets6;
  for (const auto& [prefix, after] : changes.entries()) {
    const auto before = tables_.classes.find(prefix);
    if (before != tables_.classes.end() && after && before->second == *after) continue;
    if (!prefix.is_host()) {
      (prefix.family() == Family::kIpv4 ? nets4 : nets6).emplace_back(prefix.masked(), after);
      continue;
    }
    if (before != tables_.classes.end()) delta.removed.push_back(class_entry(prefix.address, before->second));
    if (after) delta.added.push_back(class_entry(prefix.address, *after));
  }
  changes.apply_to(tables_.classes);
  ranges4_.update(nets4, delta.removed, delta.added);
  ranges6_.update(nets6, delta.removed, delta.added);
}

PolicyDelta DesiredPolicy::update(const HostChanges& changes) {
  PolicyDelta delta;
  if (changes.settings && !(*changes.settings == settings_)) {
    // Which interfaces the prefixes cover may change: as if all endpoints went and came.
    Entries before, after;
    endpoints_.add_all(settings_, before);
    delta.rules_changed = ruleset_for(settings_).rules != ruleset_for(*changes.settings).rules;
    settings_ = *changes.settings;
    endpoints_.add_all(settings_, after);
    std::ranges::sort(before);
    std::ranges::sort(after);
    auto moved = difference(before, after);
    delta.removed = std::move(moved.removed);
    delta.added = std::move(moved.added);
  }
  const auto& tables = changes.tables;
  update_cells(tables, delta);
  update_single(tables.programs, tables_.programs, program_entry, delta.garbage, delta);
  update_single(tables.tables_by_projection, tables_.tables_by_projection, table_entry, delta.garbage, delta);
  update_single(tables.projections, tables_.projections, projection_entry, delta.garbage, delta);
  // An id that changes its meaning in place may be led to by what goes: then nothing is left for later.
  if (!delta.removed.empty()) {
    delta.removed.insert(delta.removed.end(), delta.garbage.begin(), delta.garbage.end());
    delta.garbage.clear();
  }
  // No rule reads the dictionary: a meaning that gets another id is no reason to hurry. It never leads to an
  // id of old.
  update_single(tables.dictionary, tables_.dictionary, dictionary_entry, delta.removed, delta);
  update_classes(tables.classes, delta);
  endpoints_.update(changes.endpoints, settings_, delta.removed, delta.added);
  return delta;
}

Entries DesiredPolicy::entries() const {
  Entries all;
  for (const auto& [id, table] : tables_.tables) add_cells(id, table, tables_.outcomes, all);
  for (const auto& [id, program] : tables_.programs) all.push_back(program_entry(id, program));
  for (const auto& [key, table] : tables_.tables_by_projection) all.push_back(table_entry(key, table));
  for (const auto& [key, projection] : tables_.projections) all.push_back(projection_entry(key, projection));
  for (const auto& [key, id] : tables_.dictionary) all.push_back(dictionary_entry(key, id));
  for (const auto& [prefix, address_class] : tables_.classes) {
    if (prefix.is_host()) all.push_back(class_entry(prefix.address, address_class));
  }
  for (const auto family : kFamilies) all.push_back(unknown_class_entry(family));
  ranges4_.add_all(all);
  ranges6_.add_all(all);
  endpoints_.add_all(settings_, all);
  std::ranges::sort(all);
  return all;
}

PolicyDelta difference(const Entries& actual, const Entries& wanted) {
  PolicyDelta delta;
  std::ranges::set_difference(actual, wanted, std::back_inserter(delta.removed));
  std::ranges::set_difference(wanted, actual, std::back_inserter(delta.added));
  std::set<std::uint32_t> known;
  for (const auto& entry : actual) {
    if (entry.map == Map::kCells) known.insert(entry.key.be32_at(0));
  }
  const auto leads_nowhere = [&](const Entry& entry) {
    return entry.map == Map::kCells && !known.contains(entry.key.be32_at(0));
  };
  std::ranges::copy_if(delta.added, std::back_inserter(delta.prepared), leads_nowhere);
  std::erase_if(delta.added, leads_nowhere);
  return delta;
}

kernel::nft::Batch to_batch(const Entries& removed, const Entries& added) {
  std::array<std::vector<kernel::nft::Element>, kMapCount> going, coming;
  for (const auto& entry : removed) add_elements(entry, going[static_cast<std::size_t>(entry.map)]);
  for (const auto& entry : added) add_elements(entry, coming[static_cast<std::size_t>(entry.map)]);
  kernel::nft::Batch batch;
  static_assert(Map{} == Map::kCells);
  for (std::size_t map = kMapCount; map-- > 0;) {
    const auto& set = set_of(static_cast<Map>(map));
    if (!going[map].empty()) batch.emplace_back(kernel::nft::DeleteElements{set, std::move(going[map])});
    if (!coming[map].empty()) batch.emplace_back(kernel::nft::AddElements{set, std::move(coming[map])});
  }
  return batch;
}

}  // namespace ocicat::dataplane
