// Tiers, policies and profiles.
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

// Where the directions are not stated they follow from the rules that there are: Ingress, unless there are
// only egress rules; Egress where there are any.
Result<void> read_types(const json::object& spec, NetworkPolicy& policy) {
  TRY(const auto types, fields::strings_at(spec, "types"));
  bool ingress = false;
  bool egress = false;
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "Ingress" && types[i] != "Egress") {
      return fields::wrong(fmt::format("types[{}]", i), json::value(types[i]), "must be Ingress or Egress");
    }
    (types[i] == "Ingress" ? ingress : egress) = true;
  }
  if (types.empty()) {
    TRY(const auto* ingress_rules, fields::array_at(spec, "ingress"));
    TRY(const auto* egress_rules, fields::array_at(spec, "egress"));
    egress = egress_rules != nullptr && !egress_rules->empty();
    ingress = !egress || (ingress_rules != nullptr && !ingress_rules->empty());
  }
  policy.applies_to_ingress = ingress;
  policy.applies_to_egress = egress;
  return {};
}

// Whom the policy selects.
Result<void> read_selectors(const json::object& spec, NetworkPolicy& policy) {
  TRY(policy.selector, fields::selector_at(spec, "selector"));
  TRY(policy.service_account_selector, fields::selector_at(spec, "serviceAccountSelector"));
  if (!info(policy.kind).namespaced) {
    TRY(policy.namespace_selector, fields::selector_at(spec, "namespaceSelector"));
  }
  return {};
}

// Where it stands and what it says. The directions come first, so that a policy whose rules cannot be read
// still denies in these alone.
Result<void> read_meaning(const json::object& spec, NetworkPolicy& policy) {
  TRY_VOID(read_types(spec, policy));
  TRY(const auto tier, fields::string_at(spec, "tier"));
  if (!tier.empty()) policy.tier = tier;
  TRY(policy.order, fields::number_at(spec, "order"));
  if (policy.staged()) {
    TRY(policy.staged_delete, stages_a_deletion(spec));
  }
  if (!info(policy.kind).namespaced) {
    TRY(policy.do_not_track, fields::bool_at(spec, "doNotTrack"));
    TRY(policy.pre_dnat, fields::bool_at(spec, "preDNAT"));
    TRY(policy.apply_on_forward, fields::bool_at(spec, "applyOnForward"));
  }
  TRY(policy.ingress, read_rules(spec, "ingress"));
  TRY(policy.egress, read_rules(spec, "egress"));
  return {};
}

}  // namespace

Result<bool> stages_a_deletion(const json::object& spec) {
  TRY(const auto action, fields::string_at(spec, "stagedAction"));
  for (const auto* known : {"", "Set", "Delete", "Learn", "Ignore"}) {
    if (action == known) return action == "Delete";
  }
  return fields::wrong("stagedAction", *fields::find(spec, "stagedAction"),
                       "must be Set, Delete, Learn or Ignore");
}

Result<Tier> tier(const json::object& document) {
  Tier tier;
  TRY(tier.metadata, read_identity(Kind::kTier, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return tier;
  const auto order = fields::number_at(*spec, "order");
  if (!order) return fields::inside("spec", order.error());
  tier.order = *order;
  const auto action = fields::string_at(*spec, "defaultAction");
  if (!action) return fields::inside("spec", action.error());
  tier.default_action = *action == "Pass" ? Action::kPass : Action::kDeny;  // anything but Pass denies
  return tier;
}

Result<NetworkPolicy> policy(Kind kind, const json::object& document) {
  NetworkPolicy policy;
  policy.kind = kind;
  TRY(policy.metadata, read_identity(kind, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  if (auto selectors = read_selectors(*spec, policy); !selectors) {
    return fields::inside("spec", std::move(selectors).error());
  }
  policy.applies_to_ingress = policy.applies_to_egress = true;  // until they have been read
  if (auto meaning = read_meaning(*spec, policy); !meaning) {
    policy.broken = "spec." + meaning.error().message;
    policy.ingress.clear();
    policy.egress.clear();
  }
  // A hint changes no verdict, so one that cannot be read is no hint.
  if (const auto hints = fields::strings_at(*spec, "performanceHints")) {
    for (const auto& hint : *hints) policy.needed_everywhere |= hint == "AssumeNeededOnEveryNode";
  }
  return policy;
}

Result<Profile> profile(const json::object& document) {
  Profile profile;
  TRY(profile.metadata, read_identity(Kind::kProfile, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return profile;
  auto labels = fields::labels_at(*spec, "labelsToApply");
  if (!labels) return fields::inside("spec", std::move(labels).error());
  profile.labels_to_apply = *std::move(labels);
  auto ingress = read_rules(*spec, "ingress");
  auto egress = read_rules(*spec, "egress");
  if (!ingress || !egress) {
    profile.broken = "spec." + (ingress ? egress : ingress).error().message;
  } else {
    profile.ingress = *std::move(ingress);
    profile.egress = *std::move(egress);
  }
  return profile;
}

}  // namespace ocicat::decoding
