// What is accepted and does nothing here, though a reader may think it does.
#include <fmt/format.h>

#include <array>

#include "resources/qos.h"
#include "resources/rules.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

bool has_calico_rules(Kind kind) {
  switch (kind) {
    case Kind::kNetworkPolicy:
    case Kind::kGlobalNetworkPolicy:
    case Kind::kStagedNetworkPolicy:
    case Kind::kStagedGlobalNetworkPolicy:
    case Kind::kProfile:
      return true;
    default:
      return false;
  }
}

// Limits that nothing holds: all but bandwidth (qos.h).
constexpr std::array<std::string_view, 7> kIdleControls{"dscp",
                                                        "ingressPacketRate",
                                                        "ingressPacketBurst",
                                                        "ingressMaxConnections",
                                                        "egressPacketRate",
                                                        "egressPacketBurst",
                                                        "egressMaxConnections"};

void find_idle_limits(Kind kind, const json::object& object, schema::Findings& findings) {
  const bool pod = kind == Kind::kPod;
  const Place root, outer(root, pod ? "metadata" : "spec"), inner(outer, pod ? "annotations" : "qosControls");
  const auto* part = object.if_contains(pod ? "metadata" : "spec");
  if (part == nullptr || !part->is_object()) return;
  const auto* controls = part->get_object().if_contains(pod ? "annotations" : "qosControls");
  if (controls == nullptr || !controls->is_object()) return;
  for (const auto control : kIdleControls) {
    const auto name = pod ? fmt::format("{}{}", kQosAnnotations, control) : std::string(control);
    const auto* value = controls->get_object().if_contains(name);
    if (value == nullptr || value->is_null()) continue;
    findings.add(Place(inner, name), *value, "only bandwidth is limited yet: this has no effect");
  }
}

}  // namespace

void find_idle(Kind kind, const json::object& object, schema::Findings& findings) {
  if (kind == Kind::kPod || kind == Kind::kWorkloadEndpoint) return find_idle_limits(kind, object, findings);
  if (!has_calico_rules(kind)) return;
  const auto* spec = object.if_contains("spec");
  if (spec == nullptr || !spec->is_object()) return;
  const Place root, in_spec(root, "spec");
  for (const auto* direction : {"ingress", "egress"}) {
    const auto* rules = spec->get_object().if_contains(direction);
    if (rules == nullptr || !rules->is_array()) continue;
    const Place in_list(in_spec, direction);
    for (std::size_t i = 0; i < rules->get_array().size(); ++i) {
      const auto* rule = rules->get_array()[i].if_object();
      const auto* http = rule == nullptr ? nullptr : rule->if_contains("http");
      if (http == nullptr || http->is_null()) continue;
      findings.add(Place(Place(in_list, i), "http"), *http,
                   "nothing looks into requests yet: the rule allows all of them");
    }
  }
}

}  // namespace ocicat::rules
