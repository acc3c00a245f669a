// Which objects of a kind a list or watch asked for.
//
//   source   Kubernetes documentation, "Labels and Selectors" and "Field Selectors"
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace ocicat::api {

// `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas, which mean "and".
class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);

  bool empty() const { return requirements_.empty(); }
  // Of an object's stored text.
  bool matches(std::string_view stored_text) const;

 private:
  struct Requirement {
    std::string label;
    std::optional<std::vector<std::string>> values;  // nothing: the label is there
    bool negated = false;                            // a missing label satisfies it
  };
  friend class LabelSelectorParser;
  std::vector<Requirement> requirements_;
};

// `metadata.name` and `metadata.namespace` with =, == and !=, joined by commas.
class FieldSelector {
 public:
  static Result<FieldSelector> parse(std::string_view text);

  bool matches(const ResourceKey& key) const;

 private:
  struct Requirement {
    bool is_name = false;  // else the namespace
    std::string value;
    bool negated = false;
  };
  std::vector<Requirement> requirements_;
};

struct Selection {
  LabelSelector labels;
  FieldSelector fields;

  bool matches(const store::Entry& entry) const {
    return fields.matches(entry.key) && labels.matches(*entry.document);
  }
};

}  // namespace ocicat::api
