#include "dataplane/nftables/desired_policy.h"

#include <algorithm>
#include <set>

#include "dataplane/nftables/ruleset.h"

namespace ocicat::dataplane {
namespace {

// Entries of a map whose facts are single elements. What only goes is garbage: whoever led to it leads
// elsewhere now. What only comes is prepared where nothing leads to it yet.
template <class Key, class Value, class MakeEntry, class IsUnknown>
void update_single(const Changes<Key, Value>& changes, std::map<Key, Value>& facts, MakeEntry make_entry,
                   Entries& gone, IsUnknown is_unknown, PolicyDelta& delta) {
  for (const auto& [key, after] : changes.entries()) {
    const auto before = facts.find(key);
    if (before != facts.end() && after && before->second == *after) continue;
    if (before != facts.end()) (after ? delta.step.removed : gone).push_back(make_entry(key, before->second));
    if (!after) continue;
    const bool early = before == facts.end() && is_unknown(key);
    (early ? delta.prepared : delta.step).added.push_back(make_entry(key, *after));
  }
  changes.apply_to(facts);
}

}  // namespace

void DesiredPolicy::update_logs(const Changes<policy::OutcomeId, policy::Outcome>& changes,
                                PolicyDelta& delta) {
  std::map<LogId, KnownLog> touched;
  const auto count = [&](const policy::Outcome& outcome, int by) {
    auto chain = log_chain_of(outcome);
    if (!chain) return;
    const auto id = id_of(*chain);
    touched.try_emplace(id, KnownLog{std::move(*chain)}).first->second.outcomes += by;
  };
  for (const auto& [id, after] : changes.entries()) {
    if (const auto before = tables_.outcomes.find(id); before != tables_.outcomes.end())
      count(before->second, -1);
    if (after) count(*after, 1);
  }
  for (auto& [id, log] : touched) {
    auto& known = logs_.try_emplace(id, KnownLog{log.chain}).first->second;
    const bool was_there = known.outcomes > 0;
    known.outcomes += log.outcomes;
    const bool is_there = known.outcomes > 0;
    if (is_there && !was_there) {
      delta.new_logs.emplace(id, known.chain);
      add_log_answers(id, delta.prepared.added);
    }
    if (is_there) continue;
    if (was_there) {
      delta.old_logs.emplace(id, known.chain);
      add_log_answers(id, delta.garbage);
    }
    logs_.erase(id);
  }
}

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
      if (std::ranges::any_of(
              table, [&](const auto& interval) { return other_answers.contains(interval.outcome); })) {
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
    add_cells(id, table->second, tables_.outcomes, unknown.contains(id) ? delta.prepared.added : after);
  }
  // Cells that change in place are missing in between.
  Transaction changed;
  add_difference(std::move(before), std::move(after), changed);
  delta.prepared.removed = std::move(changed.removed);
  delta.step.added = std::move(changed.added);
}

void DesiredPolicy::update_classes(const Changes<Prefix, policy::ClassId>& changes, PolicyDelta& delta) {
  NetRanges::NetChanges nets4, nets6;
  std::map<ExactClass, int> counts;
  for (const auto& [prefix, after] : changes.entries()) {
    const auto before = tables_.classes.find(prefix);
    if (before != tables_.classes.end() && after && before->second == *after) continue;
    if (!prefix.is_host()) {
      (prefix.family() == Family::kIpv4 ? nets4 : nets6).emplace_back(prefix.masked(), after);
      continue;
    }
    if (before != tables_.classes.end()) {
      delta.step.removed.push_back(class_entry(prefix.address, before->second));
      --counts[{prefix.family(), before->second}];
    }
    if (after) {
      delta.step.added.push_back(class_entry(prefix.address, *after));
      ++counts[{prefix.family(), *after}];
    }
  }
  count_exact(counts, delta.step);
  changes.apply_to(tables_.classes);
  ranges4_.update(nets4, delta);
  ranges6_.update(nets6, delta);
}

void DesiredPolicy::count_exact(const std::map<ExactClass, int>& by, Transaction& step) {
  for (const auto& [which, more] : by) {
    const auto it = exact_.try_emplace(which, 0).first;
    const bool was_there = it->second > 0;
    it->second += more;
    const bool is_there = it->second > 0;
    const auto entry = exact_entry(which.first, which.second);
    if (is_there && !was_there) step.added.push_back(entry);
    if (!is_there && was_there) step.removed.push_back(entry);
    if (!is_there) exact_.erase(it);
  }
}

