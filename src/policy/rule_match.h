// Does a rule match a packet: its criteria, one by one, so that the one that failed can be named.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/model.h"
#include "policy/snapshot_view.h"
#include "policy/verdict.h"

namespace ocicat::policy {

// One thing a rule may ask of a packet, best near miss first.
enum class Criterion : std::uint8_t {
  kDestinationPorts,
  kSourcePorts,
  kDestinationNotPorts,
  kSourceNotPorts,
  kIcmp,
  kNotIcmp,
  kProtocol,
  kNotProtocol,
  kSourceSelector,
  kDestinationSelector,
  kSourceNotSelector,
  kDestinationNotSelector,
  kSourceServices,
  kDestinationServices,
  kSourceNets,
  kDestinationNets,
  kSourceNotNets,
  kDestinationNotNets,
  kFamily,
};

// A packet, and who its two addresses belong to.
struct Question {
  Packet packet;
  std::vector<const Member*> source_owners;  // borrowed from the view
  std::vector<const Member*> destination_owners;
  std::span<const EndpointSlice> slices{};  // borrowed from the view
};

bool matches(const MatchRule& rule, const Question& question);
// In the order of the enumeration. Empty exactly where the rule matches.
std::vector<Criterion> failing(const MatchRule& rule, const Question& question);

}  // namespace ocicat::policy
