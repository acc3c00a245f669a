// Which policies decided, as Calico's flow logs write it (semantics.md 9).
#pragma once

#include <string>
#include <vector>

#include "policy/verdict.h"

namespace ocicat::flows {

// "0|default|np:shop/api|allow|2": index, tier, policy, what was done, rule. Rule -1: the end of the tier,
// where the policy named is the last one of it that selects the endpoint; -2: there is no rule to name. Log
// rules do not count. The index counts the hits from 0.
std::vector<std::string> hits_of(const policy::Judgement& judgement);

}  // namespace ocicat::flows
