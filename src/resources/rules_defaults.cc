#include <string>
#include <utility>

#include "base/ip.h"
#include "resources/rules.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

bool is_policy(Kind kind) {
  return kind == Kind::kNetworkPolicy || kind == Kind::kGlobalNetworkPolicy ||
         kind == Kind::kStagedNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy;
}

json::object* object_at(json::object& object, std::string_view key) {
  auto* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

std::string_view text_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

bool is_set(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && !is_zero(*value);
}

void set_if_unset(json::object& object, std::string_view key, json::value value) {
  if (!is_set(object, key)) object[key] = std::move(value);
}

void set_label(json::object& document, std::string_view key, std::string_view value) {
  auto* metadata = object_at(document, "metadata");
  if (metadata == nullptr) return;
  if (auto& labels = (*metadata)["labels"]; labels.is_null()) labels.emplace_object();
  if (auto* labels = object_at(*metadata, "labels")) (*labels)[key] = value;
}

// The directions that a policy is about: those it has rules for; only ingress, where it has none at all.
void default_types(json::object& spec, std::string_view key, bool ingress_always) {
  if (is_set(spec, key)) return;
  json::array types;
  const bool egress = is_set(spec, "egress");
  if (ingress_always || !egress || is_set(spec, "ingress")) types.emplace_back("Ingress");
  if (egress) types.emplace_back("Egress");
  spec[key] = std::move(types);
}

void default_policy(Kind kind, json::object& document, json::object& spec) {
  const bool staged = kind == Kind::kStagedNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy;
  if (staged && text_at(spec, "stagedAction") == "Delete") {
    spec.erase("types");
  } else {
    default_types(spec, "types", false);
  }
  const auto tier = text_at(spec, "tier");
  set_label(document, "projectcalico.org/tier", tier.empty() ? "default" : tier);
}

// TCP, for each of `ports` that says nothing.
void default_protocols(json::object& owner) {
  auto* ports = owner.if_contains("ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (auto& port : ports->get_array()) {
    if (port.is_object()) set_if_unset(port.get_object(), "protocol", "TCP");
  }
}

void default_kubernetes_policy(json::object& spec) {
  if (text_at(spec, "stagedAction") == "Delete") return;
  default_types(spec, "policyTypes", true);
  for (const auto* direction : {"ingress", "egress"}) {
    auto* rules = spec.if_contains(direction);
    if (rules == nullptr || !rules->is_array()) continue;
    for (auto& rule : rules->get_array()) {
      if (rule.is_object()) default_protocols(rule.get_object());
    }
  }
}

void default_tier(const json::object& document, json::object& spec) {
  const auto* metadata = document.if_contains("metadata");
  const auto name =
      metadata != nullptr && metadata->is_object() ? text_at(metadata->get_object(), "name") : "";
  const bool admin = name == "kube-admin";
  const bool baseline = name == "kube-baseline";
  if (!spec.contains("order") || spec["order"].is_null())
    spec["order"] = admin ? 1000 : baseline ? 10'000'000 : 1'000'000;
  set_if_unset(spec, "defaultAction", admin || baseline ? "Pass" : "Deny");
}

void default_ip_pool(json::object& spec) {
  const auto cidr = Prefix::parse(text_at(spec, "cidr"));
  if (cidr) {
    if (cidr->is_masked()) spec["cidr"] = cidr->to_string();
    set_if_unset(spec, "blockSize", cidr->family() == Family::kIpv4 ? 26 : 122);
  }
  set_if_unset(spec, "allowedUses", json::array{"Workload", "Tunnel"});
  set_if_unset(spec, "ipipMode", "Never");
  set_if_unset(spec, "vxlanMode", "Never");
  set_if_unset(spec, "nodeSelector", "all()");
}

void default_felix(json::object& spec) {
  set_if_unset(spec, "floatingIPs", "Disabled");
  if (const auto* old = spec.if_contains("bpfConnectTimeLoadBalancingEnabled");
      old != nullptr && old->is_bool()) {
    spec["bpfConnectTimeLoadBalancing"] = old->get_bool() ? "Enabled" : "Disabled";
    spec["bpfHostNetworkedNATWithoutCTLB"] = "Disabled";
  }
  set_if_unset(spec, "bpfConnectTimeLoadBalancing", "TCP");
  set_if_unset(spec, "bpfHostNetworkedNATWithoutCTLB", "Enabled");
}

void default_workload_endpoint(json::object& document, const json::object& spec) {
  const auto* metadata = object_at(document, "metadata");
  if (metadata == nullptr) return;
  const std::string ns(text_at(*metadata, "namespace"));
  if (!ns.empty()) set_label(document, "projectcalico.org/namespace", ns);
  if (const auto orchestrator = text_at(spec, "orchestrator"); !orchestrator.empty()) {
    set_label(document, "projectcalico.org/orchestrator", orchestrator);
  }
}

}  // namespace

void fill_defaults(Kind kind, json::object& document) {
  // Kubernetes takes a policy without a spec for one that selects everything and allows nothing.
  if (kind == Kind::kKubernetesNetworkPolicy && !document.contains("spec")) document["spec"].emplace_object();
  if (kind == Kind::kEndpointSlice) return default_protocols(document);
  auto* spec = object_at(document, "spec");
  if (spec == nullptr) return;
  if (is_policy(kind)) return default_policy(kind, document, *spec);
  switch (kind) {
    case Kind::kKubernetesNetworkPolicy:
    case Kind::kStagedKubernetesNetworkPolicy:
      return default_kubernetes_policy(*spec);
    case Kind::kService:
      return default_protocols(*spec);
    case Kind::kTier:
      return default_tier(document, *spec);
    case Kind::kIpPool:
      return default_ip_pool(*spec);
    case Kind::kFelixConfiguration:
      return default_felix(*spec);
    case Kind::kWorkloadEndpoint:
      return default_workload_endpoint(document, *spec);
    default:
      return;
  }
}

}  // namespace ocicat::rules
