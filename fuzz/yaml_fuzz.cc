// Text as people write it: reading never fails as a whole, what was read writes and reads back the same, and
// what validates decodes.
#include <cstdint>
#include <string_view>

#include "resources/decode.h"
#include "resources/document.h"
#include "resources/validate.h"

namespace {

using namespace ocicat;

void check_round_trip(const boost::json::object& object) {
  const auto again = read_documents(to_yaml(object), "again.yaml");
  CHECK(again.complaints.empty());
  CHECK(again.documents.size() == 1 && again.documents[0].json == object);
}

// A list is taken apart when it is read, so it does not come back as one.
bool is_list(const boost::json::object& object) {
  const auto* kind = object.if_contains("kind");
  return object.contains("items") && kind != nullptr && kind->is_string() &&
         std::string_view(kind->get_string()).ends_with("List");
}

void check_valid(const Validated& result) {
  CHECK(result.key.has_value() && !result.key->name.empty());
  const auto again = validate(Document{result.json, "", 0, {}});
  CHECK(again.ok() && again.json == result.json);
  const auto key = key_of(result.json);
  CHECK(key.has_value() && *key == *result.key);
  bool watched = false;
  for (const auto kind : watched_kinds()) watched |= kind == result.key->kind;
  if (!watched) return;
  const auto resource = decode(result.key->kind, result.json);
  CHECK(resource.has_value());
  if (const auto* policy = std::get_if<NetworkPolicy>(&*resource)) CHECK(policy->broken.empty());
  if (const auto* profile = std::get_if<Profile>(&*resource)) CHECK(profile->broken.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = read_documents({reinterpret_cast<const char*>(data), size}, "in.yaml");
  for (const auto& complaint : read.complaints)
    CHECK(!complaint.to_string().empty() && !complaint.rule.empty());
  for (const auto& document : read.documents) {
    CHECK(document.line > 0);
    if (!is_list(document.json)) check_round_trip(document.json);
    const auto result = validate(document);
    for (const auto& complaint : result.complaints) CHECK(complaint.line > 0 && !complaint.rule.empty());
    if (result.ok()) check_valid(result);
  }
  return 0;
}
