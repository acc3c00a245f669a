// Rules as plans share them: lists of policies and profiles, runs of policies, stages made of runs.
#pragma once

#include <cstdint>
#include <memory>
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

// The policies of one tier with one selector that have rules at one hook, in order. Immutable, shared by all
// stages that they are in: a policy that changes has another run made, and the others of its stage are left
// alone.
struct PolicyRun {
  // A rule that others of the run before it leave something to, whoever asks; match 0: the policy denies all.
  struct TellingRule {
    std::uint32_t policy;  // of the run
    CompactRule rule;
  };

  std::string tier;
  std::vector<std::shared_ptr<const RuleList>> policies;  // at least one
  std::vector<double> orders;                             // of policies
  // Of policies; side by side, as each plan is named after them.
  std::vector<Digest> names;
  std::vector<Digest> digests;
  std::vector<TellingRule> rules;  // in order
  std::uint32_t staged = 0;        // policies that are

  void add(std::shared_ptr<const RuleList> policy, double order);
  // Once all are added.
  void find_telling_rules(MatchMarks& marks);
  // Whether one of its policies comes before one of another run of the tier.
  bool comes_before(std::size_t policy, const PolicyRun& other, std::size_t other_policy) const;
};

// By order, then by "name/namespace/kind".
bool comes_before(double order_a, const ResourceKey& a, double order_b, const ResourceKey& b);

// The policies of one tier that apply: runs, each cut where policies of others lie between.
struct Stage {
  struct Part {
    std::shared_ptr<const PolicyRun> run;
    std::uint32_t first;   // policy of the run
    std::uint32_t end;     // behind the last
    std::uint32_t at = 0;  // the number that its first policy has in the stage

    std::span<const Digest> names() const { return std::span(run->names).subspan(first, end - first); }
    std::span<const Digest> digests() const { return std::span(run->digests).subspan(first, end - first); }
    std::span<const PolicyRun::TellingRule> rules() const;
    // The number that a policy of the run has in the stage.
    std::uint32_t number(std::uint32_t policy) const { return at + policy - first; }
  };

  std::string tier;
  Action default_action = Action::kDeny;
  std::vector<Part> parts;  // at least one, staged policies included

  // Puts the policies of one more run where they belong.
  void merge(const std::shared_ptr<const PolicyRun>& run);
  // Once all are in.
  void number_policies();

  std::uint32_t size() const { return parts.back().number(parts.back().end); }
  const std::shared_ptr<const RuleList>& policy(std::uint32_t number) const;
  bool has_staged() const;
  bool only_staged() const;  // then it counts for nothing but what would be
};

Digest digest_of(const RuleList& list, const RuleBook& book);

}  // namespace ocicat::policy
