// Every field of every kind: what may be written where.
//
// The tables in schema/*.fields.txt are part of the binary; the one of a kind is parsed when it is first
// asked for. What they cannot say, rules across fields, stands in rules.h.
#pragma once

#include <re2/re2.h>
#include <boost/json/object.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resources/document_path.h"
#include "resources/kinds.h"
#include "resources/schema_formats.h"

namespace ocicat::schema {

// One thing that is wrong in a document; validate() turns it into a Complaint.
struct Finding {
  std::string field_path;
  std::string value;  // shortened JSON; empty where the field is missing
  std::string rule;
};

class Findings {
 public:
  // A document that is wrong everywhere is told so this many times, and no more.
  static constexpr std::size_t kMax = 1000;

  void add(const Place& place, const boost::json::value& value, std::string rule);
  void add(const Place& place, std::string rule);  // about a field that is not there, or only about its name
  bool empty() const { return findings_.empty(); }
  bool full() const { return findings_.size() >= kMax; }
  std::vector<Finding> take() { return std::move(findings_); }

 private:
  std::vector<Finding> findings_;
};

enum class Type : std::uint8_t {
  kAny,
  kObject,
  kList,
  kMap,
  kString,
  kInteger,
  kNumber,
  kBoolean,
  kIntOrString,
};

// What may stand in one place.
struct Field {
  std::string name;
  Type type = Type::kAny;
  bool required = false;
  bool non_zero = false;  // must be there, and neither empty nor 0
  bool nullable = false;  // of an item of a list: null is a value of its own
  std::optional<boost::json::value> default_value;
  std::vector<std::string> one_of;
  std::optional<std::int64_t> min;
  std::optional<std::int64_t> max;
  std::optional<std::size_t> min_size;  // of a string in characters, of a list, of an object
  std::optional<std::size_t> max_size;
  std::shared_ptr<const re2::RE2> pattern;
  std::string pattern_rule;  // the pattern in words
  std::vector<ValueCheck> formats;
  std::vector<ValueCheck>
      checks;  // passed over for a field that is empty text, which Calico takes for no field
  bool items_are_unique = false;
  bool keys_are_labels = false;  // a map of labels: keys and values as Kubernetes wants them
  std::string unique_key;        // a list's items are told apart by this field of theirs

  std::vector<Field> fields;       // of an object
  std::unique_ptr<Field> element;  // of a list or a map

  const Field* find(std::string_view field_name) const;
  Field* find(std::string_view field_name);
};

// The document as a whole, with apiVersion, kind and metadata. Null for a kind without a table. Thread safe;
// what it points to stays.
const Field* table_of(Kind kind);

// Holds `object` against the table: unknown fields, types, bounds, formats. Fills in defaults, takes fields
// out that are null, and turns whole numbers written as 5.0 into integers.
void check(const Field& table, boost::json::object& object, const Place& place, Findings& findings);

// "did you mean x?", where one of the words is close enough to what was written; else "".
std::string did_you_mean(std::string_view written, const std::vector<std::string_view>& words);

}  // namespace ocicat::schema
