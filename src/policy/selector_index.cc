#include "policy/selector_index.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

// A selector that lists more values than this is filed under the name of the label alone.
constexpr std::size_t kMostValues = 64;

// A selector is filed under the name of a label alone rather than under a value where so many times fewer
// others are.
constexpr std::size_t kNameWeight = 16;

// Ascending, each once: labels may be there twice, or share a place by chance.
void sort_once(std::vector<SelectorIndex::Id>& ids, std::size_t bound) {
  constexpr std::size_t kWord = 64;
  if (ids.size() < std::max(kWord, bound / kWord)) {
    std::ranges::sort(ids);
    ids.erase(std::ranges::unique(ids).begin(), ids.end());
    return;
  }
  // So many of all there may be that they are marked, and read off in order.
  std::vector<std::uint64_t> marks(bound / kWord + 1);
  for (const auto id : ids) marks[id / kWord] |= std::uint64_t{1} << id % kWord;
  ids.clear();
  for (std::size_t word = 0; word < marks.size(); ++word) {
    for (auto left = marks[word]; left != 0; left &= left - 1) {
      ids.push_back(
          static_cast<SelectorIndex::Id>(word * kWord + static_cast<unsigned>(std::countr_zero(left))));
    }
  }
}

}  // namespace

std::optional<std::string_view> LabelView::find(std::string_view name) const {
  const auto it = std::ranges::find(labels_, name, &Label::name);
  if (it == labels_.end()) return std::nullopt;
  return it->value;
}

// Two that share a place by chance only meet more labels than they need to.
SelectorIndex::Place SelectorIndex::place_of(std::string_view name) {
  const auto hash = std::hash<std::string_view>{}(name);
  return hash <= kNowhere ? hash + 2 : hash;
}

SelectorIndex::Place SelectorIndex::place_of(std::string_view name, std::string_view value) {
  auto place = (std::hash<std::string_view>{}(name) ^ 0x9e3779b97f4a7c15ULL) * 0xe7037ed1a0b428dbULL;
  place = (place ^ place >> 32) + std::hash<std::string_view>{}(value);
  return place <= kNowhere ? place + 2 : place;
}

std::vector<SelectorIndex::Place> SelectorIndex::places_of(const LabelView& labels) {
  std::vector<Place> places;
  for (const auto& [name, value] : labels.labels()) {
    places.push_back(place_of(name));
    places.push_back(place_of(name, value));
  }
  std::ranges::sort(places);
  places.erase(std::ranges::unique(places).begin(), places.end());
  return places;
}

SelectorIndex::Added SelectorIndex::add(const Selector& selector) {
  const auto before = texts_.size();
  const auto id = texts_.acquire(selector.canonical());
  if (texts_.size() == before) return {id, false};
  if (entries_.size() <= id) entries_.resize(id + 1);
  entries_[id] = {};
  if (!Selector::check(selector.canonical())) entries_[id].selector = selector;
  file(id, selector);
  return {id, true};
}

bool SelectorIndex::remove(Id id) {
  const auto values = values_of(id);
  if (!texts_.release(id)) return false;
  unfile(id, values);
  entries_[id] = {};
  return true;
}

const Selector& SelectorIndex::operator[](Id id) const {
  const auto& entry = entries_[id];
  if (!entry.selector) {
    auto parsed = Selector::parse(texts_[id]);
    CHECK(parsed.has_value());
    entry.selector = *std::move(parsed);
  }
  return *entry.selector;
}

void SelectorIndex::file(Id id, const Selector& selector) {
  auto& entry = entries_[id];
  std::size_t least = std::numeric_limits<std::size_t>::max();
  const auto consider = [&](Place place) {
    const auto it = filed_.find(place);
    const auto crowd = it == filed_.end() ? 0 : it->second.size;
    if (crowd >= least) return;
    least = crowd;
    entry.place = place;
  };
  const auto restrictions = selector.restrictions();
  for (const auto& [name, restriction] : restrictions) {
    if ((restriction.present && restriction.absent) || (restriction.one_of && restriction.one_of->empty())) {
      entry.place = kNowhere;
      return;
    }
    if (restriction.one_of && restriction.one_of->size() == 1)
      consider(place_of(name, *restriction.one_of->begin()));
  }
  for (const auto& [name, restriction] : restrictions) {
    if (restriction.one_of && restriction.one_of->size() > 1 &&
        file_under_values(id, selector, name, *restriction.one_of, least)) {
      return;
    }
  }
  // Names alone tell least: everybody may have one.
  least /= kNameWeight;
  for (const auto& [name, restriction] : restrictions) {
    if (restriction.present || restriction.one_of) consider(place_of(name));
  }
  auto& crowd = filed_[entry.place];
  entry.next = crowd.first;
  if (crowd.first != 0) entries_[crowd.first].previous = id;
  crowd.first = id;
  ++crowd.size;
}

