// One program, looked at for one kind of peer: the rules whose address parts hold, flattened.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "policy/key_ranges.h"
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

// The keys and source ports of matches that name no ports by name, each worked out once.
class AreaCache {
 public:
  // Valid to the end of the batch: later the number may stand for another match.
  std::span<const Rectangle> of(MatchId id, const RuleMatch& match, Family family);

 private:
  struct Entry {
    Digest match;
    std::array<std::optional<std::vector<Rectangle>>, 2> areas;  // by family
  };
  std::vector<Entry> entries_;  // by match
};

// What compilers share.
struct CompilerBench {
  AreaCache areas;
  MatchMarks settled;  // in the stage at hand: asked before, or never to hold
  // Of the peer that is looked at; their memory serves the next.
  std::vector<const Cell*> cells;
  std::vector<Cell> not_lone;
  std::vector<SetId> not_lone_sets;
};

// Compiles one plan for one family and one own side, for as many peers as are asked for.
//
// Most rules ask for a set, and a peer is in few. So a peer is not asked about all rules, but compared with
// the one that is in no set: only what the rules say that tell the two apart is swept anew.
//
//   cost   once: the rules of the plan; each peer: the rules that mention its sets, and those that ask for
//          nothing where these lie
class Compiler {
 public:
  // All is borrowed, and stays right for as long as the plan is somebody's and the ports of its named atoms
  // are the same. `own` are the sets that the own address is in.
  Compiler(const Plan& plan, Family family, std::span<const SetId> own, const RuleBook& book,
           const MemberIndex& members, std::size_t set_bound, CompilerBench& bench);

  // The sets that rules ask of the peer, where they can match at all; ascending.
  std::vector<SetId> vocabulary() const;
  // All keys in order, for a peer that is in no set of the vocabulary. Thoughts are last words.
  std::vector<Cell> compile_base();
  // The same for a peer that is in just these sets, but only keys and source ports for which it may differ.
  // Valid until a compiler of this bench is asked again.
  std::span<const Cell* const> compile(std::span<const SetId> peer);
  // What a last word says, and how it came to it; and the digest of that.
  Outcome outcome(ThoughtId thought) const;
  const Digest& digest(ThoughtId thought);
  // Rules that can decide anything.
  std::size_t rule_count() const { return rules_.size(); }

