#include "test/support/boundary_packets.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>

#include "policy/host_settings.h"

namespace ocicat::test {

namespace {

using policy::Direction;
using policy::Packet;

// A value and its neighbours, as far as the type reaches.
template <class Int>
void add_with_neighbours(std::set<Int>& values, Int value) {
  values.insert(value);
  if (value != std::numeric_limits<Int>::min()) values.insert(static_cast<Int>(value - 1));
  if (value != std::numeric_limits<Int>::max()) values.insert(static_cast<Int>(value + 1));
}

class Collector {
 public:
  void collect(const Resource& resource) {
    if (const auto* policy = std::get_if<NetworkPolicy>(&resource)) {
      collect(policy->ingress);
      collect(policy->egress);
    } else if (const auto* profile = std::get_if<Profile>(&resource)) {
      collect(profile->ingress);
      collect(profile->egress);
    } else if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      for (const auto& address : endpoint->addresses) addresses_.insert(address);
      for (const auto& port : endpoint->ports) {
        add_with_neighbours(protocols_, port.protocol);
        add_with_neighbours(destination_ports_, port.port);
        named_ports_.insert(port.port);
      }
    } else if (const auto* host = std::get_if<HostEndpoint>(&resource)) {
      for (const auto& address : host->expected_addresses) addresses_.insert(address);
      for (const auto& port : host->ports) {
        add_with_neighbours(protocols_, port.protocol);
        add_with_neighbours(destination_ports_, port.port);
        named_ports_.insert(port.port);
      }
      collect_failsafes(policy::Failsafes{});
    } else if (const auto* configuration = std::get_if<FelixConfiguration>(&resource)) {
      collect_failsafes(resolve_settings({{"default", *configuration}}, std::nullopt, {}).failsafes);
    } else if (const auto* set = std::get_if<NetworkSet>(&resource)) {
      for (const auto& net : set->nets) collect(net);
    } else if (const auto* slice = std::get_if<EndpointSlice>(&resource)) {
      for (const auto& address : slice->addresses) collect(Prefix::host(address));
      for (const auto& port : slice->ports) {
        add_with_neighbours(protocols_, port.protocol);
        add_with_neighbours(destination_ports_, port.number);
      }
    }
  }

  Boundaries finish() {
    if (source_ports_by_name_) source_ports_.insert(named_ports_.begin(), named_ports_.end());
    return {{addresses_.begin(), addresses_.end()}, shapes()};
  }

 private:
  void collect(const std::vector<Rule>& rules) {
    for (const auto& rule : rules) {
      for (const auto& protocol : {rule.protocol, rule.not_protocol}) {
        if (protocol) add_with_neighbours(protocols_, protocol->number);
      }
      for (const auto& icmp : {rule.icmp, rule.not_icmp}) {
        if (icmp && icmp->type) add_with_neighbours(icmp_types_, *icmp->type);
        if (icmp && icmp->code) add_with_neighbours(icmp_codes_, *icmp->code);
      }
      for (const auto* side : {&rule.source, &rule.destination}) {
        for (const auto& net : side->nets) collect(net);
        for (const auto& net : side->not_nets) collect(net);
      }
      collect(rule.destination, destination_ports_);
      collect(rule.source, source_ports_);
      for (const auto* ports : {&rule.source.ports, &rule.source.not_ports}) {
        for (const auto& port : *ports) source_ports_by_name_ |= std::holds_alternative<std::string>(port);
      }
    }
  }

  void collect_failsafes(const policy::Failsafes& failsafes) {
    for (const auto* ports : {&failsafes.inbound, &failsafes.outbound}) {
      if (ports->empty()) continue;
      for (const auto* failsafe : {&ports->front(), &ports->back()}) {
        protocols_.insert(failsafe->protocol);
        destination_ports_.insert(failsafe->port);
        source_ports_.insert(failsafe->port);
        if (failsafe->net) collect(*failsafe->net);
      }
    }
  }

  void collect(const Prefix& net) {
    for (const auto& edge : {net.first(), net.last()}) {
      addresses_.insert(edge);
      if (const auto previous = edge.previous()) addresses_.insert(*previous);
      if (const auto next = edge.next()) addresses_.insert(*next);
    }
  }

  static void collect(const EntityRule& side, std::set<std::uint16_t>& ports) {
    for (const auto* list : {&side.ports, &side.not_ports}) {
      for (const auto& port : *list) {
        const auto* range = std::get_if<PortRange>(&port);
        if (range == nullptr) continue;
        add_with_neighbours(ports, range->first);
        add_with_neighbours(ports, range->last);
      }
    }
  }

  std::vector<Packet> shapes() const {
    std::vector<Packet> shapes;
    for (const auto protocol : protocols_) {
      Packet shape;
      shape.protocol = protocol;
      if (has_ports(protocol)) {
        for (const auto destination : destination_ports_) {
          for (const auto source : source_ports_) {
            shape.destination_port = destination;
            shape.source_port = source;
            shapes.push_back(shape);
          }
        }
      } else if (protocol == kIcmp || protocol == kIcmpV6) {
        for (const auto type : icmp_types_) {
          for (const auto code : icmp_codes_) {
            shape.icmp_type = type;
            shape.icmp_code = code;
            shapes.push_back(shape);
          }
        }
      } else {
        shapes.push_back(shape);
      }
    }
    return shapes;
  }

  // Each begins with what no rule needs to mention.
  std::set<IpAddress> addresses_{*IpAddress::parse("203.0.113.7"), *IpAddress::parse("2001:db8:77::7"),
                                 *IpAddress::parse("0.0.0.0"), *IpAddress::parse("::")};
  std::set<Protocol> protocols_{0, kIcmp, kIpInIp, kTcp, kUdp, kIcmpV6, kSctp, 200, 255};
  std::set<std::uint16_t> destination_ports_{0, 4789, 9999, 65535};
  std::set<std::uint16_t> source_ports_{40'000};
  std::set<std::uint8_t> icmp_types_{0, 77, 255};
  std::set<std::uint8_t> icmp_codes_{0, 77};
  std::set<std::uint16_t> named_ports_;
  bool source_ports_by_name_ = false;
};

Packet between(Packet shape, const IpAddress& own, const IpAddress& peer, Direction direction) {
  shape.source = direction == Direction::kEgress ? own : peer;
  shape.destination = direction == Direction::kEgress ? peer : own;
  return shape;
}

}  // namespace

Boundaries boundaries_of(const policy::Snapshot& snapshot) {
  Collector collector;
  for (const auto& [key, resource] : snapshot) collector.collect(resource);
  return collector.finish();
}

std::vector<Packet> boundary_packets(const Boundaries& boundaries, const IpAddress& own,
                                     Direction direction) {
  std::vector<Packet> packets;
  for (const auto& peer : boundaries.addresses) {
    if (peer.family() != own.family()) continue;
    for (const auto& shape : boundaries.shapes) packets.push_back(between(shape, own, peer, direction));
  }
  return packets;
}

std::vector<Packet> random_boundary_packets(Random& random, const Boundaries& boundaries,
                                            const IpAddress& own, Direction direction, std::size_t count) {
  std::vector<IpAddress> peers;
  std::ranges::copy_if(boundaries.addresses, std::back_inserter(peers),
                       [&](const IpAddress& address) { return address.family() == own.family(); });
  std::vector<Packet> packets;
  packets.reserve(count);
  while (packets.size() < count) {
    packets.push_back(between(random.pick(boundaries.shapes), own, random.pick(peers), direction));
  }
  return packets;
}

}  // namespace ocicat::test
