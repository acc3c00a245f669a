// Kubernetes' policies and endpoint slices from JSON that may say anything: what is converted is readable,
// and what cannot be is never an opening.
#include <boost/json/parse.hpp>

#include <cstdint>
#include <string_view>

#include "policy/model.h"
#include "resources/decode.h"

namespace {

using namespace ocicat;
namespace json = boost::json;

// What decoding gave is what policy can read.
void check_readable(const NetworkPolicy& policy) {
  const auto effective = policy::effective(policy);
  CHECK(effective.has_value());
  CHECK(effective->broken.empty() == policy.broken.empty());
  if (!policy.broken.empty()) CHECK(policy.applies_to_ingress || policy.applies_to_egress);
}

// Rules of Kubernetes only allow.
void check_kubernetes_policy(const NetworkPolicy& policy) {
  CHECK(policy.tier == "default" && policy.order == 1000);
  for (const auto* rules : {&policy.ingress, &policy.egress}) {
    for (const auto& rule : *rules) CHECK(rule.action == Action::kAllow);
  }
}

std::size_t rules_that(const json::object& document, std::string_view direction, std::string_view action) {
  const auto* list = document.at("spec").as_object().if_contains(direction);
  if (list == nullptr || list->is_null()) return 0;
  std::size_t count = 0;
  for (const auto& rule : list->as_array()) {
    const auto* said = rule.as_object().if_contains("action");
    count += said != nullptr && said->is_string() && std::string_view(said->get_string()) == action ? 1 : 0;
  }
  return count;
}

// A rule that denies or passes leaves one that does, or one that denies; one that accepts never leaves one
// that denies.
void check_cluster_policy(const NetworkPolicy& policy, const json::object& document) {
  CHECK(policy.tier == "kube-admin" || policy.tier == "kube-baseline");
  if (!policy.broken.empty()) return;
  const auto check = [&](std::string_view direction, const std::vector<Rule>& rules, bool applies) {
    const auto all = document.at("spec").as_object().if_contains(direction);
    const auto stated = all == nullptr || all->is_null() ? 0 : all->as_array().size();
    const auto denies = rules_that(document, direction, "Deny");
    const auto accepts = rules_that(document, direction, "Accept");
    std::size_t allowed = 0;
    for (const auto& rule : rules) allowed += rule.action == Action::kAllow ? 1 : 0;
    CHECK(rules.size() - allowed >= stated - accepts);
    if (stated == accepts) CHECK(rules.size() == allowed);
    if (denies > 0) CHECK(applies);
    CHECK(applies == !rules.empty());
  };
  check("ingress", policy.ingress, policy.applies_to_ingress);
  check("egress", policy.egress, policy.applies_to_egress);
}

void check_slice(const EndpointSlice& slice) {
  CHECK(!slice.metadata.ns.empty());
  for (const auto& port : slice.ports) CHECK(has_ports(port.protocol));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  boost::system::error_code error;
  auto parsed = json::parse({reinterpret_cast<const char*>(data), size}, error);
  auto* document = error ? nullptr : parsed.if_object();
  if (document == nullptr) return 0;
  // A name is not what is to be found out here.
  if (auto* metadata = document->if_contains("metadata"); metadata == nullptr || !metadata->is_object()) {
    (*document)["metadata"] = json::object{};
  }
  auto& metadata = document->at("metadata").get_object();
  metadata["name"] = "x";
  metadata["namespace"] = "y";
  for (const auto kind : {Kind::kKubernetesNetworkPolicy, Kind::kStagedKubernetesNetworkPolicy,
                          Kind::kClusterNetworkPolicy, Kind::kEndpointSlice}) {
    const auto resource = decode(kind, *document);
    if (!resource) {
      CHECK(!resource.error().message.empty());
      continue;
    }
    if (const auto* slice = std::get_if<EndpointSlice>(&*resource)) check_slice(*slice);
    const auto* policy = std::get_if<NetworkPolicy>(&*resource);
    if (policy == nullptr) continue;
    check_readable(*policy);
    if (kind == Kind::kClusterNetworkPolicy) {
      check_cluster_policy(*policy, *document);
    } else {
      check_kubernetes_policy(*policy);
    }
  }
  return 0;
}
