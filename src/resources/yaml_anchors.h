// What `&name` marks and `*name` repeats, within a bound: a short text of aliases of aliases would otherwise
// stand for a document larger than memory.
#pragma once

#include <boost/json/value.hpp>

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ocicat {

// The anchors of one document. Every copy is counted, where a value is marked and where it is repeated.
class YamlAnchors {
 public:
  // Remembers a value; a later one of the same name replaces it. Fails beyond the bound.
  [[nodiscard]] Result<void> keep(std::string name, const boost::json::value& value);

  // The value of that name, to stand `depth` levels inside the document. kNotFound where there is none,
  // kExhausted beyond the bounds.
  [[nodiscard]] Result<boost::json::value> repeat(std::string_view name, int depth);

 private:
  // What a value costs to copy.
  struct Weight {
    std::size_t nodes = 0;
    std::size_t bytes = 0;
    int height = 0;
  };
  struct Anchored {
    boost::json::value value;
    Weight weight;
  };
  static Weight weigh(const boost::json::value& value);
  [[nodiscard]] Result<void> spend(const Weight& weight);

  std::map<std::string, Anchored, std::less<>> anchors_;
  Weight spent_;
};

}  // namespace ocicat
