#include "dataplane/nftables/policy_table.h"

#include <algorithm>

#include "dataplane/nftables/ruleset.h"

namespace ocicat::dataplane {

using kernel::nft::Batch;

Result<void> PolicyTable::commit(const Batch& batch) {
  if (batch.empty()) return {};
  TRY_VOID(kernel_.commit(batch));
  writes_ += kernel::nft::size_of(batch);
  return {};
}

Result<void> PolicyTable::apply(const HostChanges& changes) {
  const auto delta = desired_.update(changes);
  if (!in_step_ || delta.empty()) return {};
  in_step_ = false;
  TRY_VOID(commit(to_batch(delta.prepared)));
  auto batch = to_batch(delta.step);
  if (delta.rules_changed) {
    batch.emplace_back(kernel::nft::DeleteRules{});
    for (auto& rule : ruleset_for(desired_.settings()).rules)
      batch.emplace_back(kernel::nft::AddRule{std::move(rule)});
  }
  TRY_VOID(commit(batch));
  TRY_VOID(commit(to_batch(delta.settled)));
  TRY_VOID(commit(to_batch({delta.garbage, {}})));
  in_step_ = true;
  return {};
}

Result<PolicyTable::Actual> PolicyTable::read(const Ruleset& ruleset) {
  Actual actual;
  TRY(const auto shape, kernel_.read_shape());
  if (!shape) return actual;
  const auto wanted = ruleset.shape();
  if (shape->sets != wanted.sets || shape->chains != wanted.chains) return actual;
  for (const auto& constant : ruleset.constants) {
    TRY(auto elements, kernel_.read_elements(constant.set));
    auto expected = constant.elements;
    std::ranges::sort(elements);
    std::ranges::sort(expected);
    if (elements != expected) return actual;
  }
  for (std::size_t map = 0; map < kMapCount; ++map) {
    TRY(auto elements, kernel_.read_elements(set_of(static_cast<Map>(map))));
    const auto entries = entries_of(static_cast<Map>(map), std::move(elements));
    if (!entries) return actual;
    actual.entries.insert(actual.entries.end(), entries->begin(), entries->end());
  }
  std::ranges::sort(actual.entries);
  actual.shape_fits = true;
  actual.rules_fit = shape->rules_by_chain == wanted.rules_by_chain;
  return actual;
}

Result<void> PolicyTable::rebuild(const Ruleset& ruleset) {
  // Added first, so that it can be deleted whether or not it is there: the old one goes as the new one comes.
  Batch batch{kernel::nft::AddTable{}, kernel::nft::DeleteTable{}, kernel::nft::AddTable{}};
  for (const auto& set : all_maps()) batch.emplace_back(kernel::nft::AddSet{set});
  for (const auto& constant : ruleset.constants) batch.emplace_back(kernel::nft::AddSet{constant.set});
  for (const auto& chain : ruleset.chains) batch.emplace_back(kernel::nft::AddChain{chain});
  for (const auto& constant : ruleset.constants) {
    batch.emplace_back(kernel::nft::AddElements{constant.set, constant.elements});
  }
  // Rules before elements: the kernel walks a map for every rule that comes to use it.
  for (const auto& rule : ruleset.rules) batch.emplace_back(kernel::nft::AddRule{rule});
  for (auto& operation : to_batch({{}, desired_.entries()})) batch.push_back(std::move(operation));
  return commit(batch);
}

Result<bool> PolicyTable::resync() {
  in_step_ = false;
  const auto writes_before = writes_;
  const auto ruleset = ruleset_for(desired_.settings());
  TRY(const auto actual, read(ruleset));
  if (!actual.shape_fits) {
    TRY_VOID(rebuild(ruleset));
  } else {
    desired_.continue_from(step_of(actual.entries));
    auto delta = difference(actual.entries, desired_.entries());
    if (needs_number(delta.step)) {
      desired_.next_step();
      delta = difference(actual.entries, desired_.entries());
    }
    TRY_VOID(commit(to_batch(delta.prepared)));
    auto batch = to_batch(delta.step);
    if (!actual.rules_fit) {
      batch.emplace_back(kernel::nft::DeleteRules{});
      for (const auto& rule : ruleset.rules) batch.emplace_back(kernel::nft::AddRule{rule});
    }
    TRY_VOID(commit(batch));
  }
  in_step_ = true;
  return writes_ != writes_before;
}

Result<policy::Dictionary> read_dictionary(kernel::nft::Kernel& kernel) {
  TRY(const auto shape, kernel.read_shape());
  const auto& dictionary = set_of(Map::kDictionary);
  if (!shape) return policy::Dictionary{};
  const auto found = shape->sets.find(dictionary.name);
  if (found == shape->sets.end() || !(found->second == dictionary)) return policy::Dictionary{};
  TRY(const auto elements, kernel.read_elements(dictionary));
  return dictionary_of(elements);
}

Result<void> remove_table(kernel::nft::Kernel& kernel) {
  return kernel.commit({kernel::nft::AddTable{}, kernel::nft::DeleteTable{}});
}

}  // namespace ocicat::dataplane
