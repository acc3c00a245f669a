// What policies tell apart: of all packets between two addresses, those that have to be asked about so that
// every answer is heard.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/evaluator.h"
#include "views/traffic.h"

namespace ocicat::views {

// A kind of ICMP, asked about for all that no policy tells apart from it.
struct IcmpKind {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  bool other_codes = false;  // stands for all codes of the type but those that are mentioned
  bool other_types = false;  // stands for all types but those that are mentioned

  bool operator==(const IcmpKind&) const = default;
};

// Of one snapshot or of several together. Rules about source ports are left out: a question says which one
// it is about.
class Mentions {
 public:
  Mentions() = default;
  explicit Mentions(const policy::Snapshot& snapshot) { add(snapshot); }
  // O(resources).
  void add(const policy::Snapshot& snapshot);

  // Ports 1 to 65535 of a protocol that has ports, in ranges within which nothing tells one from another;
  // ascending. What divides them: rules, named ports, services, failsafe ports of hosts, the port of VXLAN.
  std::vector<PortRange> port_ranges(Protocol protocol) const;
  // Of kIcmp or kIcmpV6; by type and code, what stands for others last. An echo request is one of those where
  // nobody mentions it.
  std::vector<IcmpKind> icmp_kinds(Protocol protocol) const;
  // Whether a rule speaks of the protocol, kIcmp or kIcmpV6, by its number or of all others, and so of
  // packets of the other family as well: the name alone implies the family.
  bool crosses_families(Protocol icmp) const { return crossing_.contains(icmp); }
  // TCP, UDP, both kinds of ICMP, IP in IP, and those that rules name; ascending.
  const std::set<Protocol>& protocols() const { return protocols_; }
  // One that stands for all but those; none where there are no others.
  std::optional<Protocol> other_protocol() const;

 private:
  void add(const Rule& rule);
  void add(const IcmpMatch& icmp, std::optional<Protocol> protocol);
  void add(const policy::Failsafes& failsafes);
  void add(const FelixConfiguration& configuration);
  void add_rules(const policy::Snapshot& snapshot);
  void add_ports(const policy::Snapshot& snapshot);
  void add_named(const std::vector<EndpointPort>& ports);
  void divide(Protocol protocol, PortRange range);

  std::set<Protocol> protocols_{kIcmp, kIpInIp, kTcp, kUdp, kIcmpV6};
  std::set<Protocol> crossing_;
  std::map<Protocol, std::set<std::uint16_t>> starts_;  // of ranges, but for port 1
  std::map<Protocol, std::map<std::uint8_t, std::set<std::uint8_t>>> icmp_codes_by_type_;
  std::set<std::string> port_names_;
  std::set<std::string> services_;
};

// Appends `next`, which comes after all that are there, to the last range where it follows upon it.
void extend(std::vector<PortRange>& ranges, PortRange next);
// "80", "81-90".
std::vector<std::string> texts_of(const std::vector<PortRange>& ranges);

}  // namespace ocicat::views
