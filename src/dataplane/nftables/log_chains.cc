#include "dataplane/nftables/log_chains.h"

#include <linux/netfilter/nf_tables.h>

#include "base/digest.h"
#include "dataplane/nftables/ruleset.h"
#include "kernel/nft_expressions.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::Expressions;

constexpr std::size_t kLongestPrefix = 127;  // NF_LOG_PREFIXLEN, less its zero
constexpr std::uint8_t kIsLog = 0x80, kAllows = 0x40;

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

LogId id_of(const LogChain& chain) {
  std::string meaning;
  const auto add = [&](const std::string& part) { meaning += fmt::format("{}:{}", part.size(), part); };
  for (const auto& rule : chain.rules) {
    add(rule.tier);
    add(rule.policy.to_string());
  }
  auto bytes = Digest::of(meaning).bytes;
  bytes[0] = static_cast<std::uint8_t>((bytes[0] & ~kAllows) | kIsLog |
                                       (chain.verdict == policy::Verdict::kAllow ? kAllows : 0));
  return LogId(std::span(bytes).first(8));
}

bool allows(const LogId& id) {
  const auto first = id.view()[0];
  return (first & kIsLog) != 0 && (first & kAllows) != 0;
}

std::optional<LogChain> log_chain_of(const policy::Outcome& outcome) {
  LogChain chain{{}, outcome.verdict};
  for (const auto& step : outcome.trace) {
    if (step.action == Action::kLog) chain.rules.push_back({step.tier, step.policy});
  }
  if (chain.rules.empty()) return std::nullopt;
  return chain;
}

std::string name_of(const LogId& id) {
  std::string name(kLogChainPrefix);
  for (const auto byte : id.view()) name += fmt::format("{:02x}", byte);
  return name;
}

void add_log_chain(Ruleset& ruleset, const LogId& id, const LogChain& chain, const std::string& log_prefix) {
  const auto name = name_of(id);
  ruleset.chains.push_back({name, {}});
  for (const auto& rule : chain.rules) {
    ruleset.rules.push_back(marked_rule(name, Expressions().log(log_text(log_prefix, rule)).take()));
  }
  // The end of the chain allows: whoever asked is returned to.
  if (chain.verdict == policy::Verdict::kAllow) return;
  ruleset.rules.push_back(marked_rule(name, Expressions().verdict(NFT_GOTO, kDenyChain).take()));
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
