#include "dataplane/nftables/policy_delta.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace ocicat::dataplane {
namespace {

bool is_source(const Entry& entry) {
  return entry.map == Map::kSources4 || entry.map == Map::kSources6;
}

std::set<std::uint32_t> tables_with_cells(const Entries& entries) {
  std::set<std::uint32_t> tables;
  for (const auto& entry : entries) {
    if (entry.map == Map::kCells) tables.insert(entry.key.be32_at(0));
  }
  return tables;
}

// Those with cells, and those that something leads to, though their cells may have gone.
std::set<std::uint32_t> tables_in_use(const Entries& entries) {
  auto tables = tables_with_cells(entries);
  for (const auto& entry : entries) {
    const bool leads_to_table =
        entry.map == Map::kPrograms || entry.map == Map::kTables ||
        (entry.map == Map::kCells &&
         kernel::nft::ElementKey(entry.data.view().subspan(8)) == answer_key(Answer::kSourcePorts));
    if (leads_to_table) tables.insert(entry.data.be32_at(4));
  }
  return tables;
}

// What a packet reads together. Of the first three it reads one element.
enum class Group : std::uint8_t { kClasses, kNets, kEndpoints, kPolicy, kUnread };

Group group_of(Map map) {
  if (map > Map::kHostAnswers) return Group::kUnread;
  switch (map) {
    case Map::kClasses4:
    case Map::kClasses6:
      return Group::kClasses;
    case Map::kNets4:
    case Map::kNets6:
      return Group::kNets;
    case Map::kIngress4:
    case Map::kIngress6:
    case Map::kEgress4:
    case Map::kEgress6:
    case Map::kHostInterfaces:
      return Group::kEndpoints;
    case Map::kCells:
    case Map::kPrograms:
    case Map::kTables:
    case Map::kProjections:
    case Map::kRanges4:
    case Map::kRanges6:
    case Map::kHostChains:
    case Map::kChainPrograms:
    case Map::kSourceChains4:
    case Map::kSourceChains6:
      return Group::kPolicy;
    case Map::kSources4:  // never part of a step
    case Map::kSources6:
    case Map::kStep:
    case Map::kSteps:
    case Map::kDictionary:
    case Map::kInterfaces:
    case Map::kHosts4:
    case Map::kHosts6:
    case Map::kAnswers:  // an answer never changes where it leads
    case Map::kAnswersIngress4:
    case Map::kAnswersIngress6:
    case Map::kAnswersEgress4:
    case Map::kAnswersEgress6:
    case Map::kAnswersQuiet:
    case Map::kAnswersUntracked:
    case Map::kAnswersPreDnat:
    case Map::kHostAnswers:
      return Group::kUnread;
  }
  CHECK(false);
}

template <class Predicate>
void move_if(Entries& from, Entries& to, Predicate predicate) {
  std::ranges::copy_if(from, std::back_inserter(to), predicate);
  std::erase_if(from, predicate);
}

}  // namespace

bool needs_number(const Transaction& step, bool two_classes) {
  std::set<Group> groups;
  for (const auto* entries : {&step.removed, &step.added}) {
    for (const auto& entry : *entries) {
      // These say the same always: without one, the rule ends and begins again.
      if (!is_exact(entry)) groups.insert(group_of(entry.map));
    }
  }
  groups.erase(Group::kUnread);
  // Both sides of a packet may be in one net, whose class it reads twice.
  const bool some_class = groups.contains(Group::kClasses) || groups.contains(Group::kNets);
  return groups.size() > 1 || groups.contains(Group::kPolicy) || (two_classes && some_class);
}

void add_difference(Entries before, Entries after, Transaction& transaction) {
  std::ranges::sort(before);
  std::ranges::sort(after);
  std::ranges::set_difference(before, after, std::back_inserter(transaction.removed));
  std::ranges::set_difference(after, before, std::back_inserter(transaction.added));
}

PolicyDelta difference(const Entries& actual, const Entries& wanted, const std::set<Map>& unread) {
  PolicyDelta delta;
  std::ranges::set_difference(actual, wanted, std::back_inserter(delta.step.removed));
  std::ranges::set_difference(wanted, actual, std::back_inserter(delta.step.added));
  const auto in_use = tables_in_use(actual), wanted_there = tables_with_cells(wanted);
  move_if(delta.step.added, delta.prepared.added, [&](const Entry& entry) {
    return unread.contains(entry.map) || (entry.map == Map::kCells && !in_use.contains(entry.key.be32_at(0)));
  });
  move_if(delta.step.removed, delta.prepared.removed, [&](const Entry& entry) {
    return entry.map == Map::kRanges4 || entry.map == Map::kRanges6 || is_source(entry) ||
           (entry.map == Map::kCells && wanted_there.contains(entry.key.be32_at(0)));
  });
  move_if(delta.step.added, delta.settled.added, is_source);
  return delta;
}

kernel::nft::Batch to_batch(const Transaction& transaction) {
  std::array<std::vector<kernel::nft::Element>, kMapCount> going, coming;
  for (const auto& entry : transaction.removed)
    add_elements(entry, going[static_cast<std::size_t>(entry.map)]);
  for (const auto& entry : transaction.added)
    add_elements(entry, coming[static_cast<std::size_t>(entry.map)]);
  kernel::nft::Batch batch;
  for (std::size_t map = 0; map < kMapCount; ++map) {
    const auto& set = set_of(static_cast<Map>(map));
    if (!going[map].empty()) batch.emplace_back(kernel::nft::DeleteElements{set, std::move(going[map])});
    if (!coming[map].empty()) batch.emplace_back(kernel::nft::AddElements{set, std::move(coming[map])});
  }
  return batch;
}

}  // namespace ocicat::dataplane
