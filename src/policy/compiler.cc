#include "policy/compiler.h"

#include <algorithm>

#include "base/result.h"

namespace ocicat::policy {

namespace {

template <class T>
void sort_unique(std::vector<T>& items) {
  std::ranges::sort(items);
  items.erase(std::ranges::unique(items).begin(), items.end());
}

const SideMatch& own_side(const RuleMatch& match, Direction direction) {
  return direction == Direction::kIngress ? match.destination : match.source;
}

const SideMatch& peer_side(const RuleMatch& match, Direction direction) {
  return direction == Direction::kIngress ? match.source : match.destination;
}

void add_sets(const SideMatch& side, const MemberIndex& members, std::vector<SetId>& sets) {
  for (const auto* atoms : {&side.in, &side.not_in}) {
    for (const auto atom : *atoms) sets.push_back(members.set_of(atom));
  }
  for (const auto* atoms : {&side.named_ports, &side.not_named_ports}) {
    for (const auto atom : *atoms) {
      for (const auto& port : members.ports_of(atom)) sets.push_back(port.set);
    }
  }
  for (const auto atom : side.service_ports) {
    for (const auto& port : members.service_ports_of(atom)) sets.push_back(port.set);
  }
}

}  // namespace

std::vector<SetId> own_sets(const Plan& plan, Family family, const RuleBook& book,
                            const MemberIndex& members) {
  std::vector<SetId> sets;
  for_each_list(plan, [&](const RuleList& list) {
    for (const auto& rule : list.rules) {
      const auto& match = book.match(rule.match);
      if (match.can_match(family)) add_sets(own_side(match, plan.direction), members, sets);
    }
  });
  sort_unique(sets);
  return sets;
}

std::size_t hash_value(const ThoughtStep& step) {
  std::uint64_t state = std::uint64_t{step.before} << 32 | step.stage;
  state = (state ^ (std::uint64_t{step.policy} << 24)) * 0x9e3779b97f4a7c15ULL;
  state ^= state >> 29;
  state = (state ^ static_cast<std::uint32_t>(step.rule) ^ (std::uint64_t(step.action) << 40)) *
          0xe7037ed1a0b428dbULL;
  return state ^ (state >> 32);
}

Compiler::Compiler(const Plan& plan, Family family, std::span<const SetId> own, const RuleBook& book,
                   const MemberIndex& members, std::size_t set_bound)
    : plan_(plan), family_(family), book_(book), members_(members), own_(set_bound), peer_(set_bound) {
  for (const auto set : own) own_[set] = true;
  for (const auto& stage : plan.stages) {
    auto& lists = stages_.emplace_back();
    for (const auto& policy : stage.policies) lists.push_back({policy.get(), live_rules(*policy)});
  }
  for (const auto& profile : plan.profiles) profiles_.push_back({profile.get(), live_rules(*profile)});
}

bool Compiler::holds(const SideMatch& side, const std::vector<bool>& is_in) const {
  const auto in = [&](AtomId atom) { return is_in[members_.set_of(atom)]; };
  return std::ranges::all_of(side.in, in) && std::ranges::none_of(side.not_in, in);
}

NamedPorts Compiler::named_ports(const SideMatch& side, const std::vector<bool>& is_in) const {
  NamedPorts named;
  const auto add = [&](const std::vector<AtomId>& atoms, std::vector<std::uint16_t>& ports) {
    for (const auto atom : atoms) {
      for (const auto& port : members_.ports_of(atom)) {
        if (is_in[port.set]) ports.push_back(port.port);
      }
    }
  };
  add(side.named_ports, named.ports);
  add(side.not_named_ports, named.not_ports);
  for (const auto atom : side.service_ports) {
    for (const auto& port : members_.service_ports_of(atom)) {
      if (is_in[port.set]) named.service_keys.push_back(table_key(port.protocol, port.number));
    }
  }
  return named;
}

std::vector<Compiler::LiveRule> Compiler::live_rules(const RuleList& list) const {
  std::vector<LiveRule> live;
  for (const auto& rule : list.rules) {
    const auto& match = book_.match(rule.match);
    const auto& own = own_side(match, plan_.direction);
    if (!match.can_match(family_) || !holds(own, own_)) continue;
    const auto& peer = peer_side(match, plan_.direction);
    LiveRule entry{.match = &match, .peer = &peer, .rule = &rule, .areas = {}};
    entry.names_peer_ports = peer.names_ports();
    if (!entry.names_peer_ports) {
      const auto named = named_ports(own, own_);
      const bool ingress = plan_.direction == Direction::kIngress;
      entry.areas =
          rectangles_of(match, family_, ingress ? NamedPorts{} : named, ingress ? named : NamedPorts{});
      if (entry.areas.empty()) continue;
      const auto& only = entry.areas.front();
      entry.everything = only.first == 0 && only.last == kLastTableKey && only.all_sources();
    }
    live.push_back(std::move(entry));
  }
  return live;
}

std::vector<SetId> Compiler::vocabulary() const {
  std::vector<SetId> sets;
  const auto add = [&](const LiveList& list) {
    for (const auto& rule : list.rules) add_sets(*rule.peer, members_, sets);
  };
  for (const auto& stage : stages_) std::ranges::for_each(stage, add);
  std::ranges::for_each(profiles_, add);
  sort_unique(sets);
  return sets;
}

ThoughtId Compiler::then(const ThoughtStep& step) {
  const auto [it, is_new] = thought_by_step_.emplace(step, static_cast<ThoughtId>(steps_.size()));
  if (is_new) steps_.push_back(step);
  return it->second;
}

void Compiler::apply(Sweep& sweep, const LiveRule& rule, ThoughtStep step) {
  if (!holds(*rule.peer, peer_)) return;
  const auto think = [&](ThoughtId before) {
    step.before = before;
    return then(step);
  };
  const auto apply_to = [&](const Rectangle& area) {
    switch (rule.rule->action) {
      case Action::kAllow:
      case Action::kDeny:
        sweep.decide(area, think);
        break;
      case Action::kPass:
        sweep.set_aside(area, think);
        break;
      case Action::kLog:
        sweep.note(area, think);
        break;
    }
  };
  if (!rule.names_peer_ports) {
    std::ranges::for_each(rule.areas, apply_to);
    return;
  }
  const auto& match = *rule.match;
  const bool ingress = plan_.direction == Direction::kIngress;
  const auto own = named_ports(own_side(match, plan_.direction), own_);
  const auto peer = named_ports(*rule.peer, peer_);
  std::ranges::for_each(rectangles_of(match, family_, ingress ? peer : own, ingress ? own : peer), apply_to);
}

void Compiler::deny_rest(Sweep& sweep, std::uint32_t stage, std::uint32_t policy, int why) {
  sweep.decide_rest([&](ThoughtId before) { return then({before, stage, policy, why, Action::kDeny}); });
}

void Compiler::apply(Sweep& sweep, const LiveList& list, std::uint32_t stage, std::uint32_t policy) {
  if (list.list->denies != RuleList::kRules) {
    deny_rest(sweep, stage, policy, list.list->denies);
    return;
  }
  for (const auto& rule : list.rules) {
    if (sweep.done()) return;
    apply(sweep, rule, {0, stage, policy, rule.rule->index, rule.rule->action});
  }
}

void Compiler::refuse_encapsulated(Sweep& sweep) {
  const auto& guard = plan_.encapsulation;
  const auto refuse = [&](std::uint32_t first, std::uint32_t last) {
    sweep.decide({first, last}, [&](ThoughtId before) {
      return then({before, ThoughtStep::kBeforeStages, ThoughtStep::kNobody, TraceStep::kEncapsulated,
                   Action::kDeny});
    });
  };
  const auto port = table_key(kUdp, guard.vxlan_port);
  if (!guard.allow_ipip) refuse(table_key(kIpInIp, 0), table_key(kIpInIp, 0xffff));
  if (!guard.allow_vxlan) refuse(port, port);
}

void Compiler::pass_stage(Sweep& sweep, std::uint32_t number, bool staged_too) {
  const auto& stage = plan_.stages[number];
  if (!staged_too && stage.only_staged()) return;
  for (std::uint32_t policy = 0; policy < stages_[number].size(); ++policy) {
    if (stage.policies[policy]->staged() && !staged_too) continue;
    apply(sweep, stages_[number][policy], number, policy);
  }
  const auto nobody =
      staged_too && stage.has_staged() ? ThoughtStep::kNobodyStagedIncluded : ThoughtStep::kNobody;
  if (stage.default_action == Action::kPass) {
    sweep.note_rest([&](ThoughtId before) {
      return then({before, number, nobody, TraceStep::kTierDefault, Action::kPass});
    });
  } else {
    deny_rest(sweep, number, nobody, TraceStep::kTierDefault);
  }
  sweep.reopen();
}

std::vector<Cell> Compiler::judge(bool staged_too) {
  Sweep sweep(0);
  if (plan_.direction == Direction::kEgress) refuse_encapsulated(sweep);
  const auto profile_stage = static_cast<std::uint32_t>(stages_.size());
  for (std::uint32_t stage = 0; stage < profile_stage; ++stage) pass_stage(sweep, stage, staged_too);
  for (std::uint32_t profile = 0; profile < profiles_.size(); ++profile) {
    apply(sweep, profiles_[profile], profile_stage, profile);
    sweep.reopen();
  }
  deny_rest(sweep, profile_stage, ThoughtStep::kNobody, TraceStep::kNoProfile);
  return sweep.take_cells();
}

std::vector<Cell> Compiler::compile(std::span<const SetId> peer) {
  for (const auto set : peer) peer_[set] = true;
  auto cells = judge(false);
  if (has_staged(plan_)) {
    cells = overlaid(cells, judge(true), [this](ThoughtId enforced, ThoughtId pending) {
      if (enforced == pending) return enforced;  // one thought is one trace
      return then({enforced, ThoughtStep::kBoth, pending, 0, Action::kDeny});
    });
  }
  for (const auto set : peer) peer_[set] = false;
  return cells;
}

TraceStep Compiler::trace_step(const ThoughtStep& step) const {
  TraceStep trace{.tier = {}, .policy = {}, .rule = step.rule, .action = step.action, .selected_by = {}};
  if (step.stage == ThoughtStep::kBeforeStages) return trace;
  const bool nobody =
      step.policy == ThoughtStep::kNobody || step.policy == ThoughtStep::kNobodyStagedIncluded;
  if (step.stage == plan_.stages.size()) {
    trace.tier = kProfileTier;
    if (!nobody) trace.policy = plan_.profiles[step.policy]->id;
    return trace;
  }
  const auto& stage = plan_.stages[step.stage];
  trace.tier = stage.tier;
  if (!nobody) {
    trace.policy = stage.policies[step.policy]->id;
    return trace;
  }
  for (const auto& policy : stage.policies) {
    if (policy->staged() && step.policy == ThoughtStep::kNobody) continue;
    trace.selected_by.push_back(policy->id);
  }
  return trace;
}

Judgement Compiler::judgement(ThoughtId thought) const {
  Judgement judgement;
  judgement.verdict = steps_[thought].action == Action::kAllow ? Verdict::kAllow : Verdict::kDeny;
  for (auto at = thought; at != 0; at = steps_[at].before) judgement.trace.push_back(trace_step(steps_[at]));
  std::ranges::reverse(judgement.trace);
  return judgement;
}

Outcome Compiler::outcome(ThoughtId thought) const {
  const auto& last = steps_[thought];
  if (last.stage != ThoughtStep::kBoth) return Outcome{judgement(thought)};
  return Outcome{judgement(last.before), judgement(last.policy)};
}

}  // namespace ocicat::policy
