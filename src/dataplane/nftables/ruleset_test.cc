// The fixed rules. What they do to packets: test/netns.
#include "dataplane/nftables/ruleset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace ocicat::dataplane {
namespace {

std::string expressions_of(const Ruleset& ruleset, std::string_view chain) {
  std::string all;
  for (const auto& rule : ruleset.rules) {
    if (rule.chain == chain) all.append(rule.expressions.begin(), rule.expressions.end());
  }
  return all;
}

TEST(RulesetTest, WhatTheHostBeginsIsToldWithinABoundOfItsOwn) {
  const auto told = expressions_of(ruleset_for({}), kBegunByHost.chain);
  EXPECT_NE(told.find("limit"), std::string::npos);
  EXPECT_NE(told.find("log"), std::string::npos);
}

TEST(RulesetTest, BeyondWhatIsAnybodysEachInterfaceHasAShareOfWhatIsTold) {
  const auto ruleset = ruleset_for({});
  EXPECT_EQ(ruleset.shape().sets.count(shares().name), 1U);
  for (const auto& telling :
       {kDenied, kDeniedQuietly, kRevoked, kSpoofed, kInvalid, kNotOurs, kBegun, kBegunAlone}) {
    SCOPED_TRACE(telling.chain);
    const auto told = expressions_of(ruleset, telling.chain);
    EXPECT_LT(told.find("limit"), told.find(shares().name));
    EXPECT_LT(told.find(shares().name), told.rfind("log"));
  }
}

TEST(RulesetTest, EveryChainThatTellsIsThereAndCountsAllOfIt) {
  const auto ruleset = ruleset_for({});
  for (const auto& telling : kTellings) {
    SCOPED_TRACE(telling.chain);
    EXPECT_TRUE(std::ranges::count(ruleset.chains, telling.chain, &kernel::nft::Chain::name) == 1);
    const auto told = expressions_of(ruleset, telling.chain);
    EXPECT_LT(told.find("counter"), told.find("limit"));
    EXPECT_EQ(told.find("counter"), told.rfind("counter"));
  }
}

}  // namespace
}  // namespace ocicat::dataplane
