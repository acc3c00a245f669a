#include "resources/rules.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <optional>
#include <string>

#include "base/ip.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxAnnotationBytes = 262144;

bool is_policy(Kind kind) {
  return kind == Kind::kNetworkPolicy || kind == Kind::kGlobalNetworkPolicy ||
         kind == Kind::kStagedNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy;
}

// "" or what is wrong with the name, by kind.
std::string name_rule(Kind kind, std::string_view name) {
  static const re2::RE2 kPolicyName(R"(([a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?)");
  switch (kind) {
    case Kind::kTier:
    case Kind::kNamespace:
      return schema::check_dns_label(name);
    case Kind::kNetworkPolicy:
    case Kind::kStagedNetworkPolicy:
    case Kind::kGlobalNetworkPolicy:
    case Kind::kStagedGlobalNetworkPolicy: {
      const bool namespaced = kind == Kind::kNetworkPolicy || kind == Kind::kStagedNetworkPolicy;
      const bool mirrored = name.starts_with("knp.default.") || name.starts_with("ossg.default.");
      if (auto rule = schema::check_dns_subdomain(name); !rule.empty()) return rule;
      if (namespaced && mirrored) return {};
      return re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), kPolicyName)
                 ? std::string()
                 : "must have at most one dot";
    }
    case Kind::kProfile:
      if (name == "projectcalico-default-allow") return "this profile is built in and cannot be written";
      return schema::check_dns_subdomain(name);
    case Kind::kAgentConfiguration:
      if (name == "default") return {};
      if (!name.starts_with("node.")) return "must be default, or node. and the name of a host";
      return schema::check_dns_subdomain(name.substr(std::string_view("node.").size()));
    case Kind::kIpamConfiguration:
    case Kind::kClusterInformation:
      return name == "default" ? "" : "must be default; there is one for all hosts";
    default:
      return schema::check_dns_subdomain(name);
  }
}

std::optional<Prefix> net_of(std::string_view text) {
  const auto prefix = Prefix::parse(text, true);
  return prefix ? std::optional(prefix->masked()) : std::nullopt;
}

bool lists(const json::value* list, std::string_view word) {
  return list != nullptr && list->is_array() && std::ranges::any_of(list->get_array(), [&](const auto& item) {
           return item.is_string() && std::string_view(item.get_string()) == word;
         });
}

std::string_view text_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

void check_metadata(Kind kind, const Scope& document) {
  document.in("metadata", [&](const Scope& metadata) {
    if (!metadata.is_set("name")) {
      if (!metadata.has("name") || metadata.find("name")->is_string())
        metadata.complain("name", "required, and missing");
    } else if (auto rule = name_rule(kind, metadata.text("name")); !rule.empty()) {
      metadata.complain("name", std::move(rule));
    }
    const KindInfo& about = info(kind);
    const std::string_view ns = metadata.text("namespace");
    if (about.namespaced && !metadata.is_set("namespace")) {
      metadata.complain("namespace",
                        fmt::format("required, and missing: a {} belongs to a namespace", about.name));
    } else if (about.namespaced && metadata.find("namespace")->is_string()) {
      if (auto rule = schema::check_dns_label(ns); !rule.empty())
        metadata.complain("namespace", std::move(rule));
    } else if (!about.namespaced && metadata.is_set("namespace")) {
      metadata.complain("namespace", fmt::format("a {} belongs to no namespace; leave it out", about.name));
    }
    check_annotations(metadata);
  });
}

}  // namespace

void check_annotations(const Scope& metadata) {
  const auto* annotations = metadata.object("annotations");
  if (annotations == nullptr) return;
  const Place place(metadata.place(), "annotations");
  std::size_t bytes = 0;
  for (const auto& [key, value] : *annotations) {
    bytes += key.size() + (value.is_string() ? value.get_string().size() : 0);
    std::string lower(key);
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (auto rule = schema::check_label_key(lower); !rule.empty()) {
      metadata.findings().add(Place(place, std::string_view(key)), "the key " + rule);
    }
  }
  if (bytes > kMaxAnnotationBytes) {
    metadata.findings().add(
        place, fmt::format("must be at most {} bytes together; they are {}", kMaxAnnotationBytes, bytes));
  }
}

void refuse_global(const Scope& scope, std::string_view key) {
  if (scope.text(key).find("global(") != std::string_view::npos) {
    scope.complain(key, "must not contain global(), which only a rule's namespaceSelector may say");
  }
}

void check(Kind kind, const json::object& object, schema::Findings& findings) {
  const Place root;
  const Scope document(object, root, findings);
  check_metadata(kind, document);
  if (is_policy(kind) || kind == Kind::kProfile) return check_policy(kind, document);
  switch (kind) {
    case Kind::kKubernetesNetworkPolicy:
    case Kind::kStagedKubernetesNetworkPolicy:
      return check_kubernetes_policy(document);
    case Kind::kClusterNetworkPolicy:
      return check_cluster_policy(document);
    case Kind::kPod:
      return check_pod(document);
    case Kind::kService:
      return check_service(document);
    case Kind::kEndpointSlice:
      return check_endpoint_slice(document);
    case Kind::kTier:
      return check_tier(document);
    case Kind::kNetworkSet:
    case Kind::kGlobalNetworkSet:
      return check_network_set(document);
    case Kind::kWorkloadEndpoint:
      return check_workload_endpoint(document);
    case Kind::kHostEndpoint:
      return check_host_endpoint(document);
    case Kind::kNode:
      return check_node(document);
    case Kind::kIpPool:
      return check_ip_pool(document);
    case Kind::kBgpConfiguration:
      return check_bgp_configuration(document);
    case Kind::kBgpPeer:
      return check_bgp_peer(document);
    case Kind::kBgpFilter:
      return check_bgp_filter(document);
    case Kind::kBlockAffinity:
      return check_block_affinity(document);
    case Kind::kFelixConfiguration:
      return check_felix_configuration(document);
    default:
      return;
  }
}

void check_update(Kind kind, const json::object& object, const json::object& old,
                  schema::Findings& findings) {
  const Place root;
  if (kind == Kind::kEndpointSlice) {
    const Scope document(object, root, findings);
    if (document.text("addressType") != text_at(old, "addressType")) {
      document.complain("addressType", "cannot be changed; make another slice");
    }
    return;
  }
  if (kind != Kind::kIpPool) return;
  const auto* old_spec = old.if_contains("spec");
  if (old_spec == nullptr || !old_spec->is_object()) return;
  const auto& before = old_spec->get_object();
  Scope(object, root, findings).in("spec", [&](const Scope& spec) {
    const auto old_cidr = net_of(text_at(before, "cidr"));
    if (old_cidr && net_of(spec.text("cidr")) != old_cidr) {
      spec.complain("cidr",
                    fmt::format("cannot be changed from {}; make another pool", old_cidr->to_string()));
    }
    const auto* old_size = before.if_contains("blockSize");
    if (old_size != nullptr && !is_zero(*old_size) && spec.has("blockSize") &&
        *spec.find("blockSize") != *old_size) {
      spec.complain("blockSize", "cannot be changed; make another pool");
    }
    if (lists(before.if_contains("allowedUses"), "LoadBalancer") &&
        !lists(spec.find("allowedUses"), "LoadBalancer")) {
      spec.complain("allowedUses", "a pool for load balancers cannot be put to other uses");
    }
  });
}

}  // namespace ocicat::rules
