#include "api/server/discovery.h"

#include <boost/json/array.hpp>

#include <fmt/format.h>

#include <set>
#include <string>

#include "resources/kinds.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

// Group and version of everything served; the core group is "".
std::set<std::pair<std::string_view, std::string_view>> served_versions() {
  std::set<std::pair<std::string_view, std::string_view>> versions;
  for (const auto& known : all_kinds()) {
    if (known.served) versions.emplace(known.group, known.version);
  }
  return versions;
}

json::object group_object(std::string_view group, std::string_view version) {
  const json::object reference{{"groupVersion", fmt::format("{}/{}", group, version)}, {"version", version}};
  return {{"name", group}, {"versions", json::array{reference}}, {"preferredVersion", reference}};
}

json::array short_names(std::string_view comma_separated) {
  json::array names;
  while (!comma_separated.empty()) {
    const auto comma = comma_separated.find(',');
    names.push_back(json::value(comma_separated.substr(0, comma)));
    comma_separated =
        comma == std::string_view::npos ? std::string_view() : comma_separated.substr(comma + 1);
  }
  return names;
}

}  // namespace

json::object api_versions() {
  return {{"kind", "APIVersions"},
          {"versions", json::array{"v1"}},
          {"serverAddressByClientCIDRs", json::array{}}};
}

json::object api_groups() {
  json::array groups;
  for (const auto& [group, version] : served_versions()) {
    if (!group.empty()) groups.push_back(group_object(group, version));
  }
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}};
}

std::optional<json::object> api_group(std::string_view wanted) {
  for (const auto& [group, version] : served_versions()) {
    if (group != wanted || group.empty()) continue;
    auto object = group_object(group, version);
    object["kind"] = "APIGroup";
    object["apiVersion"] = "v1";
    return object;
  }
  return std::nullopt;
}

std::optional<json::object> api_resources(std::string_view group, std::string_view version) {
  json::array resources;
  for (const auto& known : all_kinds()) {
    if (!known.served || known.group != group || known.version != version) continue;
    resources.push_back(
        json::object{{"name", known.plural},
                     {"singularName", known.singular},
                     {"namespaced", known.namespaced},
                     {"kind", known.name},
                     {"verbs", json::array{"create", "delete", "get", "list", "update", "watch"}},
                     {"shortNames", short_names(known.short_names)}});
  }
  if (resources.empty()) return std::nullopt;
  return json::object{
      {"kind", "APIResourceList"},
      {"apiVersion", "v1"},
      {"groupVersion", group.empty() ? std::string(version) : fmt::format("{}/{}", group, version)},
      {"resources", std::move(resources)}};
}

json::object version_info() {
  // kubectl wants numbers here; they are those of the Kubernetes API whose conventions this server follows.
  return {{"major", "1"},    {"minor", "29"},           {"gitVersion", "v1.29.0+ocicat-" OCICAT_VERSION},
          {"gitCommit", ""}, {"gitTreeState", "clean"}, {"buildDate", ""},
          {"goVersion", ""}, {"compiler", ""},          {"platform", "linux"}};
}

}  // namespace ocicat::api
