#include "policy/selector_index.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/result.h"

namespace ocicat::policy {

namespace {

// A selector that lists more values than this is filed under the name of the label alone.
constexpr std::size_t kMostValues = 1;

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
  if (!texts_.release(id)) return false;
  unfile(id);
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
  for (const auto& [name, restriction] : selector.restrictions()) {
    if ((restriction.present && restriction.absent) || (restriction.one_of && restriction.one_of->empty())) {
      entry.place = kNowhere;
      return;
    }
    if (restriction.one_of && restriction.one_of->size() <= kMostValues) {
      consider(place_of(name, *restriction.one_of->begin()));
    } else if (restriction.present || restriction.one_of) {
      consider(place_of(name));
    }
  }
  auto& crowd = filed_[entry.place];
  entry.next = crowd.first;
  if (crowd.first != 0) entries_[crowd.first].previous = id;
  crowd.first = id;
  ++crowd.size;
}

void SelectorIndex::unfile(Id id) {
  const auto& entry = entries_[id];
  if (entry.place == kNowhere) return;
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

void SelectorIndex::match(const LabelView& labels, std::vector<Id>& matched) const {
  matched.clear();
  meet(kAnywhere, labels, matched);
  for (const auto& [name, value] : labels.labels()) {
    meet(place_of(name), labels, matched);
    meet(place_of(name, value), labels, matched);
  }
  std::ranges::sort(matched);
  // Labels that are there twice, or share a place by chance.
  matched.erase(std::ranges::unique(matched).begin(), matched.end());
}

}  // namespace ocicat::policy
