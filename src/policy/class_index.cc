#include "policy/class_index.h"

#include <algorithm>
#include <map>
#include <utility>

namespace ocicat::policy {

void ClassIndex::touch(SignatureId signature, std::uint32_t more) {
  if (signature == 0) return;
  if (classes_.size() < sets_.signatures.bound()) classes_.resize(sets_.signatures.bound());
  auto& entry = classes_[signature];
  entry.blends += more;
  if (entry.touched) return;
  entry.touched = true;
  sets_.signatures.retain(signature);
  touched_.push_back(signature);
}

// The id of one class becomes that of another; to every vocabulary that stays, both mean the same.
void ClassIndex::give_id(SignatureId from, SignatureId to) {
  auto& giver = classes_[from];
  ids_.rename(IdSpace::kClass, giver.id, sets_.digest(to));
  classes_[to].id = std::exchange(giver.id, 0);  // as many classes as before
  sets_.signatures.retain(to);
  if (!giver.touched) {
    giver.touched = true;
    touched_.push_back(from);  // takes over the hold that the class had
  } else {
    sets_.signatures.release(from);
  }
}

std::vector<SetId> ClassIndex::without(SignatureId signature, const std::vector<bool>& left_out) const {
  std::vector<SetId> rest;
  sets_.signatures.for_each(signature, [&](SetId set) {
    if (!left_out[set]) rest.push_back(set);
  });
  return rest;
}

// A set that comes into use divides classes, one that goes unites them. A class that differs from an old one
// in such sets only may have its id, and the one with most places does: the others' places are those to
// write. True where an id moved.
bool ClassIndex::inherit_ids(const std::function<std::vector<std::size_t>()>& places_by_signature) {
  std::vector<bool> created(sets_.bound()), destroyed(sets_.bound());
  for (const auto set : sets_.created()) created[set] = true;
  for (const auto set : sets_.destroyed()) destroyed[set] = true;
  std::map<std::vector<SetId>, std::vector<SignatureId>> heirs;  // by what they were before
  for (const auto signature : touched_) {
    if (classes_[signature].id == 0 && classes_[signature].blends > 0) {
      heirs[without(signature, created)].push_back(signature);
    }
  }
  heirs.erase(std::vector<SetId>{});  // who was in no set had no id
  if (heirs.empty()) return false;
  std::map<std::vector<SetId>, SignatureId> gone;
  for (const auto signature : touched_) {
    if (classes_[signature].id != 0 && classes_[signature].blends == 0) {
      gone.emplace(without(signature, destroyed), signature);
    }
  }
  const auto places = places_by_signature();
  bool moved = false;
  for (const auto& [before, candidates] : heirs) {
    auto old = sets_.signatures.find(before);
    if (old == 0 || old >= classes_.size() || classes_[old].id == 0) {
      const auto it = gone.find(before);
      if (it == gone.end()) continue;
      old = it->second;
    }
    const auto largest = std::ranges::max(candidates, {}, [&](SignatureId one) { return places[one]; });
    if (places[largest] <= places[old]) continue;
    give_id(old, largest);
    moved = true;
  }
  return moved;
}

ClassIndex::Update ClassIndex::settle(const std::function<std::vector<std::size_t>()>& places_by_signature) {
  Update update;
  if (!sets_.created().empty() || !sets_.destroyed().empty())
    update.renamed = inherit_ids(places_by_signature);
  for (const auto signature : touched_) {
    auto& entry = classes_[signature];
    entry.touched = false;
    if (entry.blends > 0 && entry.id == 0) {
      entry.id = ids_.take(IdSpace::kClass, sets_.digest(signature));
      sets_.signatures.retain(signature);
      update.new_classes.push_back(signature);
      ++size_;
    } else if (entry.blends == 0 && entry.id != 0) {
      update.gone_classes.push_back(ClassId{entry.id});
      ids_.release(IdSpace::kClass, entry.id);
      entry.id = 0;
      sets_.signatures.release(signature);
      --size_;
    }
  }
  for (const auto signature : touched_) sets_.signatures.release(signature);
  touched_.clear();
  return update;
}

}  // namespace ocicat::policy
