// For tests of rules: a document written in one line, and what validate() says of it.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "resources/validate.h"

namespace ocicat {

// A document of a Calico kind, `name` being "namespace/name" or "name".
inline std::string document_of(std::string_view kind, std::string_view name, std::string_view spec,
                               std::string_view api_version = "projectcalico.org/v3") {
  const auto slash = name.find('/');
  const std::string ns =
      slash == std::string_view::npos ? "" : fmt::format(", namespace: {}", name.substr(0, slash));
  return fmt::format("apiVersion: {}\nkind: {}\nmetadata: {{name: {}{}}}\nspec: {}\n", api_version, kind,
                     name.substr(slash + 1), ns, spec);
}

inline Validated validated(std::string_view yaml) {
  const auto read = read_documents(yaml, "");
  if (read.complaints.empty() && read.documents.size() == 1) return validate(read.documents[0]);
  ADD_FAILURE() << "not one document: " << yaml;
  return {};
}

// "field: value: rule" of each complaint.
inline std::vector<std::string> complaints_about(std::string_view yaml) {
  std::vector<std::string> lines;
  for (auto complaint : validated(yaml).complaints) {
    complaint.line = 0;
    complaint.object.clear();
    lines.push_back(complaint.to_string());
  }
  return lines;
}

// A row of a table: what the document's spec says, and what is to be complained about.
struct RuleCase {
  const char* spec;
  std::vector<std::string> complaints;
};

}  // namespace ocicat
