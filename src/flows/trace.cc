#include "flows/trace.h"

#include <fmt/format.h>

namespace ocicat::flows {
namespace {

using policy::TraceStep;

std::string_view kind_of(Kind kind) {
  switch (kind) {
    case Kind::kNetworkPolicy:
      return "np";
    case Kind::kGlobalNetworkPolicy:
      return "gnp";
    case Kind::kStagedNetworkPolicy:
      return "snp";
    case Kind::kStagedGlobalNetworkPolicy:
      return "sgnp";
    case Kind::kStagedKubernetesNetworkPolicy:
      return "sknp";
    case Kind::kKubernetesNetworkPolicy:
      return "knp";
    case Kind::kClusterNetworkPolicy:
      return "kcnp";
    default:
      return "pro";
  }
}

std::string name_of(const ResourceKey& policy) {
  return fmt::format("{}:{}{}{}", kind_of(policy.kind), policy.ns, policy.ns.empty() ? "" : "/", policy.name);
}

std::string policy_of(const TraceStep& step) {
  if (!step.policy.name.empty()) return name_of(step.policy);
  if (step.rule == TraceStep::kTierDefault && !step.selected_by.empty()) {
    const ResourceKey* last = nullptr;
    for (const ResourceKey& policy : step.selected_by) last = &policy;
    return name_of(*last);
  }
  return step.rule == TraceStep::kNoProfile ? "pro:__NO_MATCH__" : "";
}

}  // namespace

std::vector<std::string> hits_of(const policy::Judgement& judgement) {
  std::vector<std::string> hits;
  for (const auto& step : judgement.trace) {
    if (step.action == Action::kLog) continue;
    const int rule = step.rule >= 0 ? step.rule : step.rule == TraceStep::kTierDefault ? -1 : -2;
    hits.push_back(fmt::format("{}|{}|{}|{}|{}", hits.size(), step.tier, policy_of(step),
                               ocicat::to_string(step.action), rule));
  }
  return hits;
}

}  // namespace ocicat::flows
