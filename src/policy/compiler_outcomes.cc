// What a compiler's thoughts say in the end: verdicts, traces and their digests.
#include <algorithm>

#include "policy/compiler.h"

namespace ocicat::policy {

TraceStep Compiler::trace_step(const ThoughtStep& step) const {
  TraceStep trace{.tier = {}, .policy = {}, .rule = step.rule, .action = step.action, .selected_by = {}};
  if (step.stage == ThoughtStep::kBeforeStages) return trace;
  const bool nobody =
      step.policy == ThoughtStep::kNobody || step.policy == ThoughtStep::kNobodyStagedIncluded;
  if (step.stage == plan_.stages.size()) {
    trace.tier = kProfileTier;
    if (!nobody) trace.policy = plan_.profiles[step.policy]->id;
    return trace;
  }
  const auto& stage = plan_.stages[step.stage];
  trace.tier = stage.tier;
  if (!nobody) {
    trace.policy = stage.policy(step.policy)->id;
    return trace;
  }
  for (std::uint32_t number = 0; number < stage.size(); ++number) {
    const auto& policy = stage.policy(number);
    if (policy->staged() && step.policy == ThoughtStep::kNobody) continue;
    trace.selected_by.add({policy, &policy->id});
  }
  return trace;
}

// What the last step did; one that leads on has ended without an answer.
Verdict Compiler::verdict(ThoughtId thought) const {
  if (thought == 0) return Verdict::kNone;
  switch (steps_[thought].action) {
    case Action::kAllow:
      return Verdict::kAllow;
    case Action::kDeny:
      return Verdict::kDeny;
    case Action::kPass:
    case Action::kLog:
      break;
  }
  return Verdict::kNone;
}

Judgement Compiler::judgement(ThoughtId thought) const {
  Judgement judgement;
  judgement.verdict = verdict(thought);
  for (auto at = thought; at != 0; at = steps_[at].before) judgement.trace.push_back(trace_step(steps_[at]));
  std::ranges::reverse(judgement.trace);
  return judgement;
}

// The policies that a default deny names, by their names.
const Digest& Compiler::selected_by(const ThoughtStep& step) {
  const auto [it, is_new] = selected_by_.try_emplace({step.stage, step.policy});
  if (!is_new) return it->second;
  std::string text;
  const auto add = [&](std::span<const Digest> names) {
    text.append(reinterpret_cast<const char*>(names.data()), names.size_bytes());
  };
  for (const auto& part : plan_.stages[step.stage].parts) {
    if (part.run->staged == 0 || step.policy == ThoughtStep::kNobodyStagedIncluded) {
      add(part.names());
      continue;
    }
    for (auto at = part.first; at < part.end; ++at) {
      if (!part.run->policies[at]->staged()) add({&part.run->names[at], 1});
    }
  }
  return it->second = Digest::of(text);
}

void Compiler::add_meaning(std::string& text, ThoughtId thought) {
  const auto add = [&](const Digest& digest) {
    text.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
  };
  for (auto at = thought; at != 0; at = steps_[at].before) {
    const auto& step = steps_[at];
    text += fmt::format("{},{};", step.rule, static_cast<int>(step.action));
    if (step.stage == ThoughtStep::kBeforeStages) continue;
    const bool nobody =
        step.policy == ThoughtStep::kNobody || step.policy == ThoughtStep::kNobodyStagedIncluded;
    if (step.stage == plan_.stages.size()) {
      text += nobody ? "profiles" : "profile:";
      if (!nobody) add(plan_.profiles[step.policy]->name);
      continue;
    }
    const auto& stage = plan_.stages[step.stage];
    text += fmt::format("{}:{}", stage.tier.size(), stage.tier);
    add(nobody ? selected_by(step) : stage.policy(step.policy)->name);
  }
}

const Digest& Compiler::digest(ThoughtId thought) {
  if (digests_.size() <= thought) digests_.resize(steps_.size());
  if (digests_[thought]) return *digests_[thought];
  const auto& last = steps_[thought];
  std::string text;
  if (last.stage != ThoughtStep::kBoth) {
    add_meaning(text, thought);
  } else {
    add_meaning(text, last.before);
    text += "|pending|";
    add_meaning(text, last.policy);
  }
  return digests_[thought].emplace(Digest::of(text));
}

Outcome Compiler::outcome(ThoughtId thought) const {
  const auto& last = steps_[thought];
  if (last.stage != ThoughtStep::kBoth) return Outcome{judgement(thought)};
  return Outcome{judgement(last.before), judgement(last.policy)};
}

}  // namespace ocicat::policy
