#include "policy/evaluator.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "policy/near_miss.h"
#include "policy/rule_match.h"
#include "policy/snapshot_view.h"

namespace ocicat::policy {

namespace {

constexpr std::size_t kMostNearMisses = 3;

const std::vector<MatchRule>& rules_of(const auto& policy, Direction direction) {
  return direction == Direction::kIngress ? policy.ingress : policy.egress;
}

bool applies_to(const Policy& policy, Direction direction) {
  return direction == Direction::kIngress ? policy.applies_to_ingress : policy.applies_to_egress;
}

// Which staged policies are taken for enforced.
enum class Staged : std::uint8_t { kIgnored, kAsIfEnforced };

// An allow rule that was tried and did not match.
struct Missed {
  ResourceKey policy;
  const MatchRule* rule;  // in the view
};

// One packet on its way through tiers and profiles, in one direction at one endpoint.
class Walk {
 public:
  Walk(const SnapshotView& view, const Member& endpoint, Hook hook, const Question& question, Staged staged)
      : view_(view),
        endpoint_(endpoint),
        chain_(hook.chain),
        direction_(hook.direction),
        question_(question),
        staged_(staged) {}

  Judgement run() {
    if (chain_ != ChainKind::kNormal && !has_policy(direction_)) {
      // What is forwarded passes where no forward policy applies to the endpoint at all.
      const bool open = chain_ == ChainKind::kForward && !has_policy(opposite(direction_));
      return finish(open ? Verdict::kAllow : Verdict::kNone);
    }
    if (endpoint_.is_host()) {
      if (const auto verdict = pass_failsafes()) return finish(*verdict);
    } else if (direction_ == Direction::kEgress && endpoint_.encapsulation.refuses(question_.packet)) {
      deny("", {}, TraceStep::kEncapsulated);
      return finish(Verdict::kDeny);
    }
    for (const auto& tier : view_.tiers) {
      if (const auto verdict = pass_tier(tier)) return finish(*verdict);
    }
    return finish(chain_ == ChainKind::kNormal ? pass_profiles() : Verdict::kNone);
  }

  // The allow rules met before the last word that lacked one criterion only.
  std::vector<NearMiss> near_misses() const {
    std::vector<std::pair<Criterion, std::size_t>> near;  // what lacked, and whose place on the way it was
    for (std::size_t i = 0; i < missed_.size(); ++i) {
      const auto lacking = failing(*missed_[i].rule, question_);
      if (lacking.size() == 1) near.push_back({lacking[0], i});
    }
    std::ranges::sort(near);
    std::vector<NearMiss> best;
    for (const auto& [criterion, i] : near | std::views::take(kMostNearMisses)) {
      const auto& [policy, rule] = missed_[i];
      best.push_back({policy, rule->index, rule->action, describe(criterion, *rule, question_)});
    }
    return best;
  }

 private:
  // What a list of rules had to say. Nothing: no rule decided.
  enum class Word : std::uint8_t { kAllow, kDeny, kPass };

  static Direction opposite(Direction direction) {
    return direction == Direction::kIngress ? Direction::kEgress : Direction::kIngress;
  }

  // Whether any policy of the chain selects the endpoint in that direction.
  bool has_policy(Direction direction) const {
    return std::ranges::any_of(view_.tiers,
                               [&](const TierView& tier) { return !policies_here(tier, direction).empty(); });
  }

  std::optional<Verdict> pass_failsafes() {
    for (const auto& rule : endpoint_.failsafes->rules({chain_, direction_})) {
      if (!matches(rule, question_)) continue;
      trace_.push_back(
          {.tier = {}, .policy = {}, .rule = rule.index, .action = rule.action, .selected_by = {}});
      return rule.action == Action::kAllow ? Verdict::kAllow : Verdict::kNone;
    }
    return std::nullopt;
  }