 private:
  // A rule whose own side and family hold.
  struct LiveRule {
    const RuleMatch* match;
    const SideMatch* peer;
    const CompactRule* rule;
    std::span<const Rectangle> areas;  // where no named port of the peer is asked for
    bool names_peer_ports = false;
    bool unconditional = false;  // whoever the peer is
  };
  // Where a rule stands: they are asked in this order.
  struct Place {
    std::uint32_t stage;  // of the plan; each profile is one more, after them, and so are the failsafes
    std::uint32_t list;   // of the stage
    std::uint32_t rule;   // in rules_; kWhole: the list denies all
    auto operator<=>(const Place&) const = default;
  };
  static constexpr std::uint32_t kWhole = 0xffffffff;
  // A set whose rules say the same whatever else the peer is in.
  struct Lone {
    bool is_lone = false;
    std::optional<std::vector<Cell>> cells;  // of a peer in this set alone; once asked for
  };
  // A rule that may hold for any peer, and where.
  struct Standing {
    std::uint32_t first;
    std::uint32_t last;
    Place place;
  };
  bool holds(const SideMatch& side, const std::vector<bool>& is_in) const;
  NamedPorts named_ports(const SideMatch& side, const std::vector<bool>& is_in) const;
  void add_stage(const Stage& stage);
  void add_stage(const RuleList& list);
  void add_rule(const RuleList& list, const CompactRule& rule, std::uint32_t number, KeyCover& cover);
  std::span<const Rectangle> areas_of(MatchId id, const SideMatch& own);
  std::span<const Rectangle> left_over(std::span<const Rectangle> areas, const KeyCover& cover);
  void file(const LiveRule& rule, Place place);
  void sort_by_set();
  void sort_standing();
  void add_standing(const std::vector<KeyRange>& where, std::vector<Place>& places) const;
  const RuleList& list_at(const Place& place) const;
  std::vector<Place> told_apart_by(std::span<const SetId> peer) const;
  std::vector<Cell> compile_together(std::span<const SetId> peer);
  void find_lone_sets();
  Lone* lone(SetId set);
  void ask(std::vector<Place> places);
  bool has_last_word(const Place& place, const KeyRange& sources) const;
  std::vector<Cell> judge_both(const std::vector<KeyRange>& where, const KeyRange& sources);
  Verdict verdict(ThoughtId thought) const;
  ThoughtId then(const ThoughtStep& step);
  std::vector<Cell> judge(const std::vector<KeyRange>& where, const KeyRange& sources, bool staged_too);
  void pass_stage(Sweep& sweep, std::uint32_t stage, bool staged_too);
  Judgement judgement(ThoughtId thought) const;
  TraceStep trace_step(const ThoughtStep& step) const;
  void add_meaning(std::string& text, ThoughtId thought);
  const Digest& selected_by(const ThoughtStep& step);
  void apply(Sweep& sweep, const LiveRule& rule, ThoughtStep step);
  void apply(Sweep& sweep, const Place& place);
  void apply_asked(Sweep& sweep, std::uint32_t stage, bool staged_too);
  // Where the rule holds for the peer. Valid until the next call.
  std::span<const Rectangle> areas_at_peer(const LiveRule& rule);
  void refuse_encapsulated(Sweep& sweep);
  void apply_failsafe(Sweep& sweep, const LiveRule& rule);
  // That of the failsafes, which is asked first: it stands behind those of the profiles.
  std::uint32_t failsafe_stage() const {
    return static_cast<std::uint32_t>(plan_.stages.size() + plan_.profiles.size());
  }
  static void end_without_answer(Sweep& sweep);
  void deny_rest(Sweep& sweep, std::uint32_t stage, std::uint32_t policy, int why);

  const Plan& plan_;
  bool has_staged_;
  Family family_;
  const RuleBook& book_;
  const MemberIndex& members_;
  std::vector<bool> own_;   // by set
  std::vector<bool> peer_;  // by set
  CompilerBench& bench_;
  std::deque<std::vector<Rectangle>> own_areas_;  // of this program alone
  std::vector<LiveRule> rules_;
  // Rules that mean something else for a peer that is in the set than for one that is in none; by set.
  std::vector<std::pair<SetId, Place>> filed_;
  std::vector<std::uint32_t> filed_from_;  // by set, into filed_
  std::vector<Standing> standing_;         // by first key
  std::size_t wide_ = 0;                // so many of them, in front, are for more keys than one, in any order
  std::size_t peers_ = 0;               // that were asked for
  std::vector<Lone> lone_;              // by the first of the set's rules in filed_; empty: not looked for
  std::uint32_t stages_ = 0;            // profiles and failsafes included
  std::vector<Place> asked_;            // of the peer; ascending
  std::vector<Rectangle> named_areas_;  // of a rule that names ports of the peer
  std::vector<ThoughtStep> steps_{1};
  boost::unordered_flat_map<ThoughtStep, ThoughtId> thought_by_step_;
  std::vector<std::optional<Digest>> digests_;                             // by thought
  std::map<std::pair<std::uint32_t, std::uint32_t>, Digest> selected_by_;  // by stage and kind of nobody
};

// Puts the sets that a side of a rule asks for behind others.
void add_sets(const SideMatch& side, const MemberIndex& members, std::vector<SetId>& sets);
// The sets that rules of a plan ask of the own side, in one family; ascending. And those of the peer.
std::vector<SetId> own_sets(const Plan& plan, Family family, const RuleBook& book,
                            const MemberIndex& members);
std::vector<SetId> peer_sets(const Plan& plan, Family family, const RuleBook& book,
                             const MemberIndex& members);

}  // namespace ocicat::policy
