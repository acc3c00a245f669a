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
    const auto& endpoint = entry.second;
    if (endpoint.interface_name != place.interface_name) return false;
    return std::ranges::any_of(endpoint.addresses,
                               [&](const auto& programs) { return programs.address == place.address; }) ||
           (direction == Direction::kEgress && endpoint.may_send_from(place.address));
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

std::string text_of(const policy::Packet& packet) {
  return fmt::format("{} port {} -> {} port {} protocol {} icmp {}/{}", packet.source.to_string(),
                     packet.source_port, packet.destination.to_string(), packet.destination_port,
                     packet.protocol, packet.icmp_type, packet.icmp_code);
}

// The first of the packets that passes and should not.
std::string opening_at(const Place& place, Direction direction, const std::vector<policy::Packet>& packets,
                       const KernelLookup& fresh, const std::list<KnownState>& states, Judged& judged) {
  for (const auto& packet : packets) {
    const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
    auto lookup = fresh;
    if (!lookup.passes(direction, place.interface_name, place.address, peer, packet)) continue;
    // The newest first: most often it is in force.
    const bool may = std::any_of(states.rbegin(), states.rend(), [&](const KnownState& state) {
      return allows(state, direction, place, packet);
    });
    judged.granted += may ? 1 : 0;
    if (may) continue;
    return fmt::format("{} of {} at {}: {} passes", policy::to_string(direction), place.address.to_string(),
                       place.interface_name, text_of(packet));
  }
  return {};
}

bool denies(const KnownState& state, policy::Hook hook, const std::string& interface_name,
            const policy::Packet& packet) {
  const auto named = state.hosts.by_name.find(interface_name);
  const auto& key =
      named != state.hosts.by_name.end() ? std::optional(named->second) : state.hosts.all_others;
  return key && state.evaluator.evaluate(*key, hook.direction, packet, hook.chain).verdict == Verdict::kDeny;
}

// Policy that the kernel does not even ask counts as one that lets the packet go on.
std::string opening_at_hosts(const KernelLookup& fresh, const std::list<KnownState>& states,
                             const std::vector<std::string>& interfaces, Random& random, std::size_t packets,
                             Judged& judged) {
  for (const auto& drawn_from : states) {
    for (std::size_t i = 0; i < packets; ++i) {
      const auto& interface_name = random.pick(interfaces);
      const auto hook = policy::kHooks[random.below(policy::kHooks.size())];
      const auto& own = random.pick(drawn_from.boundaries.addresses);
      const auto packet =
          random_boundary_packets(random, drawn_from.boundaries, own, hook.direction, 1).front();
      const auto& peer = hook.direction == Direction::kIngress ? packet.source : packet.destination;
      auto lookup = fresh;
      const auto verdict = lookup.at_host(hook, interface_name, own, peer, packet);
      judged.host_denied += verdict == Verdict::kDeny ? 1 : 0;
      if (verdict == Verdict::kDeny) continue;
      const bool may = std::any_of(states.rbegin(), states.rend(), [&](const KnownState& state) {
        return !denies(state, hook, interface_name, packet);
      });
      judged.host_granted += verdict && may ? 1 : 0;
      if (may) continue;
      return fmt::format("{} {} at {}: {} {}", policy::to_string(hook.chain),
                         policy::to_string(hook.direction), interface_name, text_of(packet),
                         verdict ? "goes on" : "is not judged");
    }
  }
  return {};
}

}  // namespace

Judged& Judged::operator+=(const Judged& other) {
  granted += other.granted;
  host_granted += other.host_granted;
  host_denied += other.host_denied;
  return *this;
}

std::string opening(const Moment& moment, const std::list<KnownState>& states,
                    const std::vector<std::string>& host_interfaces, Random& random, std::size_t packets,
                    Judged& judged) {
  if (auto open = unguarded(moment.now, states); !open.empty()) return open;
  const KernelLookup fresh(moment.now, moment.before, moment.early);
  for (const auto direction : policy::kDirections) {
    auto places = places_of(moment.now, direction);
    places.merge(places_of(moment.before, direction));
    for (const auto& place : places) {
      for (const auto& state : states) {
        const auto drawn =
            random_boundary_packets(random, state.boundaries, place.address, direction, packets);
        if (auto open = opening_at(place, direction, drawn, fresh, states, judged); !open.empty())
          return open;
      }
    }
  }
  if (states.empty() || !fresh.is_there()) return {};
  return opening_at_hosts(fresh, states, host_interfaces, random, 2 * packets, judged);
}

}  // namespace ocicat::test
