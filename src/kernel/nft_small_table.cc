#include "kernel/nft_small_table.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/digest.h"
#include "kernel/nft_shapes.h"

namespace ocicat::kernel::nft {
namespace {

void add_difference(const Set& set, const std::vector<Element>& before, const std::vector<Element>& after,
                    Batch& batch) {
  std::vector<Element> gone, come;
  std::ranges::set_difference(before, after, std::back_inserter(gone));
  std::ranges::set_difference(after, before, std::back_inserter(come));
  if (!gone.empty()) batch.emplace_back(DeleteElements{set, std::move(gone)});
  if (!come.empty()) batch.emplace_back(AddElements{set, std::move(come)});
}

Batch whole(const SmallTable& table) {
  // Added first, so that it can be deleted whether or not it is there: the old one goes as the new one comes.
  Batch batch{AddTable{}, DeleteTable{}, AddTable{}};
  for (const auto& [set, elements] : table.sets) batch.emplace_back(AddSet{set});
  for (const auto& chain : table.chains) batch.emplace_back(AddChain{chain});
  for (const auto& rule : table.rules) batch.emplace_back(AddRule{rule});
  for (const auto& [set, elements] : table.sets) add_difference(set, {}, elements, batch);
  return batch;
}

}  // namespace

Shape SmallTable::shape() const {
  Shape shape;
  for (const auto& [set, elements] : sets) shape.sets.emplace(set.name, set);
  for (const auto& chain : chains) shape.chains.emplace(chain.name, chain);
  for (const auto& rule : rules) shape.rules_by_chain[rule.chain].push_back(rule.mark);
  return shape;
}

Rule marked_rule(std::string_view chain, std::vector<std::uint8_t> expressions) {
  const std::string meaning(reinterpret_cast<const char*>(expressions.data()), expressions.size());
  return marked_rule(chain, std::move(expressions), meaning);
}

Rule marked_rule(std::string_view chain, std::vector<std::uint8_t> expressions, std::string_view meaning) {
  std::string all(chain);
  all.push_back('\0');
  all += meaning;
  const auto digest = Digest::of(all);
  // As an attribute, type and length first, of a type that `nft` passes over: else it may take one for a
  // comment.
  constexpr std::uint8_t kNobodysType = 0xff;
  std::vector<std::uint8_t> mark{kNobodysType, static_cast<std::uint8_t>(digest.bytes.size())};
  mark.insert(mark.end(), digest.bytes.begin(), digest.bytes.end());
  return {std::string(chain), std::move(expressions), std::move(mark)};
}

SmallTableKeeper::Contents::Contents(const SmallTable& table) : shape(table.shape()) {
  for (const auto& [set, content] : table.sets) elements.emplace(set.name, content);
}

Result<void> SmallTableKeeper::read(const Sets& wanted) {
  there_.reset();
  TRY(auto shape, kernel_.read_shape());
  if (!shape) return {};
  Contents there;
  there.shape = std::move(*shape);
  for (const auto& [name, set] : wanted) {
    const auto found = there.shape.sets.find(name);
    if (found == there.shape.sets.end() || !(found->second == set)) continue;
    TRY(auto elements, kernel_.read_elements(set));
    std::ranges::sort(elements);
    there.elements.emplace(name, std::move(elements));
  }
  there_ = std::move(there);
  return {};
}

// Makes it as is wanted, but for what goes later.
Batch SmallTableKeeper::step(const Contents& there, const SmallTable& wanted) {
  Batch batch;
  for (const auto& [set, elements] : wanted.sets) {
    if (!there.shape.sets.contains(set.name)) batch.emplace_back(AddSet{set});
  }
  for (const auto& chain : wanted.chains) {
    if (!there.shape.chains.contains(chain.name)) batch.emplace_back(AddChain{chain});
  }
  if (there.shape.rules_by_chain != wanted.shape().rules_by_chain) {
    if (!there.shape.rules_by_chain.empty()) batch.emplace_back(DeleteRules{});
    for (const auto& rule : wanted.rules) batch.emplace_back(AddRule{rule});
  }
  for (const auto& [set, elements] : wanted.sets) {
    const auto before = there.elements.find(set.name);
    add_difference(set, before == there.elements.end() ? std::vector<Element>{} : before->second, elements,
                   batch);
  }
  return batch;
}

Result<void> SmallTableKeeper::commit(const Batch& batch) {
  if (batch.empty()) return {};
  TRY_VOID(kernel_.commit(batch));
  writes_ += size_of(batch);
  return {};
}

Result<void> SmallTableKeeper::write(const std::optional<SmallTable>& wanted) {
  if (!wanted) return commit(there_ ? Batch{DeleteTable{}} : Batch{});
  const auto shape = wanted->shape();
  if (!there_ || clash(there_->shape, shape)) return commit(whole(*wanted));
  TRY_VOID(commit(step(*there_, *wanted)));
  const auto rest = leftovers(there_->shape, shape);
  if (!rest.empty()) kernel_.let_packets_pass();
  return commit(rest);
}

Result<void> SmallTableKeeper::sync(const std::optional<SmallTable>& wanted) {
  auto contents = wanted ? std::optional(Contents(*wanted)) : std::nullopt;
  if (!known_) TRY_VOID(read(wanted ? contents->shape.sets : Sets()));
  known_ = false;
  if (there_ != contents) TRY_VOID(write(wanted));
  there_ = std::move(contents);
  known_ = true;
  return {};
}

Result<void> SmallTableKeeper::change(const Set& set, const std::vector<Element>& come,
                                      const std::vector<Element>& gone) {
  if (come.empty() && gone.empty()) return {};
  if (!known_ || !there_)
    return fail(ErrorCode::kUnavailable, "what is in the set {} is not known", set.name);
  const auto of = there_->elements.find(set.name);
  if (of == there_->elements.end()) return fail(ErrorCode::kNotFound, "there is no set {}", set.name);
  auto& elements = of->second;
  Batch batch;
  if (!gone.empty()) batch.emplace_back(DeleteElements{set, gone});
  if (!come.empty()) batch.emplace_back(AddElements{set, come});
  known_ = false;
  TRY_VOID(kernel_.commit(batch));
  writes_ += size_of(batch);
  for (const auto& element : gone) {
    const auto [first, last] = std::ranges::equal_range(elements, element);
    elements.erase(first, last);
  }
  for (const auto& element : come) elements.insert(std::ranges::lower_bound(elements, element), element);
  known_ = true;
  return {};
}

}  // namespace ocicat::kernel::nft
