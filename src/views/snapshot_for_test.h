// YAML to a snapshot, for tests of views: what cannot be read fails the test.
#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "policy/evaluator.h"
#include "resources/decode.h"
#include "resources/document.h"

namespace ocicat::views {

inline policy::Snapshot snapshot_for_test(std::string_view yaml) {
  policy::Snapshot snapshot;
  const ReadDocuments read = read_documents(yaml, "test.yaml");
  for (const Complaint& complaint : read.complaints) ADD_FAILURE() << complaint.to_string();
  for (const Document& document : read.documents) {
    const auto key = key_of(document.json);
    if (!key) {
      ADD_FAILURE() << key.error().message;
      continue;
    }
    auto resource = decode(key->kind, document.json);
    if (!resource) {
      ADD_FAILURE() << resource.error().message;
      continue;
    }
    snapshot.emplace(*key, *std::move(resource));
  }
  return snapshot;
}

}  // namespace ocicat::views
