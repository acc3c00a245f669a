// Profiles by the name that endpoints use.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "policy/member_index.h"
#include "policy/model.h"
#include "policy/plan.h"

namespace ocicat::policy {

struct ResourceKeyHash {
  std::size_t operator()(const ResourceKey& key) const;
};

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

  // Both return the names of profiles whose rules may be others now.
  std::vector<std::string> set(const ResourceKey& key, const Profile& profile, const ProfileRules& rules);
  std::vector<std::string> remove(const ResourceKey& key);

  // A local endpoint lists the profile, or does so no longer.
  void join(const std::string& name);
  void leave(const std::string& name);
  // Of a profile that some local endpoint lists.
  const RuleLists& lists(const std::string& name) const { return profiles_.at(name).in_force; }

  // Some local endpoint lists it, and nobody made it.
  bool is_missing(const std::string& name) const;
  // Names about which that may have changed since the last call.
  std::set<std::string> take_touched() { return std::exchange(touched_, {}); }

 private:
  struct Version {
    Labels labels;
    RuleLists lists;
  };
  struct Named {
    std::map<ResourceKey, Version> versions;
    std::size_t locals = 0;
    RuleLists in_force;     // where there are locals
    bool stand_in = false;  // in_force is nobody's version
  };

  void settle(const std::string& name, Named& named);
  RuleLists stand_in(const std::string& name);

  RuleBook& book_;
  MemberIndex& members_;
  boost::unordered_flat_map<std::string, Named> profiles_;
  std::set<std::string> touched_;
  boost::unordered_flat_map<ResourceKey, std::string, ResourceKeyHash> name_by_key_;
};

}  // namespace ocicat::policy
