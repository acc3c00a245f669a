#include "policy/plan.h"

#include <algorithm>

namespace ocicat::policy {

namespace {

// Every part with its length in front, so that different lists of parts make different texts.
void add(std::string& text, std::string_view part) {
  text += fmt::format("{}:{}", part.size(), part);
}

void add(std::string& text, const Digest& digest) {
  text.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
}

}  // namespace

bool Stage::has_staged() const {
  return std::ranges::any_of(policies, [](const auto& policy) { return policy->staged(); });
}

bool Stage::only_staged() const {
  return std::ranges::all_of(policies, [](const auto& policy) { return policy->staged(); });
}

bool has_staged(const Plan& plan) {
  return std::ranges::any_of(plan.stages, [](const Stage& stage) { return stage.has_staged(); });
}

Digest digest_of(const RuleList& list, const RuleBook& book) {
  std::string text;
  add(text, list.id.to_string());
  text += fmt::format("{},{}", list.denies, list.rules.size());
  for (const auto& rule : list.rules) {
    text += fmt::format(";{},{},", rule.index, static_cast<int>(rule.action));
    add(text, book.match(rule.match).digest);
  }
  return Digest::of(text);
}

Digest digest_of(const Plan& plan) {
  std::string text = fmt::format("{} {};", to_string(plan.chain), to_string(plan.direction));
  if (const auto& guard = plan.encapsulation) {
    text += fmt::format("{},{},{};", guard->vxlan_port, guard->allow_vxlan, guard->allow_ipip);
  }
  if (plan.failsafes) {
    text += "failsafes";
    add(text, plan.failsafes->digest);
  }
  for (const auto& stage : plan.stages) {
    add(text, stage.tier);
    text += fmt::format("{},{}", static_cast<int>(stage.default_action), stage.policies.size());
    for (const auto& policy : stage.policies) add(text, policy->digest);
  }
  text += "profiles";
  for (const auto& profile : plan.profiles) add(text, profile->digest);
  return Digest::of(text);
}

void MatchMarks::clear() {
  if (++round_ != 0) return;
  marks_.clear();
  round_ = 1;
}

std::vector<MatchId> matches_of(const Plan& plan, MatchMarks& marks) {
  std::vector<MatchId> matches;
  marks.clear();
  for_each_list(plan, [&](const RuleList& list) {
    for (const auto& rule : list.rules) {
      if (marks.mark(rule.match)) matches.push_back(rule.match);
    }
  });
  return matches;
}

std::vector<AtomId> named_port_atoms(std::span<const MatchId> matches, const RuleBook& book) {
  std::vector<AtomId> atoms;
  for (const auto id : matches) {
    const auto& match = book.match(id);
    for (const auto* side : {&match.source, &match.destination}) {
      if (!side->names_ports()) continue;
      atoms.insert(atoms.end(), side->named_ports.begin(), side->named_ports.end());
      atoms.insert(atoms.end(), side->not_named_ports.begin(), side->not_named_ports.end());
      atoms.insert(atoms.end(), side->service_ports.begin(), side->service_ports.end());
    }
  }
  std::ranges::sort(atoms);
  atoms.erase(std::ranges::unique(atoms).begin(), atoms.end());
  return atoms;
}

}  // namespace ocicat::policy
