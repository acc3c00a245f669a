#include "resources/yaml_anchors.h"

#include <algorithm>
#include <utility>

#include "resources/yaml_reader.h"

namespace ocicat {

namespace json = boost::json;

YamlAnchors::Weight YamlAnchors::weigh(const json::value& value) {
  Weight weight{1, 0, 0};
  const auto add = [&weight](const Weight& child) {
    weight.nodes += child.nodes;
    weight.bytes += child.bytes;
    weight.height = std::max(weight.height, child.height + 1);
  };
  if (const auto* text = value.if_string()) weight.bytes = text->size();
  if (const auto* list = value.if_array()) {
    for (const auto& item : *list) add(weigh(item));
  }
  if (const auto* object = value.if_object()) {
    for (const auto& [key, item] : *object) {
      weight.bytes += key.size();
      add(weigh(item));
    }
  }
  return weight;
}

Result<void> YamlAnchors::spend(const Weight& weight) {
  spent_.nodes += weight.nodes;
  spent_.bytes += weight.bytes;
  if (spent_.nodes <= kMaxAliasedNodes && spent_.bytes <= kMaxAliasedBytes) return {};
  return fail(ErrorCode::kExhausted, "anchors and aliases add more than {} values or {} MiB to the document",
              kMaxAliasedNodes, kMaxAliasedBytes >> 20);
}

Result<void> YamlAnchors::keep(std::string name, const json::value& value) {
  const Weight weight = weigh(value);
  TRY_VOID(spend(weight));
  anchors_.insert_or_assign(std::move(name), Anchored{value, weight});
  return {};
}

Result<json::value> YamlAnchors::repeat(std::string_view name, int depth) {
  const auto anchored = anchors_.find(name);
  if (anchored == anchors_.end()) {
    return fail(ErrorCode::kNotFound, "the alias *{} has no anchor &{} before it", name, name);
  }
  const auto& [value, weight] = anchored->second;
  if (depth + weight.height > kMaxDepth) {
    return fail(ErrorCode::kExhausted, "nested deeper than {} levels", kMaxDepth);
  }
  TRY_VOID(spend(weight));
  return value;
}

}  // namespace ocicat
