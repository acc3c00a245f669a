#include "kernel/simulated_nft.h"

#include <algorithm>
#include <iterator>

namespace ocicat::kernel::nft {
namespace {

// One place: two elements there cannot be together.
std::set<Element>::iterator find_place(std::set<Element>& elements, const Element& element) {
  const auto it = elements.lower_bound(Element{element.key, element.interval_end, {}});
  const bool same =
      it != elements.end() && it->key == element.key && it->interval_end == element.interval_end;
  return same ? it : elements.end();
}

// Where one interval ends and another begins, the end comes first.
std::vector<Element> in_order(const std::set<Element>& elements) {
  std::vector<Element> sorted(elements.begin(), elements.end());
  std::ranges::sort(sorted, [](const Element& a, const Element& b) {
    return a.key != b.key ? a.key < b.key : a.interval_end && !b.interval_end;
  });
  return sorted;
}

// Starts with their ends; an open one without.
std::set<std::pair<Element, Element>> whole_intervals(const std::set<Element>& elements) {
  std::set<std::pair<Element, Element>> intervals;
  std::optional<Element> start;
  for (const auto& element : in_order(elements)) {
    if (element.interval_end && start) intervals.emplace(*start, element);
    start = element.interval_end ? std::nullopt : std::optional(element);
  }
  if (start) intervals.emplace(*start, Element{});
  return intervals;
}

template <typename Wanted>
bool has(const Batch& batch) {
  return std::ranges::any_of(
      batch, [](const Operation& operation) { return std::holds_alternative<Wanted>(operation); });
}

bool overlaps(const std::set<Element>& elements) {
  bool open = false;
  for (const auto& element : in_order(elements)) {
    if (element.interval_end != open) return true;
    open = !element.interval_end;
  }
  return false;
}

}  // namespace

std::optional<Error> SimulatedKernel::fault(bool* lose_answer) {
  ++calls_;
  if (!faults_) return std::nullopt;
  const auto found = faults_(calls_);
  if (!found) return std::nullopt;
  if (lose_answer != nullptr) *lose_answer = found->lose_answer;
  return found->error;
}

Result<void> SimulatedKernel::add(const AddElements& added) {
  const auto set = shape_->sets.find(added.set.name);
  if (set == shape_->sets.end()) return fail(ErrorCode::kNotFound, "no set {}", added.set.name);
  auto& present = elements_[added.set.name];
  for (const auto& element : added.elements) {
    if (find_place(present, element) != present.end()) {
      return fail(ErrorCode::kAlreadyExists, "element of {} is there", added.set.name);
    }
    const bool data_fits =
        set->second.verdicts || element.interval_end || element.data.size() == set->second.data_length;
    if (!data_fits || (!element.key.empty() && element.key.size() != set->second.key_length)) {
      return fail(ErrorCode::kInvalid, "element of {} has another size", added.set.name);
    }
    if (set->second.verdicts && element.data.size() > 4) {
      const auto chain = element.data.view().subspan(4);
      if (!shape_->chains.contains({chain.begin(), chain.end()}))
        return fail(ErrorCode::kNotFound, "element of {} leads to no chain", added.set.name);
    }
    present.insert(element);
  }
  if (set->second.size != 0 && present.size() > set->second.size)
    return fail(ErrorCode::kExhausted, "{} has no room for another element", added.set.name);
  if (set->second.interval && overlaps(present))
    return fail(ErrorCode::kConflict, "intervals of {} overlap", added.set.name);
  return {};
}

Result<void> SimulatedKernel::remove(const DeleteElements& removed) {
  if (!shape_->sets.contains(removed.set.name))
    return fail(ErrorCode::kNotFound, "no set {}", removed.set.name);
  auto& present = elements_[removed.set.name];
  for (const auto& element : removed.elements) {
    const auto it = find_place(present, element);
    if (it == present.end())
      return fail(ErrorCode::kNotFound, "element of {} is not there", removed.set.name);
    present.erase(it);
  }
  return {};
}

Result<void> SimulatedKernel::remove(const DeleteSet& gone) {
  elements_.erase(gone.name);
  if (shape_->sets.erase(gone.name) == 0) return fail(ErrorCode::kNotFound, "no set {}", gone.name);
  return {};
}

Result<void> SimulatedKernel::remove(const DeleteChain& gone) {
  for (const auto& [name, set] : shape_->sets) {
    if (!set.verdicts) continue;
    for (const auto& element : elements_[name]) {
      if (std::ranges::equal(element.data.view().subspan(4), gone.name))
        return fail(ErrorCode::kConflict, "chain {} is in use", gone.name);
    }
  }
  shape_->rules_by_chain.erase(gone.name);
  if (shape_->chains.erase(gone.name) == 0) return fail(ErrorCode::kNotFound, "no chain {}", gone.name);
  return {};
}

Result<void> SimulatedKernel::apply(const Operation& operation) {
  if (std::holds_alternative<AddTable>(operation)) {
    if (!shape_) shape_.emplace();
    return {};
  }
  if (!shape_) return fail(ErrorCode::kNotFound, "no table");
  if (std::holds_alternative<DeleteTable>(operation)) {
    drop_table();
  } else if (const auto* set = std::get_if<AddSet>(&operation)) {
    if (!shape_->sets.emplace(set->set.name, set->set).second)
      return fail(ErrorCode::kAlreadyExists, "set {}", set->set.name);
  } else if (const auto* old = std::get_if<DeleteSet>(&operation)) {
    return remove(*old);
  } else if (const auto* chain = std::get_if<AddChain>(&operation)) {
    if (!shape_->chains.emplace(chain->chain.name, chain->chain).second) {
      return fail(ErrorCode::kAlreadyExists, "chain {}", chain->chain.name);
    }
  } else if (const auto* gone = std::get_if<DeleteChain>(&operation)) {
    return remove(*gone);
  } else if (const auto* rule = std::get_if<AddRule>(&operation)) {
    if (!shape_->chains.contains(rule->rule.chain))
      return fail(ErrorCode::kNotFound, "no chain {}", rule->rule.chain);
    shape_->rules_by_chain[rule->rule.chain].push_back(rule->rule.mark);
  } else if (std::holds_alternative<DeleteRules>(operation)) {
    shape_->rules_by_chain.clear();
  } else if (const auto* added = std::get_if<AddElements>(&operation)) {
    return add(*added);
  } else if (const auto* removed = std::get_if<DeleteElements>(&operation)) {
    return remove(*removed);
  }
  return {};
}

void SimulatedKernel::show_late(const Elements& before) {
  if (!late_observer_ || !shape_) return;
  const auto show = [&](auto content_of) {
    auto now = elements_;
    for (const auto& [name, set] : shape_->sets) {
      if (set.interval) now[name] = content_of(name);
    }
    late_observer_(now, before);
  };
  const auto old = [&](const std::string& name) {
    const auto found = before.find(name);
    return found == before.end() ? std::set<Element>{} : found->second;
  };
  show(old);
  show([&](const std::string& name) {
    const auto known = whole_intervals(old(name));
    std::set<Element> stays;
    for (const auto& [start, end] : whole_intervals(elements_[name])) {
      if (!known.contains({start, end})) continue;
      stays.insert(start);
      if (end.interval_end) stays.insert(end);
    }
    return stays;
  });
}

void SimulatedKernel::note_maps(const Batch& batch, const std::optional<Shape>& before) {
  const bool anew = has<DeleteTable>(batch);
  if ((anew || has<DeleteRules>(batch)) && before && !before->rules_by_chain.empty()) {
    for (const auto& [name, set] : before->sets) {
      if (set.is_map()) used_.insert(name);
    }
  }
  for (const auto& name : used_) {
    if (anew || !shape_ || !shape_->sets.contains(name)) pulled_away_.insert(name);
  }
}

Result<void> SimulatedKernel::commit(const Batch& batch) {
  bool lose_answer = false;
  const auto error = fault(&lose_answer);
  if (error && !lose_answer) return std::unexpected(*error);
  const auto shape_before = shape_;
  const auto elements_before = elements_;
  for (const auto& operation : batch) {
    if (auto applied = apply(operation); !applied) {
      shape_ = shape_before;
      elements_ = elements_before;
      return applied;
    }
  }
  ++commits_;
  show_late(has<DeleteTable>(batch) ? Elements{} : elements_before);
  note_maps(batch, shape_before);
  if (observer_) observer_(*this);
  if (error) return std::unexpected(*error);
  return {};
}

Result<std::optional<Shape>> SimulatedKernel::read_shape() {
  if (const auto error = fault()) return std::unexpected(*error);
  return shape_;
}

Result<std::vector<Element>> SimulatedKernel::read_elements(const Set& set) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto& present = elements_[set.name];
  return std::vector<Element>(present.begin(), present.end());
}

std::set<Element>& SimulatedKernel::elements(const std::string& set) {
  return elements_[set];
}

}  // namespace ocicat::kernel::nft
