#include "dataplane/edges/log_text.h"

namespace ocicat::dataplane {
namespace {

constexpr std::size_t kLongestPrefix = 127;  // NF_LOG_PREFIXLEN, less its zero

std::string_view short_name(Kind kind) {
  switch (kind) {
    case Kind::kNetworkPolicy:
      return "np";
    case Kind::kGlobalNetworkPolicy:
      return "gnp";
    case Kind::kKubernetesNetworkPolicy:
      return "knp";
    case Kind::kClusterNetworkPolicy:
      return "kcnp";
    case Kind::kProfile:
      return "pro";
    default:
      return "unknown";  // staged kinds log nothing
  }
}

}  // namespace

std::vector<LogRule> log_rules_of(const policy::Outcome& outcome) {
  std::vector<LogRule> rules;
  for (const auto& step : outcome.trace) {
    if (step.action == Action::kLog) rules.push_back({step.tier, step.policy});
  }
  return rules;
}

std::string log_text(const std::string& format, const LogRule& rule) {
  std::string text;
  const std::string_view from = format.empty() ? "calico-packet" : std::string_view(format);
  for (std::size_t i = 0; i < from.size(); ++i) {
    const char what = from[i] == '%' && i + 1 < from.size() ? from[i + 1] : '\0';
    switch (what) {
      case 't':
        if (rule.policy.kind != Kind::kProfile) text += rule.tier;
        break;
      case 'k':
        text += short_name(rule.policy.kind);
        break;
      case 'p':
        if (!rule.policy.ns.empty()) text += rule.policy.ns + "/";
        [[fallthrough]];
      case 'n':
        text += rule.policy.name;
        break;
      default:
        text += from[i];
        continue;
    }
    ++i;
  }
  return (text + ": ").substr(0, kLongestPrefix);
}

}  // namespace ocicat::dataplane
