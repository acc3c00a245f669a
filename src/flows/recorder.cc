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

void Recorder::update(const Changes<ResourceKey, EndpointState>& endpoints) {
  for (const auto& [key, endpoint] : endpoints.entries()) {
    if (const auto before = interfaces_.find(key); before != interfaces_.end()) {
      if (const auto had = by_interface_.find(before->second);
          had != by_interface_.end() && had->second == key)
        by_interface_.erase(had);
      interfaces_.erase(before);
    }
    if (!endpoint) continue;
    interfaces_.emplace(key, endpoint->interface_name);
    by_interface_.insert_or_assign(endpoint->interface_name, key);
  }
}

const Party* Recorder::sender_by_interface(const Event& event) {
  if (event.from_host) {
    const auto name = name_of_(event.interface);
    const auto* key = by_interface_.contains(name) ? nullptr : host_interfaces_.holder_of(name);
    return key == nullptr ? nullptr : directory_.party_of(*key);
  }
  const bool unsaid = event.reason == Reason::kSpoofed || event.reason == Reason::kNotIp ||
                      event.reason == Reason::kMalformed;
  if (!unsaid || event.end != policy::Direction::kEgress) return nullptr;
  const auto found = by_interface_.find(name_of_(event.interface));
  return found == by_interface_.end() ? nullptr : directory_.party_of(found->second);
}

Sighting Recorder::sighting_of(const Event& event) {
  static const KnownOutcome kUnknown;
  const auto outcome = [&](policy::OutcomeId id) {
    const auto found = id == policy::OutcomeId{} ? outcomes_.end() : outcomes_.find(id);
    return found == outcomes_.end() ? &kUnknown : &found->second;
  };
  const auto* sender = sender_by_interface(event);
  return {event,
          sender != nullptr ? *sender : directory_.party_of(event.source),
          directory_.party_of(event.destination),
          {outcome(event.outcomes[0]), outcome(event.outcomes[1])}};
}

}  // namespace ocicat::flows
