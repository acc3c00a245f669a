// Which of many selectors match a set of labels, without asking all of them.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resources/selector/selector.h"

namespace ocicat::policy {

// A few labels that can be looked up and walked through. Of two with one name the first counts.
class LabelView : public LabelSource {
 public:
  struct Label {
    const std::string* name;  // borrowed
    const std::string* value;
  };

  void clear() { labels_.clear(); }
  void add(const std::string& name, const std::string& value) { labels_.push_back({&name, &value}); }
  const std::string* find(std::string_view name) const override;
  std::span<const Label> labels() const { return labels_; }

 private:
  std::vector<Label> labels_;
};

// Selectors filed under the most telling label that they require: its name and value, or its name alone. A
// set of labels then only meets the selectors filed under what it has, and the few that require nothing.
//
//   cost   match(): O(labels + selectors met); add(): O(size of the selector)
class SelectorIndex {
 public:
  using Id = std::uint32_t;  // from 1, dense, used again after remove()

  struct Added {
    Id id;
    bool is_new;
  };
  // One more user; selectors with one canonical text are one.
  Added add(const Selector& selector);
  // One user fewer; true where that was the last.
  bool remove(Id id);

  const Selector& operator[](Id id) const { return *entries_[id].selector; }
  std::size_t size() const { return id_by_text_.size(); }
  // Ids in use are below this.
  std::size_t bound() const { return entries_.size(); }
  // Ascending.
  void match(const LabelView& labels, std::vector<Id>& matched) const;

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct Entry {
    std::optional<Selector> selector;
    std::string place;  // "name" or "name=value"; empty: requires nothing that could be filed
    std::uint32_t users = 0;
    bool never = false;  // contradicts itself
  };
  using Places = boost::unordered_flat_map<std::string, std::vector<Id>, TextHash, std::equal_to<>>;

  void file(Id id);
  void unfile(Id id);
  void meet(const std::vector<Id>& candidates, const LabelView& labels, std::vector<Id>& matched) const;

  std::vector<Entry> entries_{1};
  std::vector<Id> free_ids_;
  boost::unordered_flat_map<std::string, Id, TextHash, std::equal_to<>> id_by_text_;
  Places filed_;
  std::vector<Id> unfiled_;
};

}  // namespace ocicat::policy
