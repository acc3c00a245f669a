#include "policy/plan.h"

#include <algorithm>

namespace ocicat::policy {

namespace {

// Every part with its length in front, so that different lists of parts make different texts.
void add(std::string& text, std::string_view part) {
  text += fmt::format("{}:{}", part.size(), part);
}

void add(std::string& text, std::span<const Digest> digests) {
  text.append(reinterpret_cast<const char*>(digests.data()), digests.size_bytes());
}

void add(std::string& text, const Digest& digest) {
  add(text, std::span(&digest, 1));
}

}  // namespace

bool has_staged(const Plan& plan) {
  return std::ranges::any_of(plan.stages, [](const Stage& stage) { return stage.has_staged(); });
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
    text += fmt::format("{},{}", static_cast<int>(stage.default_action), stage.size());
    for (const auto& part : stage.parts) add(text, part.digests());
  }
  text += "profiles";
  for (const auto& profile : plan.profiles) add(text, profile->digest);
  return Digest::of(text);
}

std::vector<MatchId> matches_of(const Plan& plan, MatchMarks& marks) {
  std::vector<MatchId> matches;
  marks.clear();
  const auto add = [&](const CompactRule& rule) {
    if (rule.match != 0 && marks.mark(rule.match)) matches.push_back(rule.match);
  };
  if (plan.failsafes) std::ranges::for_each(plan.failsafes->rules, add);
  for (const auto& stage : plan.stages) {
    // Every match of a run is one of its telling rules.
    for (const auto& part : stage.parts)
      std::ranges::for_each(part.rules(), add, &PolicyRun::TellingRule::rule);
  }
  for (const auto& profile : plan.profiles) std::ranges::for_each(profile->rules, add);
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
