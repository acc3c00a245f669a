#include "policy/rule_match.h"

#include <algorithm>
#include <array>

namespace ocicat::policy {

namespace {

constexpr std::array kCriteria{
    Criterion::kDestinationPorts,
    Criterion::kSourcePorts,
    Criterion::kDestinationNotPorts,
    Criterion::kSourceNotPorts,
    Criterion::kIcmp,
    Criterion::kNotIcmp,
    Criterion::kProtocol,
    Criterion::kNotProtocol,
    Criterion::kSourceSelector,
    Criterion::kDestinationSelector,
    Criterion::kSourceNotSelector,
    Criterion::kDestinationNotSelector,
    Criterion::kSourceServices,
    Criterion::kDestinationServices,
    Criterion::kSourceNets,
    Criterion::kDestinationNets,
    Criterion::kSourceNotNets,
    Criterion::kDestinationNotNets,
    Criterion::kFamily,
};

// One side of the packet, seen by one side of a rule.
struct Side {
  const EntityMatch& match;
  const std::vector<const Member*>& owners;
  IpAddress address;
  std::uint16_t port;
  Protocol protocol;             // of the packet
  Protocol named_port_protocol;  // of the rule
  std::span<const EndpointSlice> slices;
  bool is_destination;
};

bool is_in_set(const std::vector<const Member*>& owners, const Selector& selector) {
  return std::ranges::any_of(owners, [&](const Member* owner) { return owner->is_selected_by(selector); });
}

bool is_in_any(const std::vector<Prefix>& nets, const IpAddress& address) {
  return std::ranges::any_of(nets, [&](const Prefix& net) { return net.contains(address); });
}

bool is_in_any(const std::vector<PortRange>& ranges, const Side& side) {
  return has_ports(side.protocol) && std::ranges::any_of(ranges, [&](const PortRange& range) {
           return range.first <= side.port && side.port <= range.last;
         });
}

// (address, protocol, port) is in the set that `name` stands for: an owner that the side's selector selects
// has a port of this name, with the rule's protocol.
bool is_named(const std::string& name, const Side& side) {
  if (side.protocol != side.named_port_protocol) return false;
  const EndpointPort wanted{.name = name, .protocol = side.protocol, .port = side.port};
  return std::ranges::any_of(side.owners, [&](const Member* owner) {
    return std::ranges::find(owner->ports, wanted) != owner->ports.end() &&
           (!side.match.selector || owner->is_selected_by(*side.match.selector));
  });
}

bool is_named_any(const std::vector<std::string>& names, const Side& side) {
  return std::ranges::any_of(names, [&](const std::string& name) { return is_named(name, side); });
}

// The sets of named ports are restricted by the selector already: where nothing but named ports is asked for,
// they stand for it.
bool selector_is_subsumed(const EntityMatch& match) {
  return !match.named_ports.empty() && match.ports.empty();
}

bool selector_holds(const Side& side) {
  const auto& selector = side.match.selector;
  return !selector || selector_is_subsumed(side.match) || is_in_set(side.owners, *selector);
}

bool not_selector_holds(const Side& side) {
  const auto& selector = side.match.not_in_selector;
  return !selector || !is_in_set(side.owners, *selector);
}

// Of a destination, what stands behind a service is addresses with protocols and ports; of a source, where a
// port says nothing about who sends, addresses alone.
bool services_hold(const Side& side) {
  const auto& service = side.match.services;
  if (!service) return true;
  return std::ranges::any_of(side.slices, [&](const EndpointSlice& slice) {
    if (slice.service != service->name || slice.metadata.ns != service->ns) return false;
    if (std::ranges::find(slice.addresses, side.address) == slice.addresses.end()) return false;
    const EndpointSlice::Port port{side.protocol, side.port};
    return !side.is_destination || std::ranges::find(slice.ports, port) != slice.ports.end();
  });
}

bool nets_hold(const Side& side) {
  return side.match.nets.empty() || is_in_any(side.match.nets, side.address);
}

bool not_nets_hold(const Side& side) {
  return !is_in_any(side.match.not_nets, side.address);
}

bool ports_hold(const Side& side) {
  const auto& match = side.match;
  if (match.ports.empty() && match.named_ports.empty()) return true;
  return is_in_any(match.ports, side) || is_named_any(match.named_ports, side);
}

bool not_ports_hold(const Side& side) {
  return !is_in_any(side.match.not_ports, side) && !is_named_any(side.match.not_named_ports, side);
}

bool is_icmp_of(const IcmpMatch& icmp, const Packet& packet) {
  return carries_icmp(packet.family(), packet.protocol) && (!icmp.type || *icmp.type == packet.icmp_type) &&
         (!icmp.code || *icmp.code == packet.icmp_code);
}

Side source_side(const MatchRule& rule, const Question& question) {
  const auto& packet = question.packet;
  return {rule.source,     question.source_owners,    packet.source,   packet.source_port,
          packet.protocol, named_port_protocol(rule), question.slices, false};
}

Side destination_side(const MatchRule& rule, const Question& question) {
  const auto& packet = question.packet;
  return {rule.destination, question.destination_owners, packet.destination, packet.destination_port,
          packet.protocol,  named_port_protocol(rule),   question.slices,    true};
}

bool holds(Criterion criterion, const MatchRule& rule, const Question& question) {
  const auto& packet = question.packet;
  const auto source = [&] { return source_side(rule, question); };
  const auto destination = [&] { return destination_side(rule, question); };
  switch (criterion) {
    case Criterion::kFamily:
      return can_match(rule, packet.family());
    case Criterion::kProtocol:
      return !rule.protocol || *rule.protocol == packet.protocol;
    case Criterion::kNotProtocol:
      return !rule.not_protocol || *rule.not_protocol != packet.protocol;
    case Criterion::kIcmp:
      return !rule.icmp || is_icmp_of(*rule.icmp, packet);
    case Criterion::kNotIcmp:
      return !rule.not_icmp || !is_icmp_of(*rule.not_icmp, packet);
    case Criterion::kSourceSelector:
      return selector_holds(source());
    case Criterion::kDestinationSelector:
      return selector_holds(destination());
    case Criterion::kSourceNotSelector:
      return not_selector_holds(source());
    case Criterion::kDestinationNotSelector:
      return not_selector_holds(destination());
    case Criterion::kSourceServices:
      return services_hold(source());
    case Criterion::kDestinationServices:
      return services_hold(destination());
    case Criterion::kSourceNets:
      return nets_hold(source());
    case Criterion::kDestinationNets:
      return nets_hold(destination());
    case Criterion::kSourceNotNets:
      return not_nets_hold(source());
    case Criterion::kDestinationNotNets:
      return not_nets_hold(destination());
    case Criterion::kSourcePorts:
      return ports_hold(source());
    case Criterion::kDestinationPorts:
      return ports_hold(destination());
    case Criterion::kSourceNotPorts:
      return not_ports_hold(source());
    case Criterion::kDestinationNotPorts:
      return not_ports_hold(destination());
  }
  CHECK(false);
}

}  // namespace

bool matches(const MatchRule& rule, const Question& question) {
  return std::ranges::all_of(kCriteria,
                             [&](Criterion criterion) { return holds(criterion, rule, question); });
}

std::vector<Criterion> failing(const MatchRule& rule, const Question& question) {
  std::vector<Criterion> failing;
  for (const auto criterion : kCriteria) {
    if (!holds(criterion, rule, question)) failing.push_back(criterion);
  }
  return failing;
}

}  // namespace ocicat::policy
