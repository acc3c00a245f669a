#include "flows/recorder.h"

namespace ocicat::flows {

policy::Direction Sighting::decider() const {
  using policy::Direction;
  if (event.allowed()) return event.end;
  for (const auto end : {Direction::kEgress, Direction::kIngress}) {
    const auto& outcome = *outcomes[static_cast<std::size_t>(end)];
    if (outcome && outcome->verdict == policy::Verdict::kDeny) return end;
  }
  return event.end;
}

void Recorder::update(const Changes<policy::OutcomeId, policy::Outcome>& outcomes) {
  for (const auto& [id, outcome] : outcomes.entries()) {
    if (outcome) {
      outcomes_.insert_or_assign(id, std::make_shared<const policy::Outcome>(*outcome));
      gone_.erase(id);
    } else {
      gone_.insert(id);
    }
  }
}

void Recorder::forget_gone() {
  for (const auto id : gone_) outcomes_.erase(id);
  gone_.clear();
}

Sighting Recorder::sighting_of(const Event& event) {
  static const KnownOutcome kUnknown;
  const auto outcome = [&](policy::OutcomeId id) {
    const auto found = id == policy::OutcomeId{} ? outcomes_.end() : outcomes_.find(id);
    return found == outcomes_.end() ? &kUnknown : &found->second;
  };
  return {event,
          directory_.party_of(event.source),
          directory_.party_of(event.destination),
          {outcome(event.outcomes[0]), outcome(event.outcomes[1])}};
}

}  // namespace ocicat::flows
