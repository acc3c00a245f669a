#include "kernel/nft_small_table.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/digest.h"

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
  std::string meaning(chain);
  meaning.push_back('\0');
  meaning.append(reinterpret_cast<const char*>(expressions.data()), expressions.size());
  const auto digest = Digest::of(meaning);
  // As an attribute, type and length first, of a type that `nft` passes over: else it may take one for a
  // comment.
  constexpr std::uint8_t kNobodysType = 0xff;
  std::vector<std::uint8_t> mark{kNobodysType, static_cast<std::uint8_t>(digest.bytes.size())};
  mark.insert(mark.end(), digest.bytes.begin(), digest.bytes.end());
  return {std::string(chain), std::move(expressions), std::move(mark)};
}

// What the kernel holds: `like`, but for its elements; or else something that has nothing in common with it.
Result<void> SmallTableKeeper::read(const SmallTable& like) {
  there_.reset();
  TRY(const auto shape, kernel_.read_shape());
  if (!shape) return {};
  there_.emplace();
  if (!(*shape == like.shape())) return {};
  SmallTable table{like.chains, like.rules};
  for (const auto& [set, unused] : like.sets) {
    TRY(auto elements, kernel_.read_elements(set));
    std::ranges::sort(elements);
    table.sets.emplace_back(set, std::move(elements));
  }
  there_ = std::move(table);
  return {};
}

Result<Batch> SmallTableKeeper::difference(const std::optional<SmallTable>& wanted) {
  if (!known_) TRY_VOID(read(wanted.value_or(SmallTable{})));
  if (!wanted) return there_ ? Batch{DeleteTable{}} : Batch{};
  if (!there_ || there_->rules != wanted->rules || !(there_->shape() == wanted->shape()))
    return whole(*wanted);
  Batch batch;
  for (std::size_t i = 0; i < wanted->sets.size(); ++i) {
    const auto& [set, elements] = wanted->sets[i];
    add_difference(set, there_->sets[i].second, elements, batch);
  }
  return batch;
}

Result<void> SmallTableKeeper::sync(const std::optional<SmallTable>& wanted) {
  if (known_ && there_ == wanted) return {};
  auto batch = difference(wanted);
  known_ = false;
  if (!batch) return std::unexpected(std::move(batch).error());
  if (!batch->empty()) {
    TRY_VOID(kernel_.commit(*batch));
    writes_ += size_of(*batch);
  }
  there_ = wanted;
  known_ = true;
  return {};
}

Result<void> SmallTableKeeper::change(const Set& set, const std::vector<Element>& come,
                                      const std::vector<Element>& gone) {
  if (come.empty() && gone.empty()) return {};
  if (!known_ || !there_)
    return fail(ErrorCode::kUnavailable, "what is in the set {} is not known", set.name);
  const auto of = std::ranges::find(there_->sets, set, [](const auto& entry) { return entry.first; });
  if (of == there_->sets.end()) return fail(ErrorCode::kNotFound, "there is no set {}", set.name);
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