  std::optional<Verdict> pass_tier(const TierView& tier) {
    const auto policies = policies_here(tier, direction_);
    // Then the tier has nothing to say about this endpoint and direction.
    if (policies.empty()) return std::nullopt;
    for (const auto* policy : policies) {
      const auto word = policy->broken.empty()
                            ? pass_rules(tier.place.name, policy->id, rules_of(*policy, direction_))
                            : deny(tier.place.name, policy->id, TraceStep::kBroken);
      if (word == Word::kPass) return std::nullopt;
      if (word) return *word == Word::kAllow ? Verdict::kAllow : Verdict::kDeny;
    }
    return end_tier(tier, policies);
  }

  // semantics.md 2.2. Pre-DNAT policy has ingress only; untracked policy does not count at "*". A workload
  // has none but the normal chain.
  bool is_of_chain(const Policy& policy, Direction direction) const {
    const bool tracked_after_dnat = !policy.do_not_track && !policy.pre_dnat;
    switch (chain_) {
      case ChainKind::kNormal:
        return tracked_after_dnat;
      case ChainKind::kForward:
        return endpoint_.is_host() && tracked_after_dnat && policy.apply_on_forward;
      case ChainKind::kUntracked:
        return endpoint_.is_host() && policy.do_not_track && !endpoint_.all_interfaces;
      case ChainKind::kPreDnat:
        return endpoint_.is_host() && policy.pre_dnat && !policy.do_not_track &&
               direction == Direction::kIngress;
    }
    return false;
  }

  // The policies of a tier that belong to the chain and select the endpoint in that direction, in order.
  std::vector<const Policy*> policies_here(const TierView& tier, Direction direction) const {
    std::vector<const Policy*> policies;
    for (const auto& policy : tier.policies) {
      if (policy.staged && staged_ == Staged::kIgnored) continue;
      if (!is_of_chain(policy, direction)) continue;
      if (!applies_to(policy, direction) || !endpoint_.is_selected_by(policy.selector)) continue;
      policies.push_back(&policy);
    }
    return policies;
  }

  std::optional<Verdict> end_tier(const TierView& tier, const std::vector<const Policy*>& policies) {
    const bool denies_at_end = chain_ == ChainKind::kNormal || chain_ == ChainKind::kForward;
    const auto action = denies_at_end ? tier.place.default_action : Action::kPass;
    TraceStep step{.tier = tier.place.name,
                   .policy = {},
                   .rule = TraceStep::kTierDefault,
                   .action = action,
                   .selected_by = {}};
    for (const auto* policy : policies) step.selected_by.add(std::make_shared<const ResourceKey>(policy->id));
    trace_.push_back(std::move(step));
    if (action == Action::kPass) return std::nullopt;
    return Verdict::kDeny;
  }

  Verdict pass_profiles() {
    const std::string tier{kProfileTier};
    for (const auto& name : endpoint_.profiles) {
      const ResourceKey id{Kind::kProfile, "", name};
      const auto profile = view_.profiles.find(name);
      const auto word = profile == view_.profiles.end() ? deny(tier, id, TraceStep::kNoProfile)
                        : !profile->second.broken.empty()
                            ? deny(tier, id, TraceStep::kBroken)
                            : pass_rules(tier, id, rules_of(profile->second, direction_));
      if (word == Word::kAllow) return Verdict::kAllow;
      if (word == Word::kDeny) return Verdict::kDeny;
      // Passed, or no rule decided: the next profile.
    }
    deny(tier, {}, TraceStep::kNoProfile);
    return Verdict::kDeny;
  }

  std::optional<Word> pass_rules(const std::string& tier, const ResourceKey& id,
                                 const std::vector<MatchRule>& rules) {
    for (const auto& rule : rules) {
      if (!matches(rule, question_)) {
        if (rule.action == Action::kAllow) missed_.push_back({id, &rule});
        continue;
      }
      trace_.push_back(
          {.tier = tier, .policy = id, .rule = rule.index, .action = rule.action, .selected_by = {}});
      switch (rule.action) {
        case Action::kAllow:
          return Word::kAllow;
        case Action::kDeny:
          return Word::kDeny;
        case Action::kPass:
          return Word::kPass;
        case Action::kLog:
          break;  // the next rule
      }
    }
    return std::nullopt;
  }

