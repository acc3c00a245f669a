// Documents as people write them: from text to checked JSON, with every complaint tied to its place.
#pragma once

#include <boost/json/object.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat {

// One complaint about a document. Prints as
//   shop.yaml:14: NetworkPolicy shop/api: spec.ingress[0].action: "allow": must be one of Allow, Deny, Log,
//   Pass
struct Complaint {
  std::string file;
  int line = 0;            // 1-based; 0 where there is none, as for JSON over HTTP
  std::string object;      // "NetworkPolicy shop/api", as far as it could be read
  std::string field_path;  // "spec.ingress[0].action"
  std::string value;       // shortened JSON
  std::string rule;        // what is wrong, and what would be right

  std::string to_string() const;
  bool operator==(const Complaint&) const = default;
};

// One object, still as a document.
struct Document {
  boost::json::object json;
  std::string file;
  int line = 0;
  std::map<std::string, int> line_of;  // field path → line, for complaints
};

struct ReadDocuments {
  std::vector<Document> documents;
  std::vector<Complaint> complaints;  // about text that is not even a document
};

// The largest text that is read.
inline constexpr std::size_t kMostText = std::size_t{256} << 20;

// All documents of a YAML or JSON text: separated by `---`, and `List` objects taken apart. Never fails as a
// whole: what can be read is read. Bounded: depth, aliases and size have limits that are named in complaints.
ReadDocuments read_documents(std::string_view text, std::string file_name);

// Block style, as kubectl prints it; an array at the top becomes several documents. read_documents() gives
// back what was written.
std::string to_yaml(const boost::json::value& value);

// For complaints: "NetworkPolicy shop/api", as far as the object says; and a value as JSON of at most 80
// bytes.
std::string describe(const boost::json::object& object);
std::string shortened(const boost::json::value& value);

}  // namespace ocicat
