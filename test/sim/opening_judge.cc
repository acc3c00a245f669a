#include "sim/opening_judge.h"

#include <algorithm>

#include "sim/kernel_lookup.h"
#include "sim/kernel_places.h"

namespace ocicat::test {
namespace {

using policy::Direction;
using policy::Verdict;

bool allows(const KnownState& state, Direction direction, const Place& place, const policy::Packet& packet) {
  const auto holder = std::ranges::find_if(state.endpoints, [&](const auto& entry) {
    return entry.second.interface_name == place.interface_name &&
           std::ranges::any_of(entry.second.addresses,
                               [&](const auto& programs) { return programs.address == place.address; });
  });
  return holder != state.endpoints.end() &&
         state.evaluator.evaluate(holder->first, direction, packet).verdict == Verdict::kAllow;
}

// Interfaces of workloads that every state knows, and that the kernel takes for something else: whatever
// comes from there passes unjudged.
std::string unguarded(const Elements& elements, const std::list<KnownState>& states) {
  if (states.empty()) return {};
  for (const auto& [key, endpoint] : states.back().endpoints) {
    const auto& name = endpoint.interface_name;
    const bool always = std::ranges::all_of(states, [&](const KnownState& state) {
      return std::ranges::any_of(state.endpoints,
                                 [&](const auto& entry) { return entry.second.interface_name == name; });
    });
    if (always && !is_guarded(elements, name))
      return fmt::format("packets of {} ({}) are not judged at all", name, key.to_string());
  }
  return {};
}

// The first of the packets that passes and should not.
std::string opening_at(const Place& place, Direction direction, const std::vector<policy::Packet>& packets,
                       const KernelLookup& fresh, const std::list<KnownState>& states, std::size_t& granted) {
  for (const auto& packet : packets) {
    const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
    auto lookup = fresh;
    if (!lookup.passes(direction, place.interface_name, place.address, peer, packet)) continue;
    // The newest first: most often it is in force.
    const bool may = std::any_of(states.rbegin(), states.rend(), [&](const KnownState& state) {
      return allows(state, direction, place, packet);
    });
    granted += may ? 1 : 0;
    if (may) continue;
    return fmt::format("{} of {} at {}: {} port {} -> {} port {} protocol {} icmp {}/{} passes",
                       policy::to_string(direction), place.address.to_string(), place.interface_name,
                       packet.source.to_string(), packet.source_port, packet.destination.to_string(),
                       packet.destination_port, packet.protocol, packet.icmp_type, packet.icmp_code);
  }
  return {};
}

}  // namespace

std::string opening(const Moment& moment, const std::list<KnownState>& states, Random& random,
                    std::size_t packets, std::size_t& granted) {
  if (auto open = unguarded(moment.now, states); !open.empty()) return open;
  const KernelLookup fresh(moment.now, moment.before, moment.early);
  for (const auto direction : policy::kDirections) {
    auto places = places_of(moment.now, direction);
    places.merge(places_of(moment.before, direction));
    for (const auto& place : places) {
      for (const auto& state : states) {
        const auto drawn =
            random_boundary_packets(random, state.boundaries, place.address, direction, packets);
        if (auto open = opening_at(place, direction, drawn, fresh, states, granted); !open.empty())
          return open;
      }
    }
  }
  return {};
}

}  // namespace ocicat::test
