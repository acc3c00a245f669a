#include "dataplane/nftables/policy_table.h"

#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>

#include "dataplane/nftables/ruleset.h"
#include "kernel/nft_expressions.h"
#include "kernel/nft_shapes.h"
#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {

using kernel::nft::Batch;

Result<void> PolicyTable::commit(const Batch& batch) {
  if (batch.empty()) return {};
  TRY_VOID(kernel_.commit(batch));
  writes_ += kernel::nft::size_of(batch);
  return {};
}

namespace {

void append(Batch from, Batch& to) {
  std::ranges::move(from, std::back_inserter(to));
}

void add_rules(const Ruleset& ruleset, Batch& batch) {
  for (const auto& rule : ruleset.rules) batch.emplace_back(kernel::nft::AddRule{rule});
}

void add_chains_and_rules(const Ruleset& ruleset, Batch& batch) {
  for (const auto& chain : ruleset.chains) batch.emplace_back(kernel::nft::AddChain{chain});
  add_rules(ruleset, batch);
}

void replace_rules(const Ruleset& ruleset, Batch& batch) {
  batch.emplace_back(kernel::nft::DeleteRules{});
  add_rules(ruleset, batch);
}

// Sets and chains that are not there yet, constants filled.
Batch add_missing(const kernel::nft::Shape& there, const Ruleset& ruleset) {
  Batch batch;
  for (const auto& [name, set] : ruleset.shape().sets) {
    if (!there.sets.contains(name)) batch.emplace_back(kernel::nft::AddSet{set});
  }
  for (const auto& chain : ruleset.chains) {
    if (!there.chains.contains(chain.name)) batch.emplace_back(kernel::nft::AddChain{chain});
  }
  for (const auto& constant : ruleset.constants) {
    if (!there.sets.contains(constant.set.name))
      batch.emplace_back(kernel::nft::AddElements{constant.set, constant.elements});
  }
  return batch;
}

}  // namespace

// Chains are there before answers that lead to them, and go after them.
Result<void> PolicyTable::apply(const HostChanges& changes) {
  const auto delta = desired_.update(changes, interfaces_);
  if (!in_step_ || delta.empty()) return {};
  in_step_ = false;
  Ruleset logs;
  for (const auto& [id, chain] : delta.new_logs) add_log_chain(logs, id, chain, desired_.settings());
  Batch prepared;
  add_chains_and_rules(logs, prepared);
  append(to_batch(delta.prepared), prepared);
  TRY_VOID(commit(prepared));
  auto step = to_batch(delta.step);
  if (delta.rules_changed) replace_rules(desired_.ruleset(), step);
  TRY_VOID(commit(step));
  TRY_VOID(commit(to_batch(delta.settled)));
  auto garbage = to_batch({delta.garbage, {}});
  for (const auto& [id, chain] : delta.old_logs) {
    for (auto& name : names_of(id)) garbage.emplace_back(kernel::nft::DeleteChain{std::move(name)});
  }
  TRY_VOID(commit(garbage));
  in_step_ = true;
  return {};
}

Result<void> PolicyTable::assign(const HostInterfaces& interfaces) {
  interfaces_ = interfaces;
  return {};
}

Result<std::optional<PolicyTable::Actual>> PolicyTable::read(const Ruleset& ruleset) {
  TRY(auto shape, kernel_.read_shape());
  if (!shape || kernel::nft::clash(*shape, ruleset.shape())) return std::nullopt;
  for (const auto& constant : ruleset.constants) {
    if (!shape->sets.contains(constant.set.name)) continue;
    TRY(auto elements, kernel_.read_elements(constant.set));
    auto expected = constant.elements;
    std::ranges::sort(elements);
    std::ranges::sort(expected);
    if (elements != expected) return std::nullopt;
  }
  Actual actual;
  for (std::size_t map = 0; map < kMapCount; ++map) {
    const auto& set = set_of(static_cast<Map>(map));
    if (!shape->sets.contains(set.name)) {
      actual.missing.insert(static_cast<Map>(map));
      continue;
    }
    TRY(auto elements, kernel_.read_elements(set));
    const auto entries = entries_of(static_cast<Map>(map), std::move(elements));
    if (!entries) return std::nullopt;
    actual.entries.insert(actual.entries.end(), entries->begin(), entries->end());
  }
  std::ranges::sort(actual.entries);
  actual.shape = *std::move(shape);
  return actual;
}

