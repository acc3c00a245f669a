#include "policy/policy_index.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "resources/packed.h"

namespace ocicat::policy {

namespace {

constexpr double kLast = std::numeric_limits<double>::infinity();

std::size_t side_of(Direction direction) {
  return direction == Direction::kIngress ? 0 : 1;
}

}  // namespace

// --- policies ---

void PolicyIndex::set_policy(const ResourceKey& key, const NetworkPolicy& source, const Policy& policy) {
  const auto [key_id, is_new_key] = keys_.acquire(key);
  if (!is_new_key) keys_.release(key_id);  // it has its one use
  if (policy_by_key_.size() <= key_id) policy_by_key_.resize(key_id + 1);
  const auto old = policy_by_key_[key_id];
  PolicyNumber number = 0;
  if (free_policies_.empty()) {
    number = static_cast<PolicyNumber>(policies_.size());
    policies_.emplace_back();
  } else {
    number = free_policies_.back();
    free_policies_.pop_back();
  }
  policy_by_key_[key_id] = number;
  auto& stored = policies_[number];
  stored = {.id = policy.id,
            .tier = policy.tier,
            .order = policy.order,
            .packed = pack(source),
            .lists = {},
            .do_not_track = policy.do_not_track,
            .pre_dnat = policy.pre_dnat,
            .apply_on_forward = policy.apply_on_forward};
  if (++policies_by_tier_[policy.tier] == 1) touched_tiers_.insert(policy.tier);
  const auto [selector, is_new] = selectors_.add(policy.selector);
  stored.selector = selector;
  if (is_new) {
    new_selectors_.push_back(selector);
    if (policies_by_selector_.size() <= selector) {
      policies_by_selector_.resize(selector + 1);
      locals_by_selector_.resize(selector + 1);
    }
  }
  auto& same = policies_by_selector_[selector];
  const auto ordered = [this](PolicyNumber a, PolicyNumber b) { return comes_before(a, b); };
  same.insert(std::ranges::upper_bound(same, number, ordered), number);
  changed_selectors_.push_back(selector);
  set_active(stored, concerns_somebody(stored));
  if (!is_new_key) drop_policy(old);
}

void PolicyIndex::remove_policy(const ResourceKey& key) {
  const auto key_id = keys_.find(key);
  if (key_id == 0) return;
  drop_policy(policy_by_key_[key_id]);
  keys_.release(key_id);
}

void PolicyIndex::drop_policy(PolicyNumber number) {
  auto& policy = policies_[number];
  if (const auto tier = policies_by_tier_.find(policy.tier); --tier->second == 0) {
    touched_tiers_.insert(tier->first);
    policies_by_tier_.erase(tier);
  }
  set_active(policy, false);
  std::erase(policies_by_selector_[policy.selector], number);
  changed_selectors_.push_back(policy.selector);
  if (selectors_.remove(policy.selector)) forget_selector(policy.selector);
  policy = {};
  free_policies_.push_back(number);
}

// Its number may soon mean another selector.
void PolicyIndex::forget_selector(SelectorIndex::Id id) {
  std::erase(new_selectors_, id);
  runs_by_selector_.erase(id);
  locals_by_selector_[id] = {};
  for (auto& [member, local] : locals_) {
    const auto it = std::ranges::lower_bound(local.selectors, id);
    if (it == local.selectors.end() || *it != id) continue;
    local.selectors.erase(it);
    local.replan = true;
  }
}

bool PolicyIndex::StoredPolicy::is_of(ChainKind chain) const {
  switch (chain) {
    case ChainKind::kNormal:
      return !for_hosts_only();
    case ChainKind::kForward:
      return !for_hosts_only() && apply_on_forward;
    case ChainKind::kUntracked:
      return do_not_track;
    case ChainKind::kPreDnat:
      return pre_dnat && !do_not_track;
  }
  return false;
}

// Whether it applies to any endpoint here; untracked and pre-DNAT policies only do to host endpoints.
bool PolicyIndex::concerns_somebody(const StoredPolicy& policy) const {
  const auto& selected = locals_by_selector_[policy.selector];
  return (policy.for_hosts_only() ? selected.hosts : selected.locals) > 0;
}

void PolicyIndex::set_active(StoredPolicy& policy, bool active) {
  if (std::exchange(policy.active, active) == active) return;
  runs_by_selector_.erase(policy.selector);
  if (active) {
    const auto meaning = effective(unpack_policy(policy.packed));
    CHECK(meaning.has_value());  // as it was when it was handed in
    if (meaning->applies_to_ingress)
      policy.lists[0] = make_list(book_, policy.id, meaning->broken, meaning->ingress);
    if (meaning->applies_to_egress)
      policy.lists[1] = make_list(book_, policy.id, meaning->broken, meaning->egress);
    activate(book_, policy.lists);
    ++active_policies_;
  } else {
    deactivate(book_, policy.lists);
    retired_lists_.push_back(std::exchange(policy.lists, {}));
    --active_policies_;
  }
}

// --- tiers and profiles ---

void PolicyIndex::set_tier(const Tier& tier) {
  tiers_.insert_or_assign(tier.metadata.name, effective(tier));
  touch_tier(tier.metadata.name);
}

void PolicyIndex::remove_tier(const std::string& name) {
  tiers_.erase(name);
  touch_tier(name);
}

PolicyIndex::References PolicyIndex::take_references() {
  References references;
  for (const auto& name : std::exchange(touched_tiers_, {})) {
    references.tiers[name] =
        policies_by_tier_.contains(name) && !tiers_.contains(name) && undescribed_tier(name).missing;
  }
  for (const auto& name : profiles_.take_touched()) references.profiles[name] = profiles_.is_missing(name);
  return references;
}

void PolicyIndex::touch_tier(const std::string& name) {
  touched_tiers_.insert(name);
  for (auto& [member, local] : locals_) {
    for (const auto& plan : local.plans) {
      if (plan && std::ranges::find(plan->stages, name, &Stage::tier) != plan->stages.end())
        local.replan = true;
    }
  }
}

void PolicyIndex::touch_profiles(const std::vector<std::string>& names) {
  for (auto& [member, local] : locals_) {
    for (const auto& name : names) {
      if (std::ranges::find(local.profiles, name) != local.profiles.end()) local.replan = true;
    }
  }
}

void PolicyIndex::set_profile(const ResourceKey& key, const Profile& profile) {
  touch_profiles(profiles_.set(key, profile));
}

void PolicyIndex::remove_profile(const ResourceKey& key) {
  touch_profiles(profiles_.remove(key));
}

// --- local endpoints ---

void PolicyIndex::set_local(MemberId member, std::vector<std::string> profiles, Role role) {
  const auto known = locals_.find(member);
  if (known != locals_.end() && known->second.role != role) remove_local(member);
  const auto [it, is_new] = locals_.try_emplace(member);
  auto& local = it->second;
  if (is_new) {
    local.role = role;
    if (role != Role::kWorkload && ++hosts_ == 1) make_failsafes();
  }
  local.relabelled = true;
  if (local.profiles == profiles) return;
  local.replan = true;
  for (const auto& name : profiles) profiles_.join(name);
  for (const auto& name : local.profiles) profiles_.leave(name);
  local.profiles = std::move(profiles);
}

void PolicyIndex::remove_local(MemberId member) {
  const auto it = locals_.find(member);
  if (it == locals_.end()) return;
  set_places(member, it->second, {});
  const auto role = it->second.role;
  for (const auto selector : it->second.selectors) count_selector(selector, role, false);
  for (const auto& name : it->second.profiles) profiles_.leave(name);
  if (role != Role::kWorkload && --hosts_ == 0) retire_failsafes();
  locals_.erase(it);
}

void PolicyIndex::touch_labels(MemberId member) {
  if (const auto it = locals_.find(member); it != locals_.end()) it->second.relabelled = true;
}

void PolicyIndex::count_selector(SelectorIndex::Id id, Role role, bool more) {
  auto& selected = locals_by_selector_[id];
  const std::uint32_t threshold = more ? 1 : 0;
  bool changed = false;
  const auto count = [&](std::uint32_t& users) {
    users += more ? 1U : ~0U;
    changed |= users == threshold;
  };
  count(selected.locals);
  if (role != Role::kWorkload) count(selected.hosts);
  if (!changed) return;
  for (const auto number : policies_by_selector_[id]) {
    auto& policy = policies_[number];
    set_active(policy, concerns_somebody(policy));
  }
}

void PolicyIndex::match(MemberId member, Local& local) {
  LabelView labels;
  members_.view_labels(member, labels);
  set_places(member, local, SelectorIndex::places_of(labels));
  std::vector<SelectorIndex::Id> selectors;
  selectors_.match(labels, selectors);
  if (selectors == local.selectors) return;
  for (const auto id : selectors) count_selector(id, local.role, true);
  for (const auto id : local.selectors) count_selector(id, local.role, false);
  local.selectors = std::move(selectors);
  local.replan = true;
}

// A selector that is new meets the endpoints that have the label it is filed under.
void PolicyIndex::match_new(SelectorIndex::Id id) {
  const auto meet = [&](MemberId member, Local& local) {
    const auto at = std::ranges::lower_bound(local.selectors, id);
    if (at != local.selectors.end() && *at == id) return;
    LabelView labels;
    members_.view_labels(member, labels);
    if (!selectors_[id].matches(labels)) return;
    local.selectors.insert(at, id);
    count_selector(id, local.role, true);
  };
  const auto place = selectors_.place(id);
  if (place == SelectorIndex::kAnywhere) {
    for (auto& [member, local] : locals_) meet(member, local);
  } else if (const auto it = locals_by_place_.find(place); it != locals_by_place_.end()) {
    for (const auto member : it->second) meet(member, locals_.at(member));
  }
}

void PolicyIndex::set_places(MemberId member, Local& local, std::vector<SelectorIndex::Place> places) {
  if (places == local.places) return;
  for (const auto place : local.places) {
    const auto it = locals_by_place_.find(place);
    std::erase(it->second, member);
    if (it->second.empty()) locals_by_place_.erase(it);
  }
  for (const auto place : places) locals_by_place_[place].push_back(member);
  local.places = std::move(places);
}

std::vector<MemberId> PolicyIndex::update() {
  std::vector<MemberId> changed;
  for (auto& [member, local] : locals_) {
    if (std::exchange(local.relabelled, false)) match(member, local);
  }
  for (const auto id : new_selectors_) match_new(id);
  std::ranges::sort(changed_selectors_);
  const auto is_changed = [&](SelectorIndex::Id id) {
    return std::ranges::binary_search(changed_selectors_, id);
  };
  for (auto& [member, local] : locals_) {
    if (!local.replan && (changed_selectors_.empty() || std::ranges::none_of(local.selectors, is_changed)))
      continue;
    local.replan = false;
    auto plans = plans_of(local);
    const bool ignores_untracked = local.role == Role::kAllInterfaces && is_selected_by_untracked(local);
    if (plans == local.plans && ignores_untracked == local.ignores_untracked) continue;
    local.plans = std::move(plans);
    local.ignores_untracked = ignores_untracked;
    changed.push_back(member);
  }
  new_selectors_.clear();
  changed_selectors_.clear();
  plans_of_batch_.clear();
  for (const auto& lists : std::exchange(retired_lists_, {})) release(book_, lists);
  profiles_.release_retired();
  if (changed.empty()) return changed;
  boost::unordered::erase_if(plan_by_digest_, [](const auto& entry) { return entry.second.expired(); });
  return changed;
}

// --- plans ---

void PolicyIndex::set_encapsulation(const EncapsulationGuard& guard) {
  if (guard == encapsulation_) return;
  encapsulation_ = guard;
  for (auto& [member, local] : locals_) local.replan |= local.role == Role::kWorkload;
}

void PolicyIndex::set_failsafes(const Failsafes& failsafes) {
  if (failsafes == failsafes_) return;
  failsafes_ = failsafes;
  if (hosts_ == 0) return;
  retire_failsafes();
  make_failsafes();
  for (auto& [member, local] : locals_) local.replan |= local.role != Role::kWorkload;
}

// Their matches stay to the end of the batch: the same failsafes made again must be the same matches, as a
// plan may be the same.
void PolicyIndex::retire_failsafes() {
  for (auto& lists : failsafe_lists_) {
    deactivate(book_, lists);
    retired_lists_.push_back(std::exchange(lists, {}));
  }
}

void PolicyIndex::make_failsafes() {
  for (const auto hook : kHooks) {
    const auto rules = failsafes_.rules(hook);
    if (rules.empty()) continue;
    failsafe_lists_[static_cast<std::size_t>(hook.chain)][side_of(hook.direction)] =
        make_list(book_, {}, {}, rules);
  }
  for (const auto& lists : failsafe_lists_) activate(book_, lists);
}

bool PolicyIndex::comes_before(PolicyNumber a, PolicyNumber b) const {
  return policy::comes_before(policies_[a].order.value_or(kLast), policies_[a].id,
                              policies_[b].order.value_or(kLast), policies_[b].id);
}

// The policies of a selector that have rules at a hook.
const PolicyIndex::Runs& PolicyIndex::runs_of(SelectorIndex::Id selector, Hook hook) {
  auto& known = runs_by_selector_[selector][index_of(hook)];
  if (known) return *known;
  std::map<std::string_view, std::shared_ptr<PolicyRun>> run_by_tier;
  for (const auto number : policies_by_selector_[selector]) {
    const auto& policy = policies_[number];
    const auto& list = policy.lists[side_of(hook.direction)];
    if (!list || !policy.is_of(hook.chain)) continue;
    auto& run = run_by_tier[policy.tier];
    if (!run) {
      run = std::make_shared<PolicyRun>();
      run->tier = policy.tier;
    }
    run->add(list, policy.order.value_or(kLast));
  }
  auto& runs = known.emplace();
  for (auto& [tier, run] : run_by_tier) {
    run->find_telling_rules(marks_);
    runs.push_back(std::move(run));
  }
  return runs;
}

Plan PolicyIndex::plan_of(const Local& local, Hook hook) {
  const auto side = side_of(hook.direction);
  const bool denies_at_end = hook.chain == ChainKind::kNormal || hook.chain == ChainKind::kForward;
  std::map<std::string, Stage, std::less<>> stages;  // by tier
  for (const auto selector : local.selectors) {
    for (const auto& run : runs_of(selector, hook)) stages[run->tier].merge(run);
  }
  std::vector<TierPlace> tiers;
  for (const auto& [name, stage] : stages) {
    const auto it = tiers_.find(name);
    tiers.push_back(it == tiers_.end() ? undescribed_tier(name) : it->second);
  }
  std::ranges::sort(tiers, [](const TierPlace& a, const TierPlace& b) { return before(a, b); });

  Plan plan{.chain = hook.chain,
            .direction = hook.direction,
            .encapsulation = {},
            .failsafes = {},
            .stages = {},
            .profiles = {},
            .matches = {},
            .named_ports = {},
            .digest = {}};
  if (local.role != Role::kWorkload) {
    plan.failsafes = failsafe_lists_[static_cast<std::size_t>(hook.chain)][side];
  } else if (hook.direction == Direction::kEgress) {
    plan.encapsulation = encapsulation_;
  }
  for (const auto& tier : tiers) {
    auto& stage = plan.stages.emplace_back(std::move(stages.at(tier.name)));
    stage.tier = tier.name;
    stage.default_action = denies_at_end ? tier.default_action : Action::kPass;
    stage.number_policies();
  }
  if (hook.chain != ChainKind::kNormal) return plan;
  for (const auto& name : local.profiles) {
    const auto& list = profiles_.lists(name)[side];
    // One without rules decides nothing, and nobody ever hears of it.
    if (!list->rules.empty() || list->denies != RuleList::kRules) plan.profiles.push_back(list);
  }
  return plan;
}

bool PolicyIndex::is_selected_by_untracked(const Local& local) const {
  return std::ranges::any_of(local.selectors, [&](SelectorIndex::Id selector) {
    return std::ranges::any_of(policies_by_selector_[selector], [&](PolicyNumber number) {
      const auto& policy = policies_[number];
      return policy.is_of(ChainKind::kUntracked) && !is_staged(policy.id.kind) &&
             (policy.lists[0] || policy.lists[1]);
    });
  });
}

std::shared_ptr<const Plan> PolicyIndex::intern(Plan plan) {
  plan.digest = digest_of(plan);
  auto& known = plan_by_digest_[plan.digest];
  if (auto shared = known.lock()) return shared;
  plan.matches = matches_of(plan, marks_);
  plan.named_ports = named_port_atoms(plan.matches, book_);
  auto shared = std::make_shared<const Plan>(std::move(plan));
  known = shared;
  return shared;
}

PolicyIndex::Plans PolicyIndex::plans_of(const Local& local) {
  PlanKey key(local.selectors.begin(), local.selectors.end());
  key.push_back(0);
  key.push_back(static_cast<std::uintptr_t>(local.role));
  for (const auto& name : local.profiles) {
    const auto& lists = profiles_.lists(name);
    for (const auto& list : lists) {
      const bool decides = !list->rules.empty() || list->denies != RuleList::kRules;
      key.push_back(decides ? reinterpret_cast<std::uintptr_t>(list.get()) : 0);
    }
  }
  const auto [it, is_new] = plans_of_batch_.emplace(std::move(key), Plans{});
  if (!is_new) return it->second;
  for (const auto hook : kHooks) {
    const bool always = hook.chain == ChainKind::kNormal;
    if (!always && local.role == Role::kWorkload) break;
    if (hook.chain == ChainKind::kUntracked && local.role == Role::kAllInterfaces) continue;
    auto plan = plan_of(local, hook);
    if (always || !plan.stages.empty()) it->second[index_of(hook)] = intern(std::move(plan));
  }
  return it->second;
}

}  // namespace ocicat::policy