// Where that makes it meet no more labels than `least` others do in one place.
bool SelectorIndex::file_under_values(Id id, const Selector& selector, const std::string& label,
                                      const std::set<std::string>& values, std::size_t least) {
  if (values.size() > kMostValues) return false;
  const auto one = filed_by_value_.find(LabelView::Label{label, *values.begin()});
  if (one != filed_by_value_.end() && one->second.size() > least) return false;
  auto rest = selector.apart_from_values_of(label);
  if (!rest) return false;
  auto& entry = entries_[id];
  entry.place = place_of(label);
  entry.rest = acquire_rest(*std::move(rest));
  for (const auto& value : values) filed_by_value_[{label, value}].push_back({id, entry.rest});
  return true;
}

// Under which values it is filed.
std::vector<SelectorIndex::LabelKey> SelectorIndex::values_of(Id id) const {
  std::vector<LabelKey> labels;
  if (entries_[id].rest == 0) return labels;
  for (const auto& [name, restriction] : (*this)[id].restrictions()) {
    if (place_of(name) != entries_[id].place || !restriction.one_of) continue;
    for (const auto& value : *restriction.one_of) labels.push_back({name, value});
  }
  return labels;
}

SelectorIndex::RestId SelectorIndex::acquire_rest(Selector selector) {
  const auto [it, is_new] = rest_by_selector_.try_emplace(selector, 0);
  if (is_new) {
    if (free_rests_.empty()) {
      it->second = static_cast<RestId>(rests_.size());
      rests_.emplace_back();
    } else {
      it->second = free_rests_.back();
      free_rests_.pop_back();
    }
    rests_[it->second] = {.selector = std::move(selector)};
  }
  ++rests_[it->second].users;
  return it->second;
}

void SelectorIndex::release_rest(RestId id) {
  if (--rests_[id].users > 0) return;
  rest_by_selector_.erase(rests_[id].selector);
  rests_[id] = {};
  free_rests_.push_back(id);
}

bool SelectorIndex::holds(RestId id, const LabelView& labels) const {
  const auto& rest = rests_[id];
  if (std::exchange(rest.asked, question_) != question_) rest.holds = rest.selector.matches(labels);
  return rest.holds;
}

void SelectorIndex::unfile(Id id, const std::vector<LabelKey>& values) {
  const auto& entry = entries_[id];
  if (entry.place == kNowhere) return;
  if (entry.rest != 0) {
    for (const auto& label : values) {
      const auto it = filed_by_value_.find(label);
      std::erase_if(it->second, [&](const Filed& filed) { return filed.id == id; });
      if (it->second.empty()) filed_by_value_.erase(it);
    }
    release_rest(entry.rest);
    return;
  }
  const auto it = filed_.find(entry.place);
  (entry.previous == 0 ? it->second.first : entries_[entry.previous].next) = entry.next;
  if (entry.next != 0) entries_[entry.next].previous = entry.previous;
  if (--it->second.size == 0) filed_.erase(it);
}

void SelectorIndex::meet(Place place, const LabelView& labels, std::vector<Id>& matched) const {
  const auto it = filed_.find(place);
  if (it == filed_.end()) return;
  for (auto id = it->second.first; id != 0; id = entries_[id].next) {
    if ((*this)[id].matches(labels)) matched.push_back(id);
  }
}

void SelectorIndex::meet_by_value(const LabelView::Label& label, const LabelView& labels,
                                  std::vector<Id>& matched) const {
  const auto it = filed_by_value_.find(label);
  if (it == filed_by_value_.end() || labels.find(label.name) != label.value) return;
  for (const auto& [id, rest] : it->second) {
    if (holds(rest, labels)) matched.push_back(id);
  }
}

void SelectorIndex::match(const LabelView& labels, std::vector<Id>& matched) const {
  matched.clear();
  ++question_;
  meet(kAnywhere, labels, matched);
  for (const auto& label : labels.labels()) {
    meet(place_of(label.name), labels, matched);
    meet(place_of(label.name, label.value), labels, matched);
    meet_by_value(label, labels, matched);
  }
  sort_once(matched, entries_.size());
}

}  // namespace ocicat::policy
