// What applies to an endpoint in one direction: tiers, policies, profiles, in order, ready to be compiled.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/digest.h"
#include "policy/model.h"
#include "policy/policy_run.h"
#include "policy/rule_book.h"
#include "policy/verdict.h"

namespace ocicat::policy {

// Immutable, shared by all endpoints to which the same applies.
struct Plan {
  ChainKind chain = ChainKind::kNormal;
  Direction direction = Direction::kIngress;
  std::optional<EncapsulationGuard> encapsulation;  // egress of workloads
  std::shared_ptr<const RuleList> failsafes;        // host endpoints: before all else; null: none
  std::vector<Stage> stages;
  std::vector<std::shared_ptr<const RuleList>> profiles;  // those that can decide
  std::vector<MatchId> matches;                           // of all its rules, each once
  std::vector<AtomId> named_ports;  // that it asks for, on either side, and ports of services; ascending
  Digest digest;
};

bool has_staged(const Plan& plan);

Digest digest_of(const Plan& plan);
// The matches of all rules of a plan, each once; and atoms for named ports that these ask for, on either
// side, ascending.
std::vector<MatchId> matches_of(const Plan& plan, MatchMarks& marks);
std::vector<AtomId> named_port_atoms(std::span<const MatchId> matches, const RuleBook& book);

}  // namespace ocicat::policy
