#include "resources/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "resources/rules.h"
#include "resources/schema.h"

namespace ocicat {

namespace json = boost::json;

namespace {

std::string_view text(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

// The line of a field, or of the closest thing around it that has one.
int line_at(const Document& document, std::string_view path) {
  for (std::string_view at = path;;) {
    if (const auto found = document.line_of.find(std::string(at)); found != document.line_of.end())
      return found->second;
    const auto end = at.find_last_of(".[");
    if (end == std::string_view::npos) break;
    at = at.substr(0, end);
  }
  return document.line;
}

// "projectcalico.org/v3 Tier, NetworkPolicy; v1 Pod"
std::string served_kinds() {
  std::string text;
  std::string last;
  for (const KindInfo& kind : all_kinds()) {
    if (!kind.served) continue;
    const std::string version = kind.api_version();
    if (version == last) {
      text += ", ";
    } else {
      text += fmt::format("{}{} ", text.empty() ? "" : "; ", version);
    }
    text += kind.name;
    last = version;
  }
  return text;
}

bool is_served_elsewhere(std::string_view kind_name) {
  return std::ranges::any_of(all_kinds(),
                             [&](const KindInfo& kind) { return kind.served && kind.name == kind_name; });
}

// Why this apiVersion and kind are not for us.
std::string refusal(std::string_view api_version, std::string_view kind_name) {
  std::string versions;
  std::vector<std::string_view> names;
  for (const KindInfo& kind : all_kinds()) {
    if (!kind.served) continue;
    names.push_back(kind.name);
    if (kind.name == kind_name) versions += (versions.empty() ? "" : " or ") + kind.api_version();
  }
  if (!versions.empty()) return fmt::format("{} is served as apiVersion {}", kind_name, versions);
  std::string rule =
      find_kind(api_version, kind_name) ? "this version does not serve this kind" : "unknown kind";
  if (auto hint = schema::did_you_mean(kind_name, names); !hint.empty()) rule += "; " + hint;
  return fmt::format("{}{} served: {}", rule, rule.ends_with('?') ? "" : ";", served_kinds());
}

class Validation {
 public:
  explicit Validation(const Document& document) : document_(document), object_(describe(document.json)) {}

  // The kind, if it is one of ours; else a complaint.
  std::optional<Kind> kind() {
    const auto api_version = text(document_.json, "apiVersion");
    const auto name = text(document_.json, "kind");
    for (const auto* key : {"apiVersion", "kind"}) {
      if (!text(document_.json, key).empty()) continue;
      const auto* value = document_.json.if_contains(key);
      complain({key, value == nullptr ? "" : shortened(*value),
                value == nullptr ? "required, and missing" : "must be text"});
    }
    if (api_version.empty() || name.empty()) return std::nullopt;
    const auto kind = find_kind(api_version, name);
    if (kind && info(*kind).served) return kind;
    const auto* key = is_served_elsewhere(name) ? "apiVersion" : "kind";
    complain({key, shortened(document_.json.at(key)), refusal(api_version, name)});
    return std::nullopt;
  }

  Complaint complaint_of(schema::Finding finding) const {
    const int line = line_at(document_, finding.field_path);
    return {document_.file,         line, object_, std::move(finding.field_path), std::move(finding.value),
            std::move(finding.rule)};
  }

  void complain(schema::Finding finding) { complaints_.push_back(complaint_of(std::move(finding))); }

  std::vector<Complaint> take() {
    std::ranges::stable_sort(complaints_, {}, &Complaint::line);
    return std::move(complaints_);
  }

 private:
  const Document& document_;
  std::string object_;
  std::vector<Complaint> complaints_;
};

ResourceKey key_in(Kind kind, const json::object& object) {
  ResourceKey key{kind, "", ""};
  const auto* metadata = object.if_contains("metadata");
  if (metadata == nullptr || !metadata->is_object()) return key;
  key.name = text(metadata->get_object(), "name");
  if (info(kind).namespaced) key.ns = text(metadata->get_object(), "namespace");
  return key;
}

}  // namespace

Validated validate(const Document& document) {
  Validated result;
  Validation validation(document);
  if (const auto kind = validation.kind()) {
    result.json = document.json;
    result.key = key_in(*kind, document.json);
    schema::Findings findings;
    rules::fill_defaults(*kind, result.json);
    const schema::Field* table = schema::table_of(*kind);
    CHECK(table != nullptr);
    schema::check(*table, result.json, Place(), findings);
    rules::check(*kind, result.json, findings);
    for (auto& finding : findings.take()) validation.complain(std::move(finding));
    schema::Findings idle;
    rules::find_idle(*kind, result.json, idle);
    for (auto& finding : idle.take()) result.warnings.push_back(validation.complaint_of(std::move(finding)));
  }
  result.complaints = validation.take();
  return result;
}

std::vector<Complaint> validate_change(Kind kind, const json::object& object, const json::object& old) {
  schema::Findings findings;
  rules::check_update(kind, object, old, findings);
  std::vector<Complaint> complaints;
  for (auto& [field_path, value, rule] : findings.take()) {
    complaints.push_back(
        {.field_path = std::move(field_path), .value = std::move(value), .rule = std::move(rule)});
  }
  return complaints;
}

bool is_built_in(const ResourceKey& key) {
  static constexpr std::string_view kTiers[] = {"default", "kube-admin", "kube-baseline"};
  if (key.kind == Kind::kTier) return std::ranges::find(kTiers, key.name) != std::end(kTiers);
  return key.kind == Kind::kProfile && key.name == "projectcalico-default-allow";
}

}  // namespace ocicat