void DesiredPolicy::update_hosts(const Changes<IpAddress, network::Peer>& changes, Transaction& step) {
  for (const auto& [address, after] : changes.entries()) {
    if (after && hosts_.insert(address).second) step.added.push_back(host_entry(address));
    if (!after && hosts_.erase(address) > 0) step.removed.push_back(host_entry(address));
  }
}

PolicyDelta DesiredPolicy::update(const HostChanges& changes, const HostInterfaces& interfaces) {
  PolicyDelta delta;
  const auto& tables = changes.tables;
  update_logs(tables.outcomes, delta);
  update_cells(tables, delta);
  const auto programs = tables_.programs;
  std::set<policy::VocabularyId> vocabularies;
  for (const auto& [id, program] : programs) vocabularies.insert(program.vocabulary);
  chains_.add_vocabularies(vocabularies);
  const auto of_unknown_program = [&](const policy::TableKey& key) {
    return !programs.contains(key.program);
  };
  const auto of_unknown_vocabulary = [&](const policy::ProjectionKey& key) {
    return !vocabularies.contains(key.vocabulary);
  };
  const auto yes = [](const auto&) { return true; };
  const auto no = [](const auto&) { return false; };
  update_single(tables.programs, tables_.programs, program_entry, delta.garbage, yes, delta);
  update_single(tables.tables_by_projection, tables_.tables_by_projection, table_entry, delta.garbage,
                of_unknown_program, delta);
  update_single(tables.projections, tables_.projections, projection_entry, delta.garbage,
                of_unknown_vocabulary, delta);
  // An id that changes its meaning in place may be led to by what goes: then nothing is left for later.
  if (!delta.step.removed.empty() || !delta.prepared.removed.empty()) {
    auto& removed = delta.step.removed;
    removed.insert(removed.end(), delta.garbage.begin(), delta.garbage.end());
    delta.garbage.clear();
  }
  // No rule reads the dictionary: a meaning that gets another id is no reason to hurry. It never leads to an
  // id of old.
  update_single(tables.dictionary, tables_.dictionary, dictionary_entry, delta.step.removed, no, delta);
  update_classes(tables.classes, delta);
  tables.chains.apply_to(tables_.chains);
  tables.chain_programs.apply_to(tables_.chain_programs);
  update_hosts(changes.peers, delta.step);
  const auto settings_before = settings_;
  if (changes.settings && !(*changes.settings == settings_)) {
    const auto rules_before = ruleset().rules;
    settings_ = *changes.settings;
    delta.rules_changed = ruleset().rules != rules_before;
  }
  endpoints_.update(changes.endpoints, settings_before, settings_, delta.step.removed, delta.step.added);
  const bool two_classes = chains_.judge_two_classes();
  chains_.update(changes, interfaces, delta);
  if (needs_number(delta.step, two_classes || chains_.judge_two_classes())) {
    auto before = step_entries(step_);
    next_step();
    add_difference(std::move(before), step_entries(step_), delta.step);
  }
  return delta;
}

Ruleset DesiredPolicy::ruleset() const {
  auto ruleset = ruleset_for(settings_);
  for (const auto& [id, log] : logs_) add_log_chain(ruleset, id, log.chain, settings_);
  return ruleset;
}

Entries DesiredPolicy::entries() const {
  Entries all = constant_entries();
  for (const auto& entry : step_entries(step_)) all.push_back(entry);
  for (const auto& [id, table] : tables_.tables) add_cells(id, table, tables_.outcomes, all);
  for (const auto& [id, program] : tables_.programs) all.push_back(program_entry(id, program));
  for (const auto& [key, table] : tables_.tables_by_projection) all.push_back(table_entry(key, table));
  for (const auto& [key, projection] : tables_.projections) all.push_back(projection_entry(key, projection));
  for (const auto& [key, id] : tables_.dictionary) all.push_back(dictionary_entry(key, id));
  for (const auto& [prefix, address_class] : tables_.classes) {
    if (prefix.is_host()) all.push_back(class_entry(prefix.address, address_class));
  }
  for (const auto& [which, unused] : exact_) all.push_back(exact_entry(which.first, which.second));
  for (const auto& [id, unused] : logs_) add_log_answers(id, all);
  ranges4_.add_all(all);
  ranges6_.add_all(all);
  for (const auto& address : hosts_) all.push_back(host_entry(address));
  endpoints_.add_all(settings_, all);
  chains_.add_all(all);
  return all;
}

}  // namespace ocicat::dataplane
