// What applies to an endpoint in one direction: tiers, policies, profiles, in order, ready to be compiled.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "policy/model.h"
#include "policy/rule_book.h"
#include "policy/verdict.h"

namespace ocicat::policy {

// Which matches were met. Forgetting them costs nothing.
class MatchMarks {
 public:
  void clear();
  // True the first time since clear().
  bool mark(MatchId id) {
    if (marks_.size() <= id) marks_.resize(id + 1);
    return std::exchange(marks_[id], round_) != round_;
  }
  bool has(MatchId id) const { return id < marks_.size() && marks_[id] == round_; }

 private:
  std::vector<std::uint32_t> marks_;  // by match: the round it was met in last
  std::uint32_t round_ = 1;
};

struct CompactRule {
  MatchId match = 0;
  std::int32_t index = 0;  // as written
  Action action = Action::kAllow;
};

// The rules of a policy or profile in one direction. Immutable, shared.
struct RuleList {
  ResourceKey id;  // as a trace names it
  // kRules, or why it denies all: TraceStep::kBroken, or kNoProfile for a profile that is missing.
  static constexpr int kRules = 0;
  int denies = kRules;
  std::vector<CompactRule> rules;
  Digest name;    // of its id
  Digest digest;  // of all of the above, in names

  bool staged() const { return is_staged(id.kind); }
};

struct Stage {
  std::string tier;
  Action default_action = Action::kDeny;
  std::vector<std::shared_ptr<const RuleList>> policies;  // at least one, staged ones included

  bool has_staged() const;
  bool only_staged() const;  // then it counts for nothing but what would be
};

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

Digest digest_of(const RuleList& list, const RuleBook& book);
Digest digest_of(const Plan& plan);
// The matches of all rules of a plan, each once; and atoms for named ports that these ask for, on either
// side, ascending.
std::vector<MatchId> matches_of(const Plan& plan, MatchMarks& marks);
std::vector<AtomId> named_port_atoms(std::span<const MatchId> matches, const RuleBook& book);

// Failsafes, policies and profiles, in order.
template <class Visit>
void for_each_list(const Plan& plan, Visit visit) {
  if (plan.failsafes) visit(*plan.failsafes);
  for (const auto& stage : plan.stages) {
    for (const auto& policy : stage.policies) visit(*policy);
  }
  for (const auto& profile : plan.profiles) visit(*profile);
}

}  // namespace ocicat::policy
