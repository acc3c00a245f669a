#include "policy/compiler.h"

#include <algorithm>

#include "base/result.h"

namespace ocicat::policy {

namespace {

template <class T>
void sort_unique(std::vector<T>& items) {
  if (!std::ranges::is_sorted(items)) std::ranges::sort(items);
  items.erase(std::ranges::unique(items).begin(), items.end());
}

const SideMatch& own_side(const RuleMatch& match, Direction direction) {
  return direction == Direction::kIngress ? match.destination : match.source;
}

const SideMatch& peer_side(const RuleMatch& match, Direction direction) {
  return direction == Direction::kIngress ? match.source : match.destination;
}

template <class SideOf>
std::vector<SetId> sets_of(const Plan& plan, Family family, const RuleBook& book, const MemberIndex& members,
                           SideOf side_of) {
  std::vector<SetId> sets;
  for (const auto id : plan.matches) {
    const auto& match = book.match(id);
    const auto& side = side_of(match, plan.direction);
    if (match.can_match(family) && side.names_sets()) add_sets(side, members, sets);
  }
  sort_unique(sets);
  return sets;
}

}  // namespace

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

std::vector<SetId> own_sets(const Plan& plan, Family family, const RuleBook& book,
                            const MemberIndex& members) {
  return sets_of(plan, family, book, members, own_side);
}

std::vector<SetId> peer_sets(const Plan& plan, Family family, const RuleBook& book,
                             const MemberIndex& members) {
  return sets_of(plan, family, book, members, peer_side);
}

std::size_t hash_value(const ThoughtStep& step) {
  std::uint64_t state = std::uint64_t{step.before} << 32 | step.stage;
  state = (state ^ (std::uint64_t{step.policy} << 24)) * 0x9e3779b97f4a7c15ULL;
  state ^= state >> 29;
  state = (state ^ static_cast<std::uint32_t>(step.rule) ^ (std::uint64_t(step.action) << 40)) *
          0xe7037ed1a0b428dbULL;
  return state ^ (state >> 32);
}

std::span<const Rectangle> AreaCache::of(MatchId id, const RuleMatch& match, Family family) {
  if (entries_.size() <= id) entries_.resize(id + 1);
  auto& entry = entries_[id];
  if (entry.match != match.digest) entry = {match.digest, {}};
  auto& areas = entry.areas[family == Family::kIpv4 ? 0 : 1];
  if (!areas) areas = rectangles_of(match, family, {}, {});
  return *areas;  // stays where it is when the entries move
}

Compiler::Compiler(const Plan& plan, Family family, std::span<const SetId> own, const RuleBook& book,
                   const MemberIndex& members, std::size_t set_bound, CompilerBench& bench)
    : plan_(plan),
      has_staged_(has_staged(plan)),
      family_(family),
      book_(book),
      members_(members),
      own_(set_bound),
      peer_(set_bound),
      bench_(bench) {
  for (const auto set : own) own_[set] = true;
  for (const auto& stage : plan.stages) add_stage(stage);
  for (const auto& profile : plan.profiles) add_stage(*profile);
  if (plan.failsafes) add_stage(*plan.failsafes);
  sort_by_set();
  sort_standing();
}

void Compiler::add_stage(const Stage& stage) {
  KeyCover cover;
  bench_.settled.clear();
  for (const auto& part : stage.parts) {
    for (const auto& [policy, rule] : part.rules()) {
      add_rule(*part.run->policies[policy], rule, part.number(policy), cover);
    }
  }
  ++stages_;
}

void Compiler::add_stage(const RuleList& list) {
  KeyCover cover;
  bench_.settled.clear();
  if (list.denies != RuleList::kRules) {
    add_rule(list, {}, 0, cover);
  } else {
    for (const auto& rule : list.rules) add_rule(list, rule, 0, cover);
  }
  ++stages_;
}

// A rule is looked at only where others before it in the stage leave something to it, whoever the peer is. It
// is one of the list that has this number in the stage.
void Compiler::add_rule(const RuleList& list, const CompactRule& rule, std::uint32_t number,
                        KeyCover& cover) {
  Place place{stages_, number, kWhole};
  if (list.denies != RuleList::kRules) {
    standing_.push_back({0, kLastTableKey, place});
    return;
  }
  if (bench_.settled.has(rule.match)) return;
  const auto& match = book_.match(rule.match);
  const auto& own = own_side(match, plan_.direction);
  if (!match.can_match(family_) || !holds(own, own_)) {
    bench_.settled.mark(rule.match);
    return;
  }
  LiveRule live{.match = &match, .peer = &peer_side(match, plan_.direction), .rule = &rule, .areas = {}};
  live.names_peer_ports = live.peer->names_ports();
  live.unconditional = !live.peer->names_sets();
  if (!live.names_peer_ports) {
    live.areas = left_over(areas_of(rule.match, own), cover);
    if (live.areas.empty()) return;
  }
  place.rule = static_cast<std::uint32_t>(rules_.size());
  rules_.push_back(live);
  file(live, place);
  // What staged policy decides it decides only in what would be.
  if (rule.action == Action::kLog || list.staged()) return;
  bench_.settled.mark(rule.match);
  if (!live.unconditional) return;
  for (const auto& area : live.areas) {
    if (area.all_sources()) cover.add(area.first, area.last);
  }
}

// Of a match that names no ports of the peer.
std::span<const Rectangle> Compiler::areas_of(MatchId id, const SideMatch& own) {
  const auto& match = book_.match(id);
  if (!own.names_ports()) return bench_.areas.of(id, match, family_);
  const auto named = named_ports(own, own_);
  const bool ingress = plan_.direction == Direction::kIngress;
  return own_areas_.emplace_back(
      rectangles_of(match, family_, ingress ? NamedPorts{} : named, ingress ? named : NamedPorts{}));
}

std::span<const Rectangle> Compiler::left_over(std::span<const Rectangle> areas, const KeyCover& cover) {
  const auto is_open = [&](const Rectangle& area) { return !cover.meets(area.first, area.last); };
  if (std::ranges::all_of(areas, is_open)) return areas;
  std::vector<Rectangle> rest;
  for (const auto& area : areas) {
    cover.for_each_gap(area.first, area.last, [&](std::uint32_t first, std::uint32_t last) {
      rest.push_back({first, last, area.first_source, area.last_source});
    });
  }
  if (rest.empty()) return {};
  return own_areas_.emplace_back(std::move(rest));
}

// Notes for which peers a rule is to be asked.
void Compiler::file(const LiveRule& rule, Place place) {
  const auto& peer = *rule.peer;
  if (!peer.in.empty()) {  // it holds for nobody who is not in the first of them
    filed_.emplace_back(members_.set_of(peer.in.front()), place);
    return;
  }
  if (!peer.not_in.empty() || rule.names_peer_ports) {
    std::vector<SetId> sets;
    add_sets(peer, members_, sets);
    for (const auto set : sets) filed_.emplace_back(set, place);
  }
  if (rule.names_peer_ports) {
    standing_.push_back({0, kLastTableKey, place});
    return;
  }
  for (const auto& area : rule.areas) standing_.push_back({area.first, area.last, place});
}

// By counting: there may be many rules, and a compiler is made for each program.
void Compiler::sort_by_set() {
  filed_from_.assign(peer_.size() + 1, 0);
  for (const auto& [set, place] : filed_) ++filed_from_[set + 1];
  for (std::size_t set = 1; set < filed_from_.size(); ++set) filed_from_[set] += filed_from_[set - 1];
  auto next = filed_from_;
  std::vector<std::pair<SetId, Place>> sorted(filed_.size());
  for (const auto& entry : filed_) sorted[next[entry.first]++] = entry;
  filed_ = std::move(sorted);
}

void Compiler::sort_standing() {
  const auto points = std::ranges::partition(
      standing_, [](const Standing& standing) { return standing.first != standing.last; });
  wide_ = static_cast<std::size_t>(points.begin() - standing_.begin());
  std::ranges::sort(points, {}, &Standing::first);
}

// The places of rules that may hold for any peer, at some of these keys.
void Compiler::add_standing(const std::vector<KeyRange>& where, std::vector<Place>& places) const {
  const auto points = standing_.begin() + static_cast<std::ptrdiff_t>(wide_);
  for (auto at = standing_.begin(); at != points; ++at) {
    if (meets(where, at->first, at->last)) places.push_back(at->place);
  }
  auto at = points;
  for (const auto& [first, last] : where) {
    at = std::ranges::lower_bound(at, standing_.end(), first, {}, &Standing::first);
    for (; at != standing_.end() && at->first <= last; ++at) places.push_back(at->place);
  }
}

const RuleList& Compiler::list_at(const Place& place) const {
  const auto stages = plan_.stages.size();
  if (place.stage == failsafe_stage()) return *plan_.failsafes;
  return place.stage < stages ? *plan_.stages[place.stage].policy(place.list)
                              : *plan_.profiles[place.stage - stages];
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

std::vector<SetId> Compiler::vocabulary() const {
  std::vector<SetId> sets;
  std::vector<bool> known(peer_.size());
  std::vector<SetId> of_rule;
  for (const auto& rule : rules_) {
    of_rule.clear();
    add_sets(*rule.peer, members_, of_rule);
    for (const auto set : of_rule) {
      if (!known[set]) sets.push_back(set);
      known[set] = true;
    }
  }
  std::ranges::sort(sets);
  return sets;
}

ThoughtId Compiler::then(const ThoughtStep& step) {
  const auto [it, is_new] = thought_by_step_.emplace(step, static_cast<ThoughtId>(steps_.size()));
  if (is_new) steps_.push_back(step);
  return it->second;
}

std::span<const Rectangle> Compiler::areas_at_peer(const LiveRule& rule) {
  if (rule.unconditional) return rule.areas;
  if (!holds(*rule.peer, peer_)) return {};
  if (!rule.names_peer_ports) return rule.areas;
  const auto& match = *rule.match;
  const bool ingress = plan_.direction == Direction::kIngress;
  const auto own = named_ports(own_side(match, plan_.direction), own_);
  const auto peer = named_ports(*rule.peer, peer_);
  named_areas_ = rectangles_of(match, family_, ingress ? peer : own, ingress ? own : peer);
  return named_areas_;
}

void Compiler::apply(Sweep& sweep, const LiveRule& rule, ThoughtStep step) {
  const auto think = [&](ThoughtId before) {
    step.before = before;
    return then(step);
  };
  const auto areas = areas_at_peer(rule);
  switch (rule.rule->action) {
    case Action::kAllow:
    case Action::kDeny:
      return sweep.decide(areas, think);
    case Action::kPass:
      return sweep.set_aside(areas, think);
    case Action::kLog:
      return sweep.note(areas, think);
  }
}

void Compiler::deny_rest(Sweep& sweep, std::uint32_t stage, std::uint32_t policy, int why) {
  sweep.decide_rest([&](ThoughtId before) { return then({before, stage, policy, why, Action::kDeny}); });
}

void Compiler::apply(Sweep& sweep, const Place& place) {
  if (place.stage == failsafe_stage()) return apply_failsafe(sweep, rules_[place.rule]);
  const bool profile = place.stage >= plan_.stages.size();
  const auto stage = profile ? static_cast<std::uint32_t>(plan_.stages.size()) : place.stage;
  const auto list = profile ? place.stage - stage : place.list;
  if (place.rule == kWhole) {
    deny_rest(sweep, stage, list, list_at(place).denies);
    return;
  }
  const auto& rule = rules_[place.rule];
  apply(sweep, rule, {0, stage, list, rule.rule->index, rule.rule->action});
}

// What the rules that are asked say in a stage.
void Compiler::apply_asked(Sweep& sweep, std::uint32_t stage, bool staged_too) {
  for (auto at = std::ranges::lower_bound(asked_, stage, {}, &Place::stage);
       at != asked_.end() && at->stage == stage && !sweep.done(); ++at) {
    if (staged_too || !has_staged_ || !list_at(*at).staged()) apply(sweep, *at);
  }
}

// A failsafe port is the last word, also where that is none.
void Compiler::apply_failsafe(Sweep& sweep, const LiveRule& rule) {
  sweep.decide(areas_at_peer(rule), [&](ThoughtId before) {
    return then(
        {before, ThoughtStep::kBeforeStages, ThoughtStep::kNobody, rule.rule->index, rule.rule->action});
  });
}

void Compiler::refuse_encapsulated(Sweep& sweep) {
  const auto& guard = *plan_.encapsulation;
  const auto refuse = [&](std::uint32_t first, std::uint32_t last) {
    sweep.decide(Rectangle{first, last}, [&](ThoughtId before) {
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
  apply_asked(sweep, number, staged_too);
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

// What the chain has thought so far is all it has to say.
void Compiler::end_without_answer(Sweep& sweep) {
  sweep.decide_rest([](ThoughtId before) { return before; });
}

std::vector<Cell> Compiler::judge(const std::vector<KeyRange>& where, const KeyRange& sources,
                                  bool staged_too) {
  Sweep sweep(0, where, sources);
  const bool has_policy = std::ranges::any_of(
      plan_.stages, [&](const Stage& stage) { return staged_too || !stage.only_staged(); });
  if (plan_.chain != ChainKind::kNormal && !has_policy) {
    end_without_answer(sweep);
    return sweep.take_cells();
  }
  if (plan_.encapsulation) refuse_encapsulated(sweep);
  if (plan_.failsafes) apply_asked(sweep, failsafe_stage(), staged_too);
  const auto profile_stage = static_cast<std::uint32_t>(plan_.stages.size());
  for (std::uint32_t stage = 0; stage < profile_stage; ++stage) pass_stage(sweep, stage, staged_too);
  for (auto profile = profile_stage; profile < failsafe_stage(); ++profile) {
    apply_asked(sweep, profile, staged_too);
    sweep.reopen();
  }
  if (plan_.chain == ChainKind::kNormal) {
    deny_rest(sweep, profile_stage, ThoughtStep::kNobody, TraceStep::kNoProfile);
  } else {
    end_without_answer(sweep);
  }
  return sweep.take_cells();
}

std::vector<Cell> Compiler::judge_both(const std::vector<KeyRange>& where, const KeyRange& sources) {
  auto cells = judge(where, sources, false);
  if (!has_staged_) return cells;
  return overlaid(cells, judge(where, sources, true), [this](ThoughtId enforced, ThoughtId pending) {
    if (enforced == pending) return enforced;  // one thought is one trace
    return then({enforced, ThoughtStep::kBoth, pending, 0, Action::kDeny});
  });
}

std::vector<Cell> Compiler::compile_base() {
  asked_.clear();
  for (const auto& standing : standing_) asked_.push_back(standing.place);
  sort_unique(asked_);
  return judge_both({{0, kLastTableKey}}, {0, kLastSourcePort});
}

// Whether a rule settles all that it is asked of, where these are all the source ports.
bool Compiler::has_last_word(const Place& place, const KeyRange& sources) const {
  const auto& rule = rules_[place.rule];
  if (rule.rule->action == Action::kLog || rule.names_peer_ports || !holds(*rule.peer, peer_) ||
      (has_staged_ && list_at(place).staged())) {
    return false;
  }
  return std::ranges::all_of(rule.areas, [&](const Rectangle& area) {
    return area.first_source == sources.first && area.last_source == sources.last;
  });
}

// The rules that may hold for this peer and not for one that is in no set, or the other way round.
std::vector<Compiler::Place> Compiler::told_apart_by(std::span<const SetId> peer) const {
  std::vector<Place> places;
  for (const auto set : peer) {
    if (set + 1 >= filed_from_.size()) continue;  // came into use later
    for (auto at = filed_from_[set]; at < filed_from_[set + 1]; ++at) places.push_back(filed_[at].second);
  }
  return places;
}

std::vector<Cell> Compiler::compile_together(std::span<const SetId> peer) {
  if (!peer.empty() && peer_.size() <= peer.back()) peer_.resize(peer.back() + 1);
  auto places = told_apart_by(peer);
  std::vector<KeyRange> touched;
  KeyRange sources{kLastSourcePort, 0};  // all that any of them has
  const auto touch = [&](const Rectangle& area) {
    touched.push_back({area.first, area.last});
    sources = {std::min(sources.first, area.first_source), std::max(sources.last, area.last_source)};
  };
  bool elsewhere = false;  // something is touched that no rule of the places need hold for
  for (const auto& place : places) {
    const auto& rule = rules_[place.rule];
    if (!rule.names_peer_ports) continue;
    const auto areas = areas_at_peer(rule);  // as it is without the sets
    std::ranges::for_each(areas, touch);
    elsewhere |= !areas.empty();
  }
  for (const auto set : peer) peer_[set] = true;
  std::erase_if(places, [&](const Place& place) {
    const auto& rule = rules_[place.rule];
    if (rule.peer->in.empty() && !rule.names_peer_ports) {
      std::ranges::for_each(rule.areas, touch);  // it holds without the sets, if not with them
      return false;
    }
    if (!holds(*rule.peer, peer_)) return true;
    std::ranges::for_each(areas_at_peer(rule), touch);
    return false;
  });
  const auto where = united(std::move(touched));
  std::vector<Cell> cells;
  if (!where.empty()) {
    // One rule that has the last word of its stage wherever it is looked leaves nothing to those behind it.
    const auto alone = !elsewhere && places.size() == 1 && has_last_word(places.front(), sources)
                           ? std::optional(places.front())
                           : std::nullopt;
    add_standing(where, places);
    if (alone) {
      std::erase_if(places,
                    [&](const Place& place) { return place.stage == alone->stage && place > *alone; });
    }
    asked_ = std::move(places);
    sort_unique(asked_);
    cells = judge_both(where, sources);
  }
  for (const auto set : peer) peer_[set] = false;
  return cells;
}

}  // namespace ocicat::policy
