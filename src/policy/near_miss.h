// Why a rule did not match, told to the person who wrote it.
#pragma once

#include <optional>
#include <string>

#include "policy/rule_match.h"

namespace ocicat::policy {

// One sentence: what the packet has and what the rule asks for.
//   "destination port 5432 is not one of 8080, 9090"
//   "source 10.65.0.3 (billing/card-vault) does not match selector role == \"api\""
std::string describe(Criterion criterion, const MatchRule& rule, const Question& question);

}  // namespace ocicat::policy
