#include "policy/profile_index.h"

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "resources/packed.h"

namespace ocicat::policy {

std::shared_ptr<RuleList> make_list(RuleBook& book, const ResourceKey& id, const std::string& broken,
                                    const std::vector<MatchRule>& rules) {
  auto list = std::make_shared<RuleList>();
  list->id = id;
  if (!broken.empty()) list->denies = TraceStep::kBroken;
  list->rules.reserve(rules.size());
  for (const auto& rule : rules) list->rules.push_back({book.acquire(rule), rule.index, rule.action});
  return list;
}

void release(RuleBook& book, const RuleLists& lists) {
  for (const auto& list : lists) {
    if (!list) continue;
    for (const auto& rule : list->rules) book.release(rule.match);
  }
}

void activate(RuleBook& book, const RuleLists& lists) {
  for (const auto& list : lists) {
    if (!list) continue;
    if (list->digest == Digest{}) {
      list->name = Digest::of(list->id.to_string());
      list->digest = digest_of(*list, book);
    }
    for (const auto& rule : list->rules) book.activate(rule.match);
  }
}

void deactivate(RuleBook& book, const RuleLists& lists) {
  for (const auto& list : lists) {
    if (!list) continue;
    for (const auto& rule : list->rules) book.deactivate(rule.match);
  }
}

// What applies. Where no resource says, the built-in profile allows; others are missing and deny.
RuleLists ProfileIndex::lists_of(const std::string& name, const Named& named) {
  const ResourceKey id{Kind::kProfile, "", name};
  if (name == kDefaultAllowProfile) {
    const auto rules = default_allow_profile();
    return {make_list(book_, id, {}, rules.ingress), make_list(book_, id, {}, rules.egress)};
  }
  if (named.versions.empty()) {
    auto denies = make_list(book_, id, {}, {});
    denies->denies = TraceStep::kNoProfile;
    return {denies, denies};
  }
  const auto rules = effective(unpack_profile(named.versions.front().packed));
  return {make_list(book_, id, rules.broken, rules.ingress),
          make_list(book_, id, rules.broken, rules.egress)};
}

bool ProfileIndex::is_missing(const std::string& name) const {
  const auto id = names_.find(name);
  return id != 0 && profiles_[id].locals > 0 && profiles_[id].versions.empty() &&
         name != kDefaultAllowProfile;
}

ProfileIndex::NameId ProfileIndex::acquire(const std::string& name) {
  const auto id = names_.acquire(name);
  if (profiles_.size() <= id) profiles_.resize(id + 1);
  return id;
}

// Puts in force what counts now.
void ProfileIndex::settle(const std::string& name, NameId id) {
  auto& named = profiles_[id];
  if (named.versions.empty()) {
    members_.remove_profile_labels(name);
  } else {
    members_.set_profile_labels(name, unpack_profile(named.versions.front().packed).labels_to_apply);
  }
  auto before = std::exchange(named.in_force, {});
  if (named.locals > 0 || before[0]) touched_.insert(name);
  if (named.locals > 0) {
    named.in_force = lists_of(name, named);
    activate(book_, named.in_force);
  }
  deactivate(book_, before);
  if (before[0]) retired_.push_back(std::move(before));
}

void ProfileIndex::release_retired() {
  for (const auto& lists : std::exchange(retired_, {})) release(book_, lists);
}

std::vector<std::string> ProfileIndex::set(const ResourceKey& key, const Profile& profile) {
  const auto& name = profile.metadata.name;
  std::vector<std::string> names;
  if (const auto known = keys_.find(key); known != 0 && names_[name_by_key_[known]] != name)
    names = remove(key);
  names.push_back(name);
  const auto [key_id, is_new] = keys_.acquire(key);
  if (!is_new) keys_.release(key_id);  // it has its one use
  const auto id = is_new ? acquire(name) : name_by_key_[key_id];
  if (name_by_key_.size() <= key_id) name_by_key_.resize(key_id + 1);
  name_by_key_[key_id] = id;
  auto& versions = profiles_[id].versions;
  const auto at =
      is_new ? std::ranges::find_if(versions, [&](const Version& other) { return key < keys_[other.key]; })
             : std::ranges::find(versions, key_id, &Version::key);
  if (is_new) {
    versions.insert(at, {key_id, pack(profile)});
  } else {
    at->packed = pack(profile);
  }
  settle(name, id);
  if (profiles_[id].locals == 0) names.pop_back();
  return names;
}

std::vector<std::string> ProfileIndex::remove(const ResourceKey& key) {
  const auto key_id = keys_.find(key);
  if (key_id == 0) return {};
  const auto id = name_by_key_[key_id];
  const std::string name{names_[id]};
  std::erase_if(profiles_[id].versions, [&](const Version& version) { return version.key == key_id; });
  settle(name, id);
  const bool is_listed = profiles_[id].locals > 0;
  keys_.release(key_id);
  names_.release(id);
  if (!is_listed) return {};
  return {name};
}

void ProfileIndex::join(const std::string& name) {
  const auto id = acquire(name);
  if (++profiles_[id].locals == 1) settle(name, id);
}

void ProfileIndex::leave(const std::string& name) {
  const auto id = names_.find(name);
  if (--profiles_[id].locals == 0) settle(name, id);
  names_.release(id);
}

}  // namespace ocicat::policy
