#include "resources/kubernetes_parts.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <utility>

#include "resources/fields.h"
#include "resources/selector/tokenizer.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

constexpr std::string_view kKubernetesEndpoints = "projectcalico.org/orchestrator == 'k8s'";
constexpr std::size_t kMaxPortName = 128;

bool is_label_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxLabelName && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '/' || c == '-';
  });
}

// A string of the selector language; nothing where it cannot say it.
std::optional<std::string> in_quotes(std::string_view value) {
  if (value.find('\'') == std::string_view::npos) return fmt::format("'{}'", value);
  if (value.find('"') == std::string_view::npos) return fmt::format("\"{}\"", value);
  return std::nullopt;
}

Result<std::string> requirement(const json::object& expression) {
  TRY(const auto key, fields::string_at(expression, "key"));
  TRY(const auto op, fields::string_at(expression, "operator"));
  TRY(auto values, fields::strings_at(expression, "values"));
  if (!is_label_name(key)) return fields::wrong("key", json::value(key), "must be the name of a label");
  if (op == "Exists") return fmt::format("has({})", key);
  if (op == "DoesNotExist") return fmt::format("! has({})", key);
  if (op != "In" && op != "NotIn") {
    return fields::wrong("operator", json::value(op), "must be In, NotIn, Exists or DoesNotExist");
  }
  for (auto& value : values) {
    auto text = in_quotes(value);
    if (!text) return fields::wrong("values", json::value(value), "must be the value of a label");
    value = *std::move(text);
  }
  return fmt::format("{} {} {{ {} }}", key, op == "In" ? "in" : "not in", fmt::join(values, ", "));
}

// A Kubernetes label selector in the words of ours, ANDed after `first`, which may be empty.
Result<std::string> label_selector(const json::object& selector, std::string_view first) {
  std::vector<std::string> terms;
  if (!first.empty()) terms.emplace_back(first);
  TRY(const auto labels, fields::labels_at(selector, "matchLabels"));  // sorted by name
  for (const auto& [name, value] : labels) {
    const auto text = in_quotes(value);
    if (!is_label_name(name) || !text) {
      return fields::wrong("matchLabels", json::value(name),
                           "must be the name of a label with a value it can have");
    }
    terms.push_back(fmt::format("{} == {}", name, *text));
  }
  TRY(const auto expressions, fields::objects_at(selector, "matchExpressions"));
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    auto term = requirement(*expressions[i]);
    if (!term) return fields::inside("matchExpressions", i, std::move(term).error());
    terms.push_back(*std::move(term));
  }
  return fmt::format("{}", fmt::join(terms, " && "));
}

}  // namespace

std::string any_pod() {
  return std::string(kKubernetesEndpoints);
}

Result<std::string> pod_selector(const json::object& owner) {
  TRY(const auto* selector, fields::object_at(owner, "podSelector"));
  if (selector == nullptr) return any_pod();
  auto text = label_selector(*selector, kKubernetesEndpoints);
  if (!text) return fields::inside("podSelector", std::move(text).error());
  return text;
}

Result<std::string> namespace_selector(const json::object& selector) {
  TRY(auto text, label_selector(selector, {}));
  return text.empty() ? "all()" : text;
}

bool is_port_name(std::string_view name) {
  return name.size() <= kMaxPortName && is_label_name(name) && name.find('/') == std::string_view::npos;
}

std::vector<Port> simplified(const std::vector<Port>& ports) {
  std::vector<Port> simple;
  std::vector<PortRange> ranges;
  std::set<std::string_view> names;
  for (const auto& port : ports) {
    if (const auto* range = std::get_if<PortRange>(&port)) {
      ranges.push_back(*range);
    } else if (names.insert(std::get<std::string>(port)).second) {
      simple.push_back(port);
    }
  }
  std::ranges::sort(ranges);
  std::optional<PortRange> open;
  for (const auto& range : ranges) {
    if (open && range.first <= open->last + 1) {
      open->last = std::max(open->last, range.last);
      continue;
    }
    if (open) simple.emplace_back(*open);
    open = range;
  }
  if (open) simple.emplace_back(*open);
  return simple;
}

}  // namespace ocicat::decoding
