// Profiles by the name that endpoints use.
#pragma once

#include <array>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "policy/key_pool.h"
#include "policy/member_index.h"
#include "policy/model.h"
#include "policy/plan.h"

namespace ocicat::policy {

// By direction; null where a policy does not apply.
using RuleLists = std::array<std::shared_ptr<RuleList>, 2>;

// Rules as a list of matches, each used once more.
std::shared_ptr<RuleList> make_list(RuleBook& book, const ResourceKey& id, const std::string& broken,
                                    const std::vector<MatchRule>& rules);
void release(RuleBook& book, const RuleLists& lists);
// From here on its matches are active and its digest is known.
void activate(RuleBook& book, const RuleLists& lists);
void deactivate(RuleBook& book, const RuleLists& lists);

// Several resources may make profiles of one name: the first of them in the order of keys counts. Profiles
// that an endpoint lists and nobody made deny; projectcalico-default-allow is always there.
class ProfileIndex {
 public:
  ProfileIndex(RuleBook& book, MemberIndex& members) : book_(book), members_(members) {}

  // Both return the names of profiles that a local endpoint lists and whose rules may be others now.
  std::vector<std::string> set(const ResourceKey& key, const Profile& profile);
  std::vector<std::string> remove(const ResourceKey& key);

  // A local endpoint lists the profile, or does so no longer.
  void join(const std::string& name);
  void leave(const std::string& name);
  // Of a profile that some local endpoint lists.
  const RuleLists& lists(const std::string& name) const { return profiles_[names_.find(name)].in_force; }

  // Ends a batch: until then the matches of lists that went out of force stay, so that lists made anew have
  // the same ones.
  void release_retired();

  // Some local endpoint lists it, and nobody made it.
  bool is_missing(const std::string& name) const;
  // Names about which that may have changed since the last call.
  std::set<std::string> take_touched() { return std::exchange(touched_, {}); }

 private:
  using NameId = StringPool::Id;
  struct Version {
    KeyPool::Id key;
    std::string packed;
  };
  struct Named {
    std::vector<Version> versions;  // in the order of their keys
    std::uint32_t locals = 0;
    RuleLists in_force;  // where there are locals
  };

  NameId acquire(const std::string& name);
  void settle(const std::string& name, NameId id);
  RuleLists lists_of(const std::string& name, const Named& named);

  RuleBook& book_;
  MemberIndex& members_;
  StringPool names_;             // in use while somebody makes or lists the profile
  std::vector<Named> profiles_;  // by name
  KeyPool keys_;
  std::vector<NameId> name_by_key_;
  std::set<std::string> touched_;
  std::vector<RuleLists> retired_;
};

}  // namespace ocicat::policy
