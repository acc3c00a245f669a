#include "policy/selector_index.h"

#include <algorithm>
#include <limits>

#include "base/result.h"

namespace ocicat::policy {

namespace {

// A selector that lists more values than this is filed under the name of the label alone.
constexpr std::size_t kMostValues = 1;

std::string place_of(std::string_view name, std::string_view value) {
  return fmt::format("{}={}", name, value);
}

}  // namespace

const std::string* LabelView::find(std::string_view name) const {
  const auto it = std::ranges::find_if(labels_, [&](const Label& label) { return *label.name == name; });
  return it == labels_.end() ? nullptr : it->value;
}

SelectorIndex::Added SelectorIndex::add(const Selector& selector) {
  if (const auto it = id_by_text_.find(std::string_view{selector.canonical()}); it != id_by_text_.end()) {
    ++entries_[it->second].users;
    return {it->second, false};
  }
  Id id = 0;
  if (free_ids_.empty()) {
    id = static_cast<Id>(entries_.size());
    entries_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  entries_[id] = {.selector = selector, .place = {}, .users = 1, .never = false};
  id_by_text_.emplace(selector.canonical(), id);
  file(id);
  return {id, true};
}

bool SelectorIndex::remove(Id id) {
  auto& entry = entries_[id];
  CHECK(entry.users > 0);
  if (--entry.users > 0) return false;
  unfile(id);
  id_by_text_.erase(id_by_text_.find(std::string_view{entry.selector->canonical()}));
  entry = {};
  free_ids_.push_back(id);
  return true;
}

void SelectorIndex::file(Id id) {
  auto& entry = entries_[id];
  std::size_t least = std::numeric_limits<std::size_t>::max();
  const auto consider = [&](std::string place) {
    const auto it = filed_.find(std::string_view{place});
    const auto crowd = it == filed_.end() ? 0 : it->second.size();
    if (crowd >= least) return;
    least = crowd;
    entry.place = std::move(place);
  };
  for (const auto& [name, restriction] : entry.selector->restrictions()) {
    if ((restriction.present && restriction.absent) || (restriction.one_of && restriction.one_of->empty())) {
      entry.never = true;
      return;
    }
    if (restriction.one_of && restriction.one_of->size() <= kMostValues) {
      consider(place_of(name, *restriction.one_of->begin()));
    } else if (restriction.present || restriction.one_of) {
      consider(name);
    }
  }
  (entry.place.empty() ? unfiled_ : filed_[entry.place]).push_back(id);
}

void SelectorIndex::unfile(Id id) {
  const auto& entry = entries_[id];
  if (entry.never) return;
  if (entry.place.empty()) {
    std::erase(unfiled_, id);
    return;
  }
  const auto it = filed_.find(std::string_view{entry.place});
  std::erase(it->second, id);
  if (it->second.empty()) filed_.erase(it);
}

void SelectorIndex::meet(const std::vector<Id>& candidates, const LabelView& labels,
                         std::vector<Id>& matched) const {
  for (const auto id : candidates) {
    if (entries_[id].selector->matches(labels)) matched.push_back(id);
  }
}

void SelectorIndex::match(const LabelView& labels, std::vector<Id>& matched) const {
  matched.clear();
  meet(unfiled_, labels, matched);
  std::string place;
  for (const auto& [name, value] : labels.labels()) {
    if (filed_.empty()) break;
    place.assign(*name);
    if (const auto it = filed_.find(std::string_view{place}); it != filed_.end())
      meet(it->second, labels, matched);
    place.append("=").append(*value);
    if (const auto it = filed_.find(std::string_view{place}); it != filed_.end())
      meet(it->second, labels, matched);
  }
  std::ranges::sort(matched);
  // A label whose name holds a "=" can lead to a place twice.
  matched.erase(std::ranges::unique(matched).begin(), matched.end());
}

}  // namespace ocicat::policy
