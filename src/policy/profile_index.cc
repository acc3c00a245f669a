#include "policy/profile_index.h"

#include <functional>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

std::size_t ResourceKeyHash::operator()(const ResourceKey& key) const {
  const std::hash<std::string> hash;
  const auto parts = hash(key.ns) * 31 + static_cast<std::size_t>(key.kind);
  return hash(key.name) ^ (parts * 0x9e3779b97f4a7c15ULL);
}

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

// What applies where no resource says: the built-in profile allows, others are missing and deny.
RuleLists ProfileIndex::stand_in(const std::string& name) {
  const ResourceKey id{Kind::kProfile, "", name};
  if (name == kDefaultAllowProfile) {
    const auto rules = default_allow_profile();
    return {make_list(book_, id, {}, rules.ingress), make_list(book_, id, {}, rules.egress)};
  }
  auto denies = make_list(book_, id, {}, {});
  denies->denies = TraceStep::kNoProfile;
  return {denies, denies};
}

bool ProfileIndex::is_missing(const std::string& name) const {
  const auto it = profiles_.find(name);
  return it != profiles_.end() && it->second.locals > 0 && it->second.versions.empty() &&
         name != kDefaultAllowProfile;
}

// Puts in force what counts now. Drops a name that means nothing any more.
void ProfileIndex::settle(const std::string& name, Named& named) {
  touched_.insert(name);
  if (named.versions.empty()) {
    members_.remove_profile_labels(name);
  } else {
    members_.set_profile_labels(name, named.versions.begin()->second.labels);
  }
  auto before = std::exchange(named.in_force, {});
  const bool was_stand_in = std::exchange(named.stand_in, false);
  if (named.locals > 0) {
    named.stand_in = named.versions.empty() || name == kDefaultAllowProfile;
    named.in_force = named.stand_in ? stand_in(name) : named.versions.begin()->second.lists;
    activate(book_, named.in_force);
  }
  deactivate(book_, before);
  if (was_stand_in) release(book_, before);
  if (named.versions.empty() && named.locals == 0) profiles_.erase(name);
}

std::vector<std::string> ProfileIndex::set(const ResourceKey& key, const Profile& profile,
                                           const ProfileRules& rules) {
  std::vector<std::string> names{rules.name};
  if (const auto it = name_by_key_.find(key); it != name_by_key_.end() && it->second != rules.name) {
    names = remove(key);
    names.push_back(rules.name);
  }
  name_by_key_.insert_or_assign(key, rules.name);
  const ResourceKey id{Kind::kProfile, "", rules.name};
  Version version{.labels = profile.labels_to_apply,
                  .lists = {make_list(book_, id, rules.broken, rules.ingress),
                            make_list(book_, id, rules.broken, rules.egress)}};
  auto& named = profiles_[rules.name];
  auto& slot = named.versions[key];
  const auto before = std::exchange(slot, std::move(version));
  settle(rules.name, named);
  release(book_, before.lists);
  return names;
}

std::vector<std::string> ProfileIndex::remove(const ResourceKey& key) {
  const auto it = name_by_key_.find(key);
  if (it == name_by_key_.end()) return {};
  const auto name = it->second;
  name_by_key_.erase(it);
  auto& named = profiles_.at(name);
  const auto before = std::move(named.versions.at(key));
  named.versions.erase(key);
  settle(name, named);
  release(book_, before.lists);
  return {name};
}

void ProfileIndex::join(const std::string& name) {
  auto& named = profiles_[name];
  if (++named.locals == 1) settle(name, named);
}

void ProfileIndex::leave(const std::string& name) {
  auto& named = profiles_.at(name);
  if (--named.locals == 0) settle(name, named);
}

}  // namespace ocicat::policy
