// Which policies and profiles apply to the endpoints of this host, in which order.
//
//   in       policies, tiers, profiles, local endpoints
//   out      the plan of each local endpoint and direction; to the rule book, which matches are active
//   cost     a policy that changes: one question to each local endpoint, new plans for those it selects
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/key_pool.h"
#include "policy/member_index.h"
#include "policy/model.h"
#include "policy/plan.h"
#include "policy/policy_run.h"
#include "policy/profile_index.h"
#include "policy/selector_index.h"

namespace ocicat::policy {

class PolicyIndex {
 public:
  PolicyIndex(RuleBook& book, MemberIndex& members)
      : book_(book), members_(members), profiles_(book, members) {}

  // `policy` is what effective() makes of `source`. Rules are kept packed until the policy selects somebody
  // here.
  void set_policy(const ResourceKey& key, const NetworkPolicy& source, const Policy& policy);
  void remove_policy(const ResourceKey& key);
  bool has_policy(const ResourceKey& key) const { return keys_.find(key) != 0; }
  void set_tier(const Tier& tier);
  void remove_tier(const std::string& name);
  void set_profile(const ResourceKey& key, const Profile& profile);
  void remove_profile(const ResourceKey& key);

  // For every workload, and every host endpoint, on this host.
  void set_encapsulation(const EncapsulationGuard& guard);
  void set_failsafes(const Failsafes& failsafes);

  // What an endpoint on this host is, which decides what chains it has.
  enum class Role : std::uint8_t {
    kWorkload,
    kHost,
    kAllInterfaces,  // a host endpoint for "*": no untracked policy counts there
  };
  // An endpoint on this host; must be a member.
  void set_local(MemberId member, std::vector<std::string> profiles, Role role = Role::kWorkload);
  void remove_local(MemberId member);
  bool is_local(MemberId member) const { return locals_.contains(member); }
  // Labels of the member may have changed; nothing where it is not local.
  void touch_labels(MemberId member);

  // By index_of(hook); the normal chain's two by direction. Null where nothing is asked: hooks that a
  // workload does not have, and a host endpoint's without policy, the normal ones excepted.
  using Plans = std::array<std::shared_ptr<const Plan>, kHooks.size()>;
  // Brings plans up to date. The local endpoints that have other plans now, ascending.
  std::vector<MemberId> update();
  const Plans& plans(MemberId member) const { return locals_.at(member).plans; }
  // Whether untracked policy selects a host endpoint for "*", at which it does not count. A change of that is
  // a change of its plans.
  bool ignores_untracked(MemberId member) const { return locals_.at(member).ignores_untracked; }

  // Tiers that policies name, and profiles that endpoints on this host name: those about which it may have
  // changed since the last call whether they are there, and whether one is missing now.
  struct References {
    std::map<std::string, bool> tiers;
    std::map<std::string, bool> profiles;
  };
  References take_references();

  std::size_t policy_count() const { return keys_.size(); }
  std::size_t active_policy_count() const { return active_policies_; }

 private:
  struct StoredPolicy {
    ResourceKey id;
    std::string tier;
    std::optional<double> order;
    SelectorIndex::Id selector = 0;
    std::string packed;
    RuleLists lists;  // of an active one
    bool do_not_track = false;
    bool pre_dnat = false;
    bool apply_on_forward = false;
    bool active = false;

    bool for_hosts_only() const { return do_not_track || pre_dnat; }
    bool is_of(ChainKind chain) const;
  };
  using PolicyNumber = std::uint32_t;
  struct Local {
    std::vector<SelectorIndex::Id> selectors;  // that match; ascending
    std::vector<SelectorIndex::Place> places;  // that its labels have
    std::vector<std::string> profiles;
    Role role = Role::kWorkload;
    Plans plans;
    bool ignores_untracked = false;
    bool relabelled = true;
    bool replan = true;
  };
  using PlanKey = std::vector<std::uintptr_t>;
  using Runs = std::vector<std::shared_ptr<const PolicyRun>>;  // one a tier
  // Of active policies. By index_of(hook); none: not asked for since one of them changed.
  using RunsByHook = std::array<std::optional<Runs>, kHooks.size()>;

  void drop_policy(PolicyNumber number);
  void forget_selector(SelectorIndex::Id id);
  void set_active(StoredPolicy& policy, bool active);
  void touch_tier(const std::string& name);
  void touch_profiles(const std::vector<std::string>& names);
  void count_selector(SelectorIndex::Id id, Role role, bool more);
  bool concerns_somebody(const StoredPolicy& policy) const;
  void make_failsafes();
  void retire_failsafes();
  void match(MemberId member, Local& local);
  void match_new(SelectorIndex::Id id);
  void set_places(MemberId member, Local& local, std::vector<SelectorIndex::Place> places);
  bool comes_before(PolicyNumber a, PolicyNumber b) const;
  Plans plans_of(const Local& local);
  bool is_selected_by_untracked(const Local& local) const;
  const Runs& runs_of(SelectorIndex::Id selector, Hook hook);
  Plan plan_of(const Local& local, Hook hook);
  std::shared_ptr<const Plan> intern(Plan plan);

  RuleBook& book_;
  MemberIndex& members_;
  ProfileIndex profiles_;
  std::deque<StoredPolicy> policies_;
  std::vector<PolicyNumber> free_policies_;
  KeyPool keys_;
  std::vector<PolicyNumber> policy_by_key_;
  SelectorIndex selectors_;
  std::vector<std::vector<PolicyNumber>> policies_by_selector_;  // in order
  boost::unordered_flat_map<SelectorIndex::Id, RunsByHook> runs_by_selector_;
  boost::unordered_flat_map<SelectorIndex::Place, std::vector<MemberId>> locals_by_place_;
  struct Selected {
    std::uint32_t locals = 0;
    std::uint32_t hosts = 0;  // of them
  };
  std::vector<Selected> locals_by_selector_;
  std::map<std::string, TierPlace> tiers_;
  std::map<std::string, std::size_t> policies_by_tier_;  // how many
  std::set<std::string> touched_tiers_;
  std::map<MemberId, Local> locals_;
  EncapsulationGuard encapsulation_;
  Failsafes failsafes_;
  std::array<RuleLists, 4> failsafe_lists_;  // by chain; where there are host endpoints
  std::size_t hosts_ = 0;
  boost::unordered_flat_map<Digest, std::weak_ptr<const Plan>> plan_by_digest_;
  std::size_t active_policies_ = 0;

  std::vector<SelectorIndex::Id> new_selectors_;
  std::vector<SelectorIndex::Id> changed_selectors_;  // a policy with this selector came, went or changed
  std::map<PlanKey, Plans> plans_of_batch_;
  MatchMarks marks_;
  // Of policies that are no longer active. Their matches stay to the end of the batch: what is made anew by
  // then must have the same ones, as a plan that says the same is the same plan.
  std::vector<RuleLists> retired_lists_;
};

}  // namespace ocicat::policy
