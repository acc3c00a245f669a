#include "policy/rectangles.h"

#include <algorithm>
#include <utility>

namespace ocicat::policy {

namespace {

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};
using Ranges = std::vector<Range>;  // disjoint, ascending

constexpr Range kAllKeys{0, kLastTableKey};

Ranges without(const Ranges& ranges, Range hole) {
  Ranges rest;
  for (const auto& range : ranges) {
    if (hole.last < range.first || range.last < hole.first) {
      rest.push_back(range);
      continue;
    }
    if (range.first < hole.first) rest.push_back({range.first, hole.first - 1});
    if (hole.last < range.last) rest.push_back({hole.last + 1, range.last});
  }
  return rest;
}

Ranges within(const Ranges& ranges, Range window) {
  Ranges part;
  for (const auto& range : ranges) {
    const Range both{std::max(range.first, window.first), std::min(range.last, window.last)};
    if (both.first <= both.last) part.push_back(both);
  }
  return part;
}

Range keys_of(Protocol protocol) {
  return {table_key(protocol, 0), table_key(protocol, 0xffff)};
}

Range keys_of(Family family, const IcmpMatch& icmp) {
  auto range = keys_of(family == Family::kIpv4 ? kIcmp : kIcmpV6);
  if (!icmp.type) return range;
  range.first |= std::uint32_t{*icmp.type} << 8;
  range.last = range.first | 0xff;
  if (icmp.code) range.first = range.last = range.first | *icmp.code;
  return range;
}

// The keys of the rule's protocols and ICMP types.
Ranges keys_of(const RuleMatch& match, Family family) {
  Ranges keys{kAllKeys};
  if (match.protocol) keys = within(keys, keys_of(*match.protocol));
  if (match.not_protocol) keys = without(keys, keys_of(*match.not_protocol));
  if (match.icmp) keys = within(keys, keys_of(family, *match.icmp));
  if (match.not_icmp) keys = without(keys, keys_of(family, *match.not_icmp));
  return keys;
}

// The port numbers that one side leaves.
Ranges ports_of(const SideMatch& side, const NamedPorts& named) {
  Ranges ports{{0, 0xffff}};
  if (side.limits_ports()) {
    Ranges wanted;
    for (const auto& range : side.ports) wanted.push_back({range.first, range.last});
    for (const auto port : named.ports) wanted.push_back({port, port});
    std::ranges::sort(wanted, {}, &Range::first);
    ports.clear();
    for (const auto& range : wanted) {
      if (!ports.empty() && range.first <= ports.back().last + 1) {
        ports.back().last = std::max(ports.back().last, range.last);
      } else {
        ports.push_back(range);
      }
    }
  }
  for (const auto& range : side.not_ports) ports = without(ports, {range.first, range.last});
  for (const auto port : named.not_ports) ports = without(ports, {port, port});
  return ports;
}

std::vector<Rectangle> areas_of(const RuleMatch& match, Family family, const NamedPorts& source,
                                const NamedPorts& destination) {
  std::vector<Rectangle> areas;
  const auto keys = keys_of(match, family);
  const bool limits = match.source.limits_ports() || match.destination.limits_ports();
  const bool excludes = match.source.excludes_ports() || match.destination.excludes_ports();
  if (!limits && !excludes) {
    for (const auto& range : keys) areas.push_back({range.first, range.last});
    return areas;
  }
  // Ports are ports of one protocol; packets of another one have none to be in a list.
  const auto ported = keys_of(match.port_protocol);
  if (has_ports(match.port_protocol)) {
    const auto source_ports = ports_of(match.source, source);
    for (const auto& port : ports_of(match.destination, destination)) {
      for (const auto& range : within(keys, {ported.first | port.first, ported.first | port.last})) {
        for (const auto& from : source_ports)
          areas.push_back({range.first, range.last, from.first, from.last});
      }
    }
  }
  if (!limits) {
    for (const auto& range : without(keys, ported)) areas.push_back({range.first, range.last});
  }
  std::ranges::sort(areas, {},
                    [](const Rectangle& area) { return std::pair{area.first, area.first_source}; });
  return areas;
}

// The parts of areas that lie at one of the keys.
std::vector<Rectangle> at_keys(const std::vector<Rectangle>& areas, std::vector<std::uint32_t> keys) {
  std::ranges::sort(keys);
  std::vector<Rectangle> parts;
  for (const auto& area : areas) {
    for (auto key = std::ranges::lower_bound(keys, area.first); key != keys.end() && *key <= area.last;
         ++key) {
      parts.push_back({*key, *key, area.first_source, area.last_source});
    }
  }
  return parts;
}

}  // namespace

std::vector<Rectangle> rectangles_of(const RuleMatch& match, Family family, const NamedPorts& source,
                                     const NamedPorts& destination) {
  auto areas = areas_of(match, family, source, destination);
  if (match.destination.service_ports.empty()) return areas;
  return at_keys(areas, destination.service_keys);
}

}  // namespace ocicat::policy
