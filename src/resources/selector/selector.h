// Calico's selector language: which labels something must have.
//
//   source   docs/spec: semantics.md 1.1, validation.md 9
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ocicat {

// Where a selector looks up a label: nothing where it is missing. What is found must stay until the
// evaluation ends.
class LabelSource {
 public:
  virtual ~LabelSource() = default;
  virtual std::optional<std::string_view> find(std::string_view name) const = 0;
};

// What can be told of one label without evaluating: necessary conditions, not sufficient ones. For an index.
struct LabelRestriction {
  bool present = false;                         // the label must be there
  bool absent = false;                          // must not be there; with `present`, nothing can match
  std::optional<std::set<std::string>> one_of;  // its value must be in here; empty: nothing can match

  bool operator==(const LabelRestriction&) const = default;
};

// A parsed selector: an immutable value, cheap to copy. Equal if and only if the canonical texts are.
class Selector {
 public:
  // Errors say the position and what was expected there. Text with nothing but blanks means all().
  // Nesting is bounded: hostile text gets an error, not a stack overflow.
  static Result<Selector> parse(std::string_view text);
  // Fails exactly where parse() does, with the same error, and costs a fraction.
  static Result<void> check(std::string_view text);
  static Selector all();

  // O(size of the selector).
  bool matches(const LabelSource& labels) const;

  const std::string& canonical() const;  // parses back to an equal selector
  std::string id() const;                // "s:…", the same for every text with this canonical text
  bool is_all() const;                   // canonical() == "all()"

  std::map<std::string, LabelRestriction> restrictions() const;
  // Where it asks that the label have one of some values, and perhaps something else as well: what else,
  // all() for nothing. No value where it asks something of the label in another way.
  std::optional<Selector> apart_from_values_of(std::string_view label) const;
  // Every label name it mentions.
  std::set<std::string> label_names() const;

  // Rewriting; each returns a new selector. Its canonical text may exceed what parse() takes, in depth or in
  // the length of a name, where the selector was near that bound.
  Selector with_prefix(std::string_view prefix) const;          // put before every label name
  Selector replace_all_with_has(std::string_view label) const;  // each all() becomes has(label)
  Selector replace_global_with_not_has(std::string_view label) const;
  Selector operator&&(const Selector& other) const;
  Selector operator!() const;
  // Of a value that holds both kinds of quote no text could say it: such a value is never equal.
  static Selector label_equals(std::string_view label, std::string_view value);
  static Selector label_in(std::string_view label, const std::set<std::string>& values);

  bool operator==(const Selector& other) const { return canonical() == other.canonical(); }
  auto operator<=>(const Selector& other) const { return canonical() <=> other.canonical(); }

  struct Node;  // the parsed tree; private to selector/

 private:
  explicit Selector(std::shared_ptr<const Node> root);
  std::shared_ptr<const Node> root_;
};

}  // namespace ocicat
