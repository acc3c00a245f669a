// Which of many selectors match a set of labels, without asking all of them.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/string_pool.h"
#include "resources/selector/selector.h"

namespace ocicat::policy {

// A few labels that can be looked up and walked through. Of two with one name the first counts.
class LabelView : public LabelSource {
 public:
  struct Label {
    std::string_view name;  // borrowed
    std::string_view value;
  };

  void clear() { labels_.clear(); }
  void add(std::string_view name, std::string_view value) { labels_.push_back({name, value}); }
  std::optional<std::string_view> find(std::string_view name) const override;
  std::span<const Label> labels() const { return labels_; }

 private:
  std::vector<Label> labels_;
};

// Selectors filed under the most telling label that they require: its name and value, or its name alone. A
// set of labels then only meets the selectors filed under what it has, and the few that require nothing.
// One that lists values of a label may lie under each of them: whoever has one need only be asked for the
// rest, and that once for all selectors with the same rest.
//
// A selector is kept as text until labels meet it: most never do, and parsed it takes ten times the memory.
//
//   cost   match(): O(labels + selectors met); add(): O(size of the selector)
class SelectorIndex {
 public:
  using Id = StringPool::Id;  // from 1, dense, used again after remove()

  // Where a selector is filed: what a label makes of its name, or of its name and value.
  using Place = std::uint64_t;
  static constexpr Place kAnywhere = 0;  // requires nothing that could be filed
  static constexpr Place kNowhere = 1;   // contradicts itself
  static Place place_of(std::string_view name);
  static Place place_of(std::string_view name, std::string_view value);
  static std::vector<Place> places_of(const LabelView& labels);  // ascending

  SelectorIndex() : entries_(1), rests_(1) {}

  struct Added {
    Id id;
    bool is_new;
  };
  // One more user; selectors with one canonical text are one.
  Added add(const Selector& selector);
  // One user fewer; true where that was the last.
  bool remove(Id id);

  const Selector& operator[](Id id) const;
  // Labels that do not have this place do not match.
  Place place(Id id) const { return entries_[id].place; }
  std::size_t size() const { return texts_.size(); }
  // Ids in use are below this.
  std::size_t bound() const { return entries_.size(); }
  // Ascending.
  void match(const LabelView& labels, std::vector<Id>& matched) const;

 private:
  using RestId = std::uint32_t;  // from 1
  struct Rest {
    Selector selector = Selector::all();
    std::uint32_t users = 0;
    mutable std::uint64_t asked = 0;  // the question it was asked in last
    mutable bool holds = false;
  };
  struct Entry {
    Place place = kAnywhere;
    Id previous = 0;  // of the place
    Id next = 0;
    RestId rest = 0;  // not 0: filed under each value of the label that `place` names, and this is the rest
    mutable std::optional<Selector> selector;  // once met, or where its text says more than parse() takes
  };
  struct LabelKey {
    std::string name;
    std::string value;
    operator LabelView::Label() const { return {name, value}; }
  };
  struct LabelHash {
    using is_transparent = void;
    std::size_t operator()(const LabelView::Label& label) const { return place_of(label.name, label.value); }
  };
  struct LabelEqual {
    using is_transparent = void;
    bool operator()(const LabelView::Label& a, const LabelView::Label& b) const {
      return a.name == b.name && a.value == b.value;
    }
  };
  struct Filed {
    Id id;
    RestId rest;  // what else it asks for
  };
  struct Crowd {
    Id first = 0;
    std::uint32_t size = 0;
  };

  void file(Id id, const Selector& selector);
  void unfile(Id id, const std::vector<LabelKey>& values);
  bool file_under_values(Id id, const Selector& selector, const std::string& label,
                         const std::set<std::string>& values, std::size_t least);
  std::vector<LabelKey> values_of(Id id) const;
  RestId acquire_rest(Selector selector);
  void release_rest(RestId id);
  bool holds(RestId id, const LabelView& labels) const;
  void meet(Place place, const LabelView& labels, std::vector<Id>& matched) const;
  void meet_by_value(const LabelView::Label& label, const LabelView& labels, std::vector<Id>& matched) const;

  StringPool texts_;
  std::vector<Entry> entries_;
  boost::unordered_flat_map<Place, Crowd> filed_;
  // By the label itself, not by its place: a selector filed here is not asked for it again.
  boost::unordered_flat_map<LabelKey, std::vector<Filed>, LabelHash, LabelEqual> filed_by_value_;
  std::vector<Rest> rests_;
  std::map<Selector, RestId> rest_by_selector_;
  std::vector<RestId> free_rests_;
  mutable std::uint64_t question_ = 0;
};

}  // namespace ocicat::policy
