#include "policy/verdict.h"

#include <fmt/format.h>

namespace ocicat::policy {

std::string_view to_string(Direction direction) {
  return direction == Direction::kIngress ? "ingress" : "egress";
}

std::string_view to_string(ChainKind chain) {
  switch (chain) {
    case ChainKind::kNormal:
      return "normal";
    case ChainKind::kForward:
      return "forward";
    case ChainKind::kUntracked:
      return "untracked";
    case ChainKind::kPreDnat:
      return "preDNAT";
  }
  return "unknown";
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllow:
      return "allow";
    case Verdict::kDeny:
      return "deny";
    case Verdict::kNone:
      return "none";
  }
  return "unknown";
}

namespace {

std::string what_decided(const TraceStep& step) {
  switch (step.rule) {
    case TraceStep::kTierDefault:
      return "end of tier";
    case TraceStep::kNoProfile:
      return step.policy.name.empty() ? "no profile" : "missing";
    case TraceStep::kBroken:
      return "broken";
    case TraceStep::kEncapsulated:
      return "encapsulated";
    case TraceStep::kFailsafe:
      return "failsafe";
    default:
      return fmt::format("rule {}", step.rule);
  }
}

}  // namespace

std::string to_string(const TraceStep& step) {
  const auto policy = step.policy.name.empty() ? std::string{"-"} : step.policy.to_string();
  return fmt::format("{}|{}|{}|{}", step.tier, policy, what_decided(step), ocicat::to_string(step.action));
}

}  // namespace ocicat::policy
