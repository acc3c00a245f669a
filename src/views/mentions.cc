#include "views/mentions.h"

#include <algorithm>
#include <charconv>

namespace ocicat::views {
namespace {

constexpr std::uint16_t kFirstPort = 1;
constexpr std::uint16_t kLastPort = 65535;

// The first that is not in the set; none where all are.
template <class Int, class Set>
std::optional<Int> first_missing(const Set& set, Int first, Int last) {
  for (int value = first; value <= last; ++value) {
    if (!set.contains(static_cast<Int>(value))) return static_cast<Int>(value);
  }
  return std::nullopt;
}

}  // namespace

void Mentions::add(const policy::Snapshot& snapshot) {
  divide(kUdp, {policy::EncapsulationGuard{}.vxlan_port, policy::EncapsulationGuard{}.vxlan_port});
  add_rules(snapshot);  // they say which names of ports and which services count
  add_ports(snapshot);
}

void Mentions::add_rules(const policy::Snapshot& snapshot) {
  const auto add_all = [&](const auto& written) {
    for (const auto* rules : {&written.ingress, &written.egress}) {
      for (const Rule& rule : *rules) add(rule);
    }
  };
  for (const auto& [key, resource] : snapshot) {
    if (const auto* policy = std::get_if<NetworkPolicy>(&resource)) add_all(*policy);
    if (const auto* profile = std::get_if<Profile>(&resource)) add_all(*profile);
  }
}

void Mentions::add_ports(const policy::Snapshot& snapshot) {
  for (const auto& [key, resource] : snapshot) {
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      add_named(endpoint->ports);
    } else if (const auto* host = std::get_if<HostEndpoint>(&resource)) {
      add_named(host->ports);
      add(policy::Failsafes{});
    } else if (const auto* slice = std::get_if<EndpointSlice>(&resource)) {
      if (!services_.contains(slice->service)) continue;
      for (const auto& port : slice->ports) divide(port.protocol, {port.number, port.number});
    } else if (const auto* configuration = std::get_if<FelixConfiguration>(&resource)) {
      add(*configuration);
    }
  }
}

void Mentions::add_named(const std::vector<EndpointPort>& ports) {
  for (const auto& port : ports) {
    if (port_names_.contains(port.name)) divide(port.protocol, {port.port, port.port});
  }
}

void Mentions::add(const Rule& rule) {
  for (const auto* protocol : {&rule.protocol, &rule.not_protocol}) {
    if (!*protocol) continue;
    protocols_.insert((*protocol)->number);
    if (!(*protocol)->implies_family) crossing_.insert((*protocol)->number);
  }
  for (const auto* icmp : {&rule.icmp, &rule.not_icmp}) {
    if (*icmp) add(**icmp, rule.protocol ? std::optional(rule.protocol->number) : std::nullopt);
  }
  for (const auto* side : {&rule.source, &rule.destination}) {
    if (side->services) services_.insert(side->services->name);
  }
  for (const auto* ports : {&rule.destination.ports, &rule.destination.not_ports}) {
    for (const auto& port : *ports) {
      if (const auto* name = std::get_if<std::string>(&port)) port_names_.insert(*name);
      const auto* range = std::get_if<PortRange>(&port);
      if (range != nullptr && rule.protocol) divide(rule.protocol->number, *range);
    }
  }
}

void Mentions::add(const IcmpMatch& icmp, std::optional<Protocol> protocol) {
  if (!icmp.type) return;
  for (const auto number : {kIcmp, kIcmpV6}) {
    if (protocol.value_or(number) != number) continue;
    if (!protocol) crossing_.insert(number);
    auto& codes = icmp_codes_by_type_[number][*icmp.type];
    if (icmp.code) codes.insert(*icmp.code);
  }
}

// Whatever policy says, these are open at host endpoints.
void Mentions::add(const policy::Failsafes& failsafes) {
  for (const auto* ports : {&failsafes.inbound, &failsafes.outbound}) {
    for (const auto& port : *ports) divide(port.protocol, {port.port, port.port});
  }
}

void Mentions::add(const FelixConfiguration& configuration) {
  for (const auto* field : {"failsafeInboundHostPorts", "failsafeOutboundHostPorts"}) {
    const auto ports = configuration.values.find(field);
    if (ports == configuration.values.end()) continue;
    if (auto parsed = policy::parse_failsafes(ports->second)) add(policy::Failsafes{*std::move(parsed), {}});
  }
  const auto text = configuration.values.find("vxlanPort");
  if (text == configuration.values.end()) return;
  std::uint16_t port = 0;
  const char* const end = text->second.data() + text->second.size();
  if (std::from_chars(text->second.data(), end, port).ec == std::errc{}) divide(kUdp, {port, port});
}

void Mentions::divide(Protocol protocol, PortRange range) {
  protocols_.insert(protocol);
  auto& starts = starts_[protocol];
  if (range.first > kFirstPort) starts.insert(range.first);
  if (range.last < kLastPort) starts.insert(static_cast<std::uint16_t>(range.last + 1));
}

std::vector<PortRange> Mentions::port_ranges(Protocol protocol) const {
  std::vector<PortRange> ranges{{kFirstPort, kLastPort}};
  const auto starts = starts_.find(protocol);
  if (starts == starts_.end()) return ranges;
  for (const auto start : starts->second) {
    if (start == kFirstPort) continue;
    ranges.back().last = static_cast<std::uint16_t>(start - 1);
    ranges.push_back({start, kLastPort});
  }
  return ranges;
}

std::vector<IcmpKind> Mentions::icmp_kinds(Protocol protocol) const {
  std::vector<IcmpKind> kinds;
  std::map<std::uint8_t, std::set<std::uint8_t>> codes_by_type;
  if (const auto found = icmp_codes_by_type_.find(protocol); found != icmp_codes_by_type_.end())
    codes_by_type = found->second;
  for (const auto& [type, codes] : codes_by_type) {
    for (const auto code : codes) kinds.push_back({type, code});
    const auto other = first_missing<std::uint8_t>(codes, 0, 255);
    if (other) kinds.push_back({.type = type, .code = *other, .other_codes = !codes.empty()});
  }
  const std::uint8_t echo = protocol == kIcmp ? 8 : 128;
  const auto other =
      codes_by_type.contains(echo) ? first_missing<std::uint8_t>(codes_by_type, 0, 255) : std::optional(echo);
  if (other) kinds.push_back({.type = *other, .code = 0, .other_types = true});
  return kinds;
}

std::optional<Protocol> Mentions::other_protocol() const {
  return first_missing<Protocol>(protocols_, 1, 255);
}

void extend(std::vector<PortRange>& ranges, PortRange next) {
  if (!ranges.empty() && ranges.back().last + 1 == next.first) {
    ranges.back().last = next.last;
  } else {
    ranges.push_back(next);
  }
}

std::vector<std::string> texts_of(const std::vector<PortRange>& ranges) {
  std::vector<std::string> texts;
  texts.reserve(ranges.size());
  for (const PortRange range : ranges) {
    texts.push_back(range.first == range.last ? fmt::format("{}", range.first)
                                              : fmt::format("{}-{}", range.first, range.last));
  }
  return texts;
}

}  // namespace ocicat::views