Result<void> PolicyTable::rebuild(const Ruleset& ruleset) {
  // Added first, so that it can be deleted whether or not it is there: the old one goes as the new one comes.
  Batch batch{kernel::nft::AddTable{}, kernel::nft::DeleteTable{}, kernel::nft::AddTable{}};
  for (const auto& set : all_maps()) batch.emplace_back(kernel::nft::AddSet{set});
  for (const auto& constant : ruleset.constants) batch.emplace_back(kernel::nft::AddSet{constant.set});
  for (const auto& set : ruleset.filled_by_packets) batch.emplace_back(kernel::nft::AddSet{set});
  // Rules before elements: the kernel walks a map for every rule that comes to use it.
  add_chains_and_rules(ruleset, batch);
  for (const auto& constant : ruleset.constants) {
    batch.emplace_back(kernel::nft::AddElements{constant.set, constant.elements});
  }
  append(to_batch({{}, desired_.entries()}), batch);
  return commit(batch);
}

Result<void> PolicyTable::mend(const Actual& actual, const Ruleset& ruleset) {
  const auto differing = [&] {
    auto wanted = desired_.entries();
    std::ranges::sort(wanted);
    return difference(actual.entries, wanted, actual.missing);
  };
  desired_.continue_from(step_of(actual.entries));
  auto delta = differing();
  if (needs_number(delta.step, true)) {
    desired_.next_step();
    delta = differing();
  }
  auto prepared = add_missing(actual.shape, ruleset);
  append(to_batch(delta.prepared), prepared);
  TRY_VOID(commit(prepared));
  const auto shape = ruleset.shape();
  Batch step;
  if (actual.shape.rules_by_chain != shape.rules_by_chain) replace_rules(ruleset, step);
  append(to_batch(delta.step), step);
  TRY_VOID(commit(step));
  TRY_VOID(commit(to_batch(delta.settled)));
  const auto rest = kernel::nft::leftovers(actual.shape, shape);
  if (!rest.empty()) kernel_.let_packets_pass();
  return commit(rest);
}

Result<bool> PolicyTable::resync() {
  in_step_ = false;
  const auto writes_before = writes_;
  const auto ruleset = desired_.ruleset();
  TRY(const auto actual, read(ruleset));
  TRY_VOID(actual ? mend(*actual, ruleset) : rebuild(ruleset));
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

// A rule that asks for a connection's state, and does no more.
Result<void> track_connections(kernel::nft::Kernel& kernel) {
  constexpr const char* kForwardOfPolicy = "forward";
  constexpr const char* kTracks = "tracks";
  TRY(const auto shape, kernel.read_shape());
  const auto rules_in = [&](const char* chain) { return shape && shape->rules_by_chain.contains(chain); };
  if (rules_in(kForwardOfPolicy) || rules_in(kTracks)) return {};
  const kernel::nft::Chain chain{kTracks, kernel::nft::Hook{NF_INET_FORWARD, NF_IP_PRI_FILTER}};
  auto asks = kernel::nft::Expressions().conntrack_state(0).take();
  kernel::nft::Batch batch{kernel::nft::AddTable{}};
  // One without rules is what a clean-up left that was ended half-way.
  if (!shape || !shape->chains.contains(kTracks)) batch.push_back(kernel::nft::AddChain{chain});
  batch.push_back(kernel::nft::AddRule{kernel::nft::marked_rule(kTracks, std::move(asks))});
  return kernel.commit(batch);
}

Result<void> remove_table(kernel::nft::Kernel& kernel) {
  return kernel.commit({kernel::nft::AddTable{}, kernel::nft::DeleteTable{}});
}

}  // namespace ocicat::dataplane
