#include "dataplane/nftables/log_chains.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dataplane/nftables/ruleset.h"

namespace ocicat::dataplane {
namespace {

const LogRule kOfNamespaced{"security", {Kind::kNetworkPolicy, "shop", "api"}};
const LogRule kOfGlobal{"default", {Kind::kGlobalNetworkPolicy, "", "watch"}};
const LogRule kOfProfile{std::string(policy::kProfileTier), {Kind::kProfile, "", "kns.shop"}};

TEST(LogText, FillsInWhoLogs) {
  const std::string format = "%t|%k|%n|%p";
  EXPECT_EQ(log_text(format, kOfNamespaced), "security|np|api|shop/api: ");
  EXPECT_EQ(log_text(format, kOfGlobal), "default|gnp|watch|watch: ");
  EXPECT_EQ(log_text(format, kOfProfile), "|pro|kns.shop|kns.shop: ");
  const LogRule kubernetes{"default", {Kind::kKubernetesNetworkPolicy, "shop", "web"}};
  EXPECT_EQ(log_text("%k %p", kubernetes), "knp shop/web: ");
}

TEST(LogText, LeavesOtherPercentSignsAsTheyAre) {
  EXPECT_EQ(log_text("100%", kOfGlobal), "100%: ");
  EXPECT_EQ(log_text("%x %%n", kOfGlobal), "%x %watch: ");
}

TEST(LogText, IsThePrefixOfCalicoWhereNoneIsSet) {
  EXPECT_EQ(log_text("", kOfGlobal), "calico-packet: ");
}

TEST(LogText, IsCutWhereTheKernelTakesNoMore) {
  EXPECT_EQ(log_text(std::string(300, 'x'), kOfGlobal), std::string(127, 'x'));
}

policy::TraceStep step(const LogRule& rule, Action action) {
  return {.tier = rule.tier, .policy = rule.policy, .rule = 0, .action = action, .selected_by = {}};
}

TEST(LogChain, HasTheLogRulesOfATraceInOrder) {
  const policy::Outcome outcome{policy::Verdict::kAllow,
                                {step(kOfNamespaced, Action::kLog), step(kOfNamespaced, Action::kPass),
                                 step(kOfGlobal, Action::kLog), step(kOfGlobal, Action::kAllow)}};
  const auto chain = log_chain_of(outcome);
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->rules, (std::vector{kOfNamespaced, kOfGlobal}));
  EXPECT_EQ(chain->verdict, policy::Verdict::kAllow);
  EXPECT_FALSE(log_chain_of({policy::Verdict::kDeny, {step(kOfGlobal, Action::kDeny)}}));
}

TEST(LogChain, IsKnownByWhoLogsInWhatOrderAndByItsVerdict) {
  const LogChain chain{{kOfNamespaced, kOfGlobal}, policy::Verdict::kAllow};
  const LogChain denies{chain.rules, policy::Verdict::kDeny},
      other{{kOfGlobal, kOfNamespaced}, chain.verdict};
  EXPECT_EQ(id_of(chain), id_of(chain));
  EXPECT_NE(id_of(chain), id_of(denies));
  EXPECT_NE(id_of(chain), id_of(other));
  EXPECT_EQ(id_of(chain).size(), 8U);
}

TEST(LogChain, SaysALineARuleAndThenDeniesOrEnds) {
  const LogChain allows{{kOfNamespaced, kOfGlobal}, policy::Verdict::kAllow};
  const LogChain denies{allows.rules, policy::Verdict::kDeny};
  Ruleset of_allows, of_denies;
  add_log_chain(of_allows, id_of(allows), allows, {});
  add_log_chain(of_denies, id_of(denies), denies, {});
  const auto rules_of = [](const Ruleset& ruleset, const std::string& chain) {
    return std::ranges::count(ruleset.rules, chain, &kernel::nft::Rule::chain);
  };
  EXPECT_EQ(rules_of(of_allows, name_of(id_of(allows))), 2);
  EXPECT_EQ(rules_of(of_denies, name_of(id_of(denies))), 3);
}

TEST(LogChain, HasATwinWhereChainsOfHostEndpointsEndOtherwise) {
  const auto names = [](policy::Verdict verdict) {
    const LogChain chain{{kOfNamespaced}, verdict};
    std::vector<std::string> endings;
    for (const auto ending : {Ending::kFilter, Ending::kQuiet, Ending::kUntracked, Ending::kPreDnat}) {
      endings.push_back(name_of(id_of(chain), ending).substr(name_of(id_of(chain)).size()));
    }
    return endings;
  };
  using Endings = std::vector<std::string>;
  EXPECT_EQ(names(policy::Verdict::kAllow), (Endings{"", "", "_ut", "_pd"}));
  EXPECT_EQ(names(policy::Verdict::kDeny), (Endings{"", "_drop", "_drop", "_drop"}));
  EXPECT_EQ(names(policy::Verdict::kNone), (Endings{"", "", "", ""}));
}

}  // namespace
}  // namespace ocicat::dataplane
