#include "dataplane/nftables/log_chains.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "dataplane/nftables/ruleset.h"
#include "kernel/nft_expressions.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::Expressions;

constexpr std::uint8_t kIsLog = 0x80, kAllows = 0x40, kDenies = 0x20;

// By what a twin differs from the chain that ends as workloads' do; empty: by nothing.
std::string_view suffix_of(const LogId& id, Ending ending) {
  if (denies(id)) return ending == Ending::kFilter ? "" : "_drop";
  if (!allows(id) || allow_chain(ending).empty()) return "";
  return ending == Ending::kUntracked ? "_ut" : "_pd";
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
  bytes[0] = static_cast<std::uint8_t>((bytes[0] & ~(kAllows | kDenies)) | kIsLog |
                                       (chain.verdict == policy::Verdict::kAllow  ? kAllows
                                        : chain.verdict == policy::Verdict::kDeny ? kDenies
                                                                                  : 0));
  return LogId(std::span(bytes).first(8));
}

bool allows(const LogId& id) {
  const auto first = id.view()[0];
  return (first & kIsLog) != 0 && (first & kAllows) != 0;
}

bool denies(const LogId& id) {
  const auto first = id.view()[0];
  return (first & kIsLog) != 0 && (first & kDenies) != 0;
}

std::optional<LogChain> log_chain_of(const policy::Outcome& outcome) {
  auto rules = log_rules_of(outcome);
  if (rules.empty()) return std::nullopt;
  return LogChain{std::move(rules), outcome.verdict};
}

std::string name_of(const LogId& id, Ending ending) {
  std::string name(kLogChainPrefix);
  for (const auto byte : id.view()) name += fmt::format("{:02x}", byte);
  return name += suffix_of(id, ending);
}

namespace {

// One for each name; those that end alike share one.
std::vector<std::pair<std::string, Ending>> twins_of(const LogId& id) {
  std::vector<std::pair<std::string, Ending>> twins;
  for (const auto ending : {Ending::kFilter, Ending::kQuiet, Ending::kUntracked, Ending::kPreDnat}) {
    auto name = name_of(id, ending);
    if (std::ranges::find(twins, name, &std::pair<std::string, Ending>::first) == twins.end())
      twins.emplace_back(std::move(name), ending);
  }
  return twins;
}

}  // namespace

std::vector<std::string> names_of(const LogId& id) {
  std::vector<std::string> names;
  for (auto& [name, ending] : twins_of(id)) names.push_back(std::move(name));
  return names;
}

void add_log_chain(Ruleset& ruleset, const LogId& id, const LogChain& chain, const HostSettings& settings) {
  for (const auto& [name, ending] : twins_of(id)) {
    ruleset.chains.push_back({name, {}});
    const auto rule = [&](Expressions& expressions) {
      ruleset.rules.push_back(marked_rule(name, expressions.take()));
    };
    for (const auto& log_rule : chain.rules) {
      Expressions logging;
      if (const auto& limit = settings.log_limit; limit.lines != 0)
        logging.limit(limit.lines, limit.burst, limit.per);
      rule(logging.log(log_text(settings.log_prefix, log_rule)));
    }
    if (chain.verdict == policy::Verdict::kDeny) {
      rule(Expressions().verdict(NFT_GOTO, deny_chain(ending)));
    } else if (chain.verdict == policy::Verdict::kAllow && !allow_chain(ending).empty()) {
      rule(Expressions().verdict(NFT_GOTO, allow_chain(ending)));
    }
    // Else the end of the chain lets the packet go on: whoever asked is returned to.
  }
}

}  // namespace ocicat::dataplane
