// One program, looked at for one kind of peer: the rules whose address parts hold, flattened.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "policy/member_index.h"
#include "policy/plan.h"
#include "policy/rectangles.h"
#include "policy/sweep.h"

namespace ocicat::policy {

// One step of a thought; thought 0 is the one without any.
struct ThoughtStep {
  // In place of a stage.
  static constexpr std::uint32_t kBeforeStages = 0xffffffff;
  // Not a step but two thoughts: `before` is what is enforced, `policy` what would be with staged policy.
  static constexpr std::uint32_t kBoth = 0xfffffffe;
  // In place of a policy.
  static constexpr std::uint32_t kNobody = 0xffffffff;
  static constexpr std::uint32_t kNobodyStagedIncluded = 0xfffffffe;

  ThoughtId before = 0;
  std::uint32_t stage = 0;         // number of stages: profiles
  std::uint32_t policy = kNobody;  // of the stage
  std::int32_t rule = 0;           // as in TraceStep
  Action action = Action::kDeny;

  bool operator==(const ThoughtStep&) const = default;
  friend std::size_t hash_value(const ThoughtStep& step);
};

// Compiles one plan for one family and one own side, for as many peers as are asked for.
//
//   cost   each peer: the rules of the plan, and the stretches of ports they make
class Compiler {
 public:
  // All is borrowed. `own` are the sets that the own address is in.
  Compiler(const Plan& plan, Family family, std::span<const SetId> own, const RuleBook& book,
           const MemberIndex& members, std::size_t set_bound);

  // The sets that rules ask of the peer, where they can match at all; ascending.
  std::vector<SetId> vocabulary() const;
  // All keys in order, for a peer that is in just these sets of the vocabulary. Thoughts are last words.
  std::vector<Cell> compile(std::span<const SetId> peer);
  // What a last word says, and how it came to it.
  Outcome outcome(ThoughtId thought) const;

 private:
  // A rule whose own side and family hold.
  struct LiveRule {
    const RuleMatch* match;
    const SideMatch* peer;
    const CompactRule* rule;
    std::vector<Rectangle> areas;  // where no named port of the peer is asked for
    bool everything = false;       // `areas` is all there is
    bool names_peer_ports = false;
  };
  struct LiveList {
    const RuleList* list;
    std::vector<LiveRule> rules;
  };
  bool holds(const SideMatch& side, const std::vector<bool>& is_in) const;
  NamedPorts named_ports(const SideMatch& side, const std::vector<bool>& is_in) const;
  std::vector<LiveRule> live_rules(const RuleList& list) const;
  ThoughtId then(const ThoughtStep& step);
  std::vector<Cell> judge(bool staged_too);
  void pass_stage(Sweep& sweep, std::uint32_t stage, bool staged_too);
  Judgement judgement(ThoughtId thought) const;
  TraceStep trace_step(const ThoughtStep& step) const;
  void apply(Sweep& sweep, const LiveRule& rule, ThoughtStep step);
  void apply(Sweep& sweep, const LiveList& list, std::uint32_t stage, std::uint32_t policy);
  void refuse_encapsulated(Sweep& sweep);
  void deny_rest(Sweep& sweep, std::uint32_t stage, std::uint32_t policy, int why);

  const Plan& plan_;
  Family family_;
  const RuleBook& book_;
  const MemberIndex& members_;
  std::vector<bool> own_;   // by set
  std::vector<bool> peer_;  // by set
  std::vector<std::vector<LiveList>> stages_;
  std::vector<LiveList> profiles_;
  std::vector<ThoughtStep> steps_{1};
  boost::unordered_flat_map<ThoughtStep, ThoughtId> thought_by_step_;
};

// The sets that rules of a plan ask of the own side, in one family; ascending.
std::vector<SetId> own_sets(const Plan& plan, Family family, const RuleBook& book,
                            const MemberIndex& members);

}  // namespace ocicat::policy