  std::optional<Word> deny(const std::string& tier, const ResourceKey& id, int why) {
    trace_.push_back({.tier = tier, .policy = id, .rule = why, .action = Action::kDeny, .selected_by = {}});
    return Word::kDeny;
  }

  Judgement finish(Verdict verdict) { return {verdict, std::move(trace_)}; }

  const SnapshotView& view_;
  const Member& endpoint_;
  ChainKind chain_;
  Direction direction_;
  const Question& question_;
  Staged staged_;
  std::vector<TraceStep> trace_;
  std::vector<Missed> missed_;
};

}  // namespace

struct Evaluator::State {
  SnapshotView view;

  // Null where there is none, or none that counts on its host.
  const Member* endpoint(const ResourceKey& key) const {
    const auto* found = view.endpoint(key);
    return found != nullptr && found->counts_for(*found) ? found : nullptr;
  }
  Question question(const Packet& packet, const Member& judge) const {
    const auto owners = [&](const IpAddress& address) {
      auto all = view.owners(address);
      std::erase_if(all, [&](const Member* member) { return !member->counts_for(judge); });
      return all;
    };
    return {packet, owners(packet.source), owners(packet.destination), view.slices};
  }
};

Evaluator::Evaluator(const Snapshot& snapshot) : state_(std::make_shared<State>(State{view_of(snapshot)})) {}

Explanation Evaluator::explain(const ResourceKey& key, Direction direction, const Packet& packet,
                               ChainKind chain) const {
  const auto* endpoint = state_->endpoint(key);
  if (endpoint == nullptr) return {};
  const auto question = state_->question(packet, *endpoint);
  Walk enforced{state_->view, *endpoint, {chain, direction}, question, Staged::kIgnored};
  Explanation explanation{.enforced = enforced.run(), .pending = {}, .near_misses = {}};
  explanation.pending =
      state_->view.has_staged
          ? Walk{state_->view, *endpoint, {chain, direction}, question, Staged::kAsIfEnforced}.run()
          : explanation.enforced;
  if (explanation.enforced.verdict == Verdict::kDeny) explanation.near_misses = enforced.near_misses();
  return explanation;
}

Outcome Evaluator::evaluate(const ResourceKey& key, Direction direction, const Packet& packet,
                            ChainKind chain) const {
  const auto* endpoint = state_->endpoint(key);
  if (endpoint == nullptr) return {};
  const auto question = state_->question(packet, *endpoint);
  Outcome outcome{Walk{state_->view, *endpoint, {chain, direction}, question, Staged::kIgnored}.run()};
  if (!state_->view.has_staged) return outcome;
  auto pending = Walk{state_->view, *endpoint, {chain, direction}, question, Staged::kAsIfEnforced}.run();
  if (pending != outcome) outcome.pending = std::move(pending);
  return outcome;
}

std::string Evaluator::refuses_source(const ResourceKey& key, const IpAddress& address) const {
  const auto* endpoint = state_->view.endpoint(key);
  if (endpoint == nullptr || endpoint->is_host()) return {};
  if (!endpoint->counts_for(*endpoint))
    return "it has allowed source prefixes, but workloadSourceSpoofing is not Any: it counts as absent";
  const auto has_it = [&](const Prefix& prefix) { return prefix.contains(address); };
  if (endpoint->owns(address) || std::ranges::any_of(endpoint->sources, has_it)) return {};
  return fmt::format("it may not send from {}", address.to_string());
}

const std::vector<Evaluator::Problem>& Evaluator::problems() const {
  return state_->view.problems;
}

const Labels& Evaluator::annotations(const ResourceKey& policy, Direction direction, int rule) const {
  static const Labels kNone;
  const auto found = state_->view.annotations.find({policy, direction, rule});
  return found == state_->view.annotations.end() ? kNone : found->second;
}

}  // namespace ocicat::policy
