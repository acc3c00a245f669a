// Gives events their names: who speaks with whom, and which policies said what.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <memory>

#include "base/changes.h"
#include "flows/event.h"
#include "flows/party.h"
#include "policy/tables.h"
#include "policy/verdict.h"

namespace ocicat::flows {

using KnownOutcome = std::shared_ptr<const policy::Outcome>;

// An event with its names, valid until the recorder learns anything.
struct Sighting {
  const Event& event;
  const Party& source;
  const Party& destination;
  std::array<const KnownOutcome*, 2> outcomes;  // of policy::Direction; never null, may hold nothing

  // Of the end that tells, or, where it is the other end that refuses, of that one.
  policy::Direction decider() const;
};

class Recorder {
 public:
  void update(const Changes<ResourceKey, Resource>& resources) { directory_.update(resources); }
  // Outcomes that go are still known to events of before, until forget_gone().
  void update(const Changes<policy::OutcomeId, policy::Outcome>& outcomes);
  void forget_gone();

  Sighting sighting_of(const Event& event);

 private:
  Directory directory_;
  boost::unordered_flat_map<policy::OutcomeId, KnownOutcome> outcomes_;
  boost::unordered_flat_set<policy::OutcomeId> gone_;
};

}  // namespace ocicat::flows
